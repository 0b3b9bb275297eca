"""ImageXpress microscopes: the folders MetaXpress writes.

A file is `<plate>_<well>[_s<site>][_w<wavelength>][_thumb][<GUID>].tif`, in `TimePoint_<n>` and `ZStep_<n>` folders or
in none. A measurement of one site has no `_s`, one of one wavelength no `_w`; what is exported without the database has
no GUIDs. A projection lies beside the `ZStep` folders and is not used where its planes are.

An `.HTD` file, when there is one, is text: lines of `"key", value, value, ...`, the last one `"EndFile"`.

| key | read as |
|---|---|
| `XWells`, `YWells` | columns and rows of the plate |
| `WellsSelection<row>` | TRUE or FALSE for each column: the wells chosen |
| `WaveName<n>` | name of wavelength n, which is the `_w<n>` of the file names |
| `WaveCollect<n>` | 0: wavelength n was set up and not taken |
| `TimePoints`, `ZSteps`, `NWavelengths` | whole numbers; what there is, is counted from the files, since a measurement can be stopped, and not each wavelength is taken in each plane |
| `Sites`, `XSites`, `YSites`, `SiteSelection<row>` | the grid of sites, without the distance between them: where a field lies, only its images say |
| `Description`, `PlateType`, `ZSeries`, `ZProjection`, `Waves`, `UniquePlateIdentifier` | not used: `PlateType` is a number in a list of the microscope's own |

Everything else (pixel size, objective, exposure, emission, z, date, and where the stage was, in the directions of the
image) is said by each image of itself; see `pipeline_lib.io.vendors.tiff.metaseries`. A scan opens no image, so it has
no facts of the plate and no positions.
"""  # noqa: E501 - a table

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from pipeline_lib.core.manifest import ChannelFacts, ImageFile
from pipeline_lib.core.wells import PLATE_FORMATS, parse_well, well_name
from pipeline_lib.io.vendors.base import Listing, Reader, Scan, only_index

# The GUID follows the number before it without a separator (`_w1` + `1D01380B-...`), but its length is fixed, so a
# match of the whole name can split the two in one way only. Some exports write it as `_[GUID]`. The first well that
# the rest of the name can follow is the well: in `plate_B03_w12.tif` it is B03, not W12.
_NAME = re.compile(
    r"(?:.*?[_/])?(?P<well>[A-Z]{1,2}[0-9]{2})(?:_s(?P<site>[0-9]+?))?(?:_w(?P<wavelength>[0-9]+?))?(?P<thumb>_thumb)?"
    r"(?P<guid>_?\[?[0-9A-F]{8}(?:-[0-9A-F]{4}){3}-[0-9A-F]{12}\]?)?\.tiff?",
    re.IGNORECASE,
)
_SERIES_FOLDER = re.compile(r"(?<![^/])(?:TimePoint|ZStep)_[0-9]+/", re.IGNORECASE)
_TIME_POINT = re.compile(r"(?<![^/])TimePoint_([0-9]+)/", re.IGNORECASE)
_Z_STEP = re.compile(r"(?<![^/])ZStep_([0-9]+)/", re.IGNORECASE)
_SHOWN = 3
_MOST = 100_000  # of anything that is counted
_LONGEST_LINE = 100_000  # characters

_ROWS, _COLUMNS = PLATE_FORMATS[1536]
_RANGES = {
    "XWells": (1, _COLUMNS),
    "YWells": (1, _ROWS),
    **dict.fromkeys(("XSites", "YSites", "TimePoints", "ZSteps", "NWavelengths"), (0, _MOST)),
}
"""Keys of whole numbers -> (least, most)."""
_KEY = re.compile(
    rf"{'|'.join(_RANGES)}|Waves|Sites|EndFile|(?:WellsSelection|SiteSelection|WaveName|WaveCollect)[0-9]+"
)

_Lines = Mapping[str, Sequence[str]]
"""Key -> values of the lines of an `.HTD` file that are used."""


