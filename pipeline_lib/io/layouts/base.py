"""What a writer of one vendor's folders must offer. Its plates are for tests, and for trying the workflow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray

from pipeline_lib.core.manifest import ChannelFacts, PlateFacts, Position
from pipeline_lib.io.commit import committed

Image = NDArray[np.generic]


@dataclass(frozen=True)
class Measurement:
    """What a microscope knows of the plate it takes; a layout writes down as much of it as its format has words for."""

    plate: str
    rows: int
    columns: int
    wells: tuple[str, ...]
    channels: tuple[ChannelFacts, ...]
    """In the order of the images; how a format numbers them is its own affair."""
    facts: PlateFacts
    positions: tuple[Position, ...]
    """Of each field, from the middle of the well; the same in all wells. y grows downwards."""
    shape: tuple[int, int, int, int, int]
    """(T, C, Z, Y, X) of every field."""
    dtype: str


@dataclass(frozen=True)
class Layout:
    """One raw format, to be written."""

    format: str
    """The word for the plate sheet by which such a folder is read."""
    write_field: Callable[[Path, Measurement, str, int, Image], list[Path]]
    """(raw folder, measurement, well, field from 0, image (T, C, Z, Y, X)) -> the files written, in the order of the
    channels."""
    write_index: Callable[[Path, Measurement], None]
    """(raw folder, measurement): what is written once, after all fields."""


def write_plane(path: Path, plane: Image, pixel_size: float | None = None, description: str | None = None) -> Path:
    """Write one plane (Y, X) as a plain TIFF file, whole or not at all. pixel_size: micrometres, for its tags."""
    path.parent.mkdir(parents=True, exist_ok=True)
    per_centimetre = 1e4 / pixel_size if pixel_size else 1.0
    with committed(path) as temporary:
        tifffile.imwrite(
            temporary,
            plane,
            description=description,
            metadata=None,
            resolution=(per_centimetre, per_centimetre),
            resolutionunit="CENTIMETER" if pixel_size else "NONE",
        )
    return path
