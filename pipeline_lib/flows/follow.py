"""Move points along a flow until they rest: the pixels of one object meet at its middle.

Positions are fixed-point numbers with 16 fractional bits, counted from the first pixel of the image or window at hand.
So the same flow moves a point by the same amount wherever its window lies, bit for bit, on every processor.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numba import prange

from pipeline_lib.core.compiled import compiled, compiled_parallel

if TYPE_CHECKING:
    from numpy.typing import NDArray

BITS = 16
ONE = 1 << BITS  # one pixel
LONGEST = np.float32(1 << 15)  # longest step, in pixels along each axis
WALL = np.float32(1e30)  # a flow of which the smallest weight, 2**-32, makes the longest step

# Points walk in turns, so that the processor works on one point while it waits for the flow at another.
BLOCK = 1024
# After a round that brought a point back to where it was, every further round does the same. Points around a sink
# soon circle with a period of 1, 2, 4 or 8 steps, so most of them need not walk all rounds.
ROUND = 8


def follow(flow: NDArray[np.float32], points: NDArray[np.int64], steps: int) -> NDArray[np.int64]:
    """Take ``steps`` steps along the flow from each point; points do not influence each other.

    A step is the bilinear sample of the flow at the point, in float32, rounded to the nearest position, ties to even;
    positions are clipped to the image.

    Args:
        flow: (2, Y, X), pixels per step, y first, zero where nothing should move.
        points: (2, N) positions in units of 1 / `ONE` pixel, y first, inside the image.
        steps: how many.

    Returns:
        The (2, N) end points; shifted right by `BITS` they are pixels.
    """
    return _follow(np.ascontiguousarray(flow), np.ascontiguousarray(points), steps)


class OpenSides(NamedTuple):
    """Beyond which sides of a window the image goes on."""

    top: bool
    left: bool
    bottom: bool
    right: bool


def follow_in_window(
    flow: NDArray[np.float32], points: NDArray[np.int64], steps: int, sides: OpenSides
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Follow points as far as a window of a larger image shows where they go.

    Args:
        flow: (2, Y, X), as in `follow`, of values below 1e20; the image may go on beyond the window.
        points: (2, N) positions, as in `follow`, counted from the first pixel of the window.
        steps: how many.
        sides: where the image goes on; a window is at least 2 pixels long across an open side.

    Returns:
        The (2, N) end points, equal to those in the whole image but for the points that came to the outermost pixels
        of an open side, and (N,) which those are.
    """
    ends = follow(_walled(flow, sides), points, steps)
    far = np.array(flow.shape[1:])[:, None] - 1 << BITS
    low, high = ends == 0, ends == far
    return ends, low[0] & sides.top | low[1] & sides.left | high[0] & sides.bottom | high[1] & sides.right


def _walled(flow: NDArray[np.float32], sides: OpenSides) -> NDArray[np.float32]:
    """Make the outermost pixels of open sides throw out, and hold there, every point that feels them."""
    walled = flow.copy()
    for component, first, last in ((0, sides.top, sides.bottom), (1, sides.left, sides.right)):
        across = np.moveaxis(walled[component], component, 0)
        if first:
            across[0] = -WALL
        if last:
            across[-1] = WALL
    return walled


@compiled_parallel
def _follow(flow: NDArray[np.float32], points: NDArray[np.int64], steps: int) -> NDArray[np.int64]:
    ends = points.copy()
    blocks = (points.shape[1] + BLOCK - 1) // BLOCK
    for block in prange(blocks):
        some = ends[:, block * BLOCK : (block + 1) * BLOCK]
        _settle(flow, some[0], some[1], steps)
    return ends


@compiled
def _settle(flow: NDArray[np.float32], y: NDArray[np.int64], x: NDArray[np.int64], steps: int) -> None:
    """Move the points in place; after each round only those go on that are not back where the round began."""
    _walk(flow, y, x, steps % ROUND)
    moving = np.arange(y.size)
    for _ in range(steps // ROUND):
        old_y, old_x = y[moving], x[moving]
        new_y, new_x = old_y.copy(), old_x.copy()
        _walk(flow, new_y, new_x, ROUND)
        y[moving], x[moving] = new_y, new_x
        moving = moving[(new_y != old_y) | (new_x != old_x)]


@compiled
def _walk(flow: NDArray[np.float32], y: NDArray[np.int64], x: NDArray[np.int64], steps: int) -> None:
    """Take all steps with all points, in place."""
    bottom, right = (flow.shape[1] - 1) << BITS, (flow.shape[2] - 1) << BITS
    for _ in range(steps):
        for i in range(y.size):
            dy, dx = _sample(flow, y[i], x[i])
            y[i] = min(max(y[i] + _fixed(dy), 0), bottom)
            x[i] = min(max(x[i] + _fixed(dx), 0), right)


@compiled
def _fixed(step: np.float32) -> np.int64:
    return np.int64(np.rint(min(max(step, -LONGEST), LONGEST) * np.float32(ONE)))


@compiled
def _sample(flow: NDArray[np.float32], y: np.int64, x: np.int64) -> tuple[np.float32, np.float32]:
    """Interpolate both components between the four pixels around a point; the rim is repeated outwards."""
    top, left = np.uint32(y >> BITS), np.uint32(x >> BITS)  # unsigned: no index is taken to count from the end
    bottom, right = np.uint32(min(top + 1, flow.shape[1] - 1)), np.uint32(min(left + 1, flow.shape[2] - 1))
    down, across = _fraction(y), _fraction(x)
    up, back = np.float32(1) - down, np.float32(1) - across
    weights = up * back, up * across, down * back, down * across
    return _blend(flow[0], (top, bottom, left, right), weights), _blend(flow[1], (top, bottom, left, right), weights)


@compiled
def _fraction(position: np.int64) -> np.float32:
    return np.float32(position & (ONE - 1)) * np.float32(1 / ONE)


@compiled
def _blend(
    values: NDArray[np.float32],
    square: tuple[np.uint32, np.uint32, np.uint32, np.uint32],
    weights: tuple[np.float32, np.float32, np.float32, np.float32],
) -> np.float32:
    top, bottom, left, right = square
    return np.float32(
        values[top, left] * weights[0]
        + values[top, right] * weights[1]
        + values[bottom, left] * weights[2]
        + values[bottom, right] * weights[3]
    )
