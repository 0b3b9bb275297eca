"""Sharded arrays of Zarr v3, written chunk by chunk and looked back at: in half of Zarr's own time, with little memory.

A shard holds its chunks one after the other, then an index, row by row, with offset and length of each (two uint64;
all ones for a chunk beyond the border), then the CRC-32C of the index. A chunk is compressed by Blosc and ends with its
own CRC-32C; one that reaches over the border is filled up with zeros. All numbers are little-endian.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import reduce
from itertools import product
from math import ceil
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
from numpy.typing import NDArray

Place = tuple[int, ...]
NO_CHUNK = 2**64 - 1
PIECE = 2**20  # bytes read at once
_BLOSC: dict[str, Any] = {"cname": "zstd", "clevel": 3}


def create_array(
    path: Path,
    like: NDArray[Any],
    names: Sequence[str],
    chunks: Sequence[int],
    shards: Sequence[int],
    attributes: Mapping[str, Any] | None = None,
) -> None:
    """Write the metadata of an array that has the shape and type of another one, compressed without loss.

    names: of its axes. chunks, shards: their lengths.
    """
    whole = {"name": "bytes"} | ({"configuration": {"endian": "little"}} if like.dtype.itemsize > 1 else {})
    index = {"name": "bytes", "configuration": {"endian": "little"}}
    blosc = {"typesize": like.dtype.itemsize, **_BLOSC, "shuffle": "bitshuffle", "blocksize": 0}
    sharding = {
        "chunk_shape": list(chunks),
        "codecs": [whole, {"name": "blosc", "configuration": blosc}, {"name": "crc32c"}],
        "index_codecs": [index, {"name": "crc32c"}],
        "index_location": "end",
    }
    metadata = {
        "zarr_format": 3,
        "node_type": "array",
        "shape": list(like.shape),
        "data_type": like.dtype.name,
        "dimension_names": list(names),
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": list(shards)}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "codecs": [{"name": "sharding_indexed", "configuration": sharding}],
        "fill_value": np.zeros((), like.dtype).item(),
        "attributes": dict(attributes or {}),
        "storage_transformers": [],
    }
    path.mkdir(parents=True, exist_ok=True)
    (path / "zarr.json").write_text(json.dumps(metadata, indent=1) + "\n", encoding="utf-8")


def shard_places(shape: Sequence[int], shards: Sequence[int]) -> list[Place]:
    """The shards of an array, row by row; each is the file `c/<index>/<index>...`. shards: their lengths."""
    return list(product(*(range(ceil(size / length)) for size, length in zip(shape, shards, strict=True))))


def write_shards(path: Path, array: NDArray[Any], chunks: Sequence[int], shards: Sequence[int]) -> None:
    """Write all shards of an array whose metadata are in `path`, and read them back. chunks, shards: their lengths.

    Raises:
        OSError: The disk is full or has failed, or gives back something else than what was written.
    """
    for place in shard_places(array.shape, shards):
        file = path.joinpath("c", *map(str, place))
        file.parent.mkdir(parents=True, exist_ok=True)
        checksum = _write_shard(file, _chunks_of(array, place, chunks, shards), chunks, _grid(chunks, shards))
        if _checksum_of(file) != checksum:
            raise OSError(f"{file}: what was read back is not what was written; check the disk")


def _write_shard(
    file: Path, parts: Iterable[tuple[Place, NDArray[Any]]], chunks: Sequence[int], grid: tuple[int, ...]
) -> int:
    """Write one shard. Returns the CRC-32C of the whole file."""
    codec = _codec()
    index = np.full((*grid, 2), NO_CHUNK, "<u8")
    offset = checksum = 0
    with file.open("wb") as out:
        for inner, pixels in parts:
            packed = _with_checksum(codec.encode(_filled(pixels, chunks)))
            out.writelines(packed)
            checksum = reduce(google_crc32c.extend, packed, checksum)
            length = sum(map(len, packed))
            index[inner] = offset, length
            offset += length
        told = _with_checksum(index.tobytes())
        out.writelines(told)
    return reduce(google_crc32c.extend, told, checksum)


def _checksum_of(file: Path) -> int:
    """The CRC-32C of a file, read piece by piece; that of nothing where it is gone."""
    checksum = 0
    with suppress(FileNotFoundError), file.open("rb") as content:
        while piece := content.read(PIECE):
            checksum = google_crc32c.extend(checksum, piece)
    return checksum


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
    """What the metadata say."""
    from numcodecs.blosc import BITSHUFFLE, Blosc  # type: ignore[import-untyped]

    return Blosc(**_BLOSC, shuffle=BITSHUFFLE)


def _with_checksum(content: bytes) -> tuple[bytes, bytes]:
    """The content, and its CRC-32C."""
    return content, google_crc32c.value(content).to_bytes(4, "little")
