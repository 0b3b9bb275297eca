"""Images in, labels out."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline_lib import segmentation, volumes
from pipeline_lib.arrays.checks import check_image
from pipeline_lib.arrays.normalise import NormaliseSettings, find_ranges, normalise_image
from pipeline_lib.core.catalogue import DEFAULT_MODEL
from pipeline_lib.core.middle import middle
from pipeline_lib.flows.blocked import Report, label_blocks
from pipeline_lib.flows.blocks import Blocks, Readable, Writable
from pipeline_lib.flows.masks import MaskSettings
from pipeline_lib.io.scratch import scratch_arrays
from pipeline_lib.io.size_models import size_model_of
from pipeline_lib.io.weights import find_weights, load_weights
from pipeline_lib.segmentation import Labels, Network
from pipeline_lib.tiling.placing import RunSettings
from pipeline_lib.tiling.sources import Scaled
from pipeline_lib.volumes import VolumeSettings

Image = NDArray[Any]
Progress = Callable[[str, int, int], None]

CORE = (1024, 1024)  # pixels of a block of a large image
IMAGES_AT_ONCE = 8
SAMPLE = 2048  # pixels: the side of the middle part in which the diameter of objects is looked for


@dataclass(frozen=True)
class ImageSettings:
    """What is looked for in an image.

    Attributes:
        channels: which channels the network reads, from 0, in its order: the one to segment first, nuclei second. None:
            all.
        diameter: of the objects, in pixels. None: the network's size model tells it, or without one it is estimated.
        normalise: how intensities are scaled.
        masks: how flows become objects.
    """

    channels: tuple[int, ...] | None = None
    diameter: float | None = None
    normalise: NormaliseSettings = field(default_factory=NormaliseSettings)
    masks: MaskSettings = field(default_factory=MaskSettings)

    def __post_init__(self) -> None:
        """Refuse what cannot be: all faults at once."""
        faults = []
        if self.diameter is not None and not 0 < self.diameter < math.inf:
            faults.append(
                f"diameter is {self.diameter}; a positive number of pixels is allowed, or None to have it found"
            )
        if self.channels is not None and (not self.channels or min(self.channels) < 0):
            faults.append(f"channels are {self.channels}; numbers from 0 are allowed, or None for all")
        if faults:
            raise ValueError("; ".join(faults))


def load_network(weights: str | Path = DEFAULT_MODEL, run: RunSettings | None = None) -> Network:
    """Load a network by the name of its weights or from a file, ready to run on the device that `run` says.

    Raises:
        WeightsError: a ValueError: there is no such file, or it holds another architecture.
        ValueError: the device is not there, or the network does not predict flows.
    """
    state = load_weights(find_weights(weights)).state
    return segmentation.prepare_network(state, run, size_model_of(weights), str(weights))


def segment_image(network: Network, image: Image, settings: ImageSettings | None = None) -> Labels:
    """The label image (Y, X) of an image (C, Y, X) or (Y, X); a constant image has no objects.

    Raises:
        ValueError: not an image of as many channels as the network takes, or values that are not finite.
    """
    return next(segment_images(network, [image], settings))


def segment_images(
    network: Network, images: Iterable[Image], settings: ImageSettings | None = None
) -> Iterator[Labels]:
    """The label image of each image, in turn; time points, for example. Eight at a time are in memory.

    Each has its own intensity ranges; the object diameter, unless given, is that of the first.

    Raises:
        ValueError: as `segment_image`.
    """
    settings = settings or ImageSettings()
    waiting = (_scaled(network, image, settings) for image in images)
    diameter = settings.diameter
    while some := list(islice(waiting, IMAGES_AT_ONCE)):
        diameter = diameter or _diameter(network, some[0], settings.masks)
        yield from segmentation.segment_fields(network, some, diameter, settings.masks)


def find_flows(
    network: Network, image: Image, settings: ImageSettings | None = None
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """What the network says of an image (C, Y, X) or (Y, X): flow (2, Y, X), y first, and cell logit (Y, X).

    The flow is in pixels per step, a fifth of Cellpose's; the logit is above 0 inside cells.

    Raises:
        ValueError: as `segment_image`.
    """
    settings = settings or ImageSettings()
    scaled = _scaled(network, image, settings)
    diameter = settings.diameter or _diameter(network, scaled, settings.masks)
    (found,) = segmentation.flows_of_fields(network, [scaled], diameter)
    return found


def segment_large(
    network: Network,
    image: Readable,
    target: Writable,
    settings: ImageSettings | None = None,
    progress: Progress | None = None,
) -> Report:
    """Write the labels of an image (C, Y, X) that need not fit into memory: those that `segment_image` gives.

    Args:
        network: as `load_network` gives it.
        image: an array of numpy or zarr, or anything that is sliced like them. It is read in bands of rows, each row up
            to three times: chunks that are flat and wide, or a cache, spare decompression.
        target: (Y, X) uint32, written block by block; best of chunks that divide 1024. After an error it holds parts of
            unfinished labels.
        settings: as for `segment_image`, but intensities can be scaled by ranges alone.
        progress: told what is being done, and how much of how much is done.

    Needs disk space for temporary arrays; set TMPDIR to choose where.

    Raises:
        ValueError: as `segment_image`, or a target that cannot hold the labels.
    """
    settings = settings or ImageSettings()
    pixels = _scaled_view(network, image, settings)
    _check_target(target, pixels.shape[1:])
    diameter = settings.diameter or _diameter(network, pixels, settings.masks)
    return label_large(network, pixels, target, diameter, settings.masks, progress)


def label_large(
    network: Network,
    scaled: Readable,
    target: Writable,
    diameter: float,
    masks: MaskSettings,
    progress: Progress | None = None,
) -> Report:
    """As `segment_large`, of an image (C, Y, X) that is scaled, with objects of a known diameter in pixels."""
    halo = max(64, math.ceil(2 * diameter))
    with scratch_arrays() as scratch:
        flows = segmentation.store_flows(
            network, network.pixels(scaled), diameter, scratch, _about("network", progress)
        )
        blocks = Blocks(CORE, halo, scratch, _about("labels", progress))
        return label_blocks(flows, target, masks, network.steps(diameter), blocks)


def segment_volume(
    network: Network, volume: Image, settings: ImageSettings | None = None, sides: VolumeSettings | None = None
) -> Labels:
    """The label image (Z, Y, X) of a volume (C, Z, Y, X) or (Z, Y, X), looked at from three sides.

    The diameter, unless given, is that of objects in the middle plane. The flow threshold is not looked at.

    Raises:
        ValueError: as `segment_image`.
    """
    settings, sides = settings or ImageSettings(), sides or VolumeSettings()
    scaled, diameter = _scaled_volume(network, volume, settings)
    return volumes.segment_volume(network, scaled, diameter, settings.masks, sides)


def segment_planes(
    network: Network, volume: Image, settings: ImageSettings | None = None, threshold: float = 0.25
) -> Labels:
    """The label image (Z, Y, X) of a volume (C, Z, Y, X) or (Z, Y, X), segmented plane by plane.

    Objects of neighbouring planes are linked where the shared part of their union reaches `threshold` (0..1).

    Raises:
        ValueError: as `segment_image`, or a threshold outside 0..1.
    """
    settings = settings or ImageSettings()
    scaled, diameter = _scaled_volume(network, volume, settings)
    return volumes.segment_planes(network, scaled, diameter, settings.masks, threshold)


def find_diameter(network: Network, image: Readable, settings: ImageSettings | None = None) -> float:
    """The diameter, in pixels, of the objects in an image (C, Y, X) or (Y, X), whatever diameter the settings name.

    Looks at the middle of the image, up to 2048 x 2048 pixels, as the network's size model tells; without one by
    segmenting again until diameter and objects agree.

    Raises:
        ValueError: as `segment_image`.
    """
    settings = settings or ImageSettings()
    if settings.normalise.by_ranges and len(image.shape) > 2:
        return _diameter(network, _scaled_view(network, image, settings), settings.masks)
    return _diameter(network, _scaled(network, np.asarray(image[(slice(None),)]), settings), settings.masks)


def _diameter(network: Network, image: Readable, masks: MaskSettings) -> float:
    """As `find_diameter` for a scaled image (C, Y, X)."""
    sample = np.asarray(image[(slice(None), *middle(image.shape[1:], SAMPLE))], np.float32)
    if network.sizes is not None:
        return segmentation.diameter_by_style(network, network.sizes, sample, masks)
    return segmentation.estimate_diameter(network, [sample], masks)


def _scaled(network: Network, image: Image, settings: ImageSettings) -> NDArray[np.float32]:
    """The chosen channels of an image in memory, checked and scaled, (C, Y, X)."""
    image = np.asarray(image)
    channels = _channels(image[None] if image.ndim == 2 else image, network, settings, "CYX")
    return normalise_image(channels, settings.normalise)


def _scaled_volume(network: Network, volume: Image, settings: ImageSettings) -> tuple[NDArray[np.float32], float]:
    """The chosen channels of a volume, checked and scaled, (C, Z, Y, X), and the diameter of its objects."""
    volume = np.asarray(volume)
    volume = volume[None] if volume.ndim == 3 else volume
    scaled = normalise_image(_channels(volume, network, settings, "CZYX"), settings.normalise)
    middle = scaled[:, scaled.shape[1] // 2]
    return scaled, settings.diameter or _diameter(network, middle, settings.masks)


def _scaled_view(network: Network, image: Readable, settings: ImageSettings) -> Scaled:
    """The chosen channels of an image on disk, scaled when they are read, (C, Y, X)."""
    _channels(np.asarray(image[(slice(None), *[slice(0, 1)] * (len(image.shape) - 1))]), network, settings, "CYX")
    chosen = settings.channels or tuple(range(image.shape[0]))
    return Scaled(image, chosen, find_ranges(image, chosen, settings.normalise), settings.normalise.invert)


def _check_target(target: Writable, shape: tuple[int, ...]) -> None:
    """Refuse, before any work is done, what cannot hold labels: unfinished ones may be many more than those found."""
    dtype = np.dtype(getattr(target, "dtype", np.uint32))
    if tuple(target.shape) != shape or dtype != np.uint32:
        raise ValueError(f"a target of shape {tuple(target.shape)} and {dtype} found; {shape} and uint32 are needed")


def _channels(image: Image, network: Network, settings: ImageSettings, axes: str) -> Image:
    """The chosen channels of an image or volume, after making sure that it is one the network can take."""
    chosen = settings.channels
    if chosen is None or image.ndim != len(axes):
        check_image(image, network.channels_in, axes)
        return image
    if max(chosen) >= len(image):
        raise ValueError(f"channels {chosen} found; this image has the channels 0 to {len(image) - 1}")
    check_image(image[list(chosen)], network.channels_in, axes)
    return image[list(chosen)]


def _about(what: str, progress: Progress | None) -> Callable[[int, int], None] | None:
    """A progress callback that says what is being done."""
    if progress is None:
        return None
    return lambda done, total: progress(what, done, total)
