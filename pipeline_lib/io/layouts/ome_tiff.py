"""OME-TIFF as a companion set: one file for each channel of a field, and `<plate>.companion.ome` with all metadata.

Each TIFF file names the companion file, and nothing else. Its pages are time points, and z planes within those.
"""

from __future__ import annotations

from itertools import product
from pathlib import Path
from uuid import NAMESPACE_URL, uuid5
from xml.etree.ElementTree import Element, SubElement, indent, tostring

import numpy as np
import tifffile

from pipeline_lib.core.manifest import ChannelFacts
from pipeline_lib.core.wells import row_column
from pipeline_lib.io.commit import committed
from pipeline_lib.io.layouts.base import Image, Layout, Measurement

_SCHEMA = "http://www.openmicroscopy.org/Schemas/OME/2016-06"
_MICROMETRES = {"PositionXUnit": "µm", "PositionYUnit": "µm"}


def write_field(raw: Path, plate: Measurement, well: str, field: int, image: Image) -> list[Path]:
    """One file per channel."""
    raw.mkdir(parents=True, exist_ok=True)
    height, width = image.shape[-2:]
    written = []
    for channel in range(image.shape[1]):
        path = raw / _name(well, field, channel)
        pages = np.ascontiguousarray(image[:, channel]).reshape(-1, height, width)
        with committed(path) as temporary, tifffile.TiffWriter(temporary) as tif:
            for number, page in enumerate(pages):
                told = _refers(plate, path.name) if not number else None
                tif.write(page, description=told, metadata=None, contiguous=False)
        written.append(path)
    return written


def write_index(raw: Path, plate: Measurement) -> None:
    """The companion file."""
    ome = _root(_unique(f"{plate.plate}.companion.ome"))
    _describe_plate(ome, plate)
    _describe_microscope(ome, plate)
    for well, field in product(plate.wells, range(len(plate.positions))):
        _describe_image(ome, plate, well, field)
    with committed(raw / f"{plate.plate}.companion.ome") as temporary:
        temporary.write_bytes(_text(ome))


def _describe_plate(ome: Element, plate: Measurement) -> None:
    described = _child(
        ome, "Plate", ID="Plate:0", Name=plate.plate, Rows=str(plate.rows), Columns=str(plate.columns),
        RowNamingConvention="letter", ColumnNamingConvention="number",
    )  # fmt: skip
    samples = []
    for number, well in enumerate(plate.wells):
        row, column = row_column(well)
        group = _child(described, "Well", ID=f"Well:0:{number}", Row=str(row), Column=str(column))
        for field, (y, x) in enumerate(plate.positions):
            key = f"WellSample:0:{number}:{field}"
            samples.append(key)
            index = str(number * len(plate.positions) + field)
            sample = _child(group, "WellSample", ID=key, Index=index, PositionX=x, PositionY=y, **_MICROMETRES)
            _child(sample, "ImageRef", ID=_image_id(well, field))
    run = _child(described, "PlateAcquisition", ID="PlateAcquisition:0", StartTime=plate.facts.acquired)
    for key in samples:
        _child(run, "WellSampleRef", ID=key)


def _describe_microscope(ome: Element, plate: Measurement) -> None:
    instrument = _child(ome, "Instrument", ID="Instrument:0")
    _child(instrument, "Microscope", Model=plate.facts.instrument)
    lens = (plate.facts.magnification, plate.facts.numerical_aperture)
    _child(instrument, "Objective", ID="Objective:0:0", NominalMagnification=lens[0], LensNA=lens[1])


def _describe_image(ome: Element, plate: Measurement, well: str, field: int) -> None:
    times, channels, planes, height, width = plate.shape
    image = _child(ome, "Image", ID=_image_id(well, field), Name=f"{well} field {field + 1}")
    if plate.facts.acquired is not None:
        _child(image, "AcquisitionDate").text = plate.facts.acquired
    _child(image, "InstrumentRef", ID="Instrument:0")
    _child(image, "ObjectiveSettings", ID="Objective:0:0")
    facts = plate.facts
    pixels = _child(
        image, "Pixels", ID=_image_id(well, field).replace("Image", "Pixels"), DimensionOrder="XYZTC",
        Type=plate.dtype.replace("float32", "float"), SizeX=str(width), SizeY=str(height), SizeZ=str(planes),
        SizeC=str(channels), SizeT=str(times),
        PhysicalSizeX=facts.pixel_size, PhysicalSizeY=facts.pixel_size, PhysicalSizeZ=facts.z_step,
        TimeIncrement=facts.time_step,
    )  # fmt: skip
    for number, channel in enumerate(plate.channels):
        _describe_channel(pixels, f"Channel:{well}:{field}:{number}", channel)
    for number in range(channels):
        name = _name(well, field, number)
        part = _child(pixels, "TiffData", FirstC=str(number), IFD="0", PlaneCount=str(times * planes))
        _child(part, "UUID", FileName=name).text = _unique(name)
    y, x = plate.positions[field]
    for c, t, z in product(range(channels), range(times), range(planes)):
        _child(
            pixels, "Plane", TheC=str(c), TheT=str(t), TheZ=str(z), PositionX=x, PositionY=y, **_MICROMETRES,
            ExposureTime=plate.channels[c].exposure_ms, ExposureTimeUnit="ms",
            DeltaT=None if facts.time_step is None else facts.time_step * t,
        )  # fmt: skip


def _describe_channel(pixels: Element, key: str, facts: ChannelFacts) -> None:
    waves = (facts.excitation_nm, facts.emission_nm)
    _child(
        pixels, "Channel", ID=key, Name=facts.name, SamplesPerPixel="1", ExcitationWavelength=waves[0],
        EmissionWavelength=waves[1],
    )  # fmt: skip


def _child(parent: Element, tag: str, **facts: str | float | None) -> Element:
    """A new element with the attributes that are known; numbers are written so that they come back as they are."""
    known = {key: fact if isinstance(fact, str) else repr(fact) for key, fact in facts.items() if fact is not None}
    return SubElement(parent, tag, known)


def _refers(plate: Measurement, name: str) -> bytes:
    """The XML of a file that leaves all metadata to the companion."""
    ome = _root(_unique(name))
    companion = f"{plate.plate}.companion.ome"
    _child(ome, "BinaryOnly", MetadataFile=companion, UUID=_unique(companion))
    return _text(ome)


def _root(unique: str) -> Element:
    return Element("OME", {"xmlns": _SCHEMA, "UUID": unique, "Creator": "Wellpose"})


def _text(ome: Element) -> bytes:
    indent(ome, " ")
    text: bytes = tostring(ome, encoding="UTF-8", xml_declaration=True)
    return text


def _unique(name: str) -> str:
    """An id for a file, the same each time."""
    return f"urn:uuid:{uuid5(NAMESPACE_URL, name)}"


def _image_id(well: str, field: int) -> str:
    return f"Image:{well}:{field}"


def _name(well: str, field: int, channel: int) -> str:
    return f"{well}_F{field + 1}_C{channel}.ome.tif"


LAYOUT = Layout("ome-tiff", write_field, write_index)
