"""Operetta, Opera Phenix and Sonata microscopes: the measurements Harmony exports.

All that is known comes from the index, an XML file `Index.idx.xml` (`Index.xml` in newer exports) beside the
images, in `Images`, or in the folder above them. Up to the schema HarmonyV5 each `<Image>` says everything of itself;
from HarmonyV6 on, what the images of a channel share stands once, in `<Maps><Map><Entry ChannelID="...">`. A fact is
looked for in the image and then in the entries of its channel, so both kinds are read, whatever name space they have.

Rows and columns count from 1. A position is the middle of a field seen from the middle of its well, with y upwards.
Where planes would be double, the id of the lifetime gate (`FlimID`) or of the sequence (`SequenceID`, HarmonyV7) joins
the id of the channel: `1fl2`, `1sq2`.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import NamedTuple, TypeVar
from xml.etree.ElementTree import Element

from pipeline_lib.core.manifest import ImageFile, PlateFacts, Position
from pipeline_lib.core.wells import PLATE_FORMATS, well_name
from pipeline_lib.io.markup import attributes, child_text, elements, local_name
from pipeline_lib.io.vendors.base import Listing, Reader, Scan, beside, only_index, refuse
from pipeline_lib.io.vendors.harmony import (
    MICROMETRES,
    SECONDS,
    Told,
    channel_facts,
    channel_profile,
    number_of,
    optics,
    quantity,
    text,
    told_of,
    whole,
)

INDEXES = ("Index.idx.xml", "Index.xml", "Index.ref.xml")
"""Names of index files; the first of them that a folder holds counts."""
_IMAGE_NAME = re.compile(r"(?:.*/)?r[0-9]+c[0-9]+f[0-9]+p[0-9]+-[^/]*\.tiff?", re.IGNORECASE)
_MOST_ROWS, _MOST_COLUMNS = PLATE_FORMATS[1536]
_SHOWN = 3
_STEP_DIGITS = 6  # the stage is told its place to a nanometre
_WIDEST = 60  # characters of a text that is wrong


class _Plate(NamedTuple):
    """The measurement as a whole."""

    wells: tuple[str, ...]
    shape: tuple[int, int] | None
    plate_type: str | None
    acquired: str | None


@dataclass(frozen=True, slots=True)
class _Image:
    """One `<Image>`; lengths in micrometres, y downwards."""

    well: str
    field: int
    time: int
    plane: int
    channel: str
    id: str
    """The channel's id, with more where planes would be double."""
    flim: int
    sequence: int
    path: str
    """"": the microscope failed before it had a file."""
    page: int | None
    place: Position | None
    height: float | None
    offset: float | None
    """Seconds since the measurement began."""
    kind: str
    state: str


@dataclass(frozen=True)
class _Index:
    """The part of an index that is used."""

    plates: tuple[_Plate, ...]
    instrument: str | None
    images: tuple[_Image, ...]
    channels: Mapping[str, Told]
    """What the first image of a channel and its entries say."""


def scan(folder: Path, listing: Listing, pattern: str) -> Scan:  # noqa: ARG001 - the index names the files
    """The images of one measurement, as its index lists them. `pattern` is not used.

    Raises:
        ValueError: No index or several, it is damaged, or it does not say which plane an image is; the first faults
            are told.
        OSError: The index cannot be read.
    """
    path = only_index(folder, _indexes(listing))
    index = _read(folder / path, path)
    images = _told_apart(path, index.images)
    channels = {image.id: image.channel for image in images}
    facts = _of_each(path, "channel", index.channels, channel_facts)
    profiles = _of_each(path, "the flat-field profile of channel", index.channels, channel_profile)
    [plate] = index.plates or (_Plate((), None, None, None),)
    return Scan(
        tuple(ImageFile(i.well, i.field, i.id, i.time, i.plane, i.path, i.page) for i in images if i.path),
        shape=plate.shape,
        selected=(*plate.wells, *dict.fromkeys(image.well for image in images if not image.path)),
        channels={name: facts[channel] for name, channel in channels.items()},
        facts=_plate_facts(path, index, plate, images),
        positions=_positions(images),
        faulty=_faulty(images),
        profiles={name: told for name, channel in channels.items() if (told := profiles[channel])},
    )


def recognises(listing: Listing) -> bool:
    """Harmony's own index file; or an index of a plainer name, and images named as Harmony names them."""
    if listing.named(INDEXES[0]):
        return True
    return bool(_indexes(listing)) and any(_IMAGE_NAME.fullmatch(path) for path in listing.paths)


def _indexes(listing: Listing) -> tuple[str, ...]:
    """One index file of each folder that has any."""
    found = [path for name in reversed(INDEXES) for path in listing.named(name)]
    return tuple({path.rpartition("/")[0]: path for path in found}.values())


