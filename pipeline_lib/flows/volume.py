"""Flows to labels in volumes: as in `follow` and `masks`, with one axis more.

Arrays are (Z, Y, X) and flows (3, Z, Y, X), z first. Where paths start and end is told by a voxel's index in raster
order; on the way, positions are the fixed-point numbers of `follow`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numba import prange
from scipy.ndimage import binary_fill_holes, find_objects

from pipeline_lib.core.compiled import compiled, compiled_parallel
from pipeline_lib.core.labels import renumber
from pipeline_lib.flows.follow import BITS, LONGEST, ONE
from pipeline_lib.flows.masks import (
    SEED_COUNT,
    SEED_RADIUS,
    SINK_COUNT,
    SINK_RADIUS,
    Enclosed,
    MaskSettings,
    check_values,
    drop_large,
    drop_small,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray


def masks_from_volume_flow(
    flow: NDArray[np.float32], logit: NDArray[np.float32], settings: MaskSettings, steps: int = 200
) -> NDArray[np.uint32]:
    """Find the objects of a volume; there is no flow check, so ``settings.flow_threshold`` is not looked at.

    Args:
        flow: (3, Z, Y, X), z first, in voxels per step: the sum of two flows of about unit length for each component.
        logit: (Z, Y, X) cell logits.
        settings: thresholds; sizes are in voxels and fractions are of the volume.
        steps: steps along the flow, unless ``settings.niter`` sets them.

    Returns:
        The (Z, Y, X) label image, 1..n in the raster order of the objects' first voxels.

    Raises:
        ValueError: shapes that do not fit, or values that are not finite.
    """
    check_values(flow, logit, "ZYX")
    foreground = logit > settings.cellprob_threshold
    ends = end_voxels(flow, foreground, settings.niter or steps)
    labels = label_by_sink(foreground, ends)
    return clean(drop_large(labels, settings.max_size_fraction), settings)


def clean(labels: NDArray[np.uint32], settings: MaskSettings) -> NDArray[np.uint32]:
    """Drop small objects, fill the holes of the others, and drop those that are small since they lost to a filling.

    A hole is what an object encloses in the volume, with faces for borders; what is open in one plane may be closed in
    another. Objects 1..n take what lies there as told for `masks.fill_holes`.
    """
    kept = drop_small(labels, settings.min_size)
    return drop_small(fill_holes(kept, settings.enclosed), settings.min_size)


def end_voxels(flow: NDArray[np.float32], foreground: NDArray[np.bool_], steps: int) -> NDArray[np.intp]:
    """Find the (N,) voxels where the paths of the foreground voxels, in raster order, end; outside nothing moves."""
    # A voxel's three components lie beside each other: they are always read together.
    field = np.multiply(np.moveaxis(flow, 0, -1), foreground[..., None], order="C")
    return _end_voxels(field, np.flatnonzero(foreground), steps)


@compiled_parallel
def _end_voxels(field: NDArray[np.float32], starts: NDArray[np.intp], steps: int) -> NDArray[np.intp]:
    ends = np.empty_like(starts)
    for i in prange(starts.size):
        ends[i] = _end_voxel(field, starts[i], steps)
    return ends


@compiled
def _end_voxel(field: NDArray[np.float32], start: int, steps: int) -> int:
    """Walk from one voxel; where the path closes (Brent's search for cycles), skip the whole rounds that are left."""
    _, height, width, _ = field.shape
    plane, x = divmod(start, width)
    z, y = divmod(plane, height)
    position = z * ONE, y * ONE, x * ONE
    marked, age, patience = position, 0, 1
    while steps > 0:
        position = _step(field, position)
        steps, age = steps - 1, age + 1
        if position == marked:
            steps %= age
        elif age == patience:
            marked, age, patience = position, 0, 2 * patience
    z, y, x = position[0] >> BITS, position[1] >> BITS, position[2] >> BITS
    return int((z * height + y) * width + x)


@compiled
def _step(field: NDArray[np.float32], position: tuple[int, int, int]) -> tuple[int, int, int]:
    """Move by the trilinear sample of the field at the position; the faces of the volume are repeated outwards.

    The weight of a corner is (z share * y share) * x share, and corners are added with z in the outermost loop and x in
    the innermost, in single precision: in a volume of one plane this is the step of two dimensions, bit for bit.
    """
    z, y, x = position
    in_z, in_y, in_x = _shares(z), _shares(y), _shares(x)
    move_z, move_y, move_x = np.float32(0), np.float32(0), np.float32(0)
    for i in range(2):
        plane = field[min((z >> BITS) + i, field.shape[0] - 1)]
        for j in range(2):
            row = plane[min((y >> BITS) + j, field.shape[1] - 1)]
            for k in range(2):
                vector = row[min((x >> BITS) + k, field.shape[2] - 1)]
                weight = (in_z[i] * in_y[j]) * in_x[k]
                move_z += vector[0] * weight
                move_y += vector[1] * weight
                move_x += vector[2] * weight
    return (
        _moved(z, move_z, field.shape[0]),
        _moved(y, move_y, field.shape[1]),
        _moved(x, move_x, field.shape[2]),
    )


@compiled
def _shares(position: int) -> tuple[np.float32, np.float32]:
    """Weights of the voxel at or before a position along one axis, and of the next."""
    after = np.float32(position & (ONE - 1)) * np.float32(1 / ONE)
    return np.float32(1) - after, after


@compiled
def _moved(position: int, move: np.float32, length: int) -> int:
    bounded = min(max(move, -LONGEST), LONGEST)
    return min(max(position + int(np.rint(bounded * np.float32(ONE))), 0), (length - 1) * ONE)


def label_by_sink(foreground: NDArray[np.bool_], ends: NDArray[np.intp]) -> NDArray[np.uint32]:
    """Give each foreground voxel the sink that holds its end voxel; those that end elsewhere become background."""
    counts = np.zeros(foreground.shape, dtype=np.int32)
    np.add.at(counts.reshape(-1), ends, 1)
    sinks = paint_sinks(counts, find_seeds(counts))
    labels = np.zeros(foreground.shape, dtype=np.uint32)
    labels[foreground] = sinks.ravel()[ends]
    return renumber(labels)


def find_seeds(counts: NDArray[np.int32]) -> NDArray[np.int64]:
    """List the (N, 3) voxels where the most paths of their surroundings end, fewest paths first.

    Seeds of equal count keep their raster order. Equal neighbours are seeds both.
    """
    seeds = _peaks(counts)
    order = np.argsort(counts[*seeds.T], kind="stable")
    return seeds[order]


@compiled
def _peaks(counts: NDArray[np.int32]) -> NDArray[np.int64]:
    busy = np.argwhere(counts > SEED_COUNT)
    highest = np.zeros(len(busy), dtype=np.bool_)
    for i, (z, y, x) in enumerate(busy):
        around = counts[
            max(z - SEED_RADIUS, 0) : z + SEED_RADIUS + 1,
            max(y - SEED_RADIUS, 0) : y + SEED_RADIUS + 1,
            max(x - SEED_RADIUS, 0) : x + SEED_RADIUS + 1,
        ]
        highest[i] = counts[z, y, x] == around.max()
    return busy[highest]


@compiled
def paint_sinks(counts: NDArray[np.int32], seeds: NDArray[np.int64]) -> NDArray[np.uint32]:
    """Paint a (Z, Y, X) map of the sinks 1..N of N seeds; where sinks overlap, the later seed wins.

    A sink is the busy voxels connected to its seed, corners included, by at most `SINK_RADIUS` moves.
    """
    sinks = np.zeros(counts.shape, dtype=np.uint32)
    for i, (z, y, x) in enumerate(seeds):
        reached = [(z, y, x)]
        sinks[z, y, x] = i + 1
        for _ in range(SINK_RADIUS):
            reached = _grow_sink(counts, sinks, reached)
    return sinks


@compiled
def _grow_sink(
    counts: NDArray[np.int32], sinks: NDArray[np.uint32], rim: list[tuple[int, int, int]]
) -> list[tuple[int, int, int]]:
    """Paint the busy neighbours of the rim with its label, in place; return the newly painted voxels."""
    added = []
    for z, y, x in rim:
        for nz in range(max(z - 1, 0), min(z + 2, counts.shape[0])):
            for ny in range(max(y - 1, 0), min(y + 2, counts.shape[1])):
                for nx in range(max(x - 1, 0), min(x + 2, counts.shape[2])):
                    if counts[nz, ny, nx] > SINK_COUNT and sinks[nz, ny, nx] != sinks[z, y, x]:
                        sinks[nz, ny, nx] = sinks[z, y, x]
                        added.append((nz, ny, nx))
    return added


def fill_holes(labels: NDArray[np.uint32], enclosed: Enclosed = "absorb") -> NDArray[np.uint32]:
    """Fill what an object encloses, with faces for borders; which objects take what, as in two dimensions."""
    filled = labels.copy()
    boxes = list(enumerate(find_objects(labels), start=1))
    for label, box in boxes if enclosed == "absorb" else reversed(boxes):
        inside = filled[box]
        holes = binary_fill_holes(inside == label)
        inside[holes if enclosed == "absorb" else holes & (inside == 0)] = label
    return filled
