"""Zarr arrays of a plate: every chunk carries a checksum, and every shard is there, even where all pixels are zero.

So a damaged array is noticed by whoever reads it: without checksums, altered pixels would pass for data; a missing
shard would pass for zeros.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline_lib.core.errors import DataTrouble

LARGEST_CHUNK = 1024
LARGEST_SHARD = 4096


class DamagedArray(DataTrouble):
    """A committed array cannot be read as it was written. The message is one line: path, what was found."""

    kind = "damaged array"
    advice = "; `wellpose verify --repair` drops its well, and the next run makes it again"


def write_array(path: Path, array: NDArray[Any], axes: str) -> None:
    """Write an array in chunks of at most 1,024 pixels each way; a shard holds all channels and planes.

    axes: one letter of tczyx per dimension.
    """
    chunks = tuple(_even(size) if axis in "yx" else 1 for axis, size in zip(axes, array.shape, strict=True))
    shards = tuple(_shard(axis, size, chunk) for axis, size, chunk in zip(axes, array.shape, chunks, strict=True))
    create_array(path, array, tuple(axes), chunks, shards)[:] = array


def create_array(
    path: Path, like: NDArray[Any], names: tuple[str, ...], chunks: tuple[int, ...], shards: tuple[int, ...] | None
) -> Any:
    """Create an array of the shape and type of another one, compressed without loss."""
    import zarr
    from zarr.codecs import BloscCodec, BloscShuffle, Crc32cCodec

    return zarr.create_array(
        path,
        shape=like.shape,
        dtype=like.dtype,
        chunks=chunks,
        shards=shards,
        dimension_names=names,
        compressors=[BloscCodec(cname="zstd", clevel=3, shuffle=BloscShuffle.bitshuffle), Crc32cCodec()],
        zarr_format=3,
        config={"write_empty_chunks": True},
    )


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
    try:
        metadata = json.loads((path / "zarr.json").read_text(encoding="utf-8"))
        shard = metadata["chunk_grid"]["configuration"]["chunk_shape"]
        counts = [ceil(size / length) for size, length in zip(metadata["shape"], shard, strict=True)]
    except (FileNotFoundError, ValueError, KeyError, TypeError) as error:
        raise DamagedArray(f"{path}: its metadata cannot be read ({type(error).__name__}: {error})") from error
    return [path.joinpath("c", *map(str, place)) for place in product(*map(range, counts))]


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
    """Shard length: a time point, all channels and planes, and up to about LARGEST_SHARD pixels each way."""
    if axis not in "yx":
        return 1 if axis == "t" else size
    return chunk * min(ceil(size / chunk), max(1, LARGEST_SHARD // chunk))
