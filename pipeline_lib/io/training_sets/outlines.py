"""Objects as COCO files describe them, polygons or runs of pixels, drawn into a label image."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Part: TypeAlias = tuple[tuple[slice, slice], NDArray[np.bool_]]
"""A box of an image, and which of its pixels are meant."""


@dataclass(frozen=True, eq=False)
class Polygon:
    """Corners (N, 2) as x, y; the pixel in the first row and column spans 0 to 1 along both."""

    corners: NDArray[np.float64]

    def part(self, shape: tuple[int, int]) -> Part:
        """The pixels whose centres lie inside, by the even-odd rule.

        Of two polygons with a common border only one has a centre that lies on it: neighbours share no pixel.
        """
        spanned = np.ceil([self.corners.min(axis=0) - 0.5, self.corners.max(axis=0) - 0.5])[:, ::-1]
        (top, left), (bottom, right) = np.clip(spanned, 0, shape).astype(int)
        ends = np.stack([self.corners, np.roll(self.corners, -1, axis=0)])
        # Edges run downwards, so that neighbours, who go round the other way, compute the same crossings.
        low, high = np.where(ends[:1, :, 1:] <= ends[1:, :, 1:], ends, ends[::-1])
        centres = np.arange(top, bottom)[:, None] + 0.5
        row, edge = np.nonzero((low[:, 1] <= centres) & (centres < high[:, 1]))
        along = (centres[row, 0] - low[edge, 1]) / (high[edge, 1] - low[edge, 1])
        crossing = low[edge, 0] + along * (high[edge, 0] - low[edge, 0])
        first = np.clip(np.ceil(crossing - 0.5).astype(int), left, right) - left
        crossed = np.zeros((bottom - top, right - left + 1), int)
        np.add.at(crossed, (row, first), 1)
        return (slice(top, bottom), slice(left, right)), np.cumsum(crossed, axis=1)[:, :-1] % 2 == 1


@dataclass(frozen=True, eq=False)
class Runs:
    """Lengths of runs of pixels down one column of the image after the other, in turn outside and inside."""

    lengths: NDArray[np.int64]

    def part(self, shape: tuple[int, int]) -> Part:
        """The pixels inside, of an image that has as many pixels as the runs."""
        inside = np.arange(len(self.lengths)) % 2 == 1
        return (slice(None), slice(None)), np.repeat(inside, self.lengths).reshape(shape[::-1]).T


Outline: TypeAlias = Sequence[Polygon | Runs]
"""The parts of one object."""


def draw(outlines: Iterable[Outline], shape: tuple[int, int]) -> NDArray[np.uint32]:
    """Labels (Y, X) with the number of each object, from 1, in its pixels; what several claim becomes background.

    Whose such pixels are is not known; for cyto3, too, they were removed. Objects that have no others are left out.
    """
    labels = np.zeros(shape, np.uint32)
    several = np.zeros(shape, bool)
    for number, outline in enumerate(outlines, 1):
        for box, inside in (part.part(shape) for part in outline):
            several[box] |= inside & (labels[box] > 0) & (labels[box] != number)
            labels[box][inside] = number
    labels[several] = 0
    return labels