def _read(path: Path, index: str) -> _Index:
    """Go through the index once, image by image."""
    plates: list[_Plate] = []
    instruments: list[str] = []
    images: list[_Image] = []
    first: dict[str, Told] = {}
    shared: dict[str, Told] = {}
    faults: list[str] = []
    for element in elements(path, "Plate", "InstrumentType", "Entry", "Image"):
        try:
            match local_name(element):
                case "Plate":
                    plates.append(_plate(element))
                case "InstrumentType":
                    instruments.append((element.text or "").strip())
                case "Entry":
                    channel = _entry_channel(element)
                    shared[channel] = {**told_of(element), **shared.get(channel, {})}
                case "Image" if len(element) or set(attributes(element)) != {"id"}:  # else a mention in <Wells>
                    told = told_of(element)
                    images.append(_image(index, told, _page(element)))
                    first.setdefault(images[-1].channel, told)
        except ValueError as error:
            faults.append(f"{_name(element, len(images) + len(faults))}: {error}")
    _refuse(index, faults)
    if not images or len(plates) > 1:
        raise ValueError(
            f"{index} names {len(images)} images and {len(plates)} plates. An index as Harmony exports it is expected, "
            "with the images of one plate"
        )
    channels = {channel: {**shared.get(channel, {}), **told} for channel, told in first.items()}
    kept = tuple(image for image in images if not _is_flat_field(image, channels))
    return _Index(tuple(plates), next(filter(None, instruments), None), kept, channels)


def _refuse(index: str, faults: Sequence[str]) -> None:
    """Tell the first faults and how many more there are, if there are any."""
    refuse(
        f"{index} is damaged or of an unknown kind, in {len(faults)} places. Copy it again from the microscope, or "
        "export the measurement again:",
        faults,
    )


def _name(element: Element, before: int) -> str:
    """How a message calls an element."""
    given = child_text(element, "id") or child_text(element, "URL") or attributes(element).get("ChannelID", "")
    return f"<{local_name(element)}> {given[:_WIDEST] or f'after {before} others'}"


def _plate(element: Element) -> _Plate:
    told = told_of(element)
    acquired = text(told, "MeasurementStartTime")
    if acquired is not None and not _is_date(acquired):
        raise ValueError(f"MeasurementStartTime is {acquired[:_WIDEST]!r}, a date and time of ISO 8601 is expected")
    sizes = (("PlateRows", _MOST_ROWS), ("PlateColumns", _MOST_COLUMNS))
    rows, columns = (whole(told[name][0], name, most) if name in told else 0 for name, most in sizes)
    wells = [attributes(child).get("id", "") for child in element if local_name(child) == "Well"]
    return _Plate(
        wells=tuple(dict.fromkeys(_announced(well) for well in wells)),
        shape=(rows, columns) if rows and columns else None,
        plate_type=text(told, "PlateTypeName"),
        acquired=acquired,
    )


def _is_date(found: str) -> bool:
    try:
        datetime.fromisoformat(found)
    except ValueError:
        return False
    return "T" in found


def _announced(number: str) -> str:
    """The well of an id `0312`: row 3, column 12, from 1."""
    if not re.fullmatch(r"[0-9]{4}", number):
        raise ValueError(
            f"the well id is {number[:_WIDEST]!r}, two digits for its row and two for its column are expected"
        )
    return well_name(int(number[:2]) - 1, int(number[2:]) - 1)


def _entry_channel(element: Element) -> str:
    return str(whole(attributes(element).get("ChannelID", "").strip(), "ChannelID"))


def _page(element: Element) -> int | None:
    """Which page of its file an image is, from 0: `<URL BufferNo="0">`; None where the index does not say."""
    number = next((child.get("BufferNo") for child in element if local_name(child) == "URL"), None)
    return None if number is None else whole(number.strip(), "BufferNo")


def _image(index: str, told: Told, page: int | None) -> _Image:
    """One image.

    Raises:
        ValueError: It lacks what says which plane it is or where its file is, or a number is none.
    """
    state = text(told, "State") or "Ok"
    url = text(told, "URL") or ""
    if not url and state.lower() == "ok":
        raise ValueError("it has no URL, which names its file")
    channel = str(number_of(told, "ChannelID"))
    y, x = (quantity(told, name, MICROMETRES) for name in ("PositionY", "PositionX"))
    return _Image(
        well=well_name(number_of(told, "Row") - 1, number_of(told, "Col") - 1),
        field=number_of(told, "FieldID"),
        time=number_of(told, "TimepointID"),
        plane=number_of(told, "PlaneID"),
        channel=channel,
        id=channel,
        flim=number_of(told, "FlimID", 0),
        sequence=number_of(told, "SequenceID", 0),
        path=beside(index, url) if url else "",
        page=page,
        place=None if y is None or x is None else (0.0 - y, x),
        height=quantity(told, "PositionZ", MICROMETRES),
        offset=quantity(told, "MeasurementTimeOffset", SECONDS),
        kind=text(told, "ImageType") or "",
        state=state,
    )


