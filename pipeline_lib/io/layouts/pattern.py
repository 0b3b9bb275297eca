"""Plain TIFF files whose names say what they hold: `B03_s1_wDNA.tif`, with `_t` and `_z` where there are several."""

from __future__ import annotations

from itertools import product
from pathlib import Path

from pipeline_lib.io.layouts.base import Image, Layout, Measurement, write_plane


def write_field(raw: Path, plate: Measurement, well: str, field: int, image: Image) -> list[Path]:
    """One file per channel, time point and plane, with the pixel size in its resolution tags."""
    times, channels, planes, _, _ = plate.shape
    written = []
    for channel, time, z in product(range(channels), range(times), range(planes)):
        name = f"{well}_s{field + 1}_w{plate.channels[channel].name or channel + 1}"
        name += (f"_t{time + 1}" if times > 1 else "") + (f"_z{z + 1}" if planes > 1 else "")
        written.append(write_plane(raw / f"{name}.tif", image[time, channel, z], plate.facts.pixel_size))
    return written


def write_index(raw: Path, plate: Measurement) -> None:
    """Nothing: the names say it all."""


LAYOUT = Layout("pattern", write_field, write_index)
