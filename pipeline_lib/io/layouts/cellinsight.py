"""TIFF files as CellInsight and ArrayScan export them: `P7_A01f00d0.TIF`, with `t` and `z` where there are several."""

from __future__ import annotations

import re
from itertools import product
from pathlib import Path

from pipeline_lib.io.layouts.base import Image, Layout, Measurement, write_plane


def write_field(raw: Path, plate: Measurement, well: str, field: int, image: Image) -> list[Path]:
    """One file per channel, time point and plane, with the pixel size in its resolution tags."""
    times, channels, depth, _, _ = plate.shape
    name = f"{re.sub(r'[^0-9A-Za-z-]', '-', plate.plate)}_{well}"
    written = []
    for channel, time, z in product(range(channels), range(times), range(depth)):
        series = (f"t{time:02}" if times > 1 else "") + (f"z{z:02}" if depth > 1 else "")
        path = raw / f"{name}{series}f{field:02}d{channel}.TIF"
        written.append(write_plane(path, image[time, channel, z], plate.facts.pixel_size))
    return written


def write_index(raw: Path, plate: Measurement) -> None:
    """Nothing: the names say it all."""


LAYOUT = Layout("cellinsight", write_field, write_index)
