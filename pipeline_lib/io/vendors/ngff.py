"""OME-Zarr plates that exist already: OME-NGFF 0.4 (Zarr v2) and 0.5 (Zarr v3).

The raw folder is such a plate, or holds one. A plate is a tree of groups, each with JSON (`zarr.json`, in Zarr v2
`.zattrs`): the plate lists its wells, a well its fields, and a field its arrays, finest first, of which only the finest
is used. Only these files are read: one of each well and two of each field.

Channels are numbered as in the array, from 0, and named by `omero`. A field's number is its path in the well, or its
rank where that is no number. Pixel size, distance of planes and time step are the scales of axes that have a unit; the
translation of a field says where its first pixel lies. The format has no words for wavelengths, exposures, objectives
and kinds of plates; it has the moment of the start, but no time zone, so that it is told in UTC.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import product
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from pipeline_lib.core.manifest import ChannelFacts, ImageFile, PlateFacts, Position
from pipeline_lib.core.wells import parse_well, well_name
from pipeline_lib.io.pixel_sizes import MICROMETRES
from pipeline_lib.io.vendors.base import STORE_FILES, Listing, Reader, Scan, only_index, refuse
from pipeline_lib.io.vendors.zarr_metadata import (
    ArrayFacts,
    a_list,
    attributes_file,
    below,
    damage_of,
    numbers,
    objects,
    read_array_facts,
    read_attributes,
    text,
    whole,
)
from pipeline_lib.io.vendors.zarr_planes import describe, read

if TYPE_CHECKING:
    from numpy.typing import NDArray

VERSIONS = ("0.4", "0.5")
_MOST_PLANES = 5_000_000  # of a plate
_SECONDS = {"second": 1.0, "millisecond": 1e-3, "microsecond": 1e-6, "minute": 60.0, "hour": 3600.0, "day": 86400.0}
_UNITS = {"z": MICROMETRES, "y": MICROMETRES, "x": MICROMETRES, "t": _SECONDS}
_LAST_MOMENT = 253402300799  # the end of the year 9999, in seconds
_SHOWN = 3


@dataclass(frozen=True)
class _Image:
    """What the metadata of a field say. sizes: of its axes, in their order; steps: their scales, in µm or seconds."""

    array: str
    """Relative to the field's group."""
    sizes: Mapping[str, int]
    steps: Mapping[str, float]
    place: Position | None
    names: tuple[str | None, ...]


@dataclass(frozen=True)
class _Field:
    """A field that a well lists. image: None where its files are gone."""

    well: str
    number: int
    group: str
    run: object
    image: _Image | None


def scan(folder: Path, listing: Listing, pattern: str) -> Scan:  # noqa: ARG001 - the metadata name the arrays
    """The images of one OME-Zarr plate. `pattern` is not used.

    Raises:
        ValueError: Several stores, no plate, or damaged metadata.
    """
    stores = listing.named(*STORE_FILES)
    if not stores:
        return Scan(())
    store = only_index(folder, stores).rpartition("/")[0]
    plate = _plate(folder, store)
    with damage_of(folder / attributes_file(folder, store)):
        wells, shape, acquired = _wells(store, plate), _shape(plate), _start(plate)
    directories = tuple(dict(_directories(folder, wells.values())).items())
    fields = _fields(folder, wells)
    return Scan(
        _files(fields),
        shape=shape,
        selected=tuple(wells),
        channels=_channels(fields),
        facts=replace(_facts(fields), acquired=acquired),
        positions=_positions(fields),
        directories=directories,
    )


def _plate(folder: Path, store: str) -> Mapping[str, Any]:
    attributes = read_attributes(folder, store) or {}
    plate = attributes.get("plate")
    index = folder / attributes_file(folder, store)
    if not isinstance(plate, dict):
        raise ValueError(f"{index} describes no plate: `plate` with `wells` is expected, as in OME-NGFF 0.4 and 0.5")
    with damage_of(index):
        _check_version(attributes.get("version", plate.get("version")))
    return plate


def _check_version(version: object) -> None:
    if version is not None and version not in VERSIONS:
        raise ValueError(f"its version is {str(version)[:20]!r}; {' and '.join(VERSIONS)} are read")


