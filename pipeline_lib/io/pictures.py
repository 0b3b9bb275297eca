"""Single image files, opened but not read: TIFF, OME-TIFF, Zarr, OME-Zarr, PNG, JPEG and BMP, seen as T, C, Z, Y, X.

Messages of errors do not name the file; who opened it does.
"""

from __future__ import annotations

import logging
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import imagecodecs
import numpy as np
import tifffile
import zarr
from numpy.typing import NDArray

from pipeline_lib.io.images import check_page_list
from pipeline_lib.io.pixel_sizes import UNKNOWN, PixelSize, size_in_tiff, size_in_zarr

AXES = "TCZYX"
COLOURS = ("red", "green", "blue")
LEAST_ROWS = 256  # rows read at once, if whole chunks have fewer
KEPT_BYTES = 256 * 2**20
_TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_DECODERS = {
    ".png": imagecodecs.png_decode,
    ".jpg": imagecodecs.jpeg_decode,
    ".jpeg": imagecodecs.jpeg_decode,
    ".bmp": imagecodecs.bmp_decode,
}
_LONG_NAMES = {"TIME": "T", "CHANNEL": "C", "CHANNELS": "C"}
_UNTOLD = "?"
_ALPHA = {tifffile.EXTRASAMPLE.ASSOCALPHA, tifffile.EXTRASAMPLE.UNASSALPHA}
_COLOURED = {tifffile.PHOTOMETRIC.RGB, tifffile.PHOTOMETRIC.YCBCR}
log = logging.getLogger("wellpose")


class UnreadablePicture(ValueError):
    """A file that holds no image, a damaged one, or one whose axes nobody knows."""


@dataclass(frozen=True)
class Picture:
    """An open image; pixels are read where they are asked for.

    Attributes:
        pixels: A Zarr or numpy array.
        axes: One letter for each axis of `pixels`, of T, C, Z, Y, X; others have length 1.
        channels: The names of the channels, "" where the file does not tell. Alpha, behind them, is none.
        size: Of a pixel, as far as the file tells.
    """

    pixels: Any
    axes: str
    channels: tuple[str, ...]
    size: PixelSize = UNKNOWN

    def length(self, axis: str) -> int:
        """Of one of T, C, Z, Y, X; 1 where the file does not have it."""
        return int(self.pixels.shape[self.axes.index(axis)]) if axis in self.axes else 1

    def plane(self, channels: Sequence[int], time: int = 0, z: int = 0) -> Plane:
        """The chosen channels (numbers from 0) of one plane, left on disk."""
        return Plane(self, channels, time, z)

    def volume(self, channels: Sequence[int], time: int = 0) -> NDArray[Any]:
        """The chosen channels (numbers from 0) of all planes, (C, Z, Y, X)."""
        every = slice(None)
        if self.interleaved:
            found = self.read(every, time, every, every)[list(channels)]
        else:
            found = np.stack([self.read(channel, time, every, every) for channel in channels])
        return found if "Z" in self.axes else found[:, None]

    def read(self, channel: int | slice, time: int, z: int | slice, rows: slice) -> NDArray[Any]:
        """Some rows, with the axes C, Z, Y, X less those that the file lacks or a number is given for."""
        where = {"T": time, "C": channel, "Z": z, "Y": rows, "X": slice(None)}
        index = tuple(where.get(axis, 0) for axis in self.axes)
        with _readable():
            found = np.asarray(self.pixels[index])
        left = [axis for axis, chosen in zip(self.axes, index, strict=True) if isinstance(chosen, slice)]
        ordered = found.transpose([left.index(axis) for axis in AXES if axis in left])
        return ordered.astype(found.dtype.newbyteorder("="), copy=False)

    @property
    def interleaved(self) -> bool:
        """Whether one chunk holds several channels, so that reading them one by one would decompress it again."""
        return self._chunk("C") > 1

    @property
    def band(self) -> int:
        """How many rows are best read at once: whole chunks."""
        chunk = min(self._chunk("Y"), self.length("Y"))
        return chunk * ceil(LEAST_ROWS / chunk)

    def _chunk(self, axis: str) -> int:
        chunks: tuple[int, ...] | None = getattr(self.pixels, "chunks", None)
        return chunks[self.axes.index(axis)] if chunks and axis in self.axes else 1


