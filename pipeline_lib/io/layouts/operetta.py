"""Operetta and Opera Phenix microscopes: folders as Harmony exports them, with an index of the schema HarmonyV5.

`Images/r02c03f01p01-ch1sk1fk1fl1.tiff`: row, column, field, plane and channel from 1, then the time point (`sk`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from itertools import chain, product
from pathlib import Path
from xml.sax.saxutils import escape

from pipeline_lib.core.manifest import ChannelFacts
from pipeline_lib.core.wells import row_column
from pipeline_lib.io.commit import committed
from pipeline_lib.io.layouts.base import Image, Layout, Measurement, write_plane

_HEAD = """\
\ufeff<?xml version="1.0" encoding="utf-8"?>
<EvaluationInputData xmlns:xsd="http://www.w3.org/2001/XMLSchema" \
xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" Version="1" xmlns="http://www.perkinelmer.com/PEHH/HarmonyV5">
"""
_Plane = tuple[str, int, int, int, int]
"""(well, field, time, z, channel), numbers from 0: in this order Harmony lists them."""


def write_field(raw: Path, plate: Measurement, well: str, field: int, image: Image) -> list[Path]:
    """One file per channel, time point and plane, in `Images`."""
    times, channels, planes, _, _ = plate.shape
    return [
        write_plane(
            raw / "Images" / _file_name((well, field, time, z, channel)),
            image[time, channel, z],
            plate.facts.pixel_size,
        )
        for channel, time, z in product(range(channels), range(times), range(planes))
    ]


def write_index(raw: Path, plate: Measurement) -> None:
    """`Images/Index.idx.xml`."""
    index = raw / "Images" / "Index.idx.xml"
    index.parent.mkdir(parents=True, exist_ok=True)
    lines = chain(_plate(plate), _wells(plate), _maps(plate), _images(plate), ["</EvaluationInputData>"])
    with committed(index) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.write(_HEAD)
        file.writelines(f"{line}\n" for line in lines)


def _file_name(plane: _Plane) -> str:
    well, field, time, z, channel = plane
    row, column = row_column(well)
    return f"r{row + 1:02d}c{column + 1:02d}f{field + 1:02d}p{z + 1:02d}-ch{channel + 1}sk{time + 1}fk1fl1.tiff"


def _image_id(plane: _Plane) -> str:
    well, field, time, z, channel = plane
    return f"{_well_id(well)}K{time + 1}F{field + 1}P{z + 1}R{channel + 1}"


def _well_id(well: str) -> str:
    row, column = row_column(well)
    return f"{row + 1:02d}{column + 1:02d}"


def _planes(plate: Measurement, wells: Iterable[str]) -> Iterator[_Plane]:
    times, channels, planes, _, _ = plate.shape
    yield from product(wells, range(len(plate.positions)), range(times), range(planes), range(channels))


def _element(name: str, value: object, unit: str | None = None) -> list[str]:
    """One line, or none for what is not known."""
    if value is None:
        return []
    written = repr(float(value)) if isinstance(value, float) else escape(str(value))
    attribute = "" if unit is None else f' Unit="{unit}"'
    return [f"      <{name}{attribute}>{written}</{name}>"]


def _plate(plate: Measurement) -> Iterator[str]:
    facts = plate.facts
    yield from _element("InstrumentType", facts.instrument)
    yield "  <Plates>"
    yield "    <Plate>"
    yield from _element("PlateID", plate.plate)
    yield from _element("MeasurementStartTime", facts.acquired)
    yield from _element("Name", plate.plate)
    yield from _element("PlateTypeName", facts.plate_type)
    yield from _element("PlateRows", plate.rows)
    yield from _element("PlateColumns", plate.columns)
    yield from (f'      <Well id="{_well_id(well)}" />' for well in plate.wells)
    yield "    </Plate>"
    yield "  </Plates>"


def _wells(plate: Measurement) -> Iterator[str]:
    yield "  <Wells>"
    for well in plate.wells:
        row, column = row_column(well)
        yield "    <Well>"
        yield from _element("id", _well_id(well))
        yield from _element("Row", row + 1)
        yield from _element("Col", column + 1)
        yield from (f'      <Image id="{_image_id(plane)}" />' for plane in _planes(plate, [well]))
        yield "    </Well>"
    yield "  </Wells>"


def _maps(plate: Measurement) -> Iterator[str]:
    """The flat-field profiles: none was found, in Harmony's words."""
    yield "  <Maps>"
    yield "    <Map>"
    for number, channel in enumerate(plate.channels, start=1):
        name = str(channel.name).replace('"', "'")
        profile = (
            "{Background: {Character: Null, Mean: NaN, Profile: {Type: Identity}, Quality: 0.25}, "
            f'Channel: {number}, ChannelName: "{name}", Version: Acapella:2013}}'
        )
        yield f'      <Entry ChannelID="{number}">'
        yield from _element("FlatfieldProfile", profile)
        yield "      </Entry>"
    yield "    </Map>"
    yield "  </Maps>"


