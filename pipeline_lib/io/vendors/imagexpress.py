"""ImageXpress microscopes: the folders MetaXpress writes.

A file is `<plate>_<well>[_s<site>][_w<wavelength>][_thumb][<GUID>].tif`, in `TimePoint_<n>` and `ZStep_<n>` folders or
in none. A projection lies beside the `ZStep` folders and is not used where its planes are. An `.HTD` file, when there
is one, gives the plate's size, the wells chosen and the names of the wavelengths.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from pipeline_lib.core.manifest import ChannelFacts, ImageFile
from pipeline_lib.core.wells import parse_well, well_name
from pipeline_lib.io.vendors.base import Listing, Reader, Scan, only_index

# The GUID follows the number before it without a separator (`_w1` + `1D01380B-...`), but its length is fixed, so a
# match of the whole name can split the two in one way only. Some exports write it as `_[GUID]`. The first well that
# the rest of the name can follow is the well: in `plate_B03_w12.tif` it is B03, not W12.
_NAME = re.compile(
    r"(?:.*?[_/])?(?P<well>[A-Z]{1,2}[0-9]{2})(?:_s(?P<site>[0-9]+?))?(?:_w(?P<wavelength>[0-9]+?))?(?P<thumb>_thumb)?"
    r"(?:_?\[?[0-9A-F]{8}(?:-[0-9A-F]{4}){3}-[0-9A-F]{12}\]?)?\.tiff?",
    re.IGNORECASE,
)
_SERIES_FOLDER = re.compile(r"(?:TimePoint|ZStep)_[0-9]+/", re.IGNORECASE)
_TIME_POINT = re.compile(r"(?:^|/)TimePoint_([0-9]+)/", re.IGNORECASE)
_Z_STEP = re.compile(r"(?:^|/)ZStep_([0-9]+)/", re.IGNORECASE)


def scan(folder: Path, listing: Listing, pattern: str) -> Scan:  # noqa: ARG001 - the names are MetaXpress's own
    """The images of one measurement. `pattern` is not used.

    Raises:
        ValueError: The folder holds more than one measurement.
    """
    planes: list[ImageFile] = []
    projections: list[ImageFile] = []
    for path in listing.paths:
        match = _NAME.fullmatch(path)
        if match is None or match["thumb"]:
            continue
        step = _Z_STEP.search(path)
        (planes if step else projections).append(_image_file(path, match, step))
    _check_one_measurement(folder, (*planes, *projections))
    index = _read_index(folder, listing.ending(".htd"))
    return Scan(
        (*planes, *_without_planes(projections, planes)),
        shape=index.shape,
        selected=index.selected,
        channels={wave: ChannelFacts(name) for wave, name in index.channel_names.items()},
    )


def _image_file(path: str, match: re.Match[str], step: re.Match[str] | None) -> ImageFile:
    time = _TIME_POINT.search(path)
    return ImageFile(
        well=parse_well(match["well"]),
        field=int(match["site"] or 1),
        channel=str(int(match["wavelength"] or 1)),
        time=int(time[1]) if time else 1,
        z=int(step[1]) if step else 1,
        path=path,
    )


def _check_one_measurement(folder: Path, files: Iterable[ImageFile]) -> None:
    """All files lie in one folder, but for its `TimePoint` and `ZStep` folders: else two plates would become one."""
    homes = sorted({_SERIES_FOLDER.sub("", file.path).rpartition("/")[0] or "." for file in files})
    if len(homes) > 1:
        raise ValueError(
            f"{folder} holds {len(homes)} measurements: {', '.join(homes[:3])}. Name the folder of one of them"
        )


def _without_planes(projections: Iterable[ImageFile], planes: Iterable[ImageFile]) -> list[ImageFile]:
    """The lone files: those with no z planes of the same image beside them. They count as the lowest plane."""
    planes = tuple(planes)
    stacks = {(file.well, file.field, file.channel, file.time) for file in planes}
    lowest = min((file.z for file in planes), default=1)
    return [
        replace(file, z=lowest)
        for file in projections
        if (file.well, file.field, file.channel, file.time) not in stacks
    ]


@dataclass(frozen=True)
class _Index:
    """The part of an `.HTD` file that is used."""

    shape: tuple[int, int] | None = None
    selected: tuple[str, ...] = ()
    channel_names: Mapping[str, str] = field(default_factory=dict)


def _read_index(folder: Path, paths: tuple[str, ...]) -> _Index:
    """The only index file among `paths`; an empty index where there is none."""
    if not paths:
        return _Index()
    content = (folder / only_index(folder, paths)).read_bytes()
    try:
        return _parse_index(content.decode("utf-8-sig"))
    except UnicodeDecodeError:
        return _parse_index(content.decode("latin-1"))


def _parse_index(text: str) -> _Index:
    """Lines of `"key", value, ...`; unknown and damaged lines are passed over."""
    rows = csv.reader(text.splitlines(), skipinitialspace=True)
    values = {row[0].strip(): [value.strip() for value in row[1:]] for row in rows if len(row) > 1}
    size = [values.get(key, [""])[0] for key in ("YWells", "XWells")]
    return _Index(
        shape=(int(size[0]), int(size[1])) if all(number.isdecimal() for number in size) else None,
        selected=tuple(
            well_name(int(row) - 1, column)
            for row, cells in _numbered(values, "WellsSelection")
            for column, cell in enumerate(cells)
            if cell.upper() == "TRUE"
        ),
        channel_names={wave: names[0] for wave, names in _numbered(values, "WaveName") if names[0]},
    )


def _numbered(values: Mapping[str, list[str]], key: str) -> list[tuple[str, list[str]]]:
    """(number, values) of the keys `key1`, `key2`, ..."""
    return [(name.removeprefix(key), row) for name, row in values.items() if re.fullmatch(rf"{key}[1-9][0-9]*", name)]


def recognises(listing: Listing) -> bool:
    """An index file, or names that no other format has."""
    return bool(listing.ending(".htd")) or any(_has_own_name(path) for path in listing.paths)


def _has_own_name(path: str) -> bool:
    match = _NAME.fullmatch(path)
    return match is not None and (match["wavelength"] is not None or match["site"] is not None)


READER = Reader(scan, recognises, expects="names like plate_A01_s1_w1.tif, with or without site, wavelength and GUID")
