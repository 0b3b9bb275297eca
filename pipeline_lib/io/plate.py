"""The OME-Zarr plate on disk: OME-NGFF 0.5, Zarr v3, one shard per channel stack and level.

Images inside the library are (C, Y, X); this module turns what the plate stores, (t, c, z, y, x) without the axes that
have length 1, into that. Group metadata is written as JSON, so that listing a plate needs no Zarr library.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline_lib.core.histograms import Histogram
from pipeline_lib.core.wells import row_column, well_name
from pipeline_lib.io.ngff import (
    PlateInfo,
    display_metadata,
    image_metadata,
    label_metadata,
    plate_metadata,
    well_metadata,
)
from pipeline_lib.io.records import read_json, write_json
from pipeline_lib.paths import HISTOGRAMS, labels_path, well_path

OURS = "wellpose"  # our own block beside "ome" in the attributes of a group
LARGEST_CHUNK = 1024
LARGEST_SHARD = 4096


def create_plate(plate: Path, info: PlateInfo, fingerprint: str) -> None:
    """Write the plate and row groups. Wells that are there already stay."""
    for row in range(info.rows):
        name = well_name(row, 0).rstrip("0123456789")
        write_group(plate / name, {})
    ours = {"info": info.to_json(), "fingerprint": fingerprint}
    write_group(plate, {"ome": plate_metadata(info, committed_wells(plate)), OURS: ours})


def list_wells(plate: Path, wells: Sequence[str]) -> None:
    """Make the plate's well list exactly `wells`."""
    attributes = read_attributes(plate)
    write_group(plate, {**attributes, "ome": plate_metadata(read_info(plate), wells)})


def read_info(plate: Path) -> PlateInfo:
    """What the skeleton job wrote about the plate."""
    return PlateInfo.from_json(read_attributes(plate)[OURS]["info"])


def committed_wells(plate: Path) -> list[str]:
    """The wells a plate holds, row by row."""
    found = [row.name + well.name for row in plate.glob("[A-Z]*") for well in row.glob("[0-9][0-9]")]
    return sorted(found, key=row_column)


def write_group(group: Path, attributes: Mapping[str, Any]) -> None:
    """Write the metadata of a Zarr group, whole or not at all."""
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


def write_field(well: Path, field: int, levels: Sequence[NDArray[Any]], steps: Sequence[int], info: PlateInfo) -> None:
    """Write one field as a pyramid. levels: (T, C, Z, Y, X) each, finest first; steps: their pixel sizes."""
    axes = image_axes(info, planes=levels[0].shape[2])
    described = image_metadata(f"{field}", axes, steps, info.pixel_size)
    write_group(well / str(field), {"ome": {**described, "omero": display_metadata(info)}})
    for level, array in enumerate(levels):
        _write_array(well / str(field) / str(level), _stored(array, "tczyx", axes), axes)


def write_labels(
    group: Path, labels: Mapping[str, Sequence[NDArray[np.uint32]]], steps: Sequence[int], info: PlateInfo, ours: object
) -> None:
    """Write the label images of one field. labels: name -> pyramid levels (T, Y, X), finest first."""
    axes = label_axes(info)
    write_group(group, {"ome": {"version": "0.5", "labels": list(labels)}, OURS: ours})
    for name, levels in labels.items():
        write_group(group / name, {"ome": label_metadata(name, axes, steps, info.pixel_size)})
        for level, array in enumerate(levels):
            _write_array(group / name / str(level), _stored(array, "tyx", axes), axes)


def write_histograms(well: Path, histograms: Sequence[Sequence[Histogram]]) -> None:
    """Write the histograms of a well, [field][channel], as one small array beside its fields."""
    counts = np.stack([[h.counts for h in channels] for channels in histograms]).astype(np.uint32)
    grids = [[[h.width, h.first] for h in channels] for channels in histograms]
    array = _create(well / HISTOGRAMS, counts, ("field", "channel", "bin"), chunks=counts.shape, shards=None)
    array.attrs[OURS] = {"grids": grids}
    array[:] = counts