def _is_flat_field(image: _Image, channels: Mapping[str, Told]) -> bool:
    """Whether it is a picture of the illumination and not of a well."""
    return "flat" in (image.kind or text(channels[image.channel], "ImageType") or "").lower()


def _told_apart(index: str, images: Sequence[_Image]) -> list[_Image]:
    """The images with ids of channels by which no two are the same plane.

    Raises:
        ValueError: Some are the same plane nevertheless, or share a file.
    """
    by_gate = _marked(images, "fl", lambda image: image.flim)
    apart = _marked(by_gate, "sq", lambda image: image.sequence)
    double = [
        f"well {same[0].well}, field {same[0].field}, channel {same[0].id}, time {same[0].time}, plane "
        f"{same[0].plane}: {', '.join(image.path or 'without a file' for image in same[:_SHOWN])}"
        for same in _grouped(apart, _plane).values()
        if len(same) > 1
    ]
    files = _grouped([image for image in apart if image.path], lambda image: (image.path, image.page))
    shared = [f"{path} is the file of {len(same)} planes" for (path, _), same in files.items() if len(same) > 1]
    _refuse(index, [f"several images are one plane, {plane}" for plane in double] + shared)
    return apart


def _plane(image: _Image) -> tuple[str, int, str, int, int]:
    return image.well, image.field, image.id, image.time, image.plane


def _marked(images: Sequence[_Image], mark: str, number: Callable[[_Image], int]) -> list[_Image]:
    """The images; where the number tells planes of a channel apart, it joins the id of this channel."""
    groups = _grouped(images, _plane).values()
    channels = {same[0].id for same in groups if len(same) > 1 and len({number(image) for image in same}) > 1}
    return [replace(i, id=f"{i.id}{mark}{number(i)}") if i.id in channels else i for i in images]


_Key = TypeVar("_Key")


def _grouped(images: Iterable[_Image], key: Callable[[_Image], _Key]) -> dict[_Key, list[_Image]]:
    groups = defaultdict(list)
    for image in images:
        groups[key(image)].append(image)
    return groups


_Fact = TypeVar("_Fact")


def _of_each(index: str, name: str, channels: Mapping[str, Told], fact: Callable[[Told], _Fact]) -> dict[str, _Fact]:
    """What every channel says of itself."""
    found, faults = {}, []
    for channel, told in channels.items():
        try:
            found[channel] = fact(told)
        except ValueError as error:
            faults.append(f"{name} {channel}: {error}")
    _refuse(index, faults)
    return found


def _plate_facts(path: str, index: _Index, plate: _Plate, images: Sequence[_Image]) -> PlateFacts:
    seen = _of_each(path, "channel", index.channels, optics).values()
    stacks = [((i.well, i.field, i.id, i.time), i.plane, i.height) for i in images if i.height is not None]
    series = [((i.well, i.field, i.id, i.plane), i.time, i.offset) for i in images if i.offset is not None]
    return PlateFacts(
        pixel_size=_agreed(one.pixel_size for one in seen),
        z_step=_step(stacks),
        time_step=_step(series),
        magnification=_agreed(one.magnification for one in seen),
        numerical_aperture=_agreed(one.numerical_aperture for one in seen),
        plate_type=plate.plate_type,
        acquired=plate.acquired,
        instrument=index.instrument,
    )


def _agreed(values: Iterable[float | None]) -> float | None:
    """What all channels say that say anything; None where they differ."""
    found = {value for value in values if value is not None}
    return found.pop() if len(found) == 1 else None


def _step(series: Iterable[tuple[tuple[object, ...], int, float]]) -> float | None:
    """How far apart successive values of a series (id of the series, number, value) usually are; None without any."""
    apart = [
        abs(value - before) / (number - number_before)
        for (name, number_before, before), (name_after, number, value) in pairwise(sorted(series))
        if name == name_after
    ]
    return round(median(apart), _STEP_DIGITS) or None if apart else None


def _positions(images: Iterable[_Image]) -> dict[str, dict[int, Position]]:
    """Well -> field -> where it lies, by the first image that says so."""
    places: dict[str, dict[int, Position]] = {}
    for image in images:
        if image.place is not None:
            places.setdefault(image.well, {}).setdefault(image.field, image.place)
    return places


def _faulty(images: Iterable[_Image]) -> dict[str, str]:
    """Well -> how many of its images Harmony does not call Ok, and what it calls the first of them."""
    failed = _grouped((image for image in images if image.state.lower() != "ok"), lambda image: image.well)
    return {
        well: f"the microscope's index marks {len(some)} of its images as {some[0].state[:_WIDEST]!r}, first field "
        f"{some[0].field}, channel {some[0].id}, time {some[0].time}, plane {some[0].plane}"
        for well, some in failed.items()
    }


READER = Reader(scan, recognises, expects="an Index.idx.xml or Index.xml of Harmony, and the images it names")
