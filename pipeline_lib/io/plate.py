"""The OME-Zarr plate on disk: OME-NGFF 0.5, Zarr v3, one shard per channel stack and level.

Images inside the library are (C, Y, X); this module turns what the plate stores, (t, c, z, y, x) without the axes that
have length 1, into that. Group metadata is written as JSON, so that listing a plate needs no Zarr library.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline_lib.core.histograms import Histogram
from pipeline_lib.core.layout import Layout
from pipeline_lib.core.wells import row_column, well_name
from pipeline_lib.io.arrays import read_array, read_frame, write_array
from pipeline_lib.io.commit import committed, discard, sweep
from pipeline_lib.io.ngff import (
    VERSION,
    PlateInfo,
    display_metadata,
    image_metadata,
    label_metadata,
    plate_metadata,
    well_metadata,
)
from pipeline_lib.io.records import read_json, write_json
from pipeline_lib.io.shards import create_array, write_shards
from pipeline_lib.paths import HISTOGRAMS, label_name, labels_path, well_path

OURS = "wellpose"  # our own block beside "ome" in the attributes of a group


def create_plate(plate: Path, info: PlateInfo, fingerprint: str, told: Mapping[str, Any] | None = None) -> None:
    """Write the plate and row groups. Wells that are there already stay. told: what else our own block says."""
    for row in range(info.rows):
        name = well_name(row, 0).rstrip("0123456789")
        write_group(plate / name, {})
    ours = {"info": info.to_json(), "fingerprint": fingerprint, **(told or {})}
    write_group(plate, {"ome": plate_metadata(info, committed_wells(plate)), OURS: ours})


def list_wells(plate: Path, wells: Sequence[str]) -> None:
    """Make the plate's well list exactly `wells`."""
    attributes = read_attributes(plate)
    write_group(plate, {**attributes, "ome": plate_metadata(read_info(plate), wells)})


def read_info(plate: Path) -> PlateInfo:
    """What the skeleton job wrote about the plate."""
    return PlateInfo.from_json(read_attributes(plate)[OURS]["info"])


def read_layout(plate: Path) -> Layout | None:
    """Where fields lie in the image of a well, as the skeleton job wrote; None where each field is an image."""
    told = read_attributes(plate).get(OURS, {}).get("layout")
    return Layout.from_json(told) if told else None


def committed_wells(plate: Path) -> list[str]:
    """The wells a plate holds, row by row."""
    found = [row.name + well.name for row in plate.glob("[A-Z]*") for well in row.glob("[0-9][0-9]")]
    return sorted(found, key=row_column)


def listed_wells(plate: Path) -> list[str]:
    """The wells the plate's metadata list."""
    return [well["path"].replace("/", "") for well in read_attributes(plate)["ome"]["plate"]["wells"]]


def write_group(group: Path, attributes: Mapping[str, Any]) -> None:
    """Write the metadata of a Zarr group, whole or not at all."""
    sweep(group / "zarr.json")
    write_json(group / "zarr.json", {"zarr_format": 3, "node_type": "group", "attributes": attributes})


def read_attributes(group: Path) -> dict[str, Any]:
    """The attributes of a Zarr group; empty where there is no group."""
    attributes: dict[str, Any] = read_json(group / "zarr.json").get("attributes", {})
    return attributes


def stored_fingerprint(group: Path) -> str | None:
    """The fingerprint of committed data; None where there is none."""
    found: str | None = read_attributes(group).get(OURS, {}).get("fingerprint")
    return found


def image_axes(info: PlateInfo, planes: int) -> str:
    """Axes of a stored image: those of length 1 are left out, except c, y and x."""
    return ("t" if info.times > 1 else "") + "c" + ("z" if planes > 1 else "") + "yx"


def label_axes(info: PlateInfo) -> str:
    """Axes of a stored label image: objects are found per time point, in the projection along z."""
    return ("t" if info.times > 1 else "") + "yx"


def write_well(well: Path, fields: Sequence[int], ours: Mapping[str, Any]) -> None:
    """Write the group of a well with our own block `ours`; its fields are written beside."""
    write_group(well, {"ome": well_metadata(fields), OURS: ours})


def write_image_group(well: Path, field: int, axes: str, steps: Sequence[int], info: PlateInfo) -> None:
    """Write the metadata of one field. axes: of its arrays; steps: pixel sizes of its levels."""
    described = image_metadata(f"{field}", axes, steps, info.sizes)
    write_group(well / str(field), {"ome": {**described, "omero": display_metadata(info)}})


def write_field(well: Path, field: int, levels: Sequence[NDArray[Any]], steps: Sequence[int], info: PlateInfo) -> None:
    """Write one field as a pyramid. levels: (T, C, Z, Y, X) each, finest first; steps: their pixel sizes."""
    axes = image_axes(info, planes=levels[0].shape[2])
    write_image_group(well, field, axes, steps, info)
    for level, array in enumerate(levels):
        write_array(well / str(field) / str(level), _stored(array, "tczyx", axes), axes)


