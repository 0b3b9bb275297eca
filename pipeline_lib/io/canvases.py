"""Results for single pictures, labels or pixels: made on disk, then saved whole as TIFF, OME-Zarr or NumPy file."""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, repeat
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import tifffile
import zarr
from numpy.typing import DTypeLike, NDArray
from zarr.codecs import BloscCodec, BloscShuffle

from pipeline_lib.io.commit import committed
from pipeline_lib.io.ngff import image_metadata
from pipeline_lib.io.pixel_sizes import PixelSize
from pipeline_lib.io.plate import write_group

CHUNK = 1024
LABELS: Mapping[str, Any] = {"image-label": {}}
FORMATS = (".tif", ".tiff", ".zarr", ".npy")
_MOST_IN_CLASSIC_TIFF = 2**32 - 2**25  # bytes, uncompressed; leaves room for the tables


class View:
    """What is left of an array when indices along some axes are given, sliced like an array. place: None: all."""

    def __init__(self, array: zarr.Array[Any], place: tuple[int | None, ...]) -> None:
        self._array, self._place = array, place
        self.shape = tuple(length for length, index in zip(array.shape, place, strict=True) if index is None)
        self.dtype: np.dtype[Any] = array.dtype
        self.ndim = len(self.shape)

    def __getitem__(self, box: Any) -> NDArray[Any]:
        return np.asarray(self._array[self._whole(box)])

    def __setitem__(self, box: Any, pixels: Any) -> None:
        self._array[self._whole(box)] = pixels

    def _whole(self, box: Any) -> Any:
        inside = chain(box if isinstance(box, tuple) else (box,), repeat(slice(None)))
        return tuple(next(inside) if index is None else index for index in self._place)


