"""IN Cell Analyzer microscopes (GE, Cytiva): TIFF files and beside them their index, an `.xdce` file.

What is known of the index, an XML file with the root `ImageStack`:

- Each `Image` has a `filename`, a `Well` with the numbers of its `Row` and `Column` from 1, and an `Identifier` with
  `field_index`, `time_index`, `wave_index` and `z_index` from 0 (file names count them from 1). `acquisition_time_ms`
  is when it was taken. MetaXpress writes the same index beside files of other names, so names are never read.
- `Wavelength` (or `WavelengthPair`) has filters for excitation and emission, each with a name and a wavelength in
  nanometres, and an exposure. The name of a channel is that of its emission filter, `DAPI` of `UV - DAPI`; where two
  channels share it, both names. Single images repeat them, which is used where there is no `Wavelength`.
- `offset_point` is the place of a field from the middle of its well, in micrometres. Its y grows upwards: the fields
  fit together only after y is turned (found on stitched images, ome/bioformats pull request 3486), as is done here.
- `Creation` has date and time by the clock of the microscope. The unit and sign of its `timezoneoffset` are documented
  nowhere, so the time is given without a zone.

The index has no word for images that failed, and flat fields lie in files of the vendor's own.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TypeVar
from xml.etree.ElementTree import Element

from pipeline_lib.core.manifest import ChannelFacts, ImageFile, PlateFacts, Position
from pipeline_lib.core.wells import parse_well, row_column, well_name
from pipeline_lib.io.markup import elements, local_name
from pipeline_lib.io.pixel_sizes import MICROMETRES
from pipeline_lib.io.vendors.base import Listing, Reader, Scan, beside, number_in, only_index, refuse

T = TypeVar("T")

_WAVES = ("Wavelength", "WavelengthPair")
_DEPTHS = ("ZDimensionParameters", "ZSlice")
_HEAD = ("Application", "Creation", "ObjectiveCalibration", "Plate", "offset_point", *_WAVES, *_DEPTHS)
_MICROMETRES = {"": 1.0, **MICROMETRES}
_MILLISECONDS = {"": 1.0, "ms": 1.0, "s": 1e3, "us": 1e-3, "µs": 1e-3}
_MOST = 100_000  # fields, planes, time points
_LARGEST = 1e9  # of any measure: in micrometres a kilometre, in milliseconds eleven days


@dataclass(frozen=True)
class _Told:
    """One element: its attributes, and those of the first child of each name."""

    tag: str
    values: Mapping[str, str]
    parts: Mapping[str, Mapping[str, str]]


@dataclass(frozen=True)
class _Index:
    """What an index file says, not yet understood but for its images."""

    head: tuple[_Told, ...]
    files: tuple[ImageFile, ...]
    optics: Mapping[str, _Told]
    """Channel -> the first of its images."""
    times: Mapping[int, float]
    """Time index -> when one field was taken in one channel and plane, in milliseconds."""
    faults: tuple[str, ...]

    def of(self, *tags: str) -> tuple[_Told, ...]:
        """The elements of these names, in the order of the file."""
        return tuple(told for told in self.head if told.tag in tags)


def scan(folder: Path, listing: Listing, pattern: str) -> Scan:  # noqa: ARG001 - the index names the files
    """What the index of one plate says. `pattern` is not used.

    Raises:
        ValueError: No index file or several, damaged XML, or entries that cannot be right.
        OSError: The index cannot be read.
    """
    path = only_index(folder, listing.ending(".xdce"))
    index = _read(folder, path)
    shape, no_shape = _attempt(lambda: _shape(index))
    facts, no_facts = _attempt(lambda: _facts(index))
    channels, no_channels = _attempt(lambda: _channels(index))
    places, no_places = _attempt(lambda: _places(index))
    _refuse(path, (*index.faults, *_doubles(index.files), *no_shape, *no_facts, *no_channels, *no_places))
    wells = tuple(sorted({file.well for file in index.files}, key=row_column))
    return Scan(
        index.files,
        shape=shape,
        selected=wells,
        channels=channels or {},
        facts=facts or PlateFacts(),
        positions=dict.fromkeys(wells, places) if places else {},
    )


def _read(folder: Path, path: str) -> _Index:
    """Go through the index once; of each image only its `ImageFile` is kept, for there may be a million."""
    head: list[_Told] = []
    files: list[ImageFile] = []
    optics: dict[str, _Told] = {}
    times: dict[int, float] = {}
    faults: list[str] = []
    for element in elements(folder / path, "Image", *_HEAD):
        if local_name(element) != "Image":
            head.append(_told(element))
            continue
        try:
            file = _image_file(path, element)
            taken = _number(element.attrib, "acquisition_time_ms")
        except ValueError as error:
            faults.append(f"image {len(files) + len(faults) + 1} ({_cut(element.get('filename', ''))}): {error}")
            continue
        files.append(file)
        if file.channel not in optics:
            optics[file.channel] = _told(element)
        if taken is not None and _series(file) == _series(files[0]):
            times[file.time] = taken
    if not files and not faults:
        faults.append("there is not one <Image>")
    return _Index(tuple(head), tuple(files), optics, times, tuple(faults))


def _series(file: ImageFile) -> tuple[str, int, str, int]:
    return file.well, file.field, file.channel, file.z


def _told(element: Element) -> _Told:
    parts = {name: child.attrib for name, child in _children(element).items()}
    return _Told(local_name(element), dict(element.attrib), parts)


def _image_file(path: str, element: Element) -> ImageFile:
    name = element.get("filename", "")
    if not name.lower().endswith((".tif", ".tiff")):
        raise ValueError(f"the file name {_cut(name)} is not that of a TIFF file; other images are not read")
    parts = _children(element)
    place = parts["Identifier"].attrib if "Identifier" in parts else {}
    return ImageFile(
        well=_well(parts.get("Well")),
        field=_count(place, "field_index"),
        channel=str(_count(place, "wave_index")),
        time=_count(place, "time_index"),
        z=_count(place, "z_index"),
        path=beside(path, name),
    )


def _well(element: Element | None) -> str:
    """By its numbers; by its label, such as `B - 3`, where there are none."""
    if element is None:
        raise ValueError("it has no <Well>")
    parts = _children(element)
    if "Row" in parts and "Column" in parts:
        row, column = (_count(parts[name].attrib, "number") for name in ("Row", "Column"))
        return well_name(row - 1, column - 1)
    return parse_well(re.sub(r"\s*-\s*", "", element.get("label", ""))[:20])


def _children(element: Element) -> dict[str, Element]:
    """The first child of each name."""
    return {local_name(child): child for child in reversed(element)}


def _doubles(files: Iterable[ImageFile]) -> list[str]:
    """Planes with several entries, and files that several planes claim."""
    planes: dict[tuple[str, int, str, int, int], str] = {}
    owners: dict[str, str] = {}
    faults = []
    for file in files:
        plane = (file.well, file.field, file.channel, file.time, file.z)
        words = f"well {plane[0]}, field {plane[1]}, wave {plane[2]}, time {plane[3]}, z {plane[4]}"
        if plane in planes:
            faults.append(f"{words} is both {_cut(planes[plane])} and {_cut(file.path)}")
        elif file.path in owners:
            faults.append(f"{_cut(file.path)} is both {owners[file.path]} and {words}")
        planes[plane] = file.path
        owners[file.path] = words
    return faults


def _shape(index: _Index) -> tuple[int, int] | None:
    """(rows, columns) of the plate."""
    for told in index.of("Plate"):
        if "rows" in told.values and "columns" in told.values:
            rows, columns = _count(told.values, "rows"), _count(told.values, "columns")
            well_name(rows - 1, columns - 1)
            return rows, columns
    return None


def _facts(index: _Index) -> PlateFacts:
    lens = _first(index.of("ObjectiveCalibration"))
    return PlateFacts(
        pixel_size=_pixel_size(lens),
        z_step=_z_step(index.of(*_DEPTHS)),
        time_step=_time_step(index.times),
        magnification=_positive(lens, "magnification"),
        numerical_aperture=_positive(lens, "numerical_aperture"),
        plate_type=_first(index.of("Plate")).get("name") or None,
        acquired=_acquired(_first(index.of("Creation"))),
        instrument=_first(index.of("Application")).get("name") or None,
    )


def _first(found: tuple[_Told, ...]) -> Mapping[str, str]:
    return found[0].values if found else {}


def _pixel_size(lens: Mapping[str, str]) -> float | None:
    """None too where pixels are not square, or their unit is not known."""
    width, height = _positive(lens, "pixel_width"), _positive(lens, "pixel_height")
    scale = _MICROMETRES.get(lens.get("unit", "").strip().lower())
    if not width or not height or not scale or abs(width - height) > 1e-3 * width:
        return None
    return round(width * scale, 9)


def _z_step(depths: tuple[_Told, ...]) -> float | None:
    """Size of the step; the index has one for single planes too, where it means nothing."""
    for told in depths:
        step = _number(told.values, "z_step")
        if step and told.values.get("number_of_slices", "").strip() != "1":
            return abs(step)
    return None


def _time_step(times: Mapping[int, float]) -> float | None:
    """Seconds, on the mean, between the time points of one field; None where they do not follow each other."""
    if len(times) < 2:
        return None
    first, last = min(times), max(times)
    step = round((times[last] - times[first]) / (last - first) / 1000, 9)
    return step if step > 0 else None


def _acquired(creation: Mapping[str, str]) -> str | None:
    """ISO 8601, without a zone; None where date or time are written in another way."""
    text = f"{creation.get('date', '').strip()}T{creation.get('time', '').strip()}"
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return None
    return text


def _channels(index: _Index) -> dict[str, ChannelFacts]:
    """Channel -> its facts, for the channels that have images."""
    waves: dict[str, _Told] = {}
    for number, told in enumerate(index.of(*_WAVES)):
        waves.setdefault(str(_count(told.values, "index")) if "index" in told.values else str(number), told)
    parts = {
        channel: {**image.parts, **(waves[channel].parts if channel in waves else {})}
        for channel, image in sorted(index.optics.items())
    }
    shared = Counter(_filter(told, "EmissionFilter") for told in parts.values())
    return {
        channel: ChannelFacts(
            name=_channel_name(told, shared),
            excitation_nm=_wavelength(told.get("ExcitationFilter", {})),
            emission_nm=_wavelength(told.get("EmissionFilter", {})),
            exposure_ms=_exposure(told.get("Exposure", {})),
        )
        for channel, told in parts.items()
    }


def _filter(parts: Mapping[str, Mapping[str, str]], which: str) -> str:
    return parts.get(which, {}).get("name", "").strip()


def _channel_name(parts: Mapping[str, Mapping[str, str]], shared: Mapping[str, int]) -> str | None:
    excitation, emission = _filter(parts, "ExcitationFilter"), _filter(parts, "EmissionFilter")
    if excitation and emission and shared[emission] > 1:
        return f"{excitation} - {emission}"
    return emission or excitation or None


def _wavelength(values: Mapping[str, str]) -> float | None:
    """Nanometres; None for a word in its place, as transmitted light may have."""
    return _positive(values, "wavelength") if re.search("[0-9]", values.get("wavelength", "")) else None


def _exposure(values: Mapping[str, str]) -> float | None:
    """Milliseconds."""
    time, scale = _positive(values, "time"), _MILLISECONDS.get(values.get("unit", "").strip().lower())
    return None if time is None or scale is None else round(time * scale, 9)


def _places(index: _Index) -> dict[int, Position]:
    """Field -> (y, x) from the middle of its well, in micrometres, y downwards. Empty where two entries disagree."""
    places: dict[int, Position] = {}
    for told in index.of("offset_point"):
        number, y, x = _count(told.values, "index"), _number(told.values, "y"), _number(told.values, "x")
        if y is None or x is None:
            raise ValueError(f"the offset_point {number} lacks x or y")
        scale = _MICROMETRES.get(told.values.get("unit", "").strip().lower())
        place = None if scale is None else (round(-y * scale, 9) + 0.0, round(x * scale, 9))  # no -0.0
        if place is None or places.get(number, place) != place:
            return {}
        places[number] = place
    return places


def _count(values: Mapping[str, str], name: str) -> int:
    text = values.get(name, "").strip()
    if not (text.isascii() and text.isdecimal() and len(text) <= 6) or int(text) > _MOST:
        found = f"is {_cut(text)}" if name in values else "is missing"
        raise ValueError(f"{name} {found}; a whole number from 0 to {_MOST} is expected")
    return int(text)


def _number(values: Mapping[str, str], name: str) -> float | None:
    """None where the attribute is missing or empty."""
    text = values.get(name, "").strip()
    if not text:
        return None
    number = number_in(text)
    if not abs(number) <= _LARGEST:  # also for what is not a number
        raise ValueError(f"{name} is {_cut(text)}; a number between -{_LARGEST:g} and {_LARGEST:g} is expected")
    return number


def _positive(values: Mapping[str, str], name: str) -> float | None:
    """None also for 0, which is written where there is nothing to say."""
    number = _number(values, name)
    if number is not None and number < 0:
        raise ValueError(f"{name} is {number:g}; a positive number is expected")
    return number or None


def _cut(text: str) -> str:
    return repr(text if len(text) <= 80 else f"{text[:80]}...")


def _attempt(make: Callable[[], T]) -> tuple[T | None, tuple[str, ...]]:
    """(what `make` gives, no fault), or (None, what is wrong)."""
    try:
        return make(), ()
    except ValueError as error:
        return None, (str(error),)


def _refuse(path: str, faults: tuple[str, ...]) -> None:
    refuse(
        f"{path}: {len(faults)} entries of this index cannot be right. Copy it from the microscope's computer again, "
        "or export the plate anew:",
        faults,
    )


def recognises(listing: Listing) -> bool:
    """An index file."""
    return bool(listing.ending(".xdce"))


READER = Reader(scan, recognises, expects="an index file .xdce and the TIFF files that it names")
