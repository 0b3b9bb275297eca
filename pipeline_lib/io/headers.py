"""What a weights file is for, read from its first bytes: before any job, and without torch."""

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
