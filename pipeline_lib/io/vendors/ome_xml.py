"""OME-XML, the index of an OME-TIFF plate: its plates, images and microscope, each as far as a plate needs it.

Every element is turned into a small record when it ends, so that an index of hundreds of megabytes can be read. Numbers
are checked here. What the schema says and is used:

- `Pixels` has the sizes and the order of planes: in `XYZCT` planes along Z follow each other, then C, then T.
- `TiffData` names planes: from (FirstC, FirstT, FirstZ) on, PlaneCount of them, in pages from IFD on of the file that
  its `UUID` names; without a `UUID` it is the file that the XML stands in. PlaneCount is 1 where an IFD is given. Else
  it is the number of pages of the file; as no image is opened, all planes up to those of the next `TiffData` are meant.
- Lengths are micrometres, wavelengths nanometres, times seconds, unless a unit is given. The schema of 2015 and later
  says that positions without a unit are in a `reference frame`, but files do mean micrometres; with that unit written
  out they tell no length.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from xml.etree.ElementTree import Element, ParseError, XMLPullParser

from pipeline_lib.core.manifest import ChannelFacts, Position
from pipeline_lib.core.wells import well_name
from pipeline_lib.io.markup import CHUNK, local_name
from pipeline_lib.io.pixel_sizes import MICROMETRES
from pipeline_lib.io.vendors.base import number_in

TAGS = ("Plate", "Instrument", "Image", "BinaryOnly")
LARGEST = 100_000
MOST_PLANES = 1_000_000  # of one image
MOST_PAGES = 100_000_000  # of one file
_LENGTHS = {**MICROMETRES, "pm": 1e-6, "dm": 1e5, "in": 25400.0}
_SECONDS = {"s": 1.0, "ms": 1e-3, "µs": 1e-6, "us": 1e-6, "ns": 1e-9, "min": 60.0, "h": 3600.0, "d": 86400.0}
_ORDERS = ("XYZCT", "XYZTC", "XYCTZ", "XYCZT", "XYTCZ", "XYTZC")


@dataclass(frozen=True, slots=True)
class Sample:
    """A field of a well. order: its place among those of the plate; image: "" where none was taken."""

    order: int
    image: str
    place: Position | None


@dataclass(frozen=True)
class Plate:
    """A plate. wells: name -> its fields in order, of the wells that have any."""

    name: str
    shape: tuple[int, int] | None
    wells: Mapping[str, tuple[Sample, ...]]
    runs: int
    """How many acquisitions its fields are of."""
    started: str | None


@dataclass(frozen=True, slots=True)
class Plane:
    """One plane of an image. file: as its `TiffData` names it, None: the file that the XML stands in."""

    channel: int
    time: int
    z: int
    file: str | None
    page: int


@dataclass(frozen=True)
class Image:
    """One image; lengths in micrometres, times in seconds."""

    planes: tuple[Plane, ...]
    channels: tuple[ChannelFacts, ...]
    pixel_size: float | None
    z_step: float | None
    time_step: float | None
    place: Position | None
    acquired: str | None
    objective: str
    instrument: str


@dataclass(frozen=True)
class Instrument:
    """A microscope. objectives: id -> (magnification, numerical aperture)."""

    name: str | None
    objectives: Mapping[str, tuple[float | None, float | None]]


@dataclass(frozen=True)
class Content:
    """All that one document says."""

    plates: tuple[Plate, ...]
    images: Mapping[str, Image]
    instruments: Mapping[str, Instrument]
    elsewhere: str
    """The file with the metadata, where this document only names it."""
    broken: Mapping[tuple[str, str], str]
    """(kind, id) of an element -> what is wrong with it."""


def read_content(elements: Iterable[Element]) -> Content:
    """What the elements named `TAGS` of a document say.

    Raises:
        ValueError: The document is not whole.
    """
    plates: list[Plate] = []
    images: dict[str, Image] = {}
    instruments: dict[str, Instrument] = {}
    elsewhere = ""
    broken: dict[tuple[str, str], str] = {}
    for element in elements:
        kind, key = local_name(element), element.get("ID", "")
        try:
            if kind == "BinaryOnly":
                elsewhere = element.get("MetadataFile", "")
            elif kind == "Plate":
                plates.append(_plate(element))
            elif kind == "Instrument":
                instruments[key] = _instrument(element)
            elif key in images:
                raise ValueError("there are two of this ID")
            elif (pixels := element.find("{*}Pixels")) is not None:  # others are notes of programs
                images[key] = _image(element, pixels)
        except ValueError as error:
            broken[kind, key] = str(error)
    return Content(tuple(plates), images, instruments, elsewhere, broken)


def elements_of(text: str) -> Iterator[Element]:
    """The elements named `TAGS` of a document, each whole, as `pipeline_lib.io.markup.elements` gives those of a file.

    Raises:
        ValueError: Not XML, cut off, or with a document type.
    """
    if "<!DOCTYPE" in text:
        raise ValueError("its XML has a document type (<!DOCTYPE ...>), which no microscope writes")
    parser: XMLPullParser[Any] = XMLPullParser(("start", "end"))
    opened: list[Element] = []
    try:
        for start in range(0, len(text), CHUNK):
            parser.feed(text[start : start + CHUNK])
            events: Iterator[Any] = parser.read_events()
            for event, element in events:
                if event == "start":
                    opened.append(element)
                    continue
                opened.pop()
                if local_name(element) in TAGS:
                    yield element
                    element.clear()
                    if opened:
                        opened[-1].remove(element)
        parser.close()
    except (ParseError, LookupError) as error:
        raise ValueError(f"its description is not whole XML: {error}") from error


def _plate(plate: Element) -> Plate:
    wells: dict[str, tuple[Sample, ...]] = {}
    for well in plate.findall("{*}Well"):
        name = well_name(_whole(well, "Row"), _whole(well, "Column"))
        if name in wells:
            raise ValueError(f"well {name} is listed twice")
        wells[name] = _samples(well)
    told = [_whole(plate, name, 0) for name in ("Rows", "Columns")]
    if all(told):
        well_name(told[0] - 1, told[1] - 1)  # no plate is larger
    runs = [run for run in plate.findall("{*}PlateAcquisition") if run.find("{*}WellSampleRef") is not None]
    starts = (_moment(run.get("StartTime")) for run in plate.findall("{*}PlateAcquisition"))
    return Plate(
        name=plate.get("Name", ""),
        shape=(told[0], told[1]) if all(told) else None,
        wells={name: samples for name, samples in wells.items() if samples},
        runs=len(runs),
        started=next((start for start in starts if start), None),
    )


def _samples(well: Element) -> tuple[Sample, ...]:
    found = []
    for number, sample in enumerate(well.findall("{*}WellSample")):
        image = sample.find("{*}ImageRef")
        key = "" if image is None else image.get("ID", "")
        if image is not None and not key:
            raise ValueError("an ImageRef has no ID")
        found.append(Sample(_whole(sample, "Index", number, MOST_PAGES), key, _place(sample)))
    return tuple(sorted(found, key=lambda one: one.order))


def _instrument(element: Element) -> Instrument:
    microscope = element.find("{*}Microscope")
    words = [] if microscope is None else [microscope.get(key, "").strip() for key in ("Manufacturer", "Model")]
    objectives = {
        one.get("ID", ""): (_positive(one, "NominalMagnification"), _positive(one, "LensNA"))
        for one in element.findall("{*}Objective")
    }
    return Instrument(" ".join(filter(None, words)) or None, objectives)


def _image(image: Element, pixels: Element) -> Image:
    settings = image.find("{*}ObjectiveSettings")
    microscope = image.find("{*}InstrumentRef")
    planes = pixels.findall("{*}Plane")
    y, x = (_length(pixels, f"PhysicalSize{axis}") for axis in "YX")
    places = filter(None, map(_place, planes))
    return Image(
        planes=tuple(_planes(pixels)),
        channels=_channels(pixels, planes),
        pixel_size=x if x and y and abs(x - y) <= 1e-3 * x else None,
        z_step=_length(pixels, "PhysicalSizeZ"),
        time_step=_duration(pixels, "TimeIncrement") or _interval(planes),
        place=next(places, None),
        acquired=_moment(image.findtext("{*}AcquisitionDate")),
        objective="" if settings is None else settings.get("ID", ""),
        instrument="" if microscope is None else microscope.get("ID", ""),
    )


def _channels(pixels: Element, planes: list[Element]) -> tuple[ChannelFacts, ...]:
    """What is said of each channel, in their order; exposures are those of its first plane that has one."""
    exposures: dict[int, float] = {}
    for plane in planes:
        channel = _whole(plane, "TheC")
        if channel not in exposures and (seconds := _duration(plane, "ExposureTime")):
            exposures[channel] = round(seconds * 1e3, 9)
    found = []
    for number, described in enumerate(pixels.findall("{*}Channel")):
        if _whole(described, "SamplesPerPixel", 1) > 1:
            raise ValueError("it is a colour image (SamplesPerPixel above 1); grey planes are expected")
        waves = [_length(described, f"{kind}Wavelength", "nm") for kind in ("Excitation", "Emission")]
        excitation, emission = (wave and round(wave * 1e3, 6) for wave in waves)
        found.append(ChannelFacts(described.get("Name") or None, excitation, emission, exposures.get(number)))
    return tuple(found) or tuple(ChannelFacts(exposure_ms=exposures[one]) for one in sorted(exposures))


def _planes(pixels: Element) -> Iterator[Plane]:
    """The planes that files hold, as the `TiffData` tell."""
    order = pixels.get("DimensionOrder", "XYZCT")
    if order not in _ORDERS:
        raise ValueError(f"DimensionOrder is {order!r}, and should be one of {', '.join(_ORDERS)}")
    sizes = {axis: _whole(pixels, f"Size{axis}", 1) for axis in "CTZ"}
    total = math.prod(sizes.values())
    if not 0 < total <= MOST_PLANES:
        raise ValueError(f"it has {total} planes; 1 to {MOST_PLANES:,} are expected")
    if pixels.find("{*}BinData") is not None:
        raise ValueError("its pixels stand in the XML (BinData); TIFF files are read")
    steps = {order[2]: 1, order[3]: sizes[order[2]], order[4]: sizes[order[2]] * sizes[order[3]]}
    parts = [(_first(part, sizes, steps), part) for part in pixels.findall("{*}TiffData")]
    starts = sorted(start for start, _ in parts)
    for start, part in parts:
        page = _whole(part, "IFD", 0, MOST_PAGES)
        until = starts[bisect_right(starts, start)] if bisect_right(starts, start) < len(starts) else total
        count = _whole(part, "PlaneCount", 1 if part.get("IFD") else until - start)
        if start + count > total:
            raise ValueError(f"a TiffData holds the planes {start} to {start + count - 1} of {total}")
        name = _file_name(part)
        for offset in range(count):
            c, t, z = ((start + offset) // steps[axis] % sizes[axis] for axis in "CTZ")
            yield Plane(c, t, z, name, page + offset)


def _first(part: Element, sizes: Mapping[str, int], steps: Mapping[str, int]) -> int:
    """Which plane of the image a `TiffData` begins with, counted in the order of its dimensions."""
    numbers = {axis: _whole(part, f"First{axis}", 0) for axis in "CTZ"}
    beyond = [f"First{axis} {number} of {sizes[axis]}" for axis, number in numbers.items() if number >= sizes[axis]]
    if beyond:
        raise ValueError(f"a TiffData begins beyond the image: {', '.join(beyond)}")
    return sum(number * steps[axis] for axis, number in numbers.items())


def _file_name(part: Element) -> str | None:
    unique = part.find("{*}UUID")
    if unique is None:
        return None
    if not unique.get("FileName"):
        raise ValueError("a UUID has no FileName: it cannot be told which file is meant")
    return unique.get("FileName")


def _interval(planes: list[Element]) -> float | None:
    """Seconds between time points, by the moments (DeltaT) of planes of the first channel and lowest z."""
    moments = {
        _whole(plane, "TheT"): seconds
        for plane in planes
        if plane.get("TheC") == plane.get("TheZ") == "0" and (seconds := _duration(plane, "DeltaT")) is not None
    }
    if len(moments) < 2:
        return None
    first, last = min(moments), max(moments)
    step = (moments[last] - moments[first]) / (last - first)
    return round(step, 6) if step > 0 else None


def _place(element: Element) -> Position | None:
    y, x = (_converted(element, f"Position{axis}", _LENGTHS, "µm") for axis in "YX")
    return None if y is None or x is None else (y, x)


def _length(element: Element, name: str, unit: str = "µm") -> float | None:
    """In micrometres. 0 stands for a length nobody knows."""
    return _not_negative(element, name, _converted(element, name, _LENGTHS, unit)) or None


def _duration(element: Element, name: str) -> float | None:
    """In seconds."""
    return _not_negative(element, name, _converted(element, name, _SECONDS, "s"))


def _positive(element: Element, name: str) -> float | None:
    return _not_negative(element, name, _real(element, name)) or None


def _not_negative(element: Element, name: str, number: float | None) -> float | None:
    if number is not None and number < 0:
        raise ValueError(f"{name} is {element.get(name)!r}, and cannot be negative")
    return number


def _converted(element: Element, name: str, units: Mapping[str, float], unit: str) -> float | None:
    """A number with a unit of its own; None without a number, or where the unit is none of `units`."""
    number = _real(element, name)
    given = element.get(f"{name}Unit", unit)
    scale = units.get(given, units.get(given.lower()))
    if number is None or scale is None:
        return None
    return number if scale == 1.0 else round(number * scale, 9)


def _real(element: Element, name: str) -> float | None:
    text = element.get(name)
    if text is None:
        return None
    number = number_in(text)
    if not abs(number) < 1e12:  # NaN is not
        raise ValueError(f"{name} is {text[:40]!r}, and should be a number")
    return number


def _whole(element: Element, name: str, otherwise: int | None = None, largest: int = LARGEST) -> int:
    """A whole number from 0 to `largest`; `otherwise` where it is not given, which without one is a fault."""
    text = element.get(name)
    if text is None and otherwise is not None:
        return otherwise
    number = int(text) if text is not None and len(text) < 12 and text.strip().isdecimal() else -1
    if not 0 <= number <= largest:
        told = "missing" if text is None else repr(text[:40])
        raise ValueError(f"{name} of a {local_name(element)} is {told}: a whole number 0 to {largest:,} is expected")
    return number


def _moment(text: str | None) -> str | None:
    """A date and time as it is written; None where it is none."""
    try:
        datetime.fromisoformat((text or "").strip())
    except ValueError:
        return None
    return (text or "").strip()
