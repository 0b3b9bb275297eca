"""Objects of an image cut into blocks: their table, and every step that looks at one object as a whole."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from pipeline_lib.core.compiled import compiled
from pipeline_lib.flows.block_run import Run
from pipeline_lib.flows.blocks import Box, Readable, Writable
from pipeline_lib.flows.masks import MaskSettings, fill_these, find_enclosed
from pipeline_lib.flows.targets import flow_errors

AREA, FIRST, BOX = 0, 1, slice(2, 6)  # columns of the table


def empty_table(count: int) -> NDArray[np.int64]:
    """Rows for labels 1..count: area, index of the first pixel, and bounding box."""
    end = np.iinfo(np.int64).max
    return np.tile(np.array([0, end, end, end, 0, 0]), (count, 1))


@compiled
def tally(labels: NDArray[np.uint32], top: int, left: int, width: int, table: NDArray[np.int64]) -> None:
    """Add the labels of a box at (top, left) of an image of a width to the table, in place."""
    for i in range(labels.shape[0]):
        for j in range(labels.shape[1]):
            if labels[i, j] == 0:
                continue
            row, y, x = table[labels[i, j] - 1], top + i, left + j
            row[0] += 1
            row[1] = min(row[1], y * width + x)
            row[2], row[3] = min(row[2], y), min(row[3], x)
            row[4], row[5] = max(row[4], y + 1), max(row[5], x + 1)


def of_right_size(table: NDArray[np.int64], settings: MaskSettings, size: int) -> NDArray[np.bool_]:
    """Tell which objects of an image of so many pixels are present and neither too large nor too small."""
    area = table[:, AREA]
    return (area > 0) & (area >= settings.min_size) & (area <= settings.max_size_fraction * size)


def inspect_all(
    run: Run, flow: Readable, target: Writable, table: NDArray[np.int64], kept: NDArray[np.bool_]
) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Look at each kept object as a whole.

    Returns which objects are still kept, and (N, 2) pairs of such an object and a label that lies in its holes, be it
    0 or of an object that is dropped.
    """
    consistent, pairs = kept.copy(), [np.zeros((0, 2), dtype=np.int64)]
    rows = np.flatnonzero(kept)
    for some, box in run.read_objects(rows, table[rows, BOX]):
        labels = run.read(target, box)
        if run.settings.flow_threshold:
            errors = flow_errors(_only(labels, some, len(table)), run.read(flow, box))
            consistent[some] = errors <= run.settings.flow_threshold
        found = find_enclosed(labels, some + 1, _boxes_within(table, some, box))
        pairs.append(np.array(found, dtype=np.int64).reshape(-1, 2))
    enclosed = np.unique(np.concatenate(pairs), axis=0)
    return consistent, enclosed[consistent[enclosed[:, 0] - 1]]


def _only(labels: NDArray[np.uint32], rows: NDArray[np.int64], count: int) -> NDArray[np.uint32]:
    """Renumber some of so many objects 1..N, in the order of the rows; the others become background."""
    return _numbered(rows, count)[labels]


def _numbered(rows: NDArray[np.int64], count: int) -> NDArray[np.uint32]:
    """List new numbers for labels 0..count: 1..N for those of the rows, in their order, 0 for the others."""
    numbers = np.zeros(count + 1, dtype=np.uint32)
    numbers[rows + 1] = np.arange(1, len(rows) + 1)
    return numbers


def _boxes_within(table: NDArray[np.int64], rows: NDArray[np.int64], outer: Box) -> NDArray[np.int32]:
    corner = np.array([outer.top, outer.left, outer.top, outer.left])
    return np.asarray(table[rows, BOX] - corner, dtype=np.int32)


def fill_all(
    run: Run, target: Writable, table: NDArray[np.int64], kept: NDArray[np.bool_], enclosed: NDArray[np.int64]
) -> None:
    """Fill the objects with holes in the order of their first pixels.

    Only objects with holes change others, and none comes to have holes when it loses what lies in another's. So order
    matters among objects with holes that lie inside each other: those are read together.
    """
    rows = np.unique(enclosed[:, 0]) - 1
    rows = rows[np.argsort(table[rows, FIRST])]
    groups, boxes = _groups(table, rows, enclosed)
    numbers = _unchanged(kept)
    for some_groups, box in run.read_objects(np.arange(len(boxes)), boxes):
        some = rows[np.isin(groups, some_groups)]
        labels = numbers[run.read(target, box)]
        target[box.slices] = fill_these(labels, some + 1, _boxes_within(table, some, box), run.settings.enclosed)


def _groups(
    table: NDArray[np.int64], rows: NDArray[np.int64], enclosed: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Group objects that lie in each other's holes: the group (N,) of each row and the box (M, 4) of each group."""
    inside = enclosed[np.isin(enclosed[:, 1], rows + 1)]
    size = len(table) + 1
    links = coo_array((np.ones(len(inside)), (inside[:, 0], inside[:, 1])), shape=(size, size))
    _, components = connected_components(links, directed=False)
    names, groups = np.unique(components[rows + 1], return_inverse=True)
    boxes = empty_table(len(names))[:, BOX]
    np.minimum.at(boxes[:, :2], groups, table[rows, BOX][:, :2])
    np.maximum.at(boxes[:, 2:], groups, table[rows, BOX][:, 2:])
    return groups, boxes


def _unchanged(kept: NDArray[np.bool_]) -> NDArray[np.uint32]:
    """List numbers for labels 0..N: their own for the kept objects, 0 for the others."""
    return np.where(np.append(False, kept), np.arange(len(kept) + 1, dtype=np.uint32), np.uint32(0))


def number_all(run: Run, target: Writable, kept: NDArray[np.bool_]) -> int:
    """Number the objects that are still large enough in the raster order of their first pixels; return how many."""
    table, numbers = empty_table(len(kept)), _unchanged(kept)
    for core in run.each(run.grid):
        labels = numbers[run.read(target, core)]
        tally(labels, core.top, core.left, run.grid.shape[1], table)
    rows = np.flatnonzero(table[:, AREA] >= max(run.settings.min_size, 1))
    numbers = _numbered(rows[np.argsort(table[rows, FIRST])], len(kept))
    for core in run.each(run.grid):
        target[core.slices] = numbers[run.read(target, core)]
    return len(rows)