def commit_labels(
    group: Path,
    analysis: str,
    labels: Mapping[str, Sequence[NDArray[np.uint32]]],
    steps: Sequence[int],
    info: PlateInfo,
    ours: Mapping[str, Any],
) -> None:
    """Write the label images an analysis made of one field; those of other analyses stay.

    They count once the group lists them, which is one rename of one small file; before that, and while older ones are
    replaced, the analysis has none.

    Args:
        group: The field's group of label images.
        analysis: Its name; empty for the plain one.
        labels: Name -> pyramid levels (T, Y, X), finest first.
        steps: Pixel sizes of the levels, in pixels of the first.
        info: The plate.
        ours: What is told of their making, such as `fingerprint`.
    """
    withdraw_labels(group, analysis)
    axes = label_axes(info)
    for name, levels in labels.items():
        stored = label_name(name, analysis)
        with committed(group / stored) as temporary:
            write_group(temporary, {"ome": label_metadata(stored, axes, steps, info.sizes)})
            for level, array in enumerate(levels):
                write_array(temporary / str(level), _stored(array, "tyx", axes), axes)
    _list_labels(group, {**analyses_of(group), analysis: {**ours, "labels": list(labels)}})


def withdraw_labels(group: Path, analysis: str) -> None:
    """Make the label images of an analysis absent at once, then delete them and what a killed job left."""
    analyses = analyses_of(group)
    if analyses.pop(analysis, None):
        _list_labels(group, analyses)
    listed = _listed(analyses)
    for child in group.iterdir() if group.is_dir() else ():
        if child.is_dir() and child.name not in listed:
            discard(child)


def analyses_of(group: Path) -> dict[str, dict[str, Any]]:
    """Analysis -> what it told of a field's label images: `labels` (their names), `fingerprint`, ..."""
    analyses: dict[str, dict[str, Any]] = read_attributes(group).get(OURS, {}).get("analyses", {})
    return analyses


def labels_of(plate: Path, well: str, field: int, analysis: str = "") -> dict[str, Any]:
    """What an analysis told of the label images of a field; empty where it has none."""
    return analyses_of(plate / well_path(well) / labels_path(field)).get(analysis, {})


def _list_labels(group: Path, analyses: Mapping[str, Mapping[str, Any]]) -> None:
    write_group(group, {"ome": {"version": VERSION, "labels": _listed(analyses)}, OURS: {"analyses": analyses}})


def _listed(analyses: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The names on disk of the label images of all analyses."""
    return [label_name(name, analysis) for analysis, made in analyses.items() for name in made["labels"]]


def write_histograms(well: Path, histograms: Sequence[Sequence[Histogram]]) -> None:
    """Write the histograms of a well, [field][channel], as one small array beside its fields."""
    counts = np.stack([[h.counts for h in channels] for channels in histograms]).astype(np.uint32)
    grids = [[[h.width, h.first] for h in channels] for channels in histograms]
    told = {OURS: {"grids": grids}}
    create_array(well / HISTOGRAMS, counts, ("field", "channel", "bin"), counts.shape, counts.shape, told)
    write_shards(well / HISTOGRAMS, counts, counts.shape, counts.shape)


def read_histograms(plate: Path, well: str) -> list[list[Histogram]]:
    """The histograms of a well, [field][channel]."""
    path = plate / well_path(well) / HISTOGRAMS
    counts = read_array(path).astype(np.int64)
    grids = read_attributes(path)[OURS]["grids"]
    return [
        [Histogram(width, int(first), counts[field, channel]) for channel, (width, first) in enumerate(channels)]
        for field, channels in enumerate(grids)
    ]


def read_field(plate: Path, well: str, field: int, time: int = 0, level: int = 0) -> NDArray[Any]:
    """One field as (C, Y, X), in the number type of the microscope; planes along z are projected to their maximum."""
    image = read_frame(plate / well_path(well) / str(field) / str(level), "tczyx", time)
    return image.max(axis=1)  # type: ignore[no-any-return]


def read_labels(
    plate: Path, well: str, field: int, time: int = 0, level: int = 0, analysis: str = ""
) -> dict[str, NDArray[np.uint32]]:
    """The label images an analysis made of one field, name -> (Y, X)."""
    group = plate / well_path(well) / labels_path(field)
    names = labels_of(plate, well, field, analysis)["labels"]
    return {name: read_frame(group / label_name(name, analysis) / str(level), "tyx", time) for name in names}


def fields_of(plate: Path, well: str) -> list[int]:
    """The fields of a committed well."""
    images = read_attributes(plate / well_path(well))["ome"]["well"]["images"]
    return [int(image["path"]) for image in images]


def levels_of(plate: Path, well: str, field: int) -> int:
    """The number of pyramid levels of a field."""
    attributes = read_attributes(plate / well_path(well) / str(field))
    return len(attributes["ome"]["multiscales"][0]["datasets"])


def _stored(array: NDArray[Any], full: str, axes: str) -> NDArray[Any]:
    """Drop the axes that are not stored; they have length 1."""
    return array.squeeze(tuple(index for index, axis in enumerate(full) if axis not in axes))
