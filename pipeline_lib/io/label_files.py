"""Label images of single pictures: made on disk, then saved whole as TIFF, OME-Zarr or NumPy file."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import tifffile
import zarr
from numpy.typing import NDArray
from zarr.codecs import BloscCodec, BloscShuffle

from pipeline_lib.io.commit import committed
from pipeline_lib.io.ngff import image_metadata
from pipeline_lib.io.plate import write_group

CHUNK = 1024
FORMATS = (".tif", ".tiff", ".zarr", ".npy")
_MOST_IN_CLASSIC_TIFF = 2**32 - 2**25  # bytes, uncompressed; leaves room for the tables


class View:
    """What is left of an array when its first indices are given, sliced like an array."""

    def __init__(self, array: zarr.Array[Any], first: tuple[int, ...] = ()) -> None:
        self._array, self._first = array, first
        self.shape: tuple[int, ...] = array.shape[len(first) :]
        self.dtype: np.dtype[Any] = array.dtype
        self.ndim = len(self.shape)

    def __getitem__(self, box: Any) -> NDArray[np.uint32]:
        return np.asarray(self._array[self._whole(box)])

    def __setitem__(self, box: Any, labels: Any) -> None:
        self._array[self._whole(box)] = labels

    def _whole(self, box: Any) -> Any:
        return (*self._first, *(box if isinstance(box, tuple) else (box,)))


@dataclass(frozen=True)
class Canvas:
    """Label images in the making: a uint32 Zarr array on disk, with t and z where they are longer than 1."""

    folder: Path
    array: zarr.Array[Any]
    axes: str

    @property
    def lengths(self) -> tuple[int, int, int, int]:
        """(T, Z, Y, X)."""
        t, z, y, x = (self.array.shape[self.axes.index(axis)] if axis in self.axes else 1 for axis in "tzyx")
        return t, z, y, x

    def plane(self, time: int, z: int) -> View:
        """(Y, X)."""
        return View(self.array, tuple(i for axis, i in (("t", time), ("z", z)) if axis in self.axes))

    def stack(self, time: int) -> View:
        """(Z, Y, X), of a canvas with planes."""
        return View(self.array, (time,) if "t" in self.axes else ())

    def strips(self) -> Iterator[NDArray[np.uint32]]:
        """All labels from first to last, in whole rows of chunks (rows, X)."""
        times, planes, height, _ = self.lengths
        for time, z, top in np.ndindex(times, planes, -(-height // CHUNK)):
            yield self.plane(time, z)[top * CHUNK : (top + 1) * CHUNK]


@contextmanager
def canvas(output: Path, lengths: Sequence[int]) -> Iterator[Canvas]:
    """An empty canvas for (T, Z, Y, X) beside `output`, gone afterwards unless it was saved as Zarr."""
    output.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=f".{output.name}.", suffix=".tmp", dir=output.parent) as folder:
        yield new_canvas(Path(folder) / "0", lengths)


def new_canvas(folder: Path, lengths: Sequence[int]) -> Canvas:
    """A canvas of zeros for (T, Z, Y, X)."""
    axes = "".join(axis for axis, length in zip("tzyx", lengths, strict=True) if axis in "yx" or length > 1)
    shape = tuple(length for axis, length in zip("tzyx", lengths, strict=True) if axis in axes)
    array = zarr.create_array(
        folder,
        shape=shape,
        dtype=np.uint32,
        chunks=tuple(min(CHUNK, length) if axis in "yx" else 1 for axis, length in zip(axes, shape, strict=True)),
        dimension_names=tuple(axes),
        compressors=BloscCodec(cname="zstd", clevel=3, shuffle=BloscShuffle.bitshuffle),
        zarr_format=3,
    )
    return Canvas(folder, array, axes)


def save_tiff(labels: Canvas, output: Path, highest: int) -> None:
    """Save as TIFF, T and Z as ImageJ reads them; uint16 if the `highest` label allows, BigTIFF where it must be."""
    times, planes, height, width = labels.lengths
    dtype = np.dtype(np.uint16 if highest <= np.iinfo(np.uint16).max else np.uint32)
    shape = (times, planes, 1, height, width, 1)
    encoded = (zlib.compress(strip.astype(dtype).tobytes()) for strip in labels.strips())
    with committed(output) as temporary:
        size = times * planes * height * width * dtype.itemsize
        with tifffile.TiffWriter(temporary, bigtiff=size > _MOST_IN_CLASSIC_TIFF) as tif:
            tif.write(
                encoded,
                shape=(times, planes, height, width),
                dtype=dtype,
                rowsperstrip=min(CHUNK, height),
                compression="zlib",
                photometric="minisblack",
                description=tifffile.imagej_description(shape, axes="TZCYXS"),
                metadata=None,
            )


def save_numpy(labels: Canvas, output: Path) -> None:
    """Save as uint32 array: (Y, X), with T and Z before them where they are longer than 1."""
    with committed(output) as temporary:
        saved = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.uint32, shape=labels.array.shape)
        rows = saved.reshape(-1, saved.shape[-1])
        top = 0
        for strip in labels.strips():
            rows[top : top + len(strip)] = strip
            top += len(strip)
        saved.flush()


def save_zarr(levels: Sequence[Path], output: Path, axes: str, steps: Sequence[int]) -> None:
    """Move the arrays of a pyramid, finest first, into an OME-Zarr 0.5 label image. steps: their pixel sizes."""
    described = image_metadata(output.stem, axes, steps, pixel_size=None)
    with committed(output) as temporary:
        write_group(temporary, {"ome": {**described, "image-label": {}}})
        for number, level in enumerate(levels):
            level.rename(temporary / str(number))