def read_histograms(plate: Path, well: str) -> list[list[Histogram]]:
    """The histograms of a well, [field][channel]."""
    import zarr

    array = zarr.open_array(plate / well_path(well) / HISTOGRAMS, mode="r")
    counts = np.asarray(array[:]).astype(np.int64)
    grids: Any = array.attrs[OURS]
    return [
        [Histogram(width, int(first), counts[field, channel]) for channel, (width, first) in enumerate(channels)]
        for field, channels in enumerate(grids["grids"])
    ]


def read_field(plate: Path, well: str, field: int, time: int = 0, level: int = 0) -> NDArray[Any]:
    """One field as (C, Y, X), in the number type of the microscope; planes along z are projected to their maximum."""
    image = _read(plate / well_path(well) / str(field), level, "tczyx", time)
    return image.max(axis=1)  # type: ignore[no-any-return]


def read_labels(plate: Path, well: str, field: int, time: int = 0, level: int = 0) -> dict[str, NDArray[np.uint32]]:
    """The label images of one field, name -> (Y, X)."""
    group = plate / well_path(well) / labels_path(field)
    names = read_attributes(group)["ome"]["labels"]
    return {name: _read(group / name, level, "tyx", time) for name in names}


def fields_of(plate: Path, well: str) -> list[int]:
    """The fields of a committed well."""
    images = read_attributes(plate / well_path(well))["ome"]["well"]["images"]
    return [int(image["path"]) for image in images]


def levels_of(plate: Path, well: str, field: int) -> int:
    """The number of pyramid levels of a field."""
    attributes = read_attributes(plate / well_path(well) / str(field))
    return len(attributes["ome"]["multiscales"][0]["datasets"])


def read_level(image: Path, level: int) -> NDArray[Any]:
    """A whole level of an image or label image, as stored."""
    import zarr

    return np.asarray(zarr.open_array(image / str(level), mode="r")[:])


def _stored(array: NDArray[Any], full: str, axes: str) -> NDArray[Any]:
    """Drop the axes that are not stored; they have length 1."""
    return array.squeeze(tuple(index for index, axis in enumerate(full) if axis not in axes))


def _read(image: Path, level: int, full: str, time: int) -> NDArray[Any]:
    """Read one time point of a stored image with all axes of `full` but t."""
    import zarr

    array = zarr.open_array(image / str(level), mode="r")
    axes: Any = array.metadata.dimension_names  # type: ignore[union-attr]
    pixels = np.asarray(array[time] if axes[0] == "t" else array[:])
    missing = tuple(index for index, axis in enumerate(full[1:]) if axis not in axes)
    return np.expand_dims(pixels, missing)


def _write_array(path: Path, array: NDArray[Any], axes: str) -> None:
    chunks = tuple(_even(size) if axis in "yx" else 1 for axis, size in zip(axes, array.shape, strict=True))
    shards = tuple(_shard(axis, size, chunk) for axis, size, chunk in zip(axes, array.shape, chunks, strict=True))
    _create(path, array, tuple(axes), chunks, shards)[:] = array


def _even(size: int) -> int:
    """Chunk length: `size` in equal parts of at most LARGEST_CHUNK."""
    return max(1, ceil(size / max(1, ceil(size / LARGEST_CHUNK))))


def _shard(axis: str, size: int, chunk: int) -> int:
    """Shard length: a time point, all channels and planes, and up to about LARGEST_SHARD pixels each way."""
    if axis not in "yx":
        return 1 if axis == "t" else size
    return chunk * min(ceil(size / chunk), max(1, LARGEST_SHARD // chunk))


def _create(
    path: Path, like: NDArray[Any], names: tuple[str, ...], chunks: tuple[int, ...], shards: tuple[int, ...] | None
) -> Any:
    """Create an array of the shape and type of another one, compressed without loss."""
    import zarr
    from zarr.codecs import BloscCodec, BloscShuffle

    return zarr.create_array(
        path,
        shape=like.shape,
        dtype=like.dtype,
        chunks=chunks,
        shards=shards,
        dimension_names=names,
        compressors=BloscCodec(cname="zstd", clevel=3, shuffle=BloscShuffle.bitshuffle),
        zarr_format=3,
    )
