"""The least that writing the plate of `tests/bench/ingest.py` can cost: decode, compress, write, and nothing else.

No Zarr library, no check, no flush: chunks go from the decoded images through the same codec (Blosc with Zstandard,
bit shuffle, CRC-32C) into shard files of the same layout. Coarser levels come ready from disk.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from math import ceil
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
import tifffile
from numcodecs.blosc import BITSHUFFLE, Blosc
from numpy.typing import NDArray

CODEC = Blosc(cname="zstd", clevel=3, shuffle=BITSHUFFLE)
Place = tuple[int, ...]


def main() -> None:
    """Write the fields of some wells."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("plan", type=Path, help="what `ingest.py` says of the plate")
    parser.add_argument("plate", type=Path, help="folder of the arrays to be written")
    parser.add_argument("wells", nargs="+", help="such as A/01")
    asked = parser.parse_args()
    plan = json.loads(asked.plan.read_text(encoding="utf-8"))
    for field in plan["fields"]:
        if f"{field['row']}/{field['column']}" in asked.wells:
            write_field(asked.plate, plan["arrays"], field)


def write_field(plate: Path, arrays: Sequence[Mapping[str, Any]], field: Mapping[str, Any]) -> None:
    """Decode one field and write its levels. arrays: `chunk` and `shard`, the lengths (c, y, x) of each level."""
    finest = np.stack([tifffile.imread(path) for path in field["files"]])
    levels = [finest, *(np.load(path) for path in field["levels"])]
    home = plate / field["row"] / field["column"] / str(field["field"])
    for number, (level, lengths) in enumerate(zip(levels, arrays, strict=True)):
        write_level(home / str(number), level, lengths["chunk"], lengths["shard"])


def write_level(path: Path, image: NDArray[np.uint16], chunk: Sequence[int], shard: Sequence[int]) -> None:
    """The shard files of one array, as Zarr v3 lays them out: chunks, then offsets and lengths, then their checksum."""
    for place in product(*(range(ceil(size / length)) for size, length in zip(image.shape, shard, strict=True))):
        file = path.joinpath("c", *map(str, place))
        file.parent.mkdir(parents=True, exist_ok=True)
        corner = [index * length for index, length in zip(place, shard, strict=True)]
        grid = [length // of_chunk for length, of_chunk in zip(shard, chunk, strict=True)]
        index = np.full((*grid, 2), 2**64 - 1, "<u8")
        offset = 0
        with file.open("wb") as out:
            for inner, pixels in chunks(image, corner, grid, chunk):
                packed = CODEC.encode(pixels)
                out.write(packed)
                out.write(google_crc32c.value(packed).to_bytes(4, "little"))
                index[inner] = offset, len(packed) + 4
                offset += len(packed) + 4
            told = index.tobytes()
            out.write(told)
            out.write(google_crc32c.value(told).to_bytes(4, "little"))


def chunks(
    image: NDArray[np.uint16], corner: Sequence[int], grid: Sequence[int], chunk: Sequence[int]
) -> Iterator[tuple[Place, NDArray[np.uint16]]]:
    """The chunks of a shard that hold pixels, filled up with zeros where they reach over the border."""
    for inner in product(*map(range, grid)):
        start = [first + index * length for first, index, length in zip(corner, inner, chunk, strict=True)]
        if any(first >= size for first, size in zip(start, image.shape, strict=True)):
            continue
        part = image[tuple(slice(first, first + length) for first, length in zip(start, chunk, strict=True))]
        lacking = [(0, length - has) for length, has in zip(chunk, part.shape, strict=True)]
        yield inner, np.ascontiguousarray(part) if not any(map(max, lacking)) else np.pad(part, lacking)


if __name__ == "__main__":
    main()