def scan(folder: Path, listing: Listing, pattern: str) -> Scan:  # noqa: ARG001 - the names are MetaXpress's own
    """The images of one measurement. `pattern` is not used.

    Raises:
        ValueError: The folder holds more than one measurement, a name has an impossible well or number, or the `.HTD`
            file is damaged.
    """
    planes, projections = _images(folder, listing.paths)
    files = (*planes, *_without_planes(projections, planes))
    _check_one_measurement(folder, (*planes, *projections))
    index = _read_index(folder, listing.ending(".htd"))
    taken = {file.channel for file in files}
    return Scan(
        files,
        shape=index.shape,
        selected=index.selected,
        channels={
            wave: ChannelFacts(name)
            for wave, name in index.channel_names.items()
            if wave in taken or wave not in index.skipped
        },
    )


def _images(folder: Path, paths: Iterable[str]) -> tuple[list[ImageFile], list[ImageFile]]:
    """(what lies in `ZStep` folders, what does not); thumbnails and other files are left aside."""
    planes: list[ImageFile] = []
    others: list[ImageFile] = []
    faults: list[str] = []
    for path in paths:
        match = _NAME.fullmatch(path)
        if match is None or match["thumb"]:
            continue
        step = _Z_STEP.search(path)
        try:
            (planes if step else others).append(_image_file(path, match, step))
        except ValueError as error:
            faults.append(f"{path}: {error}")
    if faults:
        raise ValueError(
            f"{folder} holds {len(faults)} files that are named as MetaXpress does, but whose well or number cannot "
            f"be: {_first(faults)}. Rename them, or move them away"
        )
    return planes, others


def _image_file(path: str, match: re.Match[str], step: re.Match[str] | None) -> ImageFile:
    time = _TIME_POINT.search(path)
    return ImageFile(
        well=parse_well(match["well"]),
        field=_number("site", match["site"]),
        channel=str(_number("wavelength", match["wavelength"])),
        time=_number("time point", time and time[1]),
        z=_number("z step", step and step[1]),
        path=path,
    )


def _number(name: str, digits: str | None) -> int:
    """1 where a name has no such number."""
    number = int(digits or 1)
    if number > _MOST:
        raise ValueError(f"{name} {number} is above {_MOST}")
    return number


