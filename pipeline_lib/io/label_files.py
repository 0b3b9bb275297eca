"""Label images of single pictures: made on disk, then saved whole as TIFF, OME-Zarr or NumPy file."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
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
from pipeline_lib.io.pixel_sizes import PixelSize
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


def save_tiff(labels: Canvas, output: Path, highest: int, size: PixelSize) -> None:
    """Save as OME-TIFF if the file is called so, else as TIFF that ImageJ reads, with the size of a pixel.

    uint16 if the `highest` label allows; BigTIFF where it must be.
    """
    is_ome = Path(output.stem).suffix.lower() == ".ome"
    described = _as_ome(size) if is_ome else _as_imagej(labels.lengths, size)
    times, planes, height, width = labels.lengths
    dtype = np.dtype(np.uint16 if highest <= np.iinfo(np.uint16).max else np.uint32)
    encoded = (zlib.compress(strip.astype(dtype).tobytes()) for strip in labels.strips())
    with committed(output) as temporary:
        is_big = times * planes * height * width * dtype.itemsize > _MOST_IN_CLASSIC_TIFF
        with tifffile.TiffWriter(temporary, bigtiff=is_big, ome=is_ome) as tif:
            tif.write(
                encoded,
                shape=(times, planes, height, width),
                dtype=dtype,
                rowsperstrip=min(CHUNK, height),
                compression="zlib",
                photometric="minisblack",
                **described,
            )


def _as_imagej(lengths: tuple[int, int, int, int], size: PixelSize) -> dict[str, Any]:
    """What ImageJ is told of (T, Z, Y, X) labels: their axes, and the size of a pixel in its text and the tags."""
    times, planes, height, width = lengths
    told: dict[str, Any] = {}
    if size.y and size.x:
        told = {"unit": "um", "spacing": size.z} if size.z else {"unit": "um"}
    description = tifffile.imagej_description((times, planes, 1, height, width, 1), axes="TZCYXS", **told)
    return {"description": description, "metadata": None, **_resolution(size, tifffile.RESUNIT.NONE, 1)}


def _as_ome(size: PixelSize) -> dict[str, Any]:
    """What readers of OME are told of (T, Z, Y, X) labels."""
    known = {axis: length for axis, length in (("X", size.x), ("Y", size.y), ("Z", size.z)) if length}
    lengths = {f"PhysicalSize{axis}": length for axis, length in known.items()}
    units = {f"PhysicalSize{axis}Unit": "µm" for axis in known}
    resolution = _resolution(size, tifffile.RESUNIT.CENTIMETER, 10_000)
    return {"metadata": {"axes": "TZYX", **lengths, **units}, **resolution}


def _resolution(size: PixelSize, unit: tifffile.RESUNIT, micrometres: int) -> dict[str, Any]:
    """The tags that count pixels per unit, which is so many micrometres long."""
    if not (size.y and size.x):
        return {}
    return {"resolution": (micrometres / size.x, micrometres / size.y), "resolutionunit": unit}


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


def save_zarr(levels: Mapping[int, Path], output: Path, axes: str, size: PixelSize) -> None:
    """Move the arrays of a pyramid into an OME-Zarr 0.5 label image.

    levels: by how many pixels of the finest level, which is first, one of theirs stands for along y and x.
    """
    described = image_metadata(output.stem, axes, list(levels), pixel_size=None)
    described["multiscales"] = [_sized(pyramid, size) for pyramid in described["multiscales"]]
    with committed(output) as temporary:
        write_group(temporary, {"ome": {**described, "image-label": {}}})
        for number, level in enumerate(levels.values()):
            level.rename(temporary / str(number))


def _sized(pyramid: Mapping[str, Any], size: PixelSize) -> dict[str, Any]:
    """A pyramid described in pixels, in micrometres along the axes where their size is known."""
    known = {axis: length for axis, length in (("z", size.z), ("y", size.y), ("x", size.x)) if length}
    axes = [{**axis, "unit": "micrometer"} if axis["name"] in known else axis for axis in pyramid["axes"]]
    factors = [known.get(axis["name"], 1.0) for axis in axes]
    datasets = [
        {
            **level,
            "coordinateTransformations": [_times(change, factors) for change in level["coordinateTransformations"]],
        }
        for level in pyramid["datasets"]
    ]
    return {**pyramid, "axes": axes, "datasets": datasets}


def _times(change: Mapping[str, Any], factors: Sequence[float]) -> dict[str, Any]:
    """A scale or translation, stretched along each axis."""
    kind = change["type"]
    return {"type": kind, kind: [step * factor for step, factor in zip(change[kind], factors, strict=True)]}
