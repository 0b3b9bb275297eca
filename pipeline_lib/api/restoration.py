"""Images in, restored images out: each channel for itself, of any size, in the network's units or in its own."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipeline_lib import restoration
from pipeline_lib.arrays.checks import check_image
from pipeline_lib.arrays.normalise import NormaliseSettings, Range, find_ranges, normalise_image, to_dtype
from pipeline_lib.core.catalogue import RESTORATION_MODEL
from pipeline_lib.flows.blocks import Readable, Writable
from pipeline_lib.io.weights import find_weights, load_weights
from pipeline_lib.restoration import Restorer
from pipeline_lib.tiling.placing import RunSettings
from pipeline_lib.tiling.sources import Pixels, Resized, Scaled, Source, in_steps

if TYPE_CHECKING:
    from torch import Tensor

ROWS_AT_ONCE = 1024  # rows in which a restored image is written

Image = NDArray[Any]
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class RestoreSettings:
    """How an image is restored.

    Attributes:
        diameter: of the objects, in pixels: one for all channels, or one for each.
        channels: which channels are restored, from 0. None: all.
        normalise: how intensities are scaled for the network.
        enlarge: give the image the size at which the network sees it, its length times the network's diameter over the
            objects'; for networks that take objects smaller than their own. Otherwise it keeps its size.
        keep_range: give pixels in the image's own intensities and number type, rounded and clipped where the type asks
            for it. Otherwise they are float32, 0 and 1 where scaling put them.
    """

    diameter: float | tuple[float, ...]
    channels: tuple[int, ...] | None = None
    normalise: NormaliseSettings = field(default_factory=NormaliseSettings)
    enlarge: bool = False
    keep_range: bool = False

    @property
    def diameters(self) -> tuple[float, ...]:
        """As they were given, at least one."""
        return self.diameter if isinstance(self.diameter, tuple) else (self.diameter,)

    def __post_init__(self) -> None:
        """Refuse what cannot be: all faults at once."""
        if faults := list(self._faults()):
            raise ValueError("; ".join(faults))

    def _faults(self) -> Iterator[str]:
        given = self.diameters
        if not given or not all(0 < diameter < math.inf for diameter in given):
            yield f"diameter is {self.diameter}; a positive number of pixels is allowed, or one for each channel"
        if self.channels is not None and (not self.channels or min(self.channels) < 0):
            yield f"channels are {self.channels}; numbers from 0 are allowed, or None for all"
        elif self.channels is not None and len(given) not in (1, len(self.channels)):
            yield f"diameter is {given} for the channels {self.channels}; one is allowed, or one for each"
        if self.enlarge and len(set(given)) > 1:
            yield f"enlarge with the diameters {given} would give channels of different sizes; give one diameter"
        if self.keep_range and not self.normalise.by_ranges:
            yield (
                "keep_range with tile_size, smooth_radius or sharpen_radius found; only scaling by ranges can be "
                "undone: drop one of them"
            )


def load_restorer(weights: str | Path = RESTORATION_MODEL, run: RunSettings | None = None) -> Restorer:
    """Load a restoration network by the name of its weights or from a file, on the device that `run` says.

    Networks for whole cells and for nuclei are loaded, and called, one by one:

        cells = restore_image(load_restorer("denoise_cyto3"), image, RestoreSettings(30, channels=(0,)))
        nuclei = restore_image(load_restorer("denoise_nuclei"), image, RestoreSettings(17, channels=(1,)))
        both = np.concatenate([cells, nuclei])

    Raises:
        WeightsError: a ValueError: there is no such file, or it holds another architecture.
        ValueError: the device is not there, or the network does not restore images.
    """
    return restoration.prepare_restorer(load_weights(find_weights(weights)).state, run, str(weights))


def restore_image(restorer: Restorer, image: Image, settings: RestoreSettings) -> Image:
    """The chosen channels of an image (C, Y, X), or an image (Y, X), restored, each for itself.

    A channel without signal, all of one intensity for instance, is left as it is; in the network's units that is 0.

    Raises:
        ValueError: not an image, values that are not finite, channels that are not there, or `enlarge` for objects that
            are not smaller than the network's own.
    """
    image = np.asarray(image)
    channels = image[None] if image.ndim == 2 else image
    shape, dtype = restored_like(restorer, channels, settings)
    check_image(channels[list(_chosen(channels, settings))], shape[0])
    target: Image = np.empty(shape, dtype)
    ready = _by_ranges if settings.normalise.by_ranges else _in_memory
    _restore(restorer, ready(channels, settings), target, dtype, settings)
    return target[0] if image.ndim == 2 else target


def restore_large(
    restorer: Restorer,
    image: Readable,
    target: Writable,
    settings: RestoreSettings,
    progress: Progress | None = None,
) -> None:
    """Write an image (C, Y, X) that need not fit into memory as `restore_image` restores it.

    Args:
        restorer: as `load_restorer` gives it.
        image: an array of numpy or zarr, or anything that is sliced like them; read in bands of rows.
        target: such an array of the shape and number type that `restored_like` tells, written in whole rows, 1024 at a
            time: best in chunks of as many.
        settings: as for `restore_image`, but intensities can be scaled by ranges alone.
        progress: told "network", and how many rows of how many are done.

    Raises:
        ValueError: as `restore_image`, or a target that cannot hold the image.
    """
    shape, dtype = restored_like(restorer, image, settings)
    found = np.dtype(getattr(target, "dtype", dtype))
    if tuple(target.shape) != shape or found != dtype:
        raise ValueError(f"a target of shape {tuple(target.shape)} and {found} found; {shape} and {dtype} are needed")
    _restore(restorer, _by_ranges(image, settings), target, dtype, settings, progress)


def restored_like(
    restorer: Restorer, image: Readable, settings: RestoreSettings
) -> tuple[tuple[int, int, int], np.dtype[Any]]:
    """Shape (C, Y, X) and number type of the restored image; no pixel is read.

    Raises:
        ValueError: not a (C, Y, X) image, or settings that do not fit it and the network.
    """
    if len(image.shape) != 3:
        raise ValueError(f"an image of shape {tuple(image.shape)} found; (C, Y, X) is needed")
    chosen = _chosen(image, settings)
    if len(settings.diameters) not in (1, len(chosen)):
        raise ValueError(f"diameter is {settings.diameter} for {len(chosen)} channels; give one, or one for each")
    height, width = restorer.restored(image.shape[1:], settings.diameters[0], enlarge=settings.enlarge)
    dtype = np.dtype(getattr(image, "dtype", np.float32)) if settings.keep_range else np.dtype(np.float32)
    return (len(chosen), height, width), dtype


def _chosen(image: Readable, settings: RestoreSettings) -> Sequence[int]:
    """The numbers of the channels, after making sure that they are there."""
    there = range(image.shape[0])
    chosen = there if settings.channels is None else settings.channels
    if not set(chosen) <= set(there):
        raise ValueError(f"channels {tuple(chosen)} found; this image has the channels 0 to {len(there) - 1}")
    return chosen


@dataclass(frozen=True)
class _Channel:
    """A channel ready for the network. scaled: (1, Y, X). span: the intensities of 0 and 1; quiet: it has no signal."""

    scaled: Readable
    span: Range
    quiet: bool


def _by_ranges(image: Readable, settings: RestoreSettings) -> Iterator[_Channel]:
    """The chosen channels, scaled when they are read."""
    chosen, invert = _chosen(image, settings), settings.normalise.invert
    for number, (low, high) in zip(chosen, find_ranges(image, chosen, settings.normalise), strict=True):
        quiet = math.isinf(high)
        # The intensities of a channel that nothing is done to are kept by a range of length 1.
        span = (low, low + 1) if quiet and settings.keep_range else (low, high)
        yield _Channel(Scaled(image, [number], [span], invert), span, quiet)


def _in_memory(image: Image, settings: RestoreSettings) -> Iterator[_Channel]:
    """The chosen channels, scaled as no range can."""
    for number in _chosen(image, settings):
        scaled = normalise_image(image[number : number + 1], settings.normalise)
        yield _Channel(scaled, (0.0, 1.0), quiet=not scaled.any())


def _restore(
    restorer: Restorer,
    channels: Iterator[_Channel],
    target: Writable,
    dtype: np.dtype[Any],
    settings: RestoreSettings,
    progress: Progress | None = None,
) -> None:
    """Fill the target (C, Y, X), channel by channel."""
    count, height, width = target.shape
    diameters = settings.diameters * (count if len(settings.diameters) == 1 else 1)
    for number, (channel, diameter) in enumerate(zip(channels, diameters, strict=True)):
        source = Pixels(channel.scaled, 1, restorer.predict.device)
        if channel.quiet:
            bands = _untouched(source, (height, width))
        else:
            restored = restoration.restored_bands(restorer, source, diameter, enlarge=settings.enlarge)
            bands = (band[None] for band in restored)
        for rows, band in in_steps(bands, ROWS_AT_ONCE):
            values = band.cpu().numpy()
            if settings.keep_range:
                values = _in_range(values, channel.span, dtype, invert=settings.normalise.invert)
            target[(slice(number, number + 1), rows, slice(0, width))] = values
            if progress:
                progress("network", number * height + rows.stop, count * height)


def _untouched(source: Source, shape: tuple[int, int]) -> Iterator[Tensor]:
    """The source itself at another size, in bands (1, rows, X)."""
    resized = Resized(source, shape)
    for top in range(0, shape[0], ROWS_AT_ONCE):
        yield resized.rows(top, min(top + ROWS_AT_ONCE, shape[0]))


def _in_range(values: NDArray[np.float32], span: Range, dtype: np.dtype[Any], *, invert: bool) -> Image:
    """Scaled values as intensities of a number type, within its limits; integers are rounded."""
    low, high = reversed(span) if invert else span
    return to_dtype(low + values.astype(np.float64) * (high - low), dtype)
