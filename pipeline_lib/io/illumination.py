"""Illumination of a plate on disk: one TIFF file per channel, flat field and dark field as its two pages."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from pipeline_lib.io.commit import committed
from pipeline_lib.io.images import read_planes
from pipeline_lib.io.records import read_json, write_json

INDEX = "illumination.json"

Light = tuple[NDArray[np.float32], NDArray[np.float32]]
"""(flat, dark) of one channel, (Y, X) each: flat without unit and with mean 1, dark in counts."""


def write_illumination(folder: Path, lights: Mapping[str, Light], told: Mapping[str, Any]) -> None:
    """Write the light of all channels, and what is told of it, such as `fingerprint`; whole or not at all.

    lights: channel id -> its light.
    """
    with committed(folder) as temporary:
        temporary.mkdir(parents=True, exist_ok=True)
        files = {channel: f"{number}.tif" for number, channel in enumerate(lights, 1)}
        for channel, light in lights.items():
            tifffile.imwrite(temporary / files[channel], np.stack(light).astype(np.float32), photometric="minisblack")
        write_json(temporary / INDEX, {**told, "files": files})


def told_of_illumination(folder: Path) -> dict[str, Any]:
    """What was told when it was written; empty where there is none."""
    return read_json(folder / INDEX)


def read_illumination(folder: Path) -> dict[str, Light]:
    """Channel id -> its light.

    Raises:
        FileNotFoundError: There is none.
        UnreadableImage: A file is damaged.
    """
    files = told_of_illumination(folder).get("files")
    if files is None:
        raise FileNotFoundError(f"{folder / INDEX} is missing; the stage `illuminate` writes it")
    pages = {channel: read_planes(folder / name) for channel, name in files.items()}
    return {channel: (flat, dark) for channel, (flat, dark) in pages.items()}
