"""Labels to flows: the truth a network learns, and the yardstick for objects found with its flows.

Heat is released at the middle of an object and spreads inside it; the flow climbs the heat towards the middle
(Stringer et al., Nature Methods 18, 100-106, 2021). Every object is solved alone, in its own bounding box.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numba import prange

from pipeline_lib.core.compiled import compiled, compiled_parallel
from pipeline_lib.core.labels import bounding_boxes, renumber

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pipeline_lib.core.labels import Labels


def flows_from_labels(labels: Labels) -> NDArray[np.float32]:
    """Point every object pixel of a (Y, X) label image at the middle of its object.

    Returns the flow (2, Y, X), y first: unit length, zero on the background, in objects of one pixel, where the heat is
    level, and in parts of an object that are not connected to its middle. Other objects are never looked at.
    """
    numbered = renumber(labels)
    return _flows(numbered, bounding_boxes(numbered))


def flow_errors(labels: NDArray[np.uint32], flow: NDArray[np.float32]) -> NDArray[np.float64]:
    """Compare a predicted flow (2, Y, X), in pixels per step, with the flow that the labels 1..n imply.

    Returns (n,) mean squared lengths of the difference over the pixels of each object: 0 perfect, 4 opposite,
    NaN for an absent label.
    """
    return _flow_errors(labels, bounding_boxes(labels), flow)


@compiled_parallel
def _flows(labels: NDArray[np.uint32], boxes: NDArray[np.int32]) -> NDArray[np.float32]:
    flow = np.zeros((2, labels.shape[0], labels.shape[1]), dtype=np.float32)
    for i in prange(len(boxes)):
        top, left, bottom, right = boxes[i]
        _draw_flow(labels[top:bottom, left:right] == i + 1, flow[:, top:bottom, left:right])
    return flow


@compiled
def _draw_flow(inside: NDArray[np.bool_], flow: NDArray[np.float32]) -> None:
    """Write one object's flow into its box; pixels of other objects are not even read, they may be being written."""
    climb = _climb(_heat(inside))
    for y, x in np.argwhere(inside):
        flow[:, y, x] = climb[:, y, x]


@compiled_parallel
def _flow_errors(
    labels: NDArray[np.uint32], boxes: NDArray[np.int32], flow: NDArray[np.float32]
) -> NDArray[np.float64]:
    errors = np.zeros(len(boxes))
    for i in prange(len(boxes)):
        top, left, bottom, right = boxes[i]
        errors[i] = _flow_error(labels[top:bottom, left:right] == i + 1, flow[:, top:bottom, left:right])
    return errors


@compiled
def _flow_error(inside: NDArray[np.bool_], flow: NDArray[np.float32]) -> float:
    difference = _climb(_heat(inside)) - flow
    return float(np.sum(inside * (difference[0] ** 2 + difference[1] ** 2)) / np.sum(inside))


@compiled
def _heat(inside: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Feed the middle, then average over 3 x 3 pixels, again and again; everything outside the object stays cold.

    Returns the heat of the mask's box with a rim of 1 pixel. The turns are enough to cross the box and back twice.
    """
    height, width = inside.shape[0] + 2, inside.shape[1] + 2
    mask = np.zeros((height, width))
    mask[1:-1, 1:-1] = inside
    heat, spread, columns = np.zeros(mask.size), np.zeros(mask.size), np.zeros(mask.size)
    if inside.any():
        y, x = _middle(inside)
        for _ in range(2 * (height + width)):
            heat[(y + 1) * width + x + 1] += 1
            _average(heat, mask, columns, spread)
            heat, spread = spread, heat
    return heat.reshape(height, width)


@compiled
def _average(
    heat: NDArray[np.float64], mask: NDArray[np.float64], columns: NDArray[np.float64], average: NDArray[np.float64]
) -> None:
    """Write the 3 x 3 means of a box, given as rows after each other, into ``average``; ``columns`` is scratch.

    The cold rim keeps one row from leaking into the next, so the loops run over the whole box without a break, with
    vector instructions. Sums pair mirrored neighbours: a symmetric object gets exactly symmetric heat.
    """
    width, count = mask.shape[1], mask.size - 2 * mask.shape[1]
    above, here, below, column = heat[:count], heat[width:-width], heat[2 * width :], columns[width:-width]
    for i in range(count):
        column[i] = (above[i] + below[i]) + here[i]
    left, right, inside, target = (
        columns[width - 1 :],
        columns[width + 1 :],
        mask.ravel()[width:-width],
        average[width:],
    )
    for i in range(count):
        target[i] = inside[i] * ((left[i] + right[i]) + column[i]) * (1 / 9)


@compiled
def _middle(inside: NDArray[np.bool_]) -> tuple[int, int]:
    """Find the object pixel nearest to the mean position, the first in raster order among equals.

    Offsets are scaled by the area, which makes them whole numbers and ties exact.
    """
    ys, xs = np.nonzero(inside)
    offsets_y = ys.size * ys - np.sum(ys)
    offsets_x = xs.size * xs - np.sum(xs)
    nearest = np.argmin(offsets_y.astype(np.float64) ** 2 + offsets_x.astype(np.float64) ** 2)
    return ys[nearest], xs[nearest]


@compiled
def _climb(heat: NDArray[np.float64]) -> NDArray[np.float32]:
    """Scale the central differences of the heat (Y, X) to unit length; the rim is left out: (2, Y - 2, X - 2)."""
    height, width = heat.shape[0] - 2, heat.shape[1] - 2
    climb = np.zeros((2, height, width), dtype=np.float32)
    for y in range(height):
        for x in range(width):
            dy = heat[y + 2, x + 1] - heat[y, x + 1]
            dx = heat[y + 1, x + 2] - heat[y + 1, x]
            length = np.sqrt(dy**2 + dx**2) + 1e-60
            climb[0, y, x] = dy / length
            climb[1, y, x] = dx / length
    return climb
