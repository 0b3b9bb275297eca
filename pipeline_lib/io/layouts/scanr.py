"""Folders as ScanR writes them: `data/B3--W00015--P00001--Z00000--T00000--DAPI.tif` and `experiment_descriptor.xml`.

The names of the values in the descriptor are those that the reader knows; most of them are documented nowhere.
"""

from __future__ import annotations

import re
from itertools import product
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from pipeline_lib.core.wells import row_column, well_name
from pipeline_lib.io.commit import committed
from pipeline_lib.io.layouts.base import Image, Layout, Measurement, write_plane

_KINDS = {int: "I32", float: "DBL", str: "String"}


def write_field(raw: Path, plate: Measurement, well: str, field: int, image: Image) -> list[Path]:
    """One file per channel, time point and plane."""
    times, channels, depth, _, _ = plate.shape
    row, column = row_column(well)
    name = f"{well_name(row, column)[:-2]}{column + 1}--W{row * plate.columns + column + 1:05}--P{field + 1:05}"
    return [
        write_plane(
            raw / "data" / f"{name}--Z{z:05}--T{time:05}--{_channel(plate, channel)}.tif", image[time, channel, z]
        )
        for channel, time, z in product(range(channels), range(times), range(depth))
    ]


def write_index(raw: Path, plate: Measurement) -> None:
    """The descriptor: clusters of named values."""
    root = Element("LVData", xmlns="http://www.ni.com/LVData")
    experiment = _cluster(root, "experiment description", {"conversion factor um/pixel": plate.facts.pixel_size})
    _cluster(
        experiment,
        "well plate",
        {"plate type": plate.facts.plate_type, "Rows": plate.rows, "Columns": plate.columns},
    )
    for number, channel in enumerate(plate.channels):
        _cluster(
            experiment, "channel", {"name": _channel(plate, number), "exposure time": channel.exposure_ms, "idle": 0}
        )
    step = plate.facts.time_step
    _cluster(experiment, "z-stack", {"z step [um]": plate.facts.z_step})
    _cluster(experiment, "timeloop", {"timeloop delay [ms]": None if step is None else step * 1000})
    ElementTree.indent(root)
    with committed(raw / "experiment_descriptor.xml") as temporary:
        temporary.write_bytes(ElementTree.tostring(root, encoding="utf-8", xml_declaration=True))


def _channel(plate: Measurement, number: int) -> str:
    """What the name of a file says of its channel."""
    return re.sub(r"[^\w +.-]", "_", plate.channels[number].name or f"channel{number + 1}")


def _cluster(parent: Element, name: str, values: dict[str, float | int | str | None]) -> Element:
    """A cluster of those values that are known."""
    known = {key: value for key, value in values.items() if value is not None}
    cluster = SubElement(parent, "Cluster")
    SubElement(cluster, "Name").text = name
    SubElement(cluster, "NumElts").text = str(len(known))
    for key, value in known.items():
        item = SubElement(cluster, _KINDS[type(value)])
        SubElement(item, "Name").text = key
        SubElement(item, "Val").text = value if isinstance(value, str) else repr(value)
    return cluster


LAYOUT = Layout("scanr", write_field, write_index)
