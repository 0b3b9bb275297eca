"""Shard files of Zarr v3, written and looked through chunk by chunk: in half of Zarr's own time, and a chunk of memory.

A shard holds its chunks one after the other, then an index, row by row, with offset and length of each (two uint64;
all ones for a chunk beyond the border), then the CRC-32C of the index. A chunk is compressed by Blosc and ends with its
own CRC-32C; one that reaches over the border is filled up with zeros. All numbers are little-endian.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Place = tuple[int, ...]
NO_CHUNK = 2**64 - 1
CHECKSUM = 4  # bytes of a CRC-32C


def shard_places(shape: Sequence[int], shards: Sequence[int]) -> list[Place]:
    """The shards of an array, row by row; each is the file `c/<index>/<index>...`. shards: their lengths."""
    return list(product(*(range(ceil(size / length)) for size, length in zip(shape, shards, strict=True))))


def write_shards(path: Path, array: NDArray[Any], chunks: Sequence[int], shards: Sequence[int]) -> None:
    """Write all shards of an array whose metadata are in `path`. chunks, shards: their lengths.

    Raises:
        OSError: The disk is full or has failed.
    """
    codec = _codec()
    for place in shard_places(array.shape, shards):
        file = path.joinpath("c", *map(str, place))
        file.parent.mkdir(parents=True, exist_ok=True)
        index = np.full((*_grid(chunks, shards), 2), NO_CHUNK, "<u8")
        offset = 0
        with file.open("wb") as out:
            for inner, pixels in _chunks_of(array, place, chunks, shards):
                packed = codec.encode(_filled(pixels, chunks))
                out.writelines((packed, _checksum(packed)))
                index[inner] = offset, len(packed) + CHECKSUM
                offset += len(packed) + CHECKSUM
            out.writelines((index.tobytes(), _checksum(index.tobytes())))


def hold(path: Path, array: NDArray[Any], chunks: Sequence[int], shards: Sequence[int]) -> bool:
    """Whether the shards in `path` are those of this array: every checksum fits, and every pixel is as it should be.

    Raises:
        OSError: The disk has failed.
    """
    places = shard_places(array.shape, shards)
    return all(_holds(path.joinpath("c", *map(str, place)), place, array, chunks, shards) for place in places)


def _holds(file: Path, place: Place, array: NDArray[Any], chunks: Sequence[int], shards: Sequence[int]) -> bool:
    """Whether one shard is as it should be."""
    grid = _grid(chunks, shards)
    length = int(np.prod(grid)) * 16
    try:
        content = memoryview(file.read_bytes())
    except FileNotFoundError:
        return False
    told = content[-length - CHECKSUM : -CHECKSUM]
    if len(told) != length or _checksum(told) != content[-CHECKSUM:]:
        return False
    index = np.frombuffer(told, "<u8").reshape(*grid, 2)
    parts = _chunks_of(array, place, chunks, shards)
    return all(_is_packed(content[int(index[i][0]) :][: int(index[i][1])], pixels, chunks) for i, pixels in parts)


def _is_packed(packed: memoryview, pixels: NDArray[Any], chunks: Sequence[int]) -> bool:
    """Whether a chunk with its checksum unpacks to these pixels."""
    if len(packed) <= CHECKSUM or _checksum(packed[:-CHECKSUM]) != packed[-CHECKSUM:]:
        return False
    try:
        found = np.frombuffer(_codec().decode(packed[:-CHECKSUM]), _stored(pixels.dtype))
    except (RuntimeError, ValueError):
        return False
    return np.array_equal(found, _filled(pixels, chunks).ravel())


def _chunks_of(
    array: NDArray[Any], place: Place, chunks: Sequence[int], shards: Sequence[int]
) -> Iterator[tuple[Place, NDArray[Any]]]:
    """The chunks of a shard that hold pixels of the array: which of the shard, and the pixels."""
    for inner in product(*map(range, _grid(chunks, shards))):
        corner = [
            number * shard + index * chunk
            for number, shard, index, chunk in zip(place, shards, inner, chunks, strict=True)
        ]
        if all(start < size for start, size in zip(corner, array.shape, strict=True)):
            parts = (slice(start, start + chunk) for start, chunk in zip(corner, chunks, strict=True))
            yield inner, array[tuple(parts)]


def _filled(pixels: NDArray[Any], chunks: Sequence[int]) -> NDArray[Any]:
    """The pixels in a row in memory, little-endian, with zeros up to a whole chunk."""
    pixels = np.ascontiguousarray(pixels, _stored(pixels.dtype))
    lacking = [(0, length - size) for length, size in zip(chunks, pixels.shape, strict=True)]
    return np.pad(pixels, lacking) if any(after for _, after in lacking) else pixels


def _stored(dtype: np.dtype[Any]) -> np.dtype[Any]:
    return dtype.newbyteorder("<")


def _grid(chunks: Sequence[int], shards: Sequence[int]) -> tuple[int, ...]:
    """Chunks of a shard along each axis."""
    return tuple(shard // chunk for chunk, shard in zip(chunks, shards, strict=True))


def _codec() -> Any:
    """What the metadata say that `pipeline_lib.io.arrays.create_array` writes."""
    from numcodecs.blosc import BITSHUFFLE, Blosc  # type: ignore[import-untyped]

    return Blosc(cname="zstd", clevel=3, shuffle=BITSHUFFLE)


def _checksum(content: bytes | memoryview) -> bytes:
    import google_crc32c

    return google_crc32c.value(bytes(content)).to_bytes(CHECKSUM, "little")  # type: ignore[no-any-return]
