"""Zarr arrays of a plate: every chunk carries a checksum, and every shard is there, even where all pixels are zero.

So a damaged array is noticed by whoever reads it: without checksums, altered pixels would pass for data; a missing
shard would pass for zeros.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from math import ceil, prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline_lib.core.errors import DataTrouble
from pipeline_lib.io.shards import ShardedArray, create_array, shard_places

LARGEST_CHUNK = 1024  # pixels each way
LARGEST_SHARD = 4096  # pixels each way
SHARD_BYTES = 256 * 2**20  # of raw pixels: who writes or reads a part of a shard may hold all of it in memory
ORDERS = ("yxzc", "xyzc", "zcyx")  # of axes along which a shard gets shorter that would be too large
CAMERA = 2  # bytes of a pixel of nearly all cameras

Lengths = tuple[int, ...]
"""Pixels along each axis."""


class DamagedArray(DataTrouble):
    """A committed array cannot be read as it was written. The message is one line: path, what was found."""

    kind = "damaged array"
    advice = "; `wellpose verify --repair` drops its well, and the next run makes it again"


def write_array(path: Path, array: NDArray[Any], axes: str) -> None:
    """Write an array in the chunks and shards of `stored_as`, chunk by chunk, and read its shards back.

    axes: one letter of tczyx per dimension.

    Raises:
        OSError: The disk is full or has failed, or gives back something else than what was written.
    """
    create_sharded(path, array.shape, array.dtype, axes).write_all(array)


def create_sharded(path: Path, shape: Lengths, dtype: np.dtype[Any], axes: str) -> ShardedArray:
    """Create an array as `write_array` does, whose pixels come later."""
    chunks, shards = stored_as(shape, axes, dtype.itemsize)
    create_array(path, np.broadcast_to(np.zeros((), dtype), shape), axes, chunks, shards)
    return ShardedArray(path, shape, chunks, shards)


def stored_as(shape: Sequence[int], axes: str, itemsize: int = CAMERA) -> tuple[Lengths, Lengths]:
    """The lengths of chunks and of shards of an array with these axes: as few files as memory allows.

    A chunk is one plane of one channel, in equal parts of at most `LARGEST_CHUNK` pixels each way. A shard, which is a
    file, holds one time point with all its channels and planes, at most `LARGEST_SHARD` pixels each way. Where that is
    more than `SHARD_BYTES` it gets shorter along one axis after the other, until it fits or is one chunk: in that order
    of `ORDERS` that makes fewest shards, the first of equals.

    axes: one letter of tczyx per dimension. itemsize: bytes of a pixel.
    """
    chunks = tuple(_even(size) if axis in "yx" else 1 for axis, size in zip(axes, shape, strict=True))
    longest = tuple(_shard(axis, size, chunk) for axis, size, chunk in zip(axes, shape, chunks, strict=True))
    room = SHARD_BYTES // (prod(chunks) * itemsize)
    found = (_shortened(longest, chunks, [axes.find(axis) for axis in order if axis in axes], room) for order in ORDERS)
    return chunks, min(found, key=lambda shards: _count(shape, shards))


def shard_count(shape: Sequence[int], axes: str, itemsize: int = CAMERA) -> int:
    """How many shards, each a file, an array has; arguments as of `stored_as`."""
    return _count(shape, stored_as(shape, axes, itemsize)[1])


def read_array(path: Path) -> NDArray[Any]:
    """A whole array as stored.

    Raises:
        DamagedArray: A shard is missing, empty, cut off or altered.
    """
    with _opened(path) as array:
        return np.asarray(array[:])


def read_frame(path: Path, full: str, time: int) -> NDArray[Any]:
    """One time point of an array, with all axes of `full` but its first, t.

    Raises:
        DamagedArray: As `read_array`.
    """
    with _opened(path) as array:
        axes = array.metadata.dimension_names
        pixels = np.asarray(array[time] if axes[0] == "t" else array[:])
    missing = tuple(index for index, axis in enumerate(full[1:]) if axis not in axes)
    return np.expand_dims(pixels, missing)


def shard_files(path: Path) -> list[Path]:
    """The files an array must have beside its metadata.

    Raises:
        DamagedArray: There is no array, or its metadata are no Zarr metadata.
    """
    metadata = _metadata(path)
    try:
        places = shard_places(metadata["shape"], metadata["chunk_grid"]["configuration"]["chunk_shape"])
    except (ValueError, KeyError, TypeError) as error:
        raise _no_metadata(path, error) from error
    return [path.joinpath("c", *map(str, place)) for place in places]


def _metadata(path: Path) -> Any:
    try:
        return json.loads((path / "zarr.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError) as error:
        raise _no_metadata(path, error) from error


def _no_metadata(path: Path, error: Exception) -> DamagedArray:
    return DamagedArray(f"{path}: its metadata cannot be read ({type(error).__name__}: {error})")


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """The array for reading; whatever its files cause becomes `DamagedArray`, trouble with the machine stays."""
    import zarr

    lost = [file for file in shard_files(path) if not file.is_file() or not file.stat().st_size]
    if lost:
        raise DamagedArray(f"{path}: {len(lost)} shard(s) are missing or empty, such as {lost[0].relative_to(path)}")
    try:
        yield zarr.open_array(path, mode="r")
    except (MemoryError, OSError):
        raise
    except Exception as error:  # codecs raise many kinds
        raise DamagedArray(f"{path}: a chunk is damaged ({type(error).__name__}: {error})") from error


def _even(size: int) -> int:
    """Chunk length: `size` in equal parts of at most LARGEST_CHUNK."""
    return max(1, ceil(size / max(1, ceil(size / LARGEST_CHUNK))))


def _shard(axis: str, size: int, chunk: int) -> int:
    """Longest shard: a time point, all channels and planes, and up to about LARGEST_SHARD pixels each way."""
    if axis not in "yx":
        return 1 if axis == "t" else size
    return chunk * min(ceil(size / chunk), max(1, LARGEST_SHARD // chunk))


def _shortened(longest: Lengths, chunks: Lengths, order: Iterable[int], room: int) -> Lengths:
    """A shard of at most `room` chunks, but at least one, made shorter along the axes `order`."""
    counts = [length // chunk for length, chunk in zip(longest, chunks, strict=True)]
    for index in order:
        others = prod(counts) // counts[index]
        counts[index] = max(1, min(counts[index], room // others))
    return tuple(chunk * count for chunk, count in zip(chunks, counts, strict=True))


def _count(shape: Sequence[int], shards: Lengths) -> int:
    return prod(ceil(size / length) for size, length in zip(shape, shards, strict=True))