class Plane:
    """A (C, Y, X) image on disk, sliced like an array: `plane[channels, rows, columns]`.

    Whole rows of chunks are read, and the last of them kept, so that windows that overlap or are read channel by
    channel decompress nothing twice. What is kept is bounded (`KEPT_BYTES`, or one row of chunks where that is more).
    """

    ndim = 3

    def __init__(self, picture: Picture, channels: Sequence[int], time: int, z: int) -> None:
        self.shape = (len(channels), picture.length("Y"), picture.length("X"))
        self.dtype = picture.pixels.dtype.newbyteorder("=")
        self.band = picture.band
        self._picture = picture
        self._channels = tuple(channels)
        self._place = (time, z)
        self._kept: OrderedDict[tuple[int, int], NDArray[Any]] = OrderedDict()

    def __getitem__(self, box: Any) -> NDArray[Any]:
        """The pixels of a box: a number or slice over channels, slices with steps from 1 over rows and columns."""
        boxes = list(box) if isinstance(box, tuple) else [box]
        channel, rows, columns = boxes + [slice(None)] * (3 - len(boxes))
        if isinstance(channel, slice):
            return np.stack([self._rows(number, rows, columns) for number in range(self.shape[0])[channel]])
        return self._rows(range(self.shape[0])[channel], rows, columns)

    def _rows(self, number: int, rows: slice, columns: slice) -> NDArray[Any]:
        wanted = range(self.shape[1])[rows]
        found = [np.empty((0, self.shape[2]), self.dtype)[:, columns]]
        for top in range(wanted.start // self.band * self.band, wanted.stop, self.band):
            inside = wanted[bisect_left(wanted, top) : bisect_left(wanted, top + self.band)]
            if inside:
                pixels = self._chunks(self._channels[number], top)
                found.append(pixels[inside.start - top : inside.stop - top : inside.step, columns])
        return np.concatenate(found)

    def _chunks(self, channel: int, top: int) -> NDArray[Any]:
        """The rows (band, X) of one channel from row `top` on."""
        key = (-1 if self._picture.interleaved else channel, top)
        if key not in self._kept:
            self._kept[key] = self._read(channel, slice(top, top + self.band))
        self._kept.move_to_end(key)
        pixels = self._kept[key]
        while len(self._kept) > 1 and sum(kept.nbytes for kept in self._kept.values()) > KEPT_BYTES:
            self._kept.popitem(last=False)
        return pixels[self._channels.index(channel)] if self._picture.interleaved else pixels

    def _read(self, channel: int, rows: slice) -> NDArray[Any]:
        if not self._picture.interleaved:
            return self._picture.read(channel, *self._place, rows)
        return self._picture.read(slice(None), *self._place, rows)[list(self._channels)]


@contextmanager
def open_picture(path: Path, axes: str | None = None) -> Iterator[Picture]:
    """Open an image file or a Zarr folder. `axes`, such as "YXC", overrules what the file says of its axes.

    Of several images in one TIFF file the first is meant, of resolution levels the finest.

    Raises:
        UnreadablePicture: No image, damaged, or all of: axes that do not fit or that nobody tells, an empty axis,
            pixels that are no real numbers.
        OSError: The file is missing or the disk failed.
    """
    with ExitStack() as files:
        with _readable():
            found = _open(path, files)
        yield _placed(found, axes)


@contextmanager
def _readable() -> Iterator[None]:
    """Turn what libraries raise about damaged files into `UnreadablePicture`; trouble with the machine stays."""
    try:
        yield
    except (UnreadablePicture, OSError, MemoryError):
        raise
    except Exception as error:  # tifffile, zarr and the codecs raise whatever a damaged file leads them to
        raise UnreadablePicture(f"not a readable image: {' '.join(str(error).split()) or repr(error)}") from error


def _open(path: Path, files: ExitStack) -> Picture:
    """An image with the axes the file tells."""
    if path.is_dir():
        return _open_zarr(path)
    with path.open("rb") as stream:
        start = stream.read(4)
    if start in _TIFF_STARTS:
        return _open_tiff(path, files)
    if decode := _DECODERS.get(path.suffix.lower()):
        pixels = np.asarray(decode(path.read_bytes()))
        colours = COLOURS if pixels.shape[2:] in {(3,), (4,)} else ("grey",)  # a second or fourth one is alpha
        return Picture(pixels, "YXC"[: pixels.ndim], colours)
    raise UnreadablePicture(f"not an image: allowed are TIFF, {', '.join(_DECODERS)} files and Zarr folders")


def _open_tiff(path: Path, files: ExitStack) -> Picture:
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # what it only logs is looked for and raised
    tif = files.enter_context(tifffile.TiffFile(path))
    check_page_list(tif)
    series = tif.series[0]
    if len(tif.series) > 1:
        log.warning("%s holds %d images; the first, %s %s, is used", path, len(tif.series), series.axes, series.shape)
    if series.dataoffset is not None and not series.is_multifile:
        if (end := series.dataoffset + series.nbytes) > tif.filehandle.size:
            raise UnreadablePicture(f"the file is cut off: it has {tif.filehandle.size:,} of at least {end:,} bytes")
        pixels: Any = tifffile.memmap(path, series=0, level=0, mode="r")
    else:
        pixels = zarr.open_array(series.aszarr(level=0), mode="r")
    if "S" in series.axes:
        found = Picture(pixels, series.axes, _colours(series))
    else:
        found = _told(pixels, series.axes, _ome_names(tif.ome_metadata))
    return replace(found, size=size_in_tiff(tif))


def _open_zarr(folder: Path) -> Picture:
    if not any((folder / name).is_file() for name in ("zarr.json", ".zarray", ".zgroup")):
        raise UnreadablePicture("not an image: a folder that is no Zarr array or group")
    node = zarr.open(folder, mode="r")
    if isinstance(node, zarr.Array):
        told = getattr(node.metadata, "dimension_names", None) or node.attrs.get("_ARRAY_DIMENSIONS")
        return Picture(node, _letters(told, node.ndim), ())
    attributes: Any = node.attrs.asdict()
    attributes = attributes.get("ome", attributes)
    if "image-label" in attributes:
        raise UnreadablePicture("the labels of an image (OME image-label), not an image; name the image itself")
    if not (images := attributes.get("multiscales")):
        inside = ", ".join(sorted(path.name for path in folder.iterdir() if path.is_dir())[:5]) or "nothing"
        raise UnreadablePicture(f"a Zarr group without an image of its own (no multiscales); name one inside: {inside}")
    array = node[images[0]["datasets"][0]["path"]]
    if not isinstance(array, zarr.Array):
        raise UnreadablePicture("the finest level of this OME-Zarr image is no Zarr array")
    told = [axis["name"] if isinstance(axis, dict) else axis for axis in images[0].get("axes", ())]
    labels = tuple(str(channel.get("label", "")) for channel in attributes.get("omero", {}).get("channels", ()))
    return replace(_told(array, _letters(told, array.ndim), labels), size=size_in_zarr(images[0]))


def _letters(told: Any, axes: int) -> str:
    """Axis letters for the names in a Zarr array's metadata; an array of two axes without names is (Y, X)."""
    names = [str(name).upper() for name in told or ()]
    if not names:
        return "YX" if axes == 2 else _UNTOLD * axes
    letters = [_LONG_NAMES.get(name, name) for name in names]
    return "".join(letter if len(letter) == 1 else _UNTOLD for letter in letters)


def _told(pixels: Any, axes: str, names: tuple[str, ...]) -> Picture:
    """A picture with the names that its metadata tell of its channels, if they are as many as there are channels."""
    found = Picture(pixels, axes, ())
    return replace(found, channels=names) if len(names) == found.length("C") else found


def _colours(series: tifffile.TiffPageSeries) -> tuple[str, ...]:
    """Names of the samples of a pixel, without alpha, which comes last."""
    page = series.keyframe
    count = page.samplesperpixel - sum(kind in _ALPHA for kind in page.extrasamples)
    return COLOURS if count == len(COLOURS) and page.photometric in _COLOURED else ("",) * count


def _ome_names(xml: str | None) -> tuple[str, ...]:
    """The channel names of the first image of an OME-XML description."""
    try:
        root = ElementTree.fromstring(xml or "<none/>")
    except ElementTree.ParseError:
        return ()
    image = root.find("{*}Image")
    return () if image is None else tuple(channel.get("Name", "") for channel in image.iterfind(".//{*}Channel"))


def _placed(found: Picture, asked: str | None) -> Picture:
    """The picture with axes that fit, and a name for each channel."""
    told = found.axes.replace("S", "C")
    axes = asked.upper().replace("S", "C") if asked else told
    if faults := [*_axis_faults(axes, found.pixels.shape, asked), *_pixel_faults(found.pixels)]:
        raise UnreadablePicture("; ".join(faults))
    placed = replace(found, axes=axes)
    named = axes == told and found.channels
    return placed if named else replace(placed, channels=("",) * placed.length("C"))


def _axis_faults(axes: str, shape: tuple[int, ...], asked: str | None) -> Iterator[str]:
    if len(axes) != len(shape):
        yield f"--axes {asked or axes} names {len(axes)} axes, but the image has {len(shape)}, of lengths {shape}"
        return
    unknown = {axis for axis, length in zip(axes, shape, strict=True) if axis not in AXES and length > 1}
    if unknown or not {"Y", "X"} <= set(axes):
        yield (
            f"the image has the axes {axes} of lengths {shape}, and Y, X and what every other one means must be known: "
            "say it with --axes and the letters T, C, Z, Y, X, such as --axes CYX"
        )
    if twice := sorted({axis for axis in axes if axis in AXES and axes.count(axis) > 1}):
        yield f"the axes {axes} name {', '.join(twice)} twice"


def _pixel_faults(pixels: Any) -> Iterator[str]:
    if 0 in pixels.shape:
        yield f"the image is empty: its axes have the lengths {pixels.shape}"
    if pixels.dtype.kind not in "biuf":
        yield f"the pixels are {pixels.dtype}: allowed are integers and real floating-point numbers"
