"""Images of a plate that are written in bands of rows, so that they need not fit into memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline_lib.io.arrays import create_like, stored_as
from pipeline_lib.io.ngff import PlateInfo
from pipeline_lib.io.plate import image_axes, write_image_group

FULL = "tczyx"


@dataclass(frozen=True)
class BandedImage:
    """An image (T, C, Z, Y, X) of a well that is being written. shapes: of its levels, finest first."""

    group: Path
    axes: str
    shapes: tuple[tuple[int, ...], ...]

    def write(self, level: int, time: int, top: int, band: NDArray[Any]) -> None:
        """Write rows of a level at a time point: (C, Z, rows, X), from row `top` on.

        Raises:
            OSError: What is read back is not what was written.
        """
        import zarr

        array = zarr.open_array(self.group / str(level), mode="r+", config={"write_empty_chunks": True})
        rows = slice(top, top + band.shape[-2])
        parts: dict[str, int | slice] = {"t": time, "c": slice(None), "z": slice(None), "y": rows, "x": slice(None)}
        place = tuple(parts[axis] for axis in self.axes)
        stored = band if "z" in self.axes else band[:, 0]
        array[place] = stored
        if not np.array_equal(np.asarray(array[place]), stored):
            raise OSError(f"{self.group / str(level)}: what was read back is not what was written; check the disk")


def create_banded(well: Path, field: int, shape: Sequence[int], steps: Sequence[int], info: PlateInfo) -> BandedImage:
    """Create an image of (T, C, Z, Y, X) and the number type of the plate, whose pixels come later.

    steps: the pixel sizes of its levels, in pixels of the finest.
    """
    group, axes = well / str(field), image_axes(info, planes=shape[2])
    write_image_group(well, field, axes, steps, info)
    shapes = tuple((*shape[:3], *(-(-length // step) for length in shape[3:])) for step in steps)
    for level, full in enumerate(shapes):
        create_like(group / str(level), _stored_shape(full, axes), np.dtype(info.dtype), axes)
    return BandedImage(group, axes, shapes)


def bands(shape: Sequence[int], info: PlateInfo) -> Iterator[tuple[int, int]]:
    """(first row, number of rows) of the bands in which a (T, C, Z, Y, X) image is written: whole shards each."""
    axes = image_axes(info, planes=shape[2])
    _, shards = stored_as(_stored_shape(shape, axes), axes, np.dtype(info.dtype).itemsize)
    rows, height = shards[axes.index("y")], shape[3]
    yield from ((top, min(rows, height - top)) for top in range(0, height, rows))


def _stored_shape(shape: Sequence[int], axes: str) -> tuple[int, ...]:
    """Of (T, C, Z, Y, X) the lengths of those axes that are stored."""
    return tuple(length for axis, length in zip(FULL, shape, strict=True) if axis in axes)