@dataclass(frozen=True)
class Canvas:
    """Images in the making, a Zarr array on disk: t and z where they are longer than 1, c unless they are labels."""

    folder: Path
    array: zarr.Array[Any]
    axes: str

    @property
    def lengths(self) -> tuple[int, int, int, int]:
        """(T, Z, Y, X)."""
        t, z, y, x = (self._length(axis) for axis in "tzyx")
        return t, z, y, x

    @property
    def channels(self) -> int:
        """How many there are; 1 for labels."""
        return self._length("c")

    def _length(self, axis: str) -> int:
        return int(self.array.shape[self.axes.index(axis)]) if axis in self.axes else 1

    def plane(self, time: int, z: int, channel: int = 0) -> View:
        """(Y, X)."""
        return self._view(t=time, c=channel, z=z)

    def image(self, time: int, z: int) -> View:
        """(C, Y, X), of a canvas with channels."""
        return self._view(t=time, z=z)

    def stack(self, time: int) -> View:
        """(Z, Y, X), of a canvas of labels with planes."""
        return self._view(t=time)

    def _view(self, **chosen: int) -> View:
        return View(self.array, tuple(chosen.get(axis) for axis in self.axes))

    def strips(self) -> Iterator[NDArray[Any]]:
        """All pixels in the order of TIFF's pages (T, Z, C), in whole rows of chunks (rows, X)."""
        times, planes, height, _ = self.lengths
        for time, z, channel, top in np.ndindex(times, planes, self.channels, -(-height // CHUNK)):
            yield self.plane(time, z, channel)[top * CHUNK : (top + 1) * CHUNK]


@contextmanager
def canvas(
    output: Path, lengths: Sequence[int], channels: int | None = None, dtype: DTypeLike = np.uint32
) -> Iterator[Canvas]:
    """An empty canvas for (T, Z, Y, X) beside `output`, gone afterwards unless it was saved as Zarr.

    channels: how many each image has; None for labels.
    """
    output.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=f".{output.name}.", suffix=".tmp", dir=output.parent) as folder:
        yield new_canvas(Path(folder) / "0", lengths, channels, dtype)


def new_canvas(
    folder: Path, lengths: Sequence[int], channels: int | None = None, dtype: DTypeLike = np.uint32
) -> Canvas:
    """A canvas of zeros for (T, Z, Y, X), with channels if their number is given."""
    there = {axis: length for axis, length in zip("tzyx", lengths, strict=True) if axis in "yx" or length > 1}
    if channels is not None:
        there["c"] = channels
    axes = "".join(axis for axis in "tczyx" if axis in there)
    shape = tuple(there[axis] for axis in axes)
    array = zarr.create_array(
        folder,
        shape=shape,
        dtype=dtype,
        chunks=tuple(min(CHUNK, length) if axis in "yx" else 1 for axis, length in zip(axes, shape, strict=True)),
        dimension_names=tuple(axes),
        compressors=BloscCodec(cname="zstd", clevel=3, shuffle=BloscShuffle.bitshuffle),
        zarr_format=3,
    )
    return Canvas(folder, array, axes)


def save_tiff(made: Canvas, output: Path, dtype: DTypeLike, size: PixelSize, names: Sequence[str] = ()) -> None:
    """Save as OME-TIFF if the file is called so, else as TIFF that ImageJ reads, with the size of a pixel.

    dtype: the number type in the file, which must hold what the canvas does. names: of the channels, which OME-TIFF
    tells. BigTIFF where it must be.
    """
    is_ome = Path(output.stem).suffix.lower() == ".ome"
    times, planes, height, width = made.lengths
    shape = (times, planes, made.channels, height, width)
    described = _as_ome(size, names) if is_ome else _as_imagej(shape, size)
    dtype = np.dtype(np.uint8 if np.dtype(dtype).kind == "b" else dtype)
    encoded = (zlib.compress(strip.astype(dtype).tobytes()) for strip in made.strips())
    with committed(output) as temporary:
        is_big = math.prod(shape) * dtype.itemsize > _MOST_IN_CLASSIC_TIFF
        with tifffile.TiffWriter(temporary, bigtiff=is_big, ome=is_ome) as tif:
            tif.write(
                encoded,
                shape=shape,
                dtype=dtype,
                rowsperstrip=min(CHUNK, height),
                compression="zlib",
                photometric="minisblack",
                **described,
            )


def _as_imagej(shape: tuple[int, ...], size: PixelSize) -> dict[str, Any]:
    """What ImageJ is told of (T, Z, C, Y, X) images: their axes, and the size of a pixel in its text and the tags."""
    told: dict[str, Any] = {}
    if size.y and size.x:
        told = {"unit": "um", "spacing": size.z} if size.z else {"unit": "um"}
    description = tifffile.imagej_description((*shape, 1), axes="TZCYXS", **told)
    return {"description": description, "metadata": None, **_resolution(size, tifffile.RESUNIT.NONE, 1)}


def _as_ome(size: PixelSize, names: Sequence[str]) -> dict[str, Any]:
    """What readers of OME are told of (T, Z, C, Y, X) images."""
    known = {axis: length for axis, length in (("X", size.x), ("Y", size.y), ("Z", size.z)) if length}
    lengths = {f"PhysicalSize{axis}": length for axis, length in known.items()}
    units = {f"PhysicalSize{axis}Unit": "µm" for axis in known}
    resolution = _resolution(size, tifffile.RESUNIT.CENTIMETER, 10_000)
    named = {"Channel": {"Name": list(names)}} if any(names) else {}
    return {"metadata": {"axes": "TZCYX", **named, **lengths, **units}, **resolution}


def _resolution(size: PixelSize, unit: tifffile.RESUNIT, micrometres: int) -> dict[str, Any]:
    """The tags that count pixels per unit, which is so many micrometres long."""
    if not (size.y and size.x):
        return {}
    return {"resolution": (micrometres / size.x, micrometres / size.y), "resolutionunit": unit}


def save_numpy(made: Canvas, output: Path) -> None:
    """Save as array: (Y, X), with T, C and Z before them as the canvas has them."""
    array = made.array
    with committed(output) as temporary:
        saved = np.lib.format.open_memmap(temporary, mode="w+", dtype=array.dtype, shape=array.shape)
        for *first, top in np.ndindex(*array.shape[:-2], -(-array.shape[-2] // CHUNK)):
            place = (*first, slice(top * CHUNK, (top + 1) * CHUNK))
            saved[place] = array[place]
        saved.flush()


def save_zarr(
    levels: Mapping[int, Path], output: Path, axes: str, size: PixelSize, more: Mapping[str, Any] = LABELS
) -> None:
    """Move the arrays of a pyramid into an OME-Zarr 0.5 image.

    levels: by how many pixels of the finest level, which is first, one of theirs stands for along y and x. more: what
    else is told of the image; that it is one of labels, for instance.
    """
    described = image_metadata(output.stem, axes, list(levels), {})
    described["multiscales"] = [_sized(pyramid, size) for pyramid in described["multiscales"]]
    with committed(output) as temporary:
        write_group(temporary, {"ome": {**described, **more}})
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
