"""Move points along a flow until they rest: the pixels of one object meet at its middle."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numba import prange

from pipeline_lib.core.compiled import compiled, compiled_parallel

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Points walk in turns, so that the processor works on one point while it waits for the flow at another.
BLOCK = 1024
# After a round that brought a point back to where it was, every further round does the same. Points around a sink
# soon circle with a period of 1, 2, 4 or 8 steps, so most of them need not walk all rounds.
ROUND = 8
ONE = np.float32(1)


def follow(flow: NDArray[np.float32], points: NDArray[np.float32], steps: int) -> NDArray[np.float32]:
    """Take ``steps`` steps along the flow from each point; points do not influence each other.

    A step is the bilinear sample of the flow at the point; positions are clipped to the image.

    Args:
        flow: (2, Y, X), pixels per step, y first, zero where nothing should move.
        points: (2, N) positions in pixels, y first, inside the image.
        steps: how many.

    Returns:
        The (2, N) end points.
    """
    return _follow(np.ascontiguousarray(flow), points.astype(np.float32), steps)


@compiled_parallel
def _follow(flow: NDArray[np.float32], points: NDArray[np.float32], steps: int) -> NDArray[np.float32]:
    ends = points.copy()
    blocks = (points.shape[1] + BLOCK - 1) // BLOCK
    for block in prange(blocks):
        some = ends[:, block * BLOCK : (block + 1) * BLOCK]
        _settle(flow, some[0], some[1], steps)
    return ends


@compiled
def _settle(flow: NDArray[np.float32], y: NDArray[np.float32], x: NDArray[np.float32], steps: int) -> None:
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
def _walk(flow: NDArray[np.float32], y: NDArray[np.float32], x: NDArray[np.float32], steps: int) -> None:
    """Take all steps with all points, in place."""
    bottom, right = np.float32(flow.shape[1] - 1), np.float32(flow.shape[2] - 1)
    for _ in range(steps):
        for i in range(y.size):
            dy, dx = _sample(flow, y[i], x[i])
            y[i] = min(max(y[i] + dy, np.float32(0)), bottom)
            x[i] = min(max(x[i] + dx, np.float32(0)), right)


@compiled
def _sample(flow: NDArray[np.float32], y: np.float32, x: np.float32) -> tuple[np.float32, np.float32]:
    """Interpolate both components between the four pixels around a point; the rim is repeated outwards."""
    top, left = np.int32(y), np.int32(x)
    bottom, right = min(top + 1, flow.shape[1] - 1), min(left + 1, flow.shape[2] - 1)
    down, across = y - np.float32(top), x - np.float32(left)
    up, back = ONE - down, ONE - across
    weights = up * back, up * across, down * back, down * across
    return _blend(flow[0], (top, bottom, left, right), weights), _blend(flow[1], (top, bottom, left, right), weights)


@compiled
def _blend(
    values: NDArray[np.float32],
    square: tuple[np.int32, int, np.int32, int],
    weights: tuple[np.float32, np.float32, np.float32, np.float32],
) -> np.float32:
    top, bottom, left, right = square
    return np.float32(
        values[top, left] * weights[0]
        + values[top, right] * weights[1]
        + values[bottom, left] * weights[2]
        + values[bottom, right] * weights[3]
    )
