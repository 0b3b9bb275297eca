"""ScanR microscopes (Olympus, Evident): TIFF files in a folder `data`, and beside it `experiment_descriptor.xml`.

A file is `<well>--W00001--P00001--Z00000--T00000--<channel>.tif`. W counts the wells of the plate from 1, row by row; P
the fields of a well from 1; Z and T the planes and time points from 0. Before W stands what the well is called: its
name, such as `B3`, unless the user called it otherwise; it may be empty. A file with several pages is a z-stack.

The descriptor is XML as LabVIEW writes it: a `Cluster` has a `Name`, and in it are values with a `Name` and a `Val`. It
is documented nowhere. Sure, from published examples, is `exposure time`, in milliseconds, once per channel. Of the rest
only what cannot be taken for something else is read, and is None where the descriptor has it not:

- `rows` and `columns` in a cluster with "plate" in its name, else a number of wells in the plate's type: "96 wells";
- a value with "um/pixel" in its name: the pixel size;
- `z step [um]` and `timeloop delay [ms]` or `interval`, with their unit.

Where the fields lie is not read. A plate without its descriptor is read if its files carry the names of the wells.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from xml.etree.ElementTree import Element

from pipeline_lib.core.manifest import ChannelFacts, ImageFile, PlateFacts
from pipeline_lib.core.wells import PLATE_FORMATS, parse_well, well_name
from pipeline_lib.io.markup import child_text, read_tree
from pipeline_lib.io.vendors.base import Listing, Reader, Scan, number_in, only_index, refuse

DESCRIPTOR = "experiment_descriptor.xml"
_NAME = re.compile(
    r"(?P<called>.*?)--W(?P<well>[0-9]{5,6})--P(?P<field>[0-9]{5,6})--Z(?P<z>[0-9]{5,6})--T(?P<time>[0-9]{5,6})"
    r"--(?P<channel>.+)\.tiff?",
    re.IGNORECASE | re.DOTALL,
)
_EXPOSURE = re.compile(r"exposure time(?: \[ms\])?")
_PIXEL = re.compile(r".*\b[uµμ]m/pixel\b.*")
_Z_STEP = re.compile(r"z[- ]?step(?: size)? \[[uµμ]m\]")
_TIME_STEP = re.compile(r"time ?loop (?:delay|interval) \[(?P<unit>ms|s|min)\]")
_SECONDS = {"ms": 1e-3, "s": 1.0, "min": 60.0}
_TYPES = ("plate type", "type", "plate name", "name")
_MOST = 100_000  # wells, fields, planes, time points
_LARGEST = 1e9  # of any measure
_SHOWN = 3


@dataclass(frozen=True)
class _Cluster:
    """One cluster of the descriptor: its name and the values right in it; names in small letters."""

    name: str
    values: Mapping[str, str]


def scan(folder: Path, listing: Listing, pattern: str) -> Scan:  # noqa: ARG001 - the names are ScanR's own
    """The images of one measurement, by their names, and what the descriptor says. `pattern` is not used.

    Raises:
        ValueError: Several measurements, a damaged descriptor, or wells or numbers that cannot be.
        OSError: The descriptor cannot be read.
    """
    descriptors = listing.named(DESCRIPTOR)
    descriptor = only_index(folder, descriptors) if descriptors else ""
    names = _names(folder, listing.paths, descriptor)
    clusters = _clusters(read_tree(folder / descriptor)) if descriptor else ()
    try:
        shape = _shape(clusters)
        facts = PlateFacts(
            pixel_size=_only(clusters, _PIXEL),
            z_step=_only(clusters, _Z_STEP),
            time_step=_time_step(clusters),
            plate_type=_plate_type(clusters),
        )
        channels = _channels(clusters, sorted({match["channel"] for match in names.values()}))
    except ValueError as error:
        raise ValueError(f"{descriptor}: {error}. Copy this file from the microscope's computer again") from error
    return Scan(_files(folder, names, shape), shape=shape, channels=channels, facts=facts)


def _names(folder: Path, paths: Iterable[str], descriptor: str) -> dict[str, re.Match[str]]:
    """Path -> its name, taken apart: of the one folder that holds the images.

    Beside a descriptor this is `data`, or the descriptor's own folder; what others have exported lies in further ones.
    """
    found = {path: match for path in paths if (match := _NAME.fullmatch(path.rpartition("/")[2]))}
    home = descriptor.rpartition("/")[0]
    homes = {path: path.rpartition("/")[0] for path in found}
    if descriptor:
        for wanted in (f"{home}/data".lstrip("/").lower(), home.lower()):
            if chosen := {path: match for path, match in found.items() if homes[path].lower() == wanted}:
                return chosen
        return {}
    if len(set(homes.values())) > 1:
        raise ValueError(
            f"{folder} holds images in {len(set(homes.values()))} folders, so several measurements: "
            f"{', '.join(sorted(set(homes.values()))[:_SHOWN])}. Name one of them"
        )
    return found


def _files(folder: Path, names: Mapping[str, re.Match[str]], shape: tuple[int, int] | None) -> tuple[ImageFile, ...]:
    """All images.

    Raises:
        ValueError: What the names say cannot be; all faults at once.
    """
    called = _called(names.values())
    files, faults = [], []
    for path, match in names.items():
        try:
            number, field, z, time = (_count(match, part) for part in ("well", "field", "z", "time"))
            well = called.get(number) or _well(number, shape)
            files.append(ImageFile(well, field, match["channel"], time, z, path))
        except ValueError as error:
            faults.append(f"{path}: {error}")
    refuse(f"{len(faults)} of {len(names)} images in {folder} have names that cannot be right:", faults)
    return tuple(files)


def _called(names: Iterable[re.Match[str]]) -> dict[int, str]:
    """Number of a well -> its name, if all files begin with one and every number has its own; else nothing.

    These names come before the count: only they are right where a count goes over chosen wells alone.
    """
    wells: dict[int, str] = {}
    for match in names:
        try:
            well = parse_well(match["called"])
        except ValueError:
            return {}
        if wells.setdefault(int(match["well"]), well) != well:
            return {}
    return wells if len(set(wells.values())) == len(wells) else {}


def _well(number: int, shape: tuple[int, int] | None) -> str:
    if shape is None:
        raise ValueError(
            f"it begins with no name of a well, and how many columns the plate has, to find well number {number}, is "
            f"not in {DESCRIPTOR}: begin the names of all files with their wells, as in B3--W00015--..."
        )
    rows, columns = shape
    if not 1 <= number <= rows * columns:
        raise ValueError(f"well number {number}: the plate has {rows} x {columns} wells, counted from 1")
    return well_name(*divmod(number - 1, columns))


def _count(match: re.Match[str], part: str) -> int:
    number = int(match[part])
    if number > _MOST:
        raise ValueError(f"{part} {number} is above {_MOST}")
    return number


def _clusters(root: Element) -> tuple[_Cluster, ...]:
    """All clusters, whatever lies in what."""
    return tuple(
        _Cluster(
            child_text(element, "Name").lower(),
            {
                child_text(child, "Name").lower(): child_text(child, "Val")
                for child in reversed(element)  # the first of a name wins
                if child.find("{*}Val") is not None
            },
        )
        for element in root.iter()
        if element.find("{*}*/{*}Val") is not None
    )


def _plates(clusters: Iterable[_Cluster]) -> Iterator[_Cluster]:
    return (cluster for cluster in clusters if "plate" in cluster.name)


def _shape(clusters: Iterable[_Cluster]) -> tuple[int, int] | None:
    """(rows, columns) of the plate."""
    for plate in _plates(clusters):
        if plate.values.get("rows") and plate.values.get("columns"):
            rows, columns = (_whole(name, plate.values[name]) for name in ("rows", "columns"))
            well_name(rows - 1, columns - 1)
            return rows, columns
    wells = re.findall(r"(?<![0-9.])[0-9]{1,4}(?![0-9.])", _plate_type(clusters) or "")
    return next((PLATE_FORMATS[int(number)] for number in wells if int(number) in PLATE_FORMATS), None)


def _plate_type(clusters: Iterable[_Cluster]) -> str | None:
    found = (plate.values.get(key) for plate in _plates(clusters) for key in _TYPES)
    return next((text for text in found if text), None)


def _channels(clusters: Iterable[_Cluster], channels: Iterable[str]) -> dict[str, ChannelFacts]:
    """Channel -> its facts.

    A cluster with an exposure belongs to the channel that is named in it; two that disagree tell nothing.
    """
    exposures: dict[str, set[float]] = {}
    for cluster in clusters:
        for time in _measures([cluster], _EXPOSURE):
            for text in (cluster.name, *cluster.values.values()):
                exposures.setdefault(text.lower(), set()).add(time)
    known = {text: times.pop() for text, times in exposures.items() if len(times) == 1}
    return {channel: ChannelFacts(channel, exposure_ms=known.get(channel.lower())) for channel in channels}


def _time_step(clusters: Iterable[_Cluster]) -> float | None:
    """Seconds."""
    units = {match["unit"] for cluster in clusters for name in cluster.values if (match := _TIME_STEP.fullmatch(name))}
    step = _only(clusters, _TIME_STEP)
    return None if step is None or len(units) > 1 else round(step * _SECONDS[units.pop()], 9)


def _only(clusters: Iterable[_Cluster], name: re.Pattern[str]) -> float | None:
    """The one value under a name; None where there are several, as in a list of objectives."""
    found = set(_measures(clusters, name))
    return found.pop() if len(found) == 1 else None


def _measures(clusters: Iterable[_Cluster], name: re.Pattern[str]) -> list[float]:
    """All values under a name that are not 0.

    Raises:
        ValueError: One is not a positive number.
    """
    found = [
        _number(key, text)
        for cluster in clusters
        for key, text in cluster.values.items()
        if text and name.fullmatch(key)
    ]
    return [number for number in found if number]


def _whole(name: str, text: str) -> int:
    number = _number(name, text)
    if number != int(number):
        raise ValueError(f"{name} is {text[:80]!r}; a whole number is expected")
    return int(number)


def _number(name: str, text: str) -> float:
    """LabVIEW writes a comma instead of the point where Windows does."""
    number = number_in(text.replace(",", "."))
    if not 0 <= number <= _LARGEST:  # also for what is not a number
        raise ValueError(f"{name[:80]} is {text[:80]!r}; a number from 0 to {_LARGEST:g} is expected")
    return number


def recognises(listing: Listing) -> bool:
    """A descriptor, or names that no other format has."""
    return bool(listing.named(DESCRIPTOR)) or any(_NAME.fullmatch(path.rpartition("/")[2]) for path in listing.paths)


READER = Reader(
    scan, recognises, expects="names like B3--W00015--P00001--Z00000--T00000--DAPI.tif in the folder `data`"
)
