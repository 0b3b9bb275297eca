"""A small plate of random pixels, and what its microscope knows of it: for writing in any layout and reading back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline_lib.core.manifest import ChannelFacts, Manifest, PlateFacts
from pipeline_lib.io.layouts import LAYOUTS, Measurement
from pipeline_lib.io.raw_images import read_image

Images = Mapping[tuple[str, int], NDArray[np.uint16]]
"""(well, field) -> (T, C, Z, Y, X)."""

PLATE = Measurement(
    plate="P7",
    rows=8,
    columns=12,
    wells=("A01", "B03", "H12"),
    channels=(ChannelFacts("DNA", 405.0, 450.0, 100.0), ChannelFacts("GFP", 488.0, 525.0, 250.0)),
    facts=PlateFacts(0.65, 3.0, 60.0, 20.0, 0.75, "96 well", "2026-03-04T10:20:30+01:00", "Ideal"),
    positions=((-50.0, -60.0), (-50.0, 60.0), (50.0, 0.0)),
    shape=(2, 2, 3, 24, 32),
    dtype="uint16",
)


def plate_of(times: int = 2, planes: int = 3) -> Measurement:
    """The plate with so many time points and planes."""
    _, channels, _, height, width = PLATE.shape
    return replace(PLATE, shape=(times, channels, planes, height, width))


def draw(plate: Measurement) -> Images:
    """Random pixels for each field, the same each time."""
    rng = np.random.default_rng(7)
    places = [(well, field) for well in plate.wells for field in range(len(plate.positions))]
    return {place: rng.integers(100, 4000, plate.shape).astype(np.uint16) for place in places}


def write(raw: Path, layout: str, plate: Measurement, images: Images) -> list[Path]:
    """The plate in a layout; the image files."""
    how = LAYOUTS[layout]
    raw.mkdir(parents=True, exist_ok=True)
    files = [
        path for (well, field), image in images.items() for path in how.write_field(raw, plate, well, field, image)
    ]
    how.write_index(raw, plate)
    return files


def read(manifest: Manifest) -> dict[tuple[str, int], NDArray[np.generic]]:
    """Every field of a plate, put together as (T, C, Z, Y, X) from the files its manifest names."""
    found: dict[tuple[str, int], dict[tuple[int, int, int], NDArray[np.generic]]] = {}
    for file in manifest.files:
        planes = found.setdefault((file.well, file.field), {})
        channel = manifest.channels.index(file.channel)
        for number, plane in enumerate(read_image(manifest, file)):
            planes[file.time, channel, file.z + number] = plane
    return {place: _stacked(planes) for place, planes in found.items()}


def _stacked(planes: Mapping[tuple[int, int, int], NDArray[np.generic]]) -> NDArray[np.generic]:
    times, channels, depth = (1 + max(numbers) for numbers in zip(*planes, strict=True))
    rows = [[[planes[t, c, z] for z in range(depth)] for c in range(channels)] for t in range(times)]
    return np.array(rows)
