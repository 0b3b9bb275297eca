"""An OME-Zarr plate, OME-NGFF 0.5, as `<plate>.ome.zarr`: one array for each field, one chunk for each plane."""

from __future__ import annotations

from datetime import datetime
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from pipeline_lib.core.wells import well_name
from pipeline_lib.io.commit import committed
from pipeline_lib.io.layouts.base import Image, Layout, Measurement
from pipeline_lib.io.ngff import Channel, PlateInfo, display_metadata, image_metadata, plate_metadata, well_metadata
from pipeline_lib.io.plate import write_group
from pipeline_lib.paths import well_path

_AXES = "tczyx"


def write_field(raw: Path, plate: Measurement, well: str, field: int, image: Image) -> list[Path]:
    """One array of all axes; the files of its planes."""
    group = _store(raw, plate) / well_path(well) / str(field)
    height, width = image.shape[-2:]
    with committed(group) as temporary:
        zarr.create_array(
            temporary / "0",
            data=image,
            chunks=(1, 1, 1, height, width),
            dimension_names=tuple(_AXES),
            config={"write_empty_chunks": True},
        )
        write_group(temporary, {"ome": image_attributes(plate, well, field)})
    times, channels, planes = (range(size) for size in image.shape[:3])
    return [group / f"0/c/{t}/{c}/{z}/0/0" for c, t, z in product(channels, times, planes)]


def write_index(raw: Path, plate: Measurement) -> None:
    """The groups of the plate, its rows and wells."""
    store = _store(raw, plate)
    for row in range(plate.rows):
        write_group(store / well_name(row, 0).rstrip("0123456789"), {})
    for well in plate.wells:
        write_group(store / well_path(well), {"ome": well_metadata(range(len(plate.positions)))})
    write_group(store, {"ome": plate_attributes(plate)})


def plate_attributes(plate: Measurement) -> dict[str, Any]:
    """What the group of the plate says; `starttime` counts seconds from 1970."""
    attributes = plate_metadata(_info(plate), plate.wells)
    if plate.facts.acquired is not None:
        start = int(datetime.fromisoformat(plate.facts.acquired).timestamp())
        attributes["plate"]["acquisitions"][0]["starttime"] = start
    return attributes


def image_attributes(plate: Measurement, well: str, field: int) -> dict[str, Any]:
    """What the group of a field says."""
    info = _info(plate)
    attributes = image_metadata(f"{well}/{field}", _AXES, [1], info.sizes)
    [multiscale] = attributes["multiscales"]
    [dataset] = multiscale["datasets"]
    corner = {"type": "translation", "translation": _corner(plate, field)}
    placed = {**dataset, "coordinateTransformations": [*dataset["coordinateTransformations"], corner]}
    return {**attributes, "multiscales": [{**multiscale, "datasets": [placed]}], "omero": display_metadata(info)}


def _corner(plate: Measurement, field: int) -> list[float]:
    """Where the first pixel of a field lies; positions are those of its middle."""
    places = zip(plate.positions[field], plate.shape[-2:], strict=True)
    return [0.0, 0.0, 0.0, *(place - (size - 1) / 2 * (plate.facts.pixel_size or 1.0) for place, size in places)]


def _info(plate: Measurement) -> PlateInfo:
    """The plate as the rest of the library knows it."""
    top = float(np.iinfo(plate.dtype).max) if np.issubdtype(plate.dtype, np.integer) else 1.0
    channels = [
        Channel(str(number), channel.name or str(number), "FFFFFF", (0.0, top))
        for number, channel in enumerate(plate.channels)
    ]
    return PlateInfo(
        plate.plate, plate.rows, plate.columns, len(plate.positions), plate.shape[0], tuple(channels),
        plate.facts.pixel_size, plate.shape[-2:], plate.dtype, plate.facts.z_step, plate.facts.time_step,
    )  # fmt: skip


def _store(raw: Path, plate: Measurement) -> Path:
    return raw / f"{plate.plate}.ome.zarr"


LAYOUT = Layout("ngff", write_field, write_index)
