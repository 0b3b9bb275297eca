"""Algebra of label images: integer arrays in which 0 is background and every other number is one object."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array

from pipeline_lib.core.compiled import compiled
from pipeline_lib.core.sizes import SMALLEST_DIAMETER

Labels: TypeAlias = NDArray[np.integer[Any]]


def renumber(labels: Labels) -> NDArray[np.uint32]:
    """Renumber the objects 1..n in the raster order of their first pixels; any rank, integer type and gaps.

    Raises:
        ValueError: the labels are not integers, or some are negative.
    """
    if labels.dtype.kind not in "iu":
        raise ValueError(f"labels have dtype {labels.dtype}; label images hold integers: convert the image first")
    if labels.size == 0:
        return labels.astype(np.uint32)
    if labels.min() < 0:
        raise ValueError(f"labels go down to {labels.min()}; 0 is background and objects are positive numbers")
    # The table of the compiled loop is as long as the largest label, so sparse numbers are closed up first.
    close = labels.ravel() if labels.max() <= labels.size else _close_gaps(labels)
    return _by_first_appearance(close.astype(np.uint32)).reshape(labels.shape)


def _close_gaps(labels: Labels) -> Labels:
    numbers = np.unique(labels[labels > 0])
    return np.where(labels > 0, np.searchsorted(numbers, labels) + 1, 0).ravel()


@compiled
def _by_first_appearance(labels: NDArray[np.uint32]) -> NDArray[np.uint32]:
    number = np.zeros(labels.max() + 1, dtype=np.uint32)
    renumbered = np.zeros_like(labels)
    count = 0
    for i, label in enumerate(labels):
        if label != 0 and number[label] == 0:
            count += 1
            number[label] = count
        renumbered[i] = number[label]
    return renumbered


def keep(labels: Labels, kept: NDArray[np.bool_]) -> NDArray[np.uint32]:
    """Drop the labels k for which ``kept[k - 1]`` is false and renumber the others by first appearance."""
    number = np.zeros(len(kept) + 1, dtype=np.uint32)
    number[1:][kept] = 1 + np.flatnonzero(kept)
    return renumber(number[labels])


def areas(labels: Labels) -> NDArray[np.int64]:
    """Count the pixels of labels 1..max; entry k - 1 belongs to label k and is 0 if the label is absent."""
    return np.bincount(labels.ravel(), minlength=1)[1:]


def median_diameter(label_images: Sequence[Labels]) -> float | None:
    """Median over all objects of the diameter of the disc of equal area, in pixels; None without objects."""
    sizes = np.concatenate([np.zeros(0, np.int64), *map(areas, label_images)])
    present = sizes[sizes > 0]
    return float(np.median(2 * np.sqrt(present / np.pi))) if present.size else None


def object_diameter(labels: Labels) -> float:
    """The median diameter, in pixels, of the objects of a label image, at least 5; NaN without objects."""
    found = median_diameter([labels])
    return math.nan if found is None else max(SMALLEST_DIAMETER, found)


def bounding_boxes(labels: Labels) -> NDArray[np.int32]:
    """Half-open boxes (top, left, bottom, right) of labels 1..max of a (Y, X) image, shape (max, 4).

    The box of label k is row k - 1; it is all zeros if the label is absent.
    """
    count = int(labels.max(initial=0))
    return _bounding_boxes(np.ascontiguousarray(labels), count)


@compiled
def _bounding_boxes(labels: Labels, count: int) -> NDArray[np.int32]:
    boxes = np.zeros((count, 4), dtype=np.int32)
    height, width = labels.shape
    for y in range(height):
        for x in range(width):
            if labels[y, x] == 0:
                continue
            box = boxes[labels[y, x] - 1]
            if box[2] == 0:
                box[0], box[1] = y, x
            box[1] = min(box[1], x)
            box[2] = y + 1
            box[3] = max(box[3], x + 1)
    return boxes


def overlaps(first: Labels, second: Labels) -> csr_array:
    """Count the pixels shared by every two labels of equally shaped images, background included.

    Returns a sparse (max of first + 1, max of second + 1) int64 table without stored zeros. Time and memory follow
    the pixels and the pairs that meet, not the product of the counts.

    Raises:
        ValueError: the images differ in shape.
    """
    if first.shape != second.shape:
        raise ValueError(f"label images have shapes {first.shape} and {second.shape}; both must show the same pixels")
    size = int(first.max(initial=0)) + 1, int(second.max(initial=0)) + 1
    ones = np.ones(first.size, dtype=np.int64)
    return coo_array((ones, (first.ravel().astype(np.int64), second.ravel().astype(np.int64))), shape=size).tocsr()
