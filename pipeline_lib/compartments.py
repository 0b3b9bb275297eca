"""Cells, their nuclei and their cytoplasm under one number."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import distance_transform_edt, gaussian_filter
from skimage.filters import threshold_otsu
from skimage.segmentation import expand_labels, watershed

from pipeline_lib.core.labels import areas, overlaps, renumber

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pipeline_lib.core.labels import Labels

SMOOTHING = 1.0  # standard deviation, in pixels, of the blur that keeps noise from steering the watershed


@dataclass(frozen=True)
class Compartments:
    """Label images (Y, X) in which one number means one cell.

    Attributes:
        nuclei: nuclei; the nuclei of one cell share its number.
        cells: whole cells.
        cytoplasm: cells without any nucleus, without the gap around nuclei, and up to the reach from them.
        nuclei_without_cell: how many nuclei have a number that no cell has.
        cells_without_nucleus: how many cells have a number that no nucleus has.
    """

    nuclei: NDArray[np.uint32]
    cells: NDArray[np.uint32]
    cytoplasm: NDArray[np.uint32]
    nuclei_without_cell: int
    cells_without_nucleus: int


def grow(
    nuclei: Labels, intensity: NDArray[np.float32] | None, distance: float, threshold: float | None = None
) -> NDArray[np.uint32]:
    """Grow each nucleus (Y, X) to a cell of the same number.

    With the image of a cell stain, cells meet where it is darkest between them (seeded watershed); without one, half
    way between the nuclei. Every nucleus keeps its own pixels.

    Args:
        nuclei: seeds.
        intensity: (Y, X) cell stain, bright inside cells, or None.
        distance: cells end this many pixels from the nearest nucleus.
        threshold: cells end where the blurred stain is not above it; None: no limit.

    Raises:
        ValueError: a threshold without an intensity image.
    """
    seeds = nuclei.astype(np.uint32)
    if intensity is None:
        if threshold is not None:
            raise ValueError(f"the threshold {threshold} needs an intensity image; give one or set threshold to None")
        return _expand(seeds, distance)
    if not seeds.any():
        return seeds
    blurred = gaussian_filter(intensity.astype(np.float32), SMOOTHING)
    near = distance_transform_edt(seeds == 0) <= distance
    bright = True if threshold is None else blurred > threshold
    cells: NDArray[np.int32] = watershed(  # type: ignore[no-untyped-call]
        -blurred, seeds.astype(np.int32), mask=(near & bright) | (seeds > 0)
    )
    return cells.astype(np.uint32)


def _expand(labels: NDArray[np.uint32], distance: float) -> NDArray[np.uint32]:
    """Give the background pixels within ``distance`` of an object the label of the nearest one."""
    expanded: NDArray[np.uint32] = expand_labels(labels, distance)  # type: ignore[no-untyped-call]
    return expanded


def otsu_threshold(intensity: NDArray[np.float32]) -> float:
    """Find the value that splits the blurred image best in dark and bright pixels (Otsu 1979), for use in `grow`."""
    blurred = gaussian_filter(intensity.astype(np.float32), SMOOTHING)
    return float(threshold_otsu(blurred))  # type: ignore[no-untyped-call]


def pair(nuclei: Labels, cells: Labels, gap: int = 0, reach: float | None = None) -> Compartments:
    """Bring independently found nuclei and cells (Y, X) under common numbers; nothing is lost.

    A nucleus belongs to the cell that holds most of its pixels, if that is at least half of them. Cells with nuclei
    are numbered first, in raster order, then the nuclei without a cell, then the cells without a nucleus.

    Args:
        nuclei: any label image.
        cells: any label image.
        gap: pixels this near to a nucleus are no cytoplasm, so that its blurred light does not count there.
        reach: cytoplasm is a ring of pixels whose nearest nucleus is this near and of their own cell; None: all of the
            cell, also of one without a nucleus.

    Raises:
        ValueError: the images differ in shape.
    """
    nuclei, cells = renumber(nuclei), renumber(cells)
    owner = _owners(nuclei, cells)
    cell_count = int(cells.max(initial=0))
    nucleus_number, cell_number = _common_numbers(owner, cell_count)
    numbered, paired = nucleus_number[nuclei], cell_number[cells]
    near = True if reach is None else _expand(numbered, reach) == paired
    return Compartments(
        nuclei=numbered,
        cells=paired,
        cytoplasm=np.where((_expand(nuclei, gap) == 0) & near, paired, np.uint32(0)),
        nuclei_without_cell=int(np.count_nonzero(owner[1:] == 0)),
        cells_without_nucleus=cell_count - np.unique(owner[owner > 0]).size,
    )


def _owners(nuclei: NDArray[np.uint32], cells: NDArray[np.uint32]) -> NDArray[np.int64]:
    """Find the cell of each nucleus 0..n; 0 means none. Of two cells with half each, the first in raster order wins."""
    shared = overlaps(nuclei, cells)[:, 1:].tocoo()
    rows, columns = shared.coords
    enough = (rows > 0) & (2 * shared.data >= np.append(0, areas(nuclei))[rows])
    owner = np.zeros(int(nuclei.max(initial=0)) + 1, dtype=np.int64)
    # Two cells can only qualify with exactly half each: the lower number is written last and wins.
    by_number = np.argsort(-columns[enough], kind="stable")
    owner[rows[enough][by_number]] = columns[enough][by_number] + 1
    return owner


def _common_numbers(owner: NDArray[np.int64], cell_count: int) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    """Tabulate the new numbers of the nuclei 0..n and of the cells 0..m."""
    owned = np.unique(owner[owner > 0])
    bare = np.setdiff1d(np.arange(1, cell_count + 1), owned)
    free = 1 + np.flatnonzero(owner[1:] == 0)
    cell_number = np.zeros(cell_count + 1, dtype=np.uint32)
    cell_number[owned] = 1 + np.arange(owned.size)
    cell_number[bare] = 1 + np.arange(bare.size) + owned.size + free.size
    nucleus_number = cell_number[owner]
    nucleus_number[free] = 1 + np.arange(free.size) + owned.size
    return nucleus_number, cell_number
