"""Folders as the IN Cell Analyzer writes them: `A - 1(fld 1 wv DAPI - DAPI).tif` and an `.xdce` index beside.

`z 1` and `time 1 - 60000ms` are in the names of stacks and time series alone. The index has no word for the time zone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from pipeline_lib.core.manifest import ChannelFacts
from pipeline_lib.core.wells import row_column, well_name
from pipeline_lib.io.commit import committed
from pipeline_lib.io.layouts.base import Image, Layout, Measurement, write_plane


def write_field(raw: Path, plate: Measurement, well: str, field: int, image: Image) -> list[Path]:
    """One file per channel, time point and plane."""
    return [
        write_plane(raw / _file_name(plate, well, (field, *place)), image[time, channel, z], plate.facts.pixel_size)
        for place in _planes(plate)
        for channel, time, z in [place]
    ]


def write_index(raw: Path, plate: Measurement) -> None:
    """The index file, named after the plate."""
    root = Element("ImageStack", PlateID=plate.plate)
    _add(root, "Application", name=plate.facts.instrument)
    date, _, time = (plate.facts.acquired or "").partition("T")
    _add(root, "Creation", date=date, time=re.sub(r"(Z|[+-]\d{2}:\d{2})$", "", time))
    protocol = _add(root, "AutoLeadAcquisitionProtocol", name=plate.plate)
    _add_optics(protocol, plate)
    _add_plate(protocol, plate)
    images = _add(root, "Images", image_format="TIFF")
    for well, field in product(plate.wells, range(len(plate.positions))):
        for place in _planes(plate):
            _add_image(images, plate, well, (field, *place))
    ElementTree.indent(root)
    with committed(raw / f"{plate.plate}.xdce") as temporary:
        temporary.write_bytes(ElementTree.tostring(root, encoding="ISO-8859-1", xml_declaration=True))


def _planes(plate: Measurement) -> Iterator[tuple[int, int, int]]:
    """(channel, time, z) of every plane of a field."""
    times, channels, depth, _, _ = plate.shape
    return product(range(channels), range(times), range(depth))


def _add(parent: Element, tag: str, **values: object) -> Element:
    """An element with the attributes that have a value."""
    known = {
        name: value if isinstance(value, str) else repr(value) for name, value in values.items() if value is not None
    }
    return SubElement(parent, tag, known)


def _add_optics(protocol: Element, plate: Measurement) -> None:
    facts = plate.facts
    sizes = {f"pixel_{side}": facts.pixel_size for side in ("height", "width")}
    _add(
        protocol,
        "ObjectiveCalibration",
        magnification=facts.magnification,
        numerical_aperture=facts.numerical_aperture,
        unit="um",
        **sizes,
    )
    waves = _add(protocol, "Wavelengths")
    for number, channel in enumerate(plate.channels):
        wave = _add(waves, "Wavelength", index=number, imaging_mode="2-D")
        _add(wave, "ExcitationFilter", name=channel.name, unit="nm", wavelength=channel.excitation_nm)
        _add(wave, "EmissionFilter", name=channel.name, unit="nm", wavelength=channel.emission_nm)
        _add(wave, "Exposure", time=channel.exposure_ms, unit="ms")
    times, _, depth, _, _ = plate.shape
    _add(protocol, "TimeSchedule", enabled=str(times > 1).lower())
    _add(protocol, "ZDimensionParameters", number_of_slices=depth, z_step=facts.z_step)


def _add_plate(protocol: Element, plate: Measurement) -> None:
    """Offsets of fields have their y upwards, ours downwards."""
    holder = _add(protocol, "Plate", columns=plate.columns, name=plate.facts.plate_type, rows=plate.rows)
    _add(holder, "NamingColumns", begin="1", type="Number")
    _add(holder, "NamingRows", begin="A", type="Letter")
    offsets = _add(_add(protocol, "PlateMap"), "FieldOffsets")
    for number, (y, x) in enumerate(plate.positions):
        _add(offsets, "offset_point", index=number, x=float(x), y=-float(y))


def _add_image(images: Element, plate: Measurement, well: str, plane: tuple[int, int, int, int]) -> None:
    field, channel, time, z = plane
    image = _add(
        images, "Image", acquisition_time_ms=_milliseconds(plate, time), filename=_file_name(plate, well, plane)
    )
    row, column = row_column(well)
    place = _add(image, "Well", label=f"{well_name(row, column)[:-2]} - {column + 1}")
    _add(place, "Row", number=row + 1)
    _add(place, "Column", number=column + 1)
    _add(image, "Identifier", field_index=field, time_index=time, wave_index=channel, z_index=z)


def _milliseconds(plate: Measurement, time: int) -> float | None:
    """When a time point was taken; only its distance to others counts."""
    step = plate.facts.time_step
    return None if step is None else time * step * 1000


def _file_name(plate: Measurement, well: str, plane: tuple[int, int, int, int]) -> str:
    field, channel, time, z = plane
    times, _, depth, _, _ = plate.shape
    row, column = row_column(well)
    wave = _wave(plate.channels[channel], channel)
    name = f"{well_name(row, column)[:-2]} - {column + 1}(fld {field + 1} wv {wave} - {wave}"
    name += f" z {z + 1}" if depth > 1 else ""
    name += f" time {time + 1} - {round(_milliseconds(plate, time) or 0)}ms" if times > 1 else ""
    return f"{name}).tif"


def _wave(channel: ChannelFacts, number: int) -> str:
    """What the name of a file says of its channel: the name of the filter, as far as a file can be named so."""
    return re.sub(r"[^\w +.-]", "_", channel.name or str(number + 1))


LAYOUT = Layout("incell", write_field, write_index)
