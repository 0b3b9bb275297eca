"""Which tiles cover an image, and how much each pixel of a tile counts. Geometry only: no pixel is touched.

Every tile of an image has the same size, so tiles can be stacked into one batch. Sizes and weights are those of
Cellpose 3, whose networks were trained on 224 x 224 crops.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from math import ceil
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

TILE = 224
MARGIN = 8  # least padding on either side of an axis
MULTIPLE = 16  # padded lengths are multiples of this, so that three halvings and doublings match
OVERLAP = 0.1  # least share of a tile that its neighbour repeats


@dataclass(frozen=True)
class TileAxis:
    """Tiles along one axis: `length` pixels, padded by `before` and `after`, cut at `starts` into `tile` pixels.

    ::

        before          length           after
        |......|==========================|......|      padded
        [----tile----)
                 [----tile----)
                              [----tile----)
    """

    length: int
    before: int
    after: int
    tile: int
    starts: tuple[int, ...]

    @classmethod
    def cover(cls, length: int) -> TileAxis:
        """The tiles that Cellpose 3 lays over `length` pixels."""
        extra = -length % MULTIPLE
        padded = length + extra + 2 * MARGIN
        tile = min(TILE, padded)
        count = 1 if padded <= TILE else ceil((1 + 2 * OVERLAP) * padded / TILE)
        starts = np.linspace(0, padded - tile, count).astype(int)
        return cls(length, MARGIN + extra // 2, MARGIN + extra - extra // 2, tile, tuple(starts.tolist()))

    @classmethod
    def cover_twice(cls, length: int) -> TileAxis:
        """Full tiles that lie at least twice over `length` pixels, for predictions from mirrored tiles."""
        once = cls.cover(length)
        padded = max(once.padded, TILE)
        starts = np.linspace(0, padded - TILE, max(2, ceil(2 * padded / TILE))).astype(int)
        return cls(length, once.before, padded - once.before - length, TILE, tuple(starts.tolist()))

    @property
    def padded(self) -> int:
        """Length with its padding."""
        return self.before + self.length + self.after

    @property
    def inner(self) -> slice:
        """Where the image lies within the padded axis."""
        return slice(self.before, self.before + self.length)

    def weights(self) -> NDArray[np.float64]:
        """Weight of each pixel of a tile, (tile,): near 1 inside, falling to 0.07 at both ends of a full tile.

        A shorter tile takes the middle of the full profile.
        """
        from_centre = np.abs(np.arange(TILE) - (TILE - 1) / 2)
        profile: NDArray[np.float64] = 1 / (1 + np.exp((from_centre - (TILE / 2 - 20)) / 7.5))
        first = TILE // 2 - self.tile // 2
        return profile[first : first + self.tile]

    def total_weights(self) -> NDArray[np.float64]:
        """Sum of the weights of all tiles over each pixel of the padded axis, (padded,)."""
        total = np.zeros(self.padded)
        for start in self.starts:
            total[start : start + self.tile] += self.weights()
        return total


class Tile(NamedTuple):
    """A tile's place in the padded image, and the axes (-2: y, -1: x) along which the network sees it mirrored."""

    y: slice
    x: slice
    mirrored: tuple[int, ...] = ()


@dataclass(frozen=True)
class TileGrid:
    """The tiles of a (Y, X) image: every pair of a tile along y and one along x; `mirrored`: every other one is."""

    y: TileAxis
    x: TileAxis
    mirrored: bool = False

    @classmethod
    def cover(cls, shape: tuple[int, int]) -> TileGrid:
        """The grid for an image of `shape` (Y, X)."""
        return cls(TileAxis.cover(shape[0]), TileAxis.cover(shape[1]))

    @classmethod
    def cover_twice(cls, shape: tuple[int, int]) -> TileGrid:
        """The grid for test-time augmentation: odd columns mirrored along y, odd rows along x, as in Cellpose 3."""
        return cls(TileAxis.cover_twice(shape[0]), TileAxis.cover_twice(shape[1]), mirrored=True)

    def tiles(self) -> Iterator[Tile]:
        """Each tile, y in the outer loop."""
        for (j, top), (i, left) in product(enumerate(self.y.starts), enumerate(self.x.starts)):
            odd = tuple(axis for axis, number in ((-2, i), (-1, j)) if number % 2)
            place = slice(top, top + self.y.tile), slice(left, left + self.x.tile)
            yield Tile(*place, odd if self.mirrored else ())

    def weights(self) -> NDArray[np.float64]:
        """Weight of each pixel of a tile, (tile along y, tile along x).

        Tiles are all pairs of two axes' tiles, so the sum of their weights is a product, too: of the axes' totals.
        """
        return np.outer(self.y.weights(), self.x.weights())