def _check_one_measurement(folder: Path, files: Iterable[ImageFile]) -> None:
    """All files lie in one folder, but for its `TimePoint` and `ZStep` folders: else two plates would become one."""
    homes = sorted({_SERIES_FOLDER.sub("", file.path).rpartition("/")[0] or "." for file in files})
    if len(homes) > 1:
        raise ValueError(
            f"{folder} holds {len(homes)} measurements: {', '.join(homes[:_SHOWN])}. Name the folder of one of them"
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
    skipped: frozenset[str] = frozenset()
    """Wavelengths that were set up and not taken."""


def _read_index(folder: Path, paths: tuple[str, ...]) -> _Index:
    """The only index file among `paths`; an empty index where there is none.

    Raises:
        ValueError: There are several, or it is damaged.
    """
    if not paths:
        return _Index()
    path = folder / only_index(folder, paths)
    content = path.read_bytes()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("latin-1")
    lines, doubled = _lines(text)
    faults = [*doubled, *_faults(lines)]
    if faults:
        raise ValueError(
            f"{path} is damaged: {_first(faults)}. Copy it again from where MetaXpress wrote it, or move it away: "
            "without it, only the names of the wavelengths, the wells chosen and the size of the plate are unknown"
        )
    return _index(lines)


def _first(faults: Sequence[str]) -> str:
    more = f"; and {len(faults) - _SHOWN} more" if len(faults) > _SHOWN else ""
    return "; ".join(faults[:_SHOWN]) + more


def _lines(text: str) -> tuple[dict[str, list[str]], list[str]]:
    """The lines that are used, and what is wrong with them; other lines are passed over.

    Each line is read by itself: quotes that somebody put into the description do not open a text of many lines.
    """
    values: dict[str, list[str]] = {}
    faults: list[str] = []
    for number, line in enumerate(re.split(r"\r\n|\r|\n", text), start=1):
        if len(line) > _LONGEST_LINE:
            faults.append(f"line {number} has {len(line)} characters, at most {_LONGEST_LINE} are allowed")
            continue
        key, *cells = [cell.strip() for row in csv.reader([line], skipinitialspace=True) for cell in row] or [""]
        if not _KEY.fullmatch(key):
            continue
        if key in values:
            faults.append(f'line {number} is a second line "{key}"')
        values[key] = cells[:-1] if cells and not cells[-1] and len(cells) > 1 else cells
    return values, faults


def _faults(lines: _Lines) -> Iterator[str]:
    """What makes the lines unfit for `_index`, and what shows that the file is not whole."""
    if "EndFile" not in lines:
        yield 'it has no line "EndFile", so it is cut off'
    yield from (f'it has no line "{key}"' for key in ("XWells", "YWells") if key not in lines)
    for key, (least, most) in _RANGES.items():
        if key in lines and _count(lines, key) is None:
            yield f'"{key}" is {_shown(lines[key])}, allowed is a whole number from {least} to {most}'
    yield from _faults_of_grid(lines, "WellsSelection", "YWells", "XWells")
    if _flag(lines, "Sites"):
        yield from _faults_of_grid(lines, "SiteSelection", "YSites", "XSites")
    waves = _count(lines, "NWavelengths") if _flag(lines, "Waves") else None
    yield from (f'it has no line "WaveName{n}"' for n in range(1, (waves or 0) + 1) if f"WaveName{n}" not in lines)
    for wave, cells in _numbered(lines, "WaveCollect").items():
        if not re.fullmatch("[0-9]{1,6}", cells[0] if cells else ""):
            yield f'"WaveCollect{wave}" is {_shown(cells)}, allowed is a whole number'


def _faults_of_grid(lines: _Lines, key: str, rows: str, columns: str) -> Iterator[str]:
    """Of the lines `<key>1`, `<key>2`, ...: one for each row, with TRUE or FALSE for each column; or none at all."""
    found, height, width = _numbered(lines, key), _count(lines, rows), _count(lines, columns)
    if not found or height is None or width is None:
        return
    yield from (f'it has no line "{key}{row}"' for row in range(1, height + 1) if row not in found)
    for row, cells in found.items():
        if row > height:
            yield f'it has a line "{key}{row}", but "{rows}" is {height}'
        elif len(cells) != width or {cell.upper() for cell in cells} - {"TRUE", "FALSE"}:
            yield f'"{key}{row}" is {_shown(cells)}, allowed are {width} values TRUE or FALSE'


def _shown(cells: Sequence[str]) -> str:
    text = ", ".join(cells)
    return repr(text if len(text) <= 60 else f"{text[:57]}...")


def _count(lines: _Lines, key: str) -> int | None:
    """The whole number of a line; None where there is no such line or its number is not one that can be."""
    text = (lines.get(key) or [""])[0]
    least, most = _RANGES[key]
    return int(text) if re.fullmatch("[0-9]{1,6}", text) and least <= int(text) <= most else None


def _flag(lines: _Lines, key: str) -> bool:
    return (lines.get(key) or [""])[0].upper() == "TRUE"


def _numbered(lines: _Lines, key: str) -> dict[int, Sequence[str]]:
    """Number -> values of the lines `<key>1`, `<key>2`, ..."""
    numbers = {name: re.fullmatch(rf"{key}([1-9][0-9]{{0,5}})", name) for name in lines}
    return {int(number[1]): lines[name] for name, number in numbers.items() if number}


def _index(lines: _Lines) -> _Index:
    """From lines without faults."""
    rows, columns = _count(lines, "YWells"), _count(lines, "XWells")
    return _Index(
        shape=(rows, columns) if rows and columns else None,
        selected=tuple(
            well_name(row - 1, column)
            for row, cells in _numbered(lines, "WellsSelection").items()
            for column, cell in enumerate(cells)
            if cell.upper() == "TRUE"
        ),
        channel_names={str(wave): cells[0] for wave, cells in _numbered(lines, "WaveName").items() if any(cells[:1])},
        skipped=frozenset(str(n) for n, cells in _numbered(lines, "WaveCollect").items() if int(cells[0]) == 0),
    )


def recognises(listing: Listing) -> bool:
    """An index file, or names that no other format has."""
    return bool(listing.ending(".htd")) or any(_has_own_name(path) for path in listing.paths)


def _has_own_name(path: str) -> bool:
    match = _NAME.fullmatch(path)
    return match is not None and any(match[part] for part in ("site", "wavelength", "guid"))


READER = Reader(scan, recognises, expects="names like plate_A01_s1_w1.tif, with or without site, wavelength and GUID")
