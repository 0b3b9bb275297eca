"""Planes that were labelled one by one become a volume: what overlaps from plane to plane is one object."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline_lib.core.labels import Labels, areas, overlaps, renumber


def stitch_planes(labels: Labels, threshold: float) -> NDArray[np.uint32]:
    """Link the objects of neighbouring planes of a (Z, Y, X) stack whose planes are numbered each on its own.

    An object goes on in the object of the next plane that covers it best, if the shared part of the union of both
    reaches `threshold` (0..1), as in Cellpose 3. If an object is so reached from several, it belongs to the one it
    covers best; among equals, to the lowest number. Nothing is linked over an empty plane.

    Returns:
        The (Z, Y, X) label image, 1..n in the raster order of the objects' first voxels.

    Raises:
        ValueError: not a stack, or a threshold outside 0..1.
    """
    if labels.ndim != 3 or not 0 <= threshold <= 1:
        found = f"labels of shape {labels.shape} and threshold {threshold}"
        raise ValueError(f"{found}; a (Z, Y, X) stack and an overlap from 0 to 1 are needed")
    stitched = np.zeros(labels.shape, dtype=np.uint32)
    count = 0
    for z, plane in enumerate(labels):
        number = _continued(stitched[max(z - 1, 0)], plane, threshold)
        new = np.flatnonzero(number[1:] == 0) + 1
        number[new] = count + 1 + np.arange(len(new))
        count += len(new)
        stitched[z] = number[plane]
    return renumber(stitched)


def _continued(previous: Labels, plane: Labels, threshold: float) -> NDArray[np.uint32]:
    """For each label 0..max of `plane` the label of `previous` that goes on in it; 0 if there is none."""
    shared = overlaps(previous, plane)[1:, 1:].tocoo()
    before, after = shared.row, shared.col
    overlap = shared.data / (areas(previous)[before] + areas(plane)[after] - shared.data)
    best = np.zeros(shared.shape[0])
    np.maximum.at(best, before, overlap)
    linked = (overlap >= threshold) & (overlap == best[before])
    before, after, overlap = before[linked], after[linked], overlap[linked]
    worst_first = np.lexsort((-before, overlap))  # of what is written to one place, the last stays
    number = np.zeros(shared.shape[1] + 1, dtype=np.uint32)
    number[after[worst_first] + 1] = before[worst_first] + 1
    return number