def _images(plate: Measurement) -> Iterator[str]:
    yield "  <Images>"
    for plane in _planes(plate, plate.wells):
        yield '    <Image Version="1">'
        yield from _image(plate, plane)
        yield "    </Image>"
    yield "  </Images>"


def _image(plate: Measurement, plane: _Plane) -> Iterator[str]:
    well, field, time, z, channel = plane
    row, column = row_column(well)
    yield from _element("id", _image_id(plane))
    yield from _element("State", "Ok")
    yield from _element("URL", _file_name(plane))
    yield from _element("Row", row + 1)
    yield from _element("Col", column + 1)
    yield from _element("FieldID", field + 1)
    yield from _element("PlaneID", z + 1)
    yield from _element("TimepointID", time)
    yield from _element("ChannelID", channel + 1)
    yield from _element("FlimID", 1)
    yield from _channel(plate.channels[channel])
    yield from _optics(plate)
    yield from _place(plate, field, time, z)


def _channel(channel: ChannelFacts) -> Iterator[str]:
    exposure = None if channel.exposure_ms is None else channel.exposure_ms / 1e3
    yield from _element("ChannelName", channel.name)
    yield from _element("ImageType", "Signal")
    yield from _element("MainExcitationWavelength", channel.excitation_nm, "nm")
    yield from _element("MainEmissionWavelength", channel.emission_nm, "nm")
    yield from _element("ExposureTime", exposure, "s")


def _optics(plate: Measurement) -> Iterator[str]:
    facts, (height, width) = plate.facts, plate.shape[-2:]
    size = None if facts.pixel_size is None else facts.pixel_size / 1e6
    yield from _element("ImageResolutionX", size, "m")
    yield from _element("ImageResolutionY", size, "m")
    yield from _element("ImageSizeX", width)
    yield from _element("ImageSizeY", height)
    yield from _element("ObjectiveMagnification", facts.magnification, "")
    yield from _element("ObjectiveNA", facts.numerical_aperture, "")


def _place(plate: Measurement, field: int, time: int, z: int) -> Iterator[str]:
    """Where and when; Harmony's y grows upwards."""
    facts, (y, x) = plate.facts, plate.positions[field]
    offset = None if facts.time_step is None else time * facts.time_step
    yield from _element("PositionX", x / 1e6, "m")
    yield from _element("PositionY", -y / 1e6, "m")
    yield from _element("PositionZ", None if facts.z_step is None else z * facts.z_step / 1e6, "m")
    yield from _element("MeasurementTimeOffset", offset, "s")
    if facts.acquired is not None and offset is not None:
        yield from _element("AbsTime", (datetime.fromisoformat(facts.acquired) + timedelta(seconds=offset)).isoformat())


LAYOUT = Layout("operetta", write_field, write_index)
