"""Intensity scaling: bring two percentiles of a channel to 0 and 1.

The numbers equal Cellpose 3, bit for bit, so that its checkpoints see what they were trained on.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline_lib.arrays.filters import smooth_and_sharpen
from pipeline_lib.arrays.tile_normalise import normalise_tiles

_EXACT_UP_TO = 224**3  # elements; percentiles of anything larger are taken on a grid of about 224 x 224 of them
_GRID = {3: (50, 224, 224)}  # lengths of that grid by number of axes; elsewhere 224 along each axis
_FLAT = np.float32(1e-3)
_SMALLEST_TILE = 16  # pixels; percentiles of fewer than 16 x 16 pixels say nothing

Range = tuple[float, float]


@dataclass(frozen=True)
class NormaliseSettings:
    """How intensities become the numbers a network reads.

    Attributes:
        enabled: False leaves intensities as they are; every other option is then at its default.
        lowhigh: Intensities of 0 and 1: one (low, high) for all channels, or one per channel. Overrides percentiles,
            radii and tile size. Empty: each channel of each image finds its own.
        percentiles: What becomes 0 and 1, of 0..100.
        smooth_radius: Gaussian radius in pixels of the smoothing that comes first; 0 is off.
        sharpen_radius: Gaussian radius in pixels of the surround that is taken off, also first; 0 is off.
        tile_size: Side in pixels of tiles with percentiles of their own, from 16; 0: percentiles of the whole image.
        invert: Dark objects on bright ground: v becomes 1 - v, last of all.

    Raises:
        ValueError: All faults at once.
    """

    enabled: bool = True
    lowhigh: tuple[Range, ...] = ()
    percentiles: Range = (1.0, 99.0)
    smooth_radius: float = 0.0
    sharpen_radius: float = 0.0
    tile_size: int = 0
    invert: bool = False

    @property
    def by_ranges(self) -> bool:
        """Whether each channel needs only its range, so that an image can be scaled part by part."""
        return not (self.tile_size or self.smooth_radius or self.sharpen_radius)

    def __post_init__(self) -> None:
        """Refuse what no image could be scaled with."""
        if faults := list(self._faults()):
            raise ValueError(f"intensities cannot be scaled like this: {'; '.join(faults)}")

    def _faults(self) -> Iterator[str]:
        low, high = self.percentiles
        if not 0 <= low < high <= 100:
            yield f"percentiles are {self.percentiles}, allowed are two of 0 to 100, the lower first"
        if self.lowhigh and not _rising_pairs(self.lowhigh):
            yield f"lowhigh is {self.lowhigh}, allowed are pairs such as ((0, 1000),), the lower first"
        for name in ("smooth_radius", "sharpen_radius"):
            radius = getattr(self, name)
            if not (math.isfinite(radius) and radius >= 0):
                yield f"{name} is {radius}, allowed are 0 (off) and positive numbers of pixels"
        if self.tile_size != 0 and self.tile_size < _SMALLEST_TILE:
            yield f"tile_size is {self.tile_size}, allowed are 0 (off) and {_SMALLEST_TILE} pixels or more"
        wanted = ("lowhigh", "smooth_radius", "sharpen_radius", "tile_size", "invert")
        if not self.enabled and (idle := [name for name in wanted if getattr(self, name)]):
            yield f"enabled is False, which leaves nothing to do for {', '.join(idle)}: drop them, or enable scaling"


def normalise_image(image: NDArray[Any], settings: NormaliseSettings) -> NDArray[np.float32]:
    """A new (C, Y, X) or (C, Z, Y, X) array, scaled channel by channel; the planes of a stack share their ranges.

    Values are not clipped. A channel without signal (a range of 1e-3 or less) is zero, inverted or not.

    image: of any real number type, finite and not empty; see `checks.check_image`.

    Raises:
        ValueError: `settings.lowhigh` is for another number of channels.
    """
    if not settings.enabled:
        return image.astype(np.float32)
    values = image.astype(np.float32, copy=False)
    if not settings.lowhigh:
        values = smooth_and_sharpen(values, settings.smooth_radius, settings.sharpen_radius)
        if settings.tile_size:
            tiled = [normalise_tiles(channel, settings.tile_size, settings.percentiles) for channel in values]
            return np.stack([1 - channel if settings.invert and channel.any() else channel for channel in tiled])
    ranges = _ranges(values, range(len(values)), settings)
    return np.stack(
        [to_range(channel, span, invert=settings.invert) for channel, span in zip(values, ranges, strict=True)]
    )


def sampled_slices(shape: tuple[int, ...]) -> tuple[slice, ...]:
    """Where `percentile_range` looks in a channel of this shape: everywhere, or on a grid beyond 224^3 elements.

    What these slices read has the same percentile range as the whole channel, to the bit: a channel too large for
    memory needs no more of it.
    """
    if math.prod(shape) <= _EXACT_UP_TO:
        return (slice(None),) * len(shape)
    grid = _GRID.get(len(shape), (224,) * len(shape))
    return tuple(slice(None, None, max(1, length // points)) for length, points in zip(shape, grid, strict=True))


def find_ranges(image: Any, channels: Sequence[int], settings: NormaliseSettings) -> list[Range]:
    """The intensities of 0 and 1 of some channels of an image that may be too large for memory.

    image: a (C, Y, X) array of numpy or zarr; a subsample of it is read. With these ranges `to_range` gives any part
    of the image the values that `normalise_image` gives the whole. Without signal the upper one is infinite.

    Raises:
        ValueError: the settings ask for more than a range: tiles, smoothing or sharpening.
    """
    check_by_ranges(settings)
    if not settings.enabled:
        return [(0.0, 1.0)] * len(channels)
    return _ranges(image, channels, settings)


def check_by_ranges(settings: NormaliseSettings) -> None:
    """Raise ValueError if an image too large for memory cannot be scaled so."""
    if not settings.by_ranges:
        beyond = [name for name in ("tile_size", "smooth_radius", "sharpen_radius") if getattr(settings, name)]
        raise ValueError(
            f"{', '.join(beyond)} found; an image too large for memory is scaled by ranges alone: drop them"
        )


def to_range(channel: NDArray[Any], span: Range, *, invert: bool) -> NDArray[np.float32]:
    """A new array in which the range (low, high) became (0, 1), inverted (1, 0).

    Without signal, which an infinite upper end means, all is 0, inverted or not.
    """
    if math.isinf(span[1]):
        return np.zeros(channel.shape, np.float32)
    stretched = _stretch(channel, *span)
    return 1 - stretched if invert else stretched


def percentile_range(channel: NDArray[Any], percentiles: Range) -> Range:
    """The intensities at two percentiles (0..100), interpolated linearly in float32.

    channel: (Y, X) or a stack (Z, Y, X), of any number type. Channels of more than 224^3 pixels are read on a regular
    subsample.
    """
    return _of_sample(channel[sampled_slices(channel.shape)], percentiles)


def _of_sample(values: NDArray[Any], percentiles: Range) -> Range:
    own = values.astype(np.float32).ravel()
    # One by one, since two at once come as float64; the copy at hand may be sorted in place.
    low, high = (float(np.percentile(own, percent, overwrite_input=True)) for percent in percentiles)
    return low, high


def scale(channel: NDArray[Any], low: float, high: float) -> NDArray[np.float32]:
    """A new array in which `low` became 0 and `high` became 1; values beyond them are not clipped.

    A range of 1e-3 or less holds no signal: the result is zero everywhere.
    """
    if np.float32(high) - np.float32(low) <= _FLAT:
        return np.zeros(channel.shape, np.float32)
    return _stretch(channel, low, high)


def normalise(image: NDArray[Any], ranges: Sequence[Range]) -> NDArray[np.float32]:
    """Scale each channel of a (C, Y, X) image by its own (low, high)."""
    return np.stack([scale(channel, low, high) for channel, (low, high) in zip(image, ranges, strict=True)])


def to_dtype(values: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Intensities in a number type, within its limits; integers are rounded."""
    if values.dtype == dtype:
        return values
    if dtype.kind == "f":
        limits = np.finfo(dtype)
        return np.asarray(np.clip(values, limits.min, limits.max), dtype)
    least, most = (0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    exact = np.float32 if dtype.itemsize <= 2 and values.dtype == np.float32 else np.float64  # holds every result
    return np.asarray(np.clip(np.rint(values.astype(exact, copy=False)), least, most), dtype)


def _ranges(image: Any, channels: Sequence[int], settings: NormaliseSettings) -> list[Range]:
    """The given ranges, or percentiles of each channel; (low, infinity) for a channel without signal."""
    if settings.lowhigh:
        return list(_for_each_channel(settings.lowhigh, len(channels)))
    place = sampled_slices(image.shape[1:])
    found = [_of_sample(np.asarray(image[(channel, *place)]), settings.percentiles) for channel in channels]
    return [(low, high) if np.float32(high) - np.float32(low) > _FLAT else (low, math.inf) for low, high in found]


def _stretch(channel: NDArray[Any], low: float, high: float) -> NDArray[np.float32]:
    span = np.float32(high) - np.float32(low)
    return (channel.astype(np.float32, copy=False) - np.float32(low)) / span


def _rising_pairs(lowhigh: tuple[Range, ...]) -> bool:
    """Whether these are pairs of finite numbers that rise even when rounded to 32 bits."""
    pairs = np.asarray(lowhigh, np.float32)
    return (
        pairs.ndim == 2 and pairs.shape[1] == 2 and bool((np.isfinite(pairs).all(1) & (np.diff(pairs)[:, 0] > 0)).all())
    )


def _for_each_channel(lowhigh: tuple[Range, ...], channels: int) -> tuple[Range, ...]:
    if len(lowhigh) not in (1, channels):
        raise ValueError(
            f"lowhigh has {len(lowhigh)} pairs and the image {channels} channels; give one pair for all or one for each"
        )
    return lowhigh * (channels if len(lowhigh) == 1 else 1)
