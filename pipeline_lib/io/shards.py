"""Sharded arrays of Zarr v3, written chunk by chunk and looked back at: in half of Zarr's own time, with little memory.

A shard holds its chunks one after the other, then an index, row by row, with offset and length of each (two uint64;
all ones for a chunk beyond the border), then the CRC-32C of the index. A chunk is compressed by Blosc and ends with its
own CRC-32C; one that reaches over the border is filled up with zeros. All numbers are little-endian.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import groupby, product, repeat
from math import ceil
from operator import floordiv, itemgetter, mod
from pathlib import Path
from typing import Any, BinaryIO
from zlib import crc32

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
    ShardedArray(path, array.shape, chunks, shards).write_all(array)


class ShardedArray:
    """An array whose metadata are in `path` and whose pixels come in blocks of whole chunks, in any order.

    No file stays open, and nothing is kept but the indices of the shards. Those are written by `finish`. chunks: their
    lengths.
    """

    def __init__(self, path: Path, shape: Sequence[int], chunks: Sequence[int], shards: Sequence[int]) -> None:
        self.chunks = tuple(chunks)
        self._grid = tuple(shard // chunk for chunk, shard in zip(chunks, shards, strict=True))
        files = {place: path.joinpath("c", *map(str, place)) for place in shard_places(shape, shards)}
        self._shards = {place: _Shard(file, self._grid) for place, file in files.items()}

    def write(self, corner: Place, block: NDArray[Any]) -> None:
        """Write a block whose first pixel lies at `corner`: whole chunks, but for those cut by the array's border.

        Raises:
            ValueError: The corner is not that of a chunk.
            OSError: The disk is full or has failed.
        """
        if any(map(mod, corner, self.chunks)):
            raise ValueError(f"a block at {tuple(corner)} does not begin with a chunk of {self.chunks}")
        for place, chunks in groupby(self._cut(corner, block), key=itemgetter(0)):
            self._shards[place].append((inner, _filled(pixels, self.chunks)) for _, inner, pixels in chunks)

    def write_all(self, array: NDArray[Any]) -> None:
        """Write the array as one block, and finish it.

        Raises:
            OSError: As `finish`.
        """
        self.write((0,) * array.ndim, array)
        self.finish()

    def finish(self) -> None:
        """Make the shards whole, and read them back.

        Raises:
            OSError: The disk is full or has failed, or gives back something else than what was written.
        """
        for shard in self._shards.values():
            shard.finish()

    def _cut(self, corner: Place, block: NDArray[Any]) -> Iterator[tuple[Place, Place, NDArray[Any]]]:
        """The chunks of a block: which shard, which of its chunks, and the pixels."""
        for start in product(*map(range, repeat(0), block.shape, self.chunks)):
            number = [(first + own) // chunk for first, own, chunk in zip(corner, start, self.chunks, strict=True)]
            part = tuple(slice(own, own + chunk) for own, chunk in zip(start, self.chunks, strict=True))
            yield tuple(map(floordiv, number, self._grid)), tuple(map(mod, number, self._grid)), block[part]


class _Shard:
    """A file that grows chunk by chunk. grid: how many chunks it has along each axis."""

    def __init__(self, file: Path, grid: Place) -> None:
        self._file = file
        self._index = np.full((*grid, 2), NO_CHUNK, "<u8")
        self._length = self._checksum = 0

    def append(self, chunks: Iterable[tuple[Place, NDArray[Any]]]) -> None:
        """Pack chunks and write them behind those that are there."""
        codec = _codec()
        with self._opened() as out:
            for inner, pixels in chunks:
                start = self._length
                self._put(out, codec.encode(pixels))
                self._index[inner] = start, self._length - start

    def finish(self) -> None:
        """Write the index and look back."""
        with self._opened() as out:
            self._put(out, self._index.tobytes())
        if _checksum_of(self._file) != self._checksum:
            raise OSError(f"{self._file}: what was read back is not what was written; check the disk")

    def _opened(self) -> BinaryIO:
        self._file.parent.mkdir(parents=True, exist_ok=True)
        return self._file.open("ab" if self._length else "wb")

    def _put(self, out: BinaryIO, content: bytes) -> None:
        """Write content and, behind it, its CRC-32C."""
        parts = content, google_crc32c.value(content).to_bytes(4, "little")
        out.writelines(parts)
        self._length += sum(map(len, parts))
        for part in parts:
            self._checksum = crc32(part, self._checksum)


def _checksum_of(file: Path) -> int:
    """The CRC-32 of a file, read piece by piece; that of nothing where it is gone.

    Not its CRC-32C: of contents that are followed by theirs, that tells no more than how long they are.
    """
    checksum = 0
    with suppress(FileNotFoundError), file.open("rb") as content:
        while piece := content.read(PIECE):
            checksum = crc32(piece, checksum)
    return checksum


def _filled(pixels: NDArray[Any], chunks: Sequence[int]) -> NDArray[Any]:
    """The pixels in a row in memory, little-endian, with zeros up to a whole chunk."""
    pixels = np.ascontiguousarray(pixels, pixels.dtype.newbyteorder("<"))
    lacking = [(0, length - size) for length, size in zip(chunks, pixels.shape, strict=True)]
    return np.pad(pixels, lacking) if any(after for _, after in lacking) else pixels


def _codec() -> Any:
    """What the metadata say."""
    from numcodecs.blosc import BITSHUFFLE, Blosc  # type: ignore[import-untyped]

    return Blosc(**_BLOSC, shuffle=BITSHUFFLE)
