"""Yokogawa CellVoyager microscopes (CV7000, CV8000, CQ1): the folders their software writes.

What is known of the format. `MeasurementData.mlf` is XML with one `MeasurementRecord` per image: row, column, field,
time point and plane, all counted from 1, the channel `Ch`, and the file's name as text. X and Y are micrometres from
the middle of the well, y upwards; Z is micrometres. A record of the type ERR, such as a failed autofocus, has a
message instead of a file, and often no more than row and column. Three more files may lie beside the index; without
them their facts are not known:

- `MeasurementDetail.mrf`: size of the plate, pixel sizes, when it began, the names of the files below and of each
  channel's `SC_*.tif`, the bright field (shading). `DC_*_CAM<number>.tif` is what that camera sees without light.
- `*.mes`, the settings: wells, light sources, filters (`BP525/50` lets pass 525 nm, 50 nm wide), exposure (ms),
  magnification, distance of slices. A timeline has an `Interval` between its time points, in seconds.
- `*.wpp`: the plate type.

Channels. A channel's id is its `Ch`, "1". A timeline is a list of actions, and a channel may be taken by several of
them. Where that gives one plane several images, the first action, timeline or projection keeps the id "1", and the
others are channels of their own: "1-A02" (second action), "1-L02" (second timeline), "1-L02A03", "1-Sum". The time
points of a timeline are counted from its first. A projection over z (`ZImageProcessing`) is not used where its planes
are in the index.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from statistics import median
from xml.etree import ElementTree

from pipeline_lib.core.manifest import ImageFile, PlateFacts, Position
from pipeline_lib.io.markup import attributes, elements
from pipeline_lib.io.vendors.base import Listing, Reader, Scan, beside, only_index
from pipeline_lib.io.vendors.cellvoyager_settings import (
    Attributes,
    Camera,
    Optics,
    channel_facts,
    channel_of,
    common,
    each,
    pixel_size,
    plate_type,
    profiles,
    raise_faults,
    read_detail,
    read_settings,
    real,
    well_of,
    whole,
)

INDEX = "MeasurementData.mlf"
_IMAGES = "Image"  # a folder beside the index, in which a CQ1 keeps its images
_LABELS = ("", "P", "A", "L", "LA", "LAP")  # what may tell channels apart: projection, action, timeline
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class _Record:
    """One image of the index."""

    well: str
    field: int
    time: int
    z: int | None
    channel: str
    timeline: int
    action: int
    projection: str
    place: tuple[float | None, float | None, float | None]
    """z, y (upwards), x in micrometres."""
    taken: str
    path: str


def scan(folder: Path, listing: Listing, pattern: str) -> Scan:  # noqa: ARG001 - the index says it all
    """The images of one measurement, as its index says. `pattern` is not used.

    Raises:
        ValueError: No index file or several, or one of the files named above is damaged.
    """
    index = only_index(folder, listing.named(INDEX))
    records, failures = _read_records(folder, index, listing)
    detail = read_detail(folder, listing, index)
    settings = read_settings(folder, listing, index, detail)
    channels = _told_apart(index, _without_planes(_from_their_start(records)))
    used = {channel: group[0].channel for channel, group in channels.items()}
    return Scan(
        tuple(_image_file(channel, record) for channel, group in channels.items() for record in group),
        shape=detail.shape or settings.shape,
        selected=tuple(dict.fromkeys((*settings.wells, *(record.well for record in records), *failures))),
        channels=channel_facts(used, settings.optics),
        facts=PlateFacts(
            pixel_size=pixel_size([detail.cameras.get(number, Camera()) for number in used.values()]),
            z_step=_z_step(records, settings.slices),
            time_step=_time_step(records, settings.intervals),
            magnification=common([settings.optics.get(number, Optics()).magnification for number in used.values()]),
            plate_type=plate_type(folder, listing, index, detail.product),
            acquired=detail.began,
            instrument=detail.instrument,
        ),
        positions=_positions(records),
        faulty={well: _failed(messages) for well, messages in failures.items()},
        profiles=profiles(used, detail.cameras, listing, index),
    )


def _image_file(channel: str, record: _Record) -> ImageFile:
    return ImageFile(record.well, record.field, channel, record.time, record.z or 0, record.path)


def _read_records(folder: Path, index: str, listing: Listing) -> tuple[list[_Record], dict[str, list[str]]]:
    """(images, well -> messages of its failed images)."""
    known = {path.lower(): path for path in listing.paths} | {path: path for path in listing.paths}

    def parse(element: ElementTree.Element) -> _Record | tuple[str, str]:
        told, text = attributes(element), (element.text or "").strip()
        kind = told.get("Type")
        if kind == "ERR":
            return well_of(told), " ".join(text.split())
        if kind != "IMG":
            raise ValueError(f"its Type is {kind!r}; IMG and ERR are known")
        return _record(told, _path(index, text, known))

    found = each(index, "record", elements(folder / index, "MeasurementRecord"), parse)
    failures: dict[str, list[str]] = defaultdict(list)
    for well, message in (failure for failure in found if isinstance(failure, tuple)):
        failures[well].append(message)
    records = [record for record in found if isinstance(record, _Record)]
    if not records:
        lost = next((f": {messages[0]}" for messages in failures.values()), "")
        raise ValueError(f"{index} lists no image and {sum(map(len, failures.values()))} failed ones{lost}")
    return records, dict(failures)


def _record(told: Attributes, path: str) -> _Record:
    projection = told.get("ZImageProcessing", "").strip()
    return _Record(
        well=well_of(told),
        field=whole(told, "FieldIndex"),
        time=whole(told, "TimePoint"),
        z=None if projection and "ZIndex" not in told else whole(told, "ZIndex"),
        channel=channel_of(told),
        timeline=whole(told, "TimelineIndex", "1"),
        action=whole(told, "ActionIndex", "1"),
        projection=re.sub(r"[^A-Za-z0-9]+", "_", projection),
        place=(real(told, "Z"), real(told, "Y"), real(told, "X")),
        taken=told.get("Time", ""),
        path=path,
    )


def _path(index: str, name: str, known: Mapping[str, str]) -> str:
    """Where the file lies; where it should, if it is not there. Windows does not tell `.TIF` from `.tif`."""
    home = index.removesuffix(INDEX)
    if home + name in known:  # the usual case, quicker than by path objects: an index can have a million images
        return known[home + name]
    expected = beside(index, name)
    inside = beside(index, f"{_IMAGES}/{name}")
    places = (expected, expected.lower(), inside, inside.lower())
    return next((known[place] for place in places if place in known), expected)


def _from_their_start(records: Sequence[_Record]) -> list[_Record]:
    """Time points counted from the first of their timeline: some software goes on counting in the next timeline."""
    starts: dict[int, int] = {}
    for record in records:
        starts[record.timeline] = min(record.time, starts.get(record.timeline, record.time))
    first = min(starts.values())
    if all(start == first for start in starts.values()):
        return list(records)
    return [replace(record, time=record.time - starts[record.timeline] + first) for record in records]


def _without_planes(records: Sequence[_Record]) -> list[_Record]:
    """The planes, and the projections that have no planes of the same image beside them.

    A projection counts as the lowest plane where its own is none of the planes.
    """
    if not any(record.projection for record in records):
        return list(records)
    stacks = {(r.well, r.field, r.channel, r.time) for r in records if not r.projection}
    planes = {record.z for record in records if not record.projection and record.z is not None}
    lowest = min(planes, default=1)

    def plane(record: _Record) -> int:
        return record.z if record.z is not None and (record.z in planes or not planes) else lowest

    return [
        replace(record, z=plane(record)) if record.projection else record
        for record in records
        if not record.projection or (record.well, record.field, record.channel, record.time) not in stacks
    ]


def _told_apart(index: str, records: Iterable[_Record]) -> dict[str, list[_Record]]:
    """Channel id -> its images: one per plane.

    Raises:
        ValueError: One action took one plane several times.
    """
    taken: dict[str, list[_Record]] = defaultdict(list)
    for record in records:
        taken[record.channel].append(record)
    channels: dict[str, list[_Record]] = {}
    faults: list[str] = []
    for channel, group in taken.items():
        parts = next((parts for parts in _LABELS if _unique(group, parts)), None)
        if parts is None:
            faults += _claimed_twice(group)
            continue
        first = min(_label(record, parts) for record in group)
        for record in group:
            label = _label(record, parts)
            channels.setdefault(channel if label == first else f"{channel}-{_words(label)}", []).append(record)
    raise_faults(index, "planes with several images", "Has it two measurements? Keep the records of one", faults)
    return channels


def _label(record: _Record, parts: str) -> tuple[tuple[str, int, str], ...]:
    """What tells this image from others of its channel, in an order."""
    if not parts:
        return ()
    known = {"L": ("L", record.timeline, ""), "A": ("A", record.action, ""), "P": ("", 0, record.projection)}
    return tuple(known[part] for part in parts)


def _words(label: Iterable[tuple[str, int, str]]) -> str:
    return "".join(f"{letter}{number:02d}" if letter else name for letter, number, name in label)


def _unique(group: Sequence[_Record], parts: str) -> bool:
    return len({(r.well, r.field, r.time, r.z, _label(r, parts)) for r in group}) == len(group)


def _claimed_twice(group: Iterable[_Record]) -> list[str]:
    claims: dict[object, list[_Record]] = defaultdict(list)
    for r in group:
        claims[r.well, r.field, r.time, r.z, _label(r, _LABELS[-1])].append(r)
    return [
        f"well {r[0].well}, field {r[0].field}, channel {r[0].channel}, time {r[0].time}, z {r[0].z}: "
        + ", ".join(record.path for record in r[:_SHOWN])
        for r in claims.values()
        if len(r) > 1
    ]


def _positions(records: Iterable[_Record]) -> dict[str, dict[int, Position]]:
    """Where the fields lie, y downwards: as the first image of each says."""
    positions: dict[str, dict[int, Position]] = {}
    for record in records:
        _, y, x = record.place
        if y is not None and x is not None:
            positions.setdefault(record.well, {}).setdefault(record.field, (0.0 - y, x))
    return positions


def _failed(messages: Sequence[str]) -> str:
    first = next((message for message in messages if message), "")
    return f"the microscope reports {len(messages)} failed images here" + (f", the first: {first}" if first else "")


def _z_step(records: Sequence[_Record], announced: Iterable[float]) -> float | None:
    """Micrometres between planes. Heights are written with one digit, so that the settings are the finer."""
    if len({record.z for record in records if not record.projection}) < 2:
        return None
    stacks: dict[object, dict[int, float]] = defaultdict(dict)
    for r in records:
        if r.z is not None and r.place[0] is not None and not r.projection:
            stacks[r.well, r.field, r.channel, r.time, r.timeline, r.action][r.z] = r.place[0]
    return _finer(_step(stacks.values()), announced, tolerance=0.1)


def _time_step(records: Sequence[_Record], announced: Iterable[float]) -> float | None:
    """Seconds between time points. The clock of the images is the judge, the settings are without its jitter."""
    if len({record.time for record in records}) < 2:
        return None
    series: dict[object, dict[int, float]] = defaultdict(dict)
    for r in records:
        if (seconds := _seconds(r.taken)) is not None:
            series[r.well, r.field, r.channel, r.z, r.timeline, r.action, r.projection][r.time] = seconds
    measured = _step(series.values())
    return _finer(measured, announced, tolerance=0.05 * (measured or 0.0))


def _step(series: Iterable[Mapping[int, float]]) -> float | None:
    """The usual distance between neighbours, over series of number -> value."""
    steps = [
        abs(values[max(values)] - values[min(values)]) / (max(values) - min(values))
        for values in series
        if len(values) > 1
    ]
    return round(median(steps), 6) or None if steps else None


def _finer(measured: float | None, announced: Iterable[float], tolerance: float) -> float | None:
    """The announced step where it is the measured one, else the measured one; the announced one if none is measured."""
    choices = {step for step in announced if step > 0}
    if measured is None:
        return choices.pop() if len(choices) == 1 else None
    near = sorted((abs(step - measured), step) for step in choices if abs(step - measured) <= tolerance)
    return near[0][1] if near else measured


def _seconds(text: str) -> float | None:
    """Of an ISO 8601 time, from a zero that all with a time zone share; None where it is none."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    offset = moment.utcoffset()
    since = (moment.replace(tzinfo=None) - datetime(2000, 1, 1)).total_seconds()
    return since - (offset.total_seconds() if offset else 0.0)


def recognises(listing: Listing) -> bool:
    """The index file, whose name no other format has."""
    return bool(listing.named(INDEX))


READER = Reader(scan, recognises, expects=f"the images that {INDEX} lists")
