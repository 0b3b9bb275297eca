"""Planes out of Zarr arrays, v2 and v3. Whatever is wrong with an array becomes one exception, `UnreadableImage`."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline_lib.io.vendors.base import ImageInfo
from pipeline_lib.io.vendors.zarr_metadata import ArrayFacts, read_array_facts

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MOST_PIXELS = 1 << 31  # of a plane
_LONGEST = 300  # characters of a message that is not ours


def describe(path: Path) -> ImageInfo:
    """The metadata of one array, each plane of which counts as a page: (1, Y, X). The plate's metadata say the rest.

    Raises:
        UnreadableImage: There is no array, or its metadata are damaged.
        OSError: The disk or network failed, which says nothing about the array.
    """
    facts = _checked_facts(path)
    height, width = facts.shape[-2:]
    return ImageInfo((1, height, width), facts.dtype, int("".join(filter(str.isdigit, facts.dtype))))


def read(path: Path, page: int | None) -> NDArray[Any]:
    """(1, Y, X): one plane of an array, in native byte order; all of them, (pages, Y, X), without a page.

    A chunk that has no file has the fill value everywhere, as Zarr says: it cannot be told from a lost one.

    Raises:
        UnreadableImage: There is no array, it or its metadata are damaged, or it has no such plane.
        OSError: The disk or network failed, which says nothing about the array.
    """
    import numpy as np
    import zarr

    from pipeline_lib.io.images import UnreadableImage

    leading = _checked_facts(path).shape[:-2]
    if page is not None and not 0 <= page < math.prod(leading):
        raise UnreadableImage(f"{path}: plane {page + 1} is asked for, and the array has {math.prod(leading)}")
    try:
        array: Any = zarr.open_array(path, mode="r")
        pixels = np.asarray(array[...] if page is None else array[tuple(map(int, np.unravel_index(page, leading)))])
    except MemoryError:
        raise
    except OSError as error:
        if error.errno is not None and not isinstance(error, FileNotFoundError | PermissionError | NotADirectoryError):
            raise
        raise UnreadableImage(f"{path}: {' '.join(str(error).split())}") from error
    except Exception as error:  # codecs raise many kinds
        told = f"{type(error).__name__}: {' '.join(str(error).split())}"[:_LONGEST]  # it may hold what the file does
        raise UnreadableImage(f"{path}: a chunk is damaged ({told})") from error
    if not np.isfinite(pixels).all():
        raise UnreadableImage(f"{path}: some pixels are infinite or not a number")
    return pixels.reshape(-1, *pixels.shape[-2:]).astype(pixels.dtype.newbyteorder("="), copy=False)


def _checked_facts(path: Path) -> ArrayFacts:
    """Of an array that holds planes."""
    from pipeline_lib.io.images import NUMBER_TYPES, UnreadableImage

    try:
        facts = read_array_facts(path, "")
    except ValueError as error:
        raise UnreadableImage(" ".join(str(error).split())) from error
    if facts is None:
        raise UnreadableImage(f"{path}: there is no Zarr array")
    if len(facts.shape) < 2 or math.prod(facts.shape[-2:]) > _MOST_PIXELS or facts.dtype not in NUMBER_TYPES:
        raise UnreadableImage(
            f"{path}: {facts.shape} {facts.dtype} is no image: planes are expected, of {', '.join(NUMBER_TYPES)}"
        )
    return facts
