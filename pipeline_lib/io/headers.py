"""Headers of weights files: what a file is for, read before any job and without torch; one order to write them in."""

from __future__ import annotations

import json
from pathlib import Path

from pipeline_lib.core.catalogue import official

LONGEST_HEADER = 1 << 20  # bytes; 313 entries take 30,000
RESTORES, SEGMENTS = 1, 3  # output channels


def channels_out(path: Path) -> int | None:
    """Output channels of a network: 1 of one that restores images, 3 of one that finds objects.

    None where neither the catalogue nor the header of a safetensors file tells: it shows when the file is loaded.
    """
    model = official(path.name)
    if model is not None and model.channels is not None:
        return model.channels[1]
    try:
        shape = _header(path)["output.2.weight"]["shape"] if path.suffix == ".safetensors" else [None]
    except (ValueError, LookupError, TypeError):
        return None
    return shape[0] if shape and isinstance(shape[0], int) else None


def _header(path: Path) -> dict[str, dict[str, list[int]]]:
    """Entry -> its `dtype`, `shape` and place: 8 bytes tell the length of the JSON that follows."""
    with path.open("rb") as file:
        length = min(int.from_bytes(file.read(8), "little"), LONGEST_HEADER)
        header: dict[str, dict[str, list[int]]] = json.loads(file.read(length))
    return header


def in_order(content: bytes) -> bytes:
    """A whole safetensors file with its metadata sorted, so that equal weights have equal checksums.

    The library writes metadata in an order that changes from call to call. A file is 8 bytes that tell the length of a
    JSON header, the header, padded to a multiple of 8, and the entries, placed relative to the header's end.
    """
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:end])
    metadata = dict(sorted(header.get("__metadata__", {}).items()))
    written = json.dumps(header | {"__metadata__": metadata}, separators=(",", ":"), ensure_ascii=False).encode()
    padded = written + b" " * (-len(written) % 8)
    return len(padded).to_bytes(8, "little") + padded + content[end:]