def _wells(store: str, plate: Mapping[str, Any]) -> dict[str, str]:
    """Well -> its group."""
    found: dict[str, str] = {}
    for entry in objects(plate, "wells"):
        well = _well(entry)
        if well in found:
            raise ValueError(f"well {well} is listed twice")
        found[well] = below(store, entry, "path")
    return found


def _well(entry: Mapping[str, Any]) -> str:
    """By the names of its row and column, which make its path, else by their ranks."""
    try:
        return parse_well(text(entry, "path").replace("/", ""))
    except ValueError:
        return well_name(whole(entry, "rowIndex"), whole(entry, "columnIndex"))


def _shape(plate: Mapping[str, Any]) -> tuple[int, int] | None:
    rows, columns = (len(a_list(plate, key)) if key in plate else 0 for key in ("rows", "columns"))
    if not rows or not columns:
        return None
    well_name(rows - 1, columns - 1)  # no plate is larger
    return rows, columns


def _start(plate: Mapping[str, Any]) -> str | None:
    """When the first acquisition began, in UTC."""
    runs = a_list(plate, "acquisitions") if "acquisitions" in plate else []
    starts = [whole(run, "starttime", 0, _LAST_MOMENT) for run in runs if isinstance(run, dict) and "starttime" in run]
    return datetime.fromtimestamp(min(starts), UTC).isoformat() if starts else None


def _directories(folder: Path, groups: Iterable[str]) -> Iterator[tuple[str, int]]:
    """Wells with the time they changed; where one is gone, its row, which changes when it comes back."""
    for group in groups:
        for place in (group, group.rpartition("/")[0]):
            if place and (folder / place).is_dir():
                yield place, (folder / place).stat().st_mtime_ns
                break


def _fields(folder: Path, wells: Mapping[str, str]) -> list[_Field]:
    """All fields that the wells list. Damage in several is told at once."""
    faults: list[str] = []
    fields: list[_Field] = []
    for well, group in wells.items():
        try:
            fields.extend(_fields_of(folder, well, group))
        except ValueError as error:
            faults.append(str(error))
    runs = sorted({repr(field.run) for field in fields if field.run is not None})
    if len(runs) > 1:
        faults.append(
            f"the wells hold images of {len(runs)} acquisitions ({', '.join(runs[:_SHOWN])}), so several "
            "measurements. One is expected: copy the plate with the images of one"
        )
    faults.extend(_other_names(fields))
    refuse(f"{folder}: {len(faults)} faults in OME-Zarr metadata:", faults)
    return _with_lost(fields)


def _fields_of(folder: Path, well: str, group: str) -> Iterator[_Field]:
    attributes = read_attributes(folder, group)
    if attributes is None:
        return
    with damage_of(folder / attributes_file(folder, group)):
        listed = attributes.get("well")
        if not isinstance(listed, dict):
            raise ValueError("`well` with `images` is expected")
        entries = objects(listed, "images")
        numbers_ = _field_numbers([text(entry, "path") for entry in entries])
        groups = [below(group, entry, "path") for entry in entries]
    for number, path, entry in zip(numbers_, groups, entries, strict=True):
        yield _Field(well, number, path, entry.get("acquisition"), _image(folder, path))


def _field_numbers(paths: Sequence[str]) -> list[int]:
    numbered = all(path.isdecimal() and len(path) < 6 for path in paths)
    found = [int(path) if numbered else rank for rank, path in enumerate(paths)]
    if len(set(found)) < len(found) or len(set(paths)) < len(paths):
        raise ValueError(f"a field is listed twice among {', '.join(paths)[:60]}")
    return found


def _other_names(fields: Sequence[_Field]) -> Iterator[str]:
    """All fields must call their channels the same, or they would be mixed up."""
    known = [(field, field.image.names) for field in fields if field.image is not None]
    for field, names in known:
        if names != known[0][1]:
            yield f"{field.group} has the channels {names}, and {known[0][0].group} {known[0][1]}"


