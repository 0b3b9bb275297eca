"""How a large image is cut into blocks, what a block reads, and what it owns. Geometry only: no pixel is touched.

Cores tile the image. A core grown by a halo, as far as the image reaches, is a window. A point belongs to the core it
lies in, an object to the core that holds the top left corner of its bounding box.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from math import ceil
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray


class Readable(Protocol):
    """Pixels that are read by slices: an array of numpy or zarr, or a view made on demand."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of each axis."""

    def __getitem__(self, place: tuple[slice, ...], /) -> Any: ...


class Writable(Readable, Protocol):
    """Pixels that are written by slices, too."""

    def __setitem__(self, place: tuple[slice, ...], values: Any, /) -> None: ...


Scratch = Callable[[str, tuple[int, int], np.dtype[Any]], Writable]
"""Makes an array of zeros of a name, a (Y, X) shape and a type, to be written part by part."""


@dataclass(frozen=True)
class Blocks:
    """How an image is worked through.

    Attributes:
        core: (Y, X) pixels of a block, best a multiple of the chunks of what is read and written.
        halo: pixels to read around it; a few object diameters spare second readings.
        scratch: where arrays come from; an image needs 16 bytes per pixel.
        progress: told how much is done, out of how much, in blocks; None: nobody is.
    """

    core: tuple[int, int]
    halo: int
    scratch: Scratch
    progress: Callable[[int, int], None] | None = None

    def __post_init__(self) -> None:
        if min(*self.core, self.halo) < 1:
            raise ValueError(f"blocks of {self.core} pixels with a halo of {self.halo}; all must be at least 1")


class Box(NamedTuple):
    """A half-open rectangle of pixels."""

    top: int
    left: int
    bottom: int
    right: int

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width."""
        return self.bottom - self.top, self.right - self.left

    @property
    def slices(self) -> tuple[slice, slice]:
        """Where it lies in the image."""
        return slice(self.top, self.bottom), slice(self.left, self.right)

    def within(self, outer: Box) -> tuple[slice, slice]:
        """Where it lies in an array that shows the outer box."""
        top, left = self.top - outer.top, self.left - outer.left
        return slice(top, top + self.shape[0]), slice(left, left + self.shape[1])

    def grown(self, halo: int, shape: tuple[int, int]) -> Box:
        """The box with a halo, clipped to an image of a shape."""
        return Box(
            max(self.top - halo, 0),
            max(self.left - halo, 0),
            min(self.bottom + halo, shape[0]),
            min(self.right + halo, shape[1]),
        )

    @classmethod
    def around(cls, boxes: NDArray[np.integer[Any]]) -> Box:
        """The smallest box that holds N boxes (N, 4), at least one."""
        top, left = boxes[:, :2].min(axis=0).tolist()
        bottom, right = boxes[:, 2:].max(axis=0).tolist()
        return cls(top, left, bottom, right)


@dataclass(frozen=True)
class Grid:
    """The cores of an image, in raster order; those at the lower and right borders may be cut."""

    shape: tuple[int, int]
    core: tuple[int, int]

    @property
    def counts(self) -> tuple[int, int]:
        """How many cores lie below and beside each other."""
        return ceil(self.shape[0] / self.core[0]), ceil(self.shape[1] / self.core[1])

    def __len__(self) -> int:
        return self.counts[0] * self.counts[1]

    def __iter__(self) -> Iterator[Box]:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, number: int) -> Box:
        """The core of a number."""
        row, column = divmod(number, self.counts[1])
        top, left = row * self.core[0], column * self.core[1]
        return Box(top, left, min(top + self.core[0], self.shape[0]), min(left + self.core[1], self.shape[1]))

    def owners(self, y: NDArray[np.int64], x: NDArray[np.int64]) -> NDArray[np.int64]:
        """Number of the core in which each pixel lies."""
        row, column = y // self.core[0], x // self.core[1]
        return np.asarray(row * self.counts[1] + column)

    def split(self, y: NDArray[np.int64], x: NDArray[np.int64]) -> list[tuple[Box, NDArray[np.int64]]]:
        """The cores in which pixels lie, each with the indices of its pixels."""
        owners = self.owners(y, x)
        return [(self[core], np.flatnonzero(owners == core)) for core in np.flatnonzero(np.bincount(owners)).tolist()]


class Reading(NamedTuple):
    """A box to read, and the objects, by index, that lie in it as a whole."""

    objects: NDArray[np.int64]
    box: Box


def plan_readings(grid: Grid, objects: NDArray[np.int64], boxes: NDArray[np.int64]) -> list[list[Reading]]:
    """Spread N objects of bounding boxes (N, 4) over their owners: a list for each core.

    Objects that end within one core's size beyond their owner are read together, larger ones one by one.
    """
    owners = grid.owners(boxes[:, 0], boxes[:, 1])
    order = np.argsort(owners, kind="stable")
    bounds = np.searchsorted(owners[order], np.arange(len(grid) + 1)).tolist()
    shares = [order[first:last] for first, last in pairwise(bounds)]
    return [
        list(_readings(objects[share], boxes[share], np.array(core[:2]) + 2 * np.array(grid.core)))
        for core, share in zip(grid, shares, strict=True)
    ]


def _readings(objects: NDArray[np.int64], boxes: NDArray[np.int64], end: NDArray[np.int64]) -> Iterator[Reading]:
    fits = (boxes[:, 2:] <= end).all(axis=1)
    if fits.any():
        yield Reading(objects[fits], Box.around(boxes[fits]))
    for i in np.flatnonzero(~fits):
        yield Reading(objects[i : i + 1], Box.around(boxes[i : i + 1]))
