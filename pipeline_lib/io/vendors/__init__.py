"""Raw plate folders: one `Reader` per format, and `scan_plate`, which makes a manifest with any of them.

A new format is a module with a `READER` and a line in `READERS`. Importing this needs the standard library only.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from pipeline_lib.core.manifest import ImageFile, Manifest, Position
from pipeline_lib.core.wells import plate_shape, row_column
from pipeline_lib.io.vendors.base import (
    STORE_FILES,
    ImageInfo,
    Listing,
    NoIndexError,
    Reader,
    Scan,
    list_folder,
    refuse,
)
from pipeline_lib.io.vendors.bioio import READER as BIOIO
from pipeline_lib.io.vendors.cellinsight import READER as CELLINSIGHT
from pipeline_lib.io.vendors.cellvoyager import READER as CELLVOYAGER
from pipeline_lib.io.vendors.imagexpress import READER as IMAGEXPRESS
from pipeline_lib.io.vendors.incell import READER as INCELL
from pipeline_lib.io.vendors.ngff import READER as NGFF
from pipeline_lib.io.vendors.ome_tiff import READER as OME_TIFF
from pipeline_lib.io.vendors.operetta import READER as OPERETTA
from pipeline_lib.io.vendors.pattern import READER as PATTERN
from pipeline_lib.io.vendors.scanr import READER as SCANR

__all__ = ["READERS", "ImageInfo", "Reader", "Scan", "reader_of", "scan_plate"]

READERS: dict[str, Reader] = {
    "bioio": BIOIO,
    "cellinsight": CELLINSIGHT,
    "cellvoyager": CELLVOYAGER,
    "imagexpress": IMAGEXPRESS,
    "incell": INCELL,
    "ngff": NGFF,
    "ome-tiff": OME_TIFF,
    "operetta": OPERETTA,
    "pattern": PATTERN,
    "scanr": SCANR,
}
AUTO = "auto"
"""Instead of a format: the one that recognises the folder."""
_SHOWN = 3


def reader_of(format: str) -> Reader:  # noqa: A002 - the word of the plate sheet
    """The reader of a format.

    Raises:
        ValueError: No such format.
    """
    if format not in READERS:
        raise ValueError(f"unknown raw format {format!r}: known are {AUTO}, {', '.join(sorted(READERS))}")
    return READERS[format]


def scan_plate(plate: str, folder: Path, format: str, pattern: str) -> Manifest:  # noqa: A002
    """List the images of a plate from names and index files; no image is opened.

    Args:
        plate: Its id, for the manifest and for messages.
        folder: The raw folder, searched with all below it.
        format: A key of `READERS`, or "auto".
        pattern: The expression of the format `pattern`; other formats do not use it.

    Raises:
        FileNotFoundError: No such folder.
        ValueError: Unknown format, unusable pattern or index file, no image found, several files for one plane, or,
            for "auto", two formats or none that recognise the folder.
    """
    if format != AUTO:
        reader_of(format)
    _check_folder(plate, folder)
    listing = list_folder(folder)
    found_format = _recognised(plate, folder, listing) if format == AUTO else format
    try:
        scan = _present(READERS[found_format].scan(folder, listing, pattern), listing)
    except NoIndexError:
        scan = Scan(())
    if not scan.files:
        raise ValueError(_nothing_found(plate, folder, found_format, pattern, listing.paths))
    _check_unique(plate, scan.files)
    return _manifest(plate, folder, found_format, pattern, scan, listing)


def _recognised(plate: str, folder: Path, listing: Listing) -> str:
    """The one format whose names these are."""
    fitting = sorted(name for name, reader in READERS.items() if reader.recognises(listing))
    if len(fitting) == 1:
        return fitting[0]
    known = ", ".join(sorted(READERS))
    if fitting:
        raise ValueError(
            f"plate {plate}: {folder} looks like {len(fitting)} formats: {', '.join(fitting)}. Name one of them as its "
            "format on the plate sheet"
        )
    examples = f", such as {', '.join(listing.paths[:_SHOWN])}" if listing.paths else ""
    raise ValueError(
        f"plate {plate}: the {len(listing.paths)} files in {folder} are of no format that is recognised by itself"
        f"{examples}. Name its format on the plate sheet: {known}; `pattern` reads file names by an expression of yours"
    )


def _present(scan: Scan, listing: Listing) -> Scan:
    """Without the wells of which no file is there: an index often lists more than was exported."""
    there = set(listing.paths)
    stores = tuple(path.removesuffix(path.rpartition("/")[2]) for path in listing.named(*STORE_FILES))
    wells = {file.well for file in scan.files if file.path in there or (stores and file.path.startswith(stores))}
    absent = {file.well for file in scan.files} - wells
    files = tuple(file for file in scan.files if file.well in wells)
    return replace(scan, files=files, selected=(*scan.selected, *absent))


def _manifest(plate: str, folder: Path, found_format: str, pattern: str, scan: Scan, listing: Listing) -> Manifest:
    ranks = _ranks(file.field for file in scan.files)
    files = _in_order(_ranked(scan.files, ranks))
    wells = {file.well for file in files}
    rows, columns = _shape(scan.shape, wells)
    return Manifest(
        plate=plate,
        folder=folder.as_posix(),
        format=found_format,
        channels=tuple(sorted({file.channel for file in files}, key=_channel_order)),
        rows=rows,
        columns=columns,
        files=files,
        missing=tuple(sorted(set(scan.selected) - wells, key=row_column)),
        directories=tuple(sorted({**dict(listing.directories), **dict(scan.directories)}.items())),
        pattern=pattern,
        channel_facts=dict(scan.channels),
        facts=scan.facts,
        positions={well: _ranked_places(places, ranks) for well, places in scan.positions.items() if well in wells},
        faulty={well: reason for well, reason in scan.faulty.items() if well in wells},
        profiles=dict(scan.profiles),
    )


def _ranked_places(places: Mapping[int, Position], ranks: Mapping[int, int]) -> dict[int, Position]:
    return {ranks[number]: place for number, place in places.items() if number in ranks}


def _check_folder(plate: str, folder: Path) -> None:
    """The folder exists; otherwise say where its path breaks off and what lies there."""
    if folder.is_dir():
        return
    parent = next((parent for parent in folder.parents if parent.is_dir()), Path())
    names = sorted(entry.name for entry in parent.iterdir())[:_SHOWN]
    raise FileNotFoundError(
        f"plate {plate}: there is no folder {folder}. The nearest above it, {parent}, holds "
        f"{', '.join(names) or 'nothing'}{', ...' if len(names) == _SHOWN else ''}"
    )


def _nothing_found(plate: str, folder: Path, format: str, pattern: str, paths: tuple[str, ...]) -> str:  # noqa: A002
    examples = f", such as {', '.join(paths[:_SHOWN])}" if paths else ""
    return (
        f"plate {plate}: none of the {len(paths)} files in {folder} is an image of the format {format!r}{examples}. "
        f"It looks for {READERS[format].expects}; the pattern is {pattern!r}"
    )


def _check_unique(plate: str, files: Iterable[ImageFile]) -> None:
    """No two files claim the same plane."""
    claims = defaultdict(list)
    for file in files:
        claims[file.well, file.field, file.channel, file.time, file.z].append(file.path)
    double = [
        f"well {well}, field {field}, channel {channel}, time {time}, z {z}: {', '.join(paths[:_SHOWN])}"
        for (well, field, channel, time, z), paths in claims.items()
        if len(paths) > 1
    ]
    refuse(
        f"plate {plate}: {len(double)} planes have several files. Does the folder hold two measurements, or is a "
        "number in the names not read?",
        double,
    )


def _ranked(files: tuple[ImageFile, ...], fields: Mapping[int, int]) -> list[ImageFile]:
    """The same files with fields, time points and planes counted from 0 without gaps, over the whole plate."""
    times = _ranks(file.time for file in files)
    planes = _ranks(file.z for file in files)
    return [ImageFile(f.well, fields[f.field], f.channel, times[f.time], planes[f.z], f.path, f.page) for f in files]


def _ranks(numbers: Iterable[int]) -> dict[int, int]:
    return {number: rank for rank, number in enumerate(sorted(set(numbers)))}


def _in_order(files: Iterable[ImageFile]) -> tuple[ImageFile, ...]:
    def place(file: ImageFile) -> tuple[object, ...]:
        return row_column(file.well), file.field, _channel_order(file.channel), file.time, file.z

    return tuple(sorted(files, key=place))


def _channel_order(channel: str) -> tuple[bool, int, str]:
    """Numbers first and by value, so that "10" follows "9"."""
    return (False, int(channel), channel) if channel.isdecimal() else (True, 0, channel)


def _shape(announced: tuple[int, int] | None, wells: Iterable[str]) -> tuple[int, int]:
    """(rows, columns): what the index file says where the wells fit in, else the smallest format they fit in."""
    places = [row_column(well) for well in wells]
    if announced and all(row < announced[0] and column < announced[1] for row, column in places):
        return announced
    return plate_shape(wells)