def _image(folder: Path, group: str) -> _Image | None:
    """The metadata of one field; None where the field or its finest array is gone."""
    attributes = read_attributes(folder, group)
    if attributes is None:
        return None
    with damage_of(folder / attributes_file(folder, group)):
        multiscale = objects(attributes, "multiscales")[0]
        _check_version(attributes.get("version", multiscale.get("version")))
        dataset = objects(multiscale, "datasets")[0]
        array = below("", dataset, "path")
        facts = read_array_facts(folder, below(group, dataset, "path"))
        if facts is None:
            return None
        sizes, units = _axes(multiscale, facts)
        scale, shift = _transformation(len(sizes), (dataset, multiscale))
        steps = _known(dict(zip(sizes, scale, strict=True)), units)
        corner = _known(dict(zip(sizes, shift, strict=True)) if shift else {}, units)
        middle = [corner[a] + (sizes[a] - 1) / 2 * steps[a] for a in "yx"] if {"y", "x"} <= set(corner) else None
        place = (middle[0], middle[1]) if middle else None
        return _Image(array, sizes, steps, place, _names(attributes, sizes.get("c", 1)))


def _axes(multiscale: Mapping[str, Any], facts: ArrayFacts) -> tuple[dict[str, int], dict[str, float]]:
    """(axis -> its size, in the order of the array, axis -> what its unit is in micrometres or seconds)."""
    described = objects(multiscale, "axes")
    axes = [text(axis, "name") for axis in described]
    if axes[-2:] != ["y", "x"] or not set(axes) <= set("tczyx") or len(set(axes)) < len(axes):
        raise ValueError(f"its axes are {', '.join(axes)[:60]}: any of t, c and z are expected, then y, x")
    if len(axes) != len(facts.shape):
        raise ValueError(f"it has {len(axes)} axes, and its array {len(facts.shape)} dimensions")
    told = {axis: _UNITS.get(axis, {}).get(str(entry.get("unit"))) for axis, entry in zip(axes, described, strict=True)}
    return dict(zip(axes, facts.shape, strict=True)), {axis: unit for axis, unit in told.items() if unit is not None}


def _transformation(
    dimensions: int, levels: Sequence[Mapping[str, Any]]
) -> tuple[tuple[float, ...], tuple[float, ...] | None]:
    """(scale, translation or None) of the array's transformations and then the image's."""
    scale = (1.0,) * dimensions
    shift: tuple[float, ...] | None = None
    for level in levels:
        for change in objects(level, "coordinateTransformations") if level.get("coordinateTransformations") else ():
            if change.get("type") == "scale":
                factors = numbers(change, "scale", dimensions)
                if min(factors) <= 0:
                    raise ValueError(f"`scale` is {list(factors)}: numbers above 0 are expected")
                scale = tuple(a * b for a, b in zip(scale, factors, strict=True))
                shift = shift and tuple(a * b for a, b in zip(shift, factors, strict=True))
            elif change.get("type") == "translation":
                moved = numbers(change, "translation", dimensions)
                shift = tuple(a + b for a, b in zip(shift or (0.0,) * dimensions, moved, strict=True))
    return scale, shift


def _known(values: Mapping[str, float], units: Mapping[str, float]) -> dict[str, float]:
    """In micrometres or seconds, of the axes that have a unit."""
    return {
        axis: value if units[axis] == 1.0 else round(value * units[axis], 9)
        for axis, value in values.items()
        if axis in units
    }


def _names(attributes: Mapping[str, Any], count: int) -> tuple[str | None, ...]:
    """Of each channel, as `omero` has them. That is meant for display only, so that damage to it is passed over."""
    omero = attributes.get("omero")
    channels = omero.get("channels") if isinstance(omero, dict) else None
    labels = [one.get("label") for one in channels if isinstance(one, dict)] if isinstance(channels, list) else []
    names = [label if isinstance(label, str) and label else None for label in labels]
    return tuple(names) if len(names) == count else (None,) * count


def _with_lost(fields: Sequence[_Field]) -> list[_Field]:
    """Fields whose files are gone get the planes that most others have, so that their wells are known to lack them."""
    known = [field.image for field in fields if field.image is not None]
    if not known:
        return []
    [((array, sizes), _)] = Counter((image.array, tuple(image.sizes.items())) for image in known).most_common(1)
    usual = _Image(array, dict(sizes), {}, None, ())
    return [field if field.image is not None else replace(field, image=usual) for field in fields]


