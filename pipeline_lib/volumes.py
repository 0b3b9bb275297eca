"""Volumes to label images: a network that knows planes looks at them from three sides, or plane by plane."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from pipeline_lib.arrays.checks import check_image
from pipeline_lib.arrays.resample import resize
from pipeline_lib.flows.masks import MaskSettings
from pipeline_lib.flows.stitch import stitch_planes
from pipeline_lib.flows.volume import clean, masks_from_volume_flow
from pipeline_lib.segmentation import Labels, Network, segment_fields
from pipeline_lib.tiling.predict import FLOW_UNIT, run_tiled, whole_images

Volume = NDArray[np.float32]

# For planes across z, y and x: the two axes that lie in the plane, rows first.
IN_PLANE = ((1, 2), (0, 2), (0, 1))


@dataclass(frozen=True)
class VolumeSettings:
    """How a network looks at a volume from three sides.

    Attributes:
        anisotropy: distance of two planes over distance of two pixels in a plane.
        smoothing: standard deviation, in voxels, of a Gaussian that smooths the flow; 0: none. Where objects break up,
            1 or 2 help.
    """

    anisotropy: float = 1.0
    smoothing: float = 0.0


def segment_volume(
    network: Network, volume: Volume, diameter: float, masks: MaskSettings, settings: VolumeSettings
) -> Labels:
    """Label image (Z, Y, X) of a scaled (C, Z, Y, X) volume, from flows in all three directions.

    Objects measure about `diameter` pixels in a plane. Sizes in `masks` are in voxels, fractions are of the volume, and
    its flow threshold is not looked at.

    Raises:
        ValueError: as `volume_flows`.
    """
    flow, logit = volume_flows(network, volume, diameter, settings.anisotropy)
    if settings.smoothing > 0:
        flow = gaussian_filter(flow, (0, *[settings.smoothing] * 3))
    return masks_from_volume_flow(flow, logit, masks, network.steps(diameter))


def segment_planes(network: Network, volume: Volume, diameter: float, masks: MaskSettings, threshold: float) -> Labels:
    """Label image (Z, Y, X) of a scaled (C, Z, Y, X) volume: planes are segmented each alone, then linked.

    Objects of neighbouring planes are one where their shared part of their union reaches `threshold` (0..1). The
    smallest size in `masks` holds for the linked objects, in voxels; all else in it for every plane.

    Raises:
        ValueError: as `volume_flows`, or a threshold outside 0..1.
    """
    _check(network, volume, diameter)
    planes = segment_fields(network, list(volume.swapaxes(0, 1)), diameter, replace(masks, min_size=0))
    return clean(stitch_planes(np.stack(list(planes)), threshold), masks)


def volume_flows(
    network: Network, volume: Volume, diameter: float, anisotropy: float = 1.0
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Flow (3, Z, Y, X), z first, and cell logit (Z, Y, X) of a scaled (C, Z, Y, X) volume, at its own size.

    The network sees all planes across z, y and x of the volume resized so that `diameter` becomes its own `diam_mean`
    in every direction. As in Cellpose 3 what it says is added up: each component of the flow from two sides, so that
    it may be two pixels per step long, and the logit from three. Channels the volume lacks are zero.

    Memory, beside the volume: its channels and four more at the network's size, then these four and four at the
    volume's own size. Planes pass the network in batches and are not kept.

    Raises:
        ValueError: not a volume of as many channels as the network takes, values that are not finite, or a diameter or
            anisotropy that is not positive.
    """
    _check(network, volume, diameter, anisotropy)
    rescale = network.diam_mean / diameter
    shape = _scaled_shape(volume.shape[1:], (anisotropy * rescale, rescale, rescale))
    found = _resize(_seen_from_three_sides(network, _resize(volume, shape)), volume.shape[1:])
    return found[:3], found[3]


def _seen_from_three_sides(network: Network, volume: Volume) -> Volume:
    """The sums (4, Z, Y, X) of flow, z first, and cell logit over all planes across z, y and x."""
    total = np.zeros((4, *volume.shape[1:]), np.float32)
    for axis, in_plane in enumerate(IN_PLANE):
        planes = (network.pixels(plane) for plane in np.moveaxis(volume, 1 + axis, 0))
        for number, (output, _) in enumerate(whole_images(run_tiled(network.net, planes, network.predict))):
            np.moveaxis(total, 1 + axis, 0)[number, [*in_plane, 3]] += output
    total[:3] /= FLOW_UNIT
    return total


def _scaled_shape(shape: tuple[int, ...], factors: tuple[float, ...]) -> tuple[int, ...]:
    return tuple(max(1, int(length * factor)) for length, factor in zip(shape, factors, strict=True))


def _resize(volume: Volume, shape: tuple[int, ...]) -> Volume:
    """Trilinear interpolation of a (C, Z, Y, X) volume to `shape` (Z, Y, X): in the planes, then across them."""
    if volume.shape[1:] == shape:
        return volume
    depth, height, width = shape
    resized = np.empty((len(volume), *shape), np.float32)
    for channel, target in zip(volume, resized, strict=True):
        planes = resize(channel, (height, width))
        target[:] = resize(planes.swapaxes(0, 1), (depth, width)).swapaxes(0, 1)
    return resized


def _check(network: Network, volume: Volume, diameter: float, anisotropy: float = 1.0) -> None:
    check_image(volume, network.channels_in, "CZYX")
    if not (0 < diameter < np.inf and 0 < anisotropy < np.inf):
        raise ValueError(f"diameter {diameter} and anisotropy {anisotropy} found; both must be positive numbers")
