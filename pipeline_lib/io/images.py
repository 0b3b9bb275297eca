"""Planes out of TIFF files. Whatever is wrong with a file becomes one exception, `UnreadableImage`."""

from __future__ import annotations

import errno
import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from pipeline_lib.core.errors import DataTrouble

NUMBER_TYPES = ("uint8", "uint16", "uint32", "int16", "int32", "float32")
"""What cameras and their software write. Bool, complex, 64-bit and half numbers are not images of a screen."""

_PLANE_AXES = set("ZIQ")  # z, or pages without a stated meaning
_MOST_COMPRESSED = 100_000  # times; a header that promises more is damaged, and its image may not fit into memory
_OF_NAMES = (errno.ENAMETOOLONG, errno.ELOOP)  # trouble with a name, and not with the disk
_LONGEST = 500  # characters of a message, which may hold what a damaged file does


class UnreadableImage(DataTrouble):
    """A file that is missing, damaged, or not a stack of planes. The message is one line: path, what was found."""

    kind = "unreadable file"


def read_planes(path: Path) -> NDArray[Any]:
    """All planes of one TIFF file, (Z, Y, X), in the file's own number type and native byte order.

    Raises:
        UnreadableImage: The file is missing, cut off or damaged, or holds anything but equal planes of one channel.
        OSError: The disk or network failed, which says nothing about the file.
    """
    with open_tiff(path) as tif:
        pages = checked_pages(tif)
        first = pages[0]
        planes = np.empty((len(pages), *first.shape), first.dtype)
        for plane, page in zip(planes, pages, strict=True):
            page.asarray(out=plane)
        _check_finite(planes)
    return planes


def read_page(path: Path, number: int) -> NDArray[Any]:
    """One page of a TIFF file, counted from 0, as (1, Y, X); what the other pages are does not matter.

    Raises:
        UnreadableImage: The file is missing, cut off or damaged, has no such page, or it is no grey plane.
        OSError: The disk or network failed, which says nothing about the file.
    """
    with open_tiff(path) as tif:
        if number >= len(tif.pages):
            raise ValueError(f"page {number + 1} is asked for, and the file has {len(tif.pages)}")
        page = tif.pages[number].aspage()
        _check_kind([page])
        _check_segments(page, number, tif.filehandle.size)
        plane = page.asarray()[None]
        _check_finite(plane)
    return plane


@contextmanager
def open_tiff(path: Path) -> Iterator[tifffile.TiffFile]:
    """Open a TIFF file; trouble with it inside the block becomes `UnreadableImage`, trouble with the machine stays."""
    # tifffile reports damage to its log and goes on with what is left; here the damage is looked for and raised.
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)
    try:
        if not path.stat().st_size:
            raise UnreadableImage(f"{path}: the file is empty (0 bytes)")
        # OME-XML can name other files, anywhere: none of them is opened.
        with tifffile.TiffFile(path, _multifile=False) as tif:
            yield tif
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError) as error:
        raise UnreadableImage(f"{path}: {error.strerror}") from error
    except OSError as error:
        if error.errno not in _OF_NAMES:
            raise
        raise UnreadableImage(f"{str(path)[:_LONGEST]}: {error.strerror}") from error
    except (DataTrouble, MemoryError):
        raise
    except Exception as error:  # tifffile and the codecs raise whatever a damaged file leads them to
        told = " ".join(str(error).split()) or repr(error)
        raise UnreadableImage(f"{path}: {told[:_LONGEST]}") from error


def checked_pages(tif: tifffile.TiffFile) -> list[tifffile.TiffPage]:
    """The pages of a TIFF file, after making sure that all are there, whole, and planes of one stack.

    Raises:
        ValueError: They are not. Inside `open_tiff` it becomes `UnreadableImage`.
    """
    check_page_list(tif)
    pages = [page.aspage() for page in tif.pages]
    _check_kind(pages)
    _check_stack(tif, len(pages))
    for number, page in enumerate(pages):
        _check_segments(page, number, tif.filehandle.size)
    return pages


def check_page_list(tif: tifffile.TiffFile) -> None:
    """Every page points to the next, the last one to 0. Where the list breaks off, tifffile just stops."""
    count = len(tif.pages)
    tif.filehandle.seek(tif.pages.next_page_offset or 0)
    if tif.filehandle.read(tif.tiff.offsetsize) != bytes(tif.tiff.offsetsize):
        raise ValueError(f"the list of pages breaks off after {count}: the file is cut off or damaged")


def _check_kind(pages: list[tifffile.TiffPage]) -> None:
    found = sorted({(page.shape, str(page.dtype)) for page in pages})
    if len(found) > 1:
        raise ValueError(f"the pages differ in size or number type: {found[0]}, {found[1]}; planes must be equal")
    [(shape, dtype)] = found
    if len(shape) != 2:
        raise ValueError(f"a page has the shape {shape}: expected one grey plane (Y, X), not colour or a volume")
    if dtype not in NUMBER_TYPES:
        raise ValueError(f"the number type is {dtype}: expected one of {', '.join(NUMBER_TYPES)}")


def _check_finite(planes: NDArray[Any]) -> None:
    if planes.dtype.kind == "f" and not np.isfinite(planes).all():
        raise ValueError("some pixels are infinite or not a number")


def _check_stack(tif: tifffile.TiffFile, count: int) -> None:
    """The pages are the z planes of one stack, as far as the file's own metadata tell.

    A lone OME plane is taken as it is: its metadata often describe the whole data set it is a part of.
    """
    if count == 1 and tif.is_ome:
        return
    series = tif.series
    axes = [(axis, size) for axis, size in zip(series[0].axes, series[0].shape, strict=True) if axis not in "YX"]
    long = [axis for axis, size in axes if size > 1]
    if len(series) > 1 or len(long) > 1 or set(long) - _PLANE_AXES:
        found = "; ".join(f"{one.axes} {one.shape}" for one in series[:3])
        raise ValueError(f"the file holds {found}: expected one stack (Z, Y, X), no time points or channels")
    if math.prod(size for _, size in axes) != count:
        raise ValueError(f"the file's metadata tell of {series[0].axes} {series[0].shape}, but it has {count} pages")


def _check_segments(page: tifffile.TiffPage, number: int, size: int) -> None:
    """All strips or tiles of a page are listed and lie inside the file of `size` bytes."""
    segments = list(zip(page.dataoffsets, page.databytecounts, strict=True))
    expected = math.prod(page.chunked)
    if len(segments) != expected:
        raise ValueError(f"page {number} lists {len(segments)} strips or tiles of {expected}")
    lost = sum(1 for offset, length in segments if not offset or not length or offset + length > size)
    if page.nbytes > size * _MOST_COMPRESSED:
        raise ValueError(f"page {number} claims {page.nbytes} bytes, which a file of {size} bytes cannot hold")
    if lost:
        raise ValueError(f"the file is cut off: {lost} of {expected} strips or tiles of page {number} are not in it")