def _files(fields: Sequence[_Field]) -> tuple[ImageFile, ...]:
    """Every plane of every array; pages are counted in the order of the array's own axes."""
    images = [(field, field.image) for field in fields if field.image is not None]
    count = sum(math.prod([*image.sizes.values()][:-2]) for _, image in images)
    if count > _MOST_PLANES:
        raise ValueError(f"the arrays of the plate claim {count:,} planes; at most {_MOST_PLANES:,} are expected")
    return tuple(file for field, image in images for file in _pages(field, image))


def _pages(field: _Field, image: _Image) -> Iterator[ImageFile]:
    leading = {axis: size for axis, size in image.sizes.items() if axis not in "yx"}
    path = f"{field.group}/{image.array}"
    for page, numbers_ in enumerate(product(*map(range, leading.values()))):
        at = dict(zip(leading, numbers_, strict=True))
        yield ImageFile(field.well, field.number, str(at.get("c", 0)), at.get("t", 0), at.get("z", 0), path, page)


def _channels(fields: Sequence[_Field]) -> dict[str, ChannelFacts]:
    names = next((field.image.names for field in fields if field.image is not None and field.image.names), ())
    return {str(number): ChannelFacts(name) for number, name in enumerate(names)}


def _facts(fields: Sequence[_Field]) -> PlateFacts:
    """What the first field says."""
    steps = next((field.image.steps for field in fields if field.image is not None and field.image.names), {})
    y, x = steps.get("y"), steps.get("x")
    return PlateFacts(
        pixel_size=x if x and y and abs(x - y) <= 1e-3 * x else None,
        z_step=steps.get("z"),
        time_step=steps.get("t"),
    )


def _positions(fields: Sequence[_Field]) -> dict[str, dict[int, Position]]:
    """Of the wells where not all fields have the same one, as plates have that tell none."""
    found: dict[str, dict[int, Position]] = {}
    for field in fields:
        if field.image is not None and field.image.place is not None:
            found.setdefault(field.well, {})[field.number] = field.image.place
    return {well: places for well, places in found.items() if len(places) == 1 or len(set(places.values())) > 1}


def recognises(listing: Listing) -> bool:
    """A Zarr store."""
    return bool(listing.named(*STORE_FILES))


def finest_array(folder: Path, group: str) -> str:
    """The finest array of an image or label image; both paths are relative to the folder.

    Raises:
        ValueError: There is no such group, or its metadata are damaged.
    """
    attributes = read_attributes(folder, group)
    with damage_of(folder / attributes_file(folder, group)):
        return below(group, objects(objects(attributes or {}, "multiscales")[0], "datasets")[0], "path")


def label_groups(folder: Path, path_of_array: str) -> dict[str, str]:
    """Name -> group of the label images that belong to the image of an array, all relative to the folder.

    Raises:
        ValueError: Damaged metadata.
    """
    for parent in PurePosixPath(path_of_array).parents:
        if "multiscales" in (read_attributes(folder, str(parent)) or {}):
            group = str(parent / "labels")
            listed = (read_attributes(folder, group) or {}).get("labels", [])
            with damage_of(folder / attributes_file(folder, group)):
                names = [text({"labels": name}, "labels") for name in a_list({"labels": listed}, "labels")]
                return {name: below(group, {"labels": name}, "labels") for name in names}
    return {}


def read_labels(folder: Path, path_of_array: str) -> dict[str, NDArray[Any]]:
    """Name -> pages (N, Y, X) of the label images that belong to the image of an array.

    Raises:
        UnreadableImage: Damaged metadata or pixels.
    """
    from pipeline_lib.io.images import UnreadableImage

    try:
        arrays = {name: finest_array(folder, group) for name, group in label_groups(folder, path_of_array).items()}
    except ValueError as error:
        raise UnreadableImage(" ".join(str(error).split())) from error
    return {name: read(folder / path, None) for name, path in arrays.items()}


def tables(folder: Path, path_of_array: str) -> Path | None:
    """The group of tables (as fractal and ngio keep them) beside an array, if there is one."""
    found = (folder / path_of_array).parent / "tables"
    return found if found.is_dir() else None


EXPECTS = "one OME-Zarr plate (a folder with zarr.json or .zgroup)"
READER = Reader(scan, recognises, EXPECTS, describe, read, read_labels, tables)
