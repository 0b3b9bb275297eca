"""Images of a plate that are written in bands of rows, so that they need not fit into memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline_lib.io.arrays import create_sharded, stored_as
from pipeline_lib.io.ngff import PlateInfo
from pipeline_lib.io.plate import image_axes, write_image_group
from pipeline_lib.io.shards import ShardedArray

FULL = "tczyx"
Shrink = Callable[[NDArray[Any], int], NDArray[Any]]


@dataclass(frozen=True)
class BandedImage:
    """An image (T, C, Z, Y, X) of a well that is being written. levels: its arrays, finest first."""

    axes: str
    levels: tuple[ShardedArray, ...]

    def write(self, level: int, place: tuple[int, int, int], band: NDArray[Any]) -> None:
        """Write rows (Z, rows, X) of a level: whole chunks, but for the last ones. place: time, channel, first row.

        Raises:
            OSError: The disk is full or has failed.
        """
        time, channel, top = place
        corner = {"t": time, "c": channel, "z": 0, "y": top, "x": 0}
        lengths = {"t": 1, "c": 1, **dict(zip("zyx", band.shape, strict=True))}
        stored = band.reshape([lengths[axis] for axis in self.axes])
        self.levels[level].write(tuple(corner[axis] for axis in self.axes), stored)

    def finish(self) -> None:
        """Make all levels whole.

        Raises:
            OSError: The disk is full or has failed, or gives back something else than what was written.
        """
        for level in self.levels:
            level.finish()


class BandedChannel:
    """One channel of an image at a time point, written from top to bottom, with its coarser levels.

    Of each level, rows are kept until they fill a row of chunks. shrink(rows, step): rows of the next coarser level.
    """

    def __init__(self, image: BandedImage, place: tuple[int, int], shrink: Shrink, step: int) -> None:
        self._image, self._place, self._shrink, self._step = image, place, shrink, step
        self._tops = [0] * len(image.levels)
        self._unwritten: list[NDArray[Any] | None] = [None] * len(image.levels)
        self._unshrunk: list[NDArray[Any] | None] = [None] * len(image.levels)

    def add(self, rows: NDArray[Any], *, last: bool, level: int = 0) -> None:
        """Add the next rows (Z, rows, X) of a level. last: no more will follow.

        Raises:
            OSError: The disk is full or has failed.
        """
        height = self._image.levels[level].chunks[self._image.axes.index("y")]
        ready, self._unwritten[level] = _split(self._unwritten[level], rows, 1 if last else height)
        if ready.shape[1]:
            self._image.write(level, (*self._place, self._tops[level]), ready)
            self._tops[level] += ready.shape[1]
        if level + 1 == len(self._image.levels):
            return
        ready, self._unshrunk[level] = _split(self._unshrunk[level], rows, 1 if last else self._step)
        if ready.shape[1]:
            self.add(self._shrink(ready, self._step), last=last, level=level + 1)


def _split(before: NDArray[Any] | None, rows: NDArray[Any], unit: int) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """Rows (Z, rows, X) so far, as many as are whole units, and the others."""
    together = rows if before is None else np.concatenate([before, rows], axis=1)
    whole = together.shape[1] // unit * unit
    rest = together[:, whole:].copy() if whole < together.shape[1] else None
    return together[:, :whole], rest


def create_banded(well: Path, field: int, shape: Sequence[int], steps: Sequence[int], info: PlateInfo) -> BandedImage:
    """Create an image of (T, C, Z, Y, X) and the number type of the plate, whose pixels come later.

    steps: the pixel sizes of its levels, in pixels of the finest.
    """
    axes, dtype = image_axes(info, planes=shape[2]), np.dtype(info.dtype)
    write_image_group(well, field, axes, steps, info)
    shapes = [_stored_shape((*shape[:3], *(-(-length // step) for length in shape[3:])), axes) for step in steps]
    group = well / str(field)
    return BandedImage(axes, tuple(create_sharded(group / str(n), one, dtype, axes) for n, one in enumerate(shapes)))


def bands(shape: Sequence[int], info: PlateInfo) -> Iterator[tuple[int, int]]:
    """(first row, number of rows) of the bands in which a (T, C, Z, Y, X) image is written: a row of chunks each."""
    axes = image_axes(info, planes=shape[2])
    chunks, _ = stored_as(_stored_shape(shape, axes), axes, np.dtype(info.dtype).itemsize)
    rows, height = chunks[axes.index("y")], shape[3]
    yield from ((top, min(rows, height - top)) for top in range(0, height, rows))


def _stored_shape(shape: Sequence[int], axes: str) -> tuple[int, ...]:
    """Of (T, C, Z, Y, X) the lengths of those axes that are stored."""
    return tuple(length for axis, length in zip(FULL, shape, strict=True) if axis in axes)
