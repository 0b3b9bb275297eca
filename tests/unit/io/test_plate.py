"""The OME-Zarr plate on disk: what is written comes back, and two validators of others agree that it is a plate."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaozarrs
import zarr
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from ome_zarr_models.v05 import HCS, Image, ImageLabel, Well

from pipeline_lib.arrays.pyramid import level_steps, pyramid
from pipeline_lib.arrays.resample import shrink, shrink_labels
from pipeline_lib.core.histograms import histogram, percentiles
from pipeline_lib.io.arrays import _even, _shard, read_array
from pipeline_lib.io.ngff import Channel, PlateInfo, image_metadata
from pipeline_lib.io.plate import (
    OURS,
    commit_labels,
    committed_wells,
    create_plate,
    fields_of,
    image_axes,
    label_axes,
    levels_of,
    list_wells,
    read_attributes,
    read_field,
    read_histograms,
    read_info,
    read_labels,
    stored_fingerprint,
    write_field,
    write_histograms,
    write_well,
)
from pipeline_lib.paths import labels_path, well_path

CHANNELS = (
    Channel("1", "DNA", "0000FF", (10.0, 900.0), 460.0),
    Channel("2", "GFP", "00FF00", (5.0, 400.0)),
)
INFO = PlateInfo("P1", 8, 12, 2, 1, CHANNELS, 0.5, (70, 90), "uint16")


def pixels(info: PlateInfo, planes: int = 1, seed: int = 0) -> NDArray[Any]:
    """A random field (T, C, Z, Y, X) of a plate, with the largest and smallest numbers of its type."""
    shape = (info.times, len(info.channels), planes, *info.shape)
    rng = np.random.default_rng(seed)
    if info.dtype == "float32":
        return rng.normal(0, 1e4, shape).astype(np.float32)
    largest = np.iinfo(info.dtype).max
    image = rng.integers(0, largest, shape).astype(info.dtype)
    image[..., 0, 0], image[..., 0, 1] = 0, largest
    return image


def objects(info: PlateInfo, seed: int = 0) -> NDArray[np.uint32]:
    """Random labels (T, Y, X) with ids beyond 16 bits."""
    return np.random.default_rng(seed).integers(0, 70_000, (info.times, *info.shape)).astype(np.uint32)


def add_field(well: Path, field: int, image: NDArray[Any], info: PlateInfo) -> None:
    flat = pyramid(image.reshape(-1, *image.shape[-2:]), shrink)
    levels = [level.reshape(*image.shape[:3], *level.shape[-2:]) for level in flat]
    write_field(well, field, levels, level_steps(*info.shape), info)


def add_labels(well: Path, field: int, info: PlateInfo) -> NDArray[np.uint32]:
    labels = objects(info, seed=field)
    levels = pyramid(labels, lambda level, step: np.stack([shrink_labels(frame, step) for frame in level]))
    group = well / labels_path(field)
    commit_labels(group, "", {"nuclei": levels, "cells": levels}, level_steps(*info.shape), info, {"fingerprint": "L"})
    return labels


def make_plate(plate: Path, info: PlateInfo, wells: dict[str, list[int]], planes: int = 1) -> None:
    """A complete plate: well -> its fields, each with two label images."""
    create_plate(plate, info, "F")
    for well, fields in wells.items():
        folder = plate / well_path(well)
        images = [pixels(info, planes, seed=field) for field in fields]
        for field, image in zip(fields, images, strict=True):
            add_field(folder, field, image, info)
            add_labels(folder, field, info)
        write_histograms(folder, [[histogram(image[:, c]) for c in range(len(info.channels))] for image in images])
        write_well(folder, fields, {"fingerprint": f"W{well}"})
    list_wells(plate, committed_wells(plate))


VARIANTS = {
    "uint16": (INFO, 1),
    "uint8": (replace(INFO, dtype="uint8"), 1),
    "float32": (replace(INFO, dtype="float32"), 1),
    "time points": (replace(INFO, times=3), 1),
    "kept planes": (INFO, 4),
    "time points and planes": (replace(INFO, times=2, dtype="uint8"), 3),
    "one channel, unknown pixel size": (replace(INFO, channels=CHANNELS[:1], pixel_size=None), 1),
    "larger than a chunk": (replace(INFO, shape=(1027, 1501), channels=CHANNELS[:1]), 1),
    "three levels": (replace(INFO, shape=(3, 4099), channels=CHANNELS[:1]), 1),
}
variants = pytest.mark.parametrize(("info", "planes"), VARIANTS.values(), ids=VARIANTS)


@variants
def test_images_and_labels_come_back(tmp_path: Path, info: PlateInfo, planes: int) -> None:
    plate, well = tmp_path / "raw.ome.zarr", tmp_path / "raw.ome.zarr" / "B" / "03"
    written = {field: pixels(info, planes, seed=field) for field in (0, 2, 11)}
    labelled = {}
    for field, image in written.items():
        add_field(well, field, image, info)
        labelled[field] = add_labels(well, field, info)
    write_well(well, list(written), {})
    assert fields_of(plate, "B03") == [0, 2, 11]
    for field, image in written.items():
        for time in range(info.times):
            found = read_field(plate, "B03", field, time)
            assert found.dtype == info.dtype
            np.testing.assert_array_equal(found, image[time].max(axis=1))
            labels = read_labels(plate, "B03", field, time)
            assert list(labels) == ["nuclei", "cells"]
            assert labels["cells"].dtype == np.uint32
            np.testing.assert_array_equal(labels["cells"], labelled[field][time])
        np.testing.assert_array_equal(read_array(well / str(field) / "0").ravel(), image.ravel())


def test_coarser_levels_are_read_by_number(tmp_path: Path) -> None:
    add_field(tmp_path / "A" / "01", 0, image := pixels(INFO), INFO)
    labels = add_labels(tmp_path / "A" / "01", 0, INFO)
    assert levels_of(tmp_path, "A01", 0) == 2
    np.testing.assert_array_equal(read_field(tmp_path, "A01", 0, level=1), shrink(image[0, :, 0], 4))
    found = read_labels(tmp_path, "A01", 0, level=1)["nuclei"]
    np.testing.assert_array_equal(found, shrink_labels(labels[0], 4))


def test_histograms_come_back_with_their_percentiles(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    kinds = [rng.integers(0, 300, 500), rng.normal(-3, 1e-4, 500), rng.integers(0, 2**32 - 1, 500), np.zeros(9)]
    written = [[histogram(values), histogram(values + 1)] for values in kinds]
    write_histograms(tmp_path / "P" / "24", written)
    found = read_histograms(tmp_path, "P24")
    assert [len(channels) for channels in found] == [2] * 4
    for ours, theirs in zip(chain(*written), chain(*found), strict=True):
        assert (ours.width, ours.first, ours.total) == (theirs.width, theirs.first, theirs.total)
        np.testing.assert_array_equal(ours.counts, theirs.counts)
        assert percentiles(ours, [1, 50]) == percentiles(theirs, [1, 50])


@variants
@pytest.mark.filterwarnings("error")
def test_plates_are_valid_for_others(tmp_path: Path, info: PlateInfo, planes: int) -> None:
    plate = tmp_path / "raw.ome.zarr"
    wells = {"A01": [0], "H12": [0, 3]} if max(info.shape) < 1000 else {"A01": [0]}
    make_plate(plate, info, wells, planes)
    yaozarrs.validate_zarr_store(plate)
    hcs = HCS.from_zarr(zarr.open_group(plate, mode="r"))
    assert [well.path for well in hcs.ome_attributes.plate.wells] == [well_path(well) for well in wells]
    for well, fields in wells.items():
        yaozarrs.validate_zarr_store(plate / well_path(well))
        found = Well.from_zarr(zarr.open_group(plate / well_path(well), mode="r"))
        assert [image.path for image in found.ome_attributes.well.images] == [str(field) for field in fields]
        for field in fields:
            check_image(plate / well_path(well) / str(field), info, planes)


def check_image(group: Path, info: PlateInfo, planes: int) -> None:
    """One field and its label images, as both validators see them."""
    yaozarrs.validate_zarr_store(group)
    image = Image.from_zarr(zarr.open_group(group, mode="r"))
    axes = "".join(axis.name for axis in image.ome_attributes.multiscales[0].axes)
    assert axes == image_axes(info, planes)
    assert [channel["label"] for channel in read_attributes(group)["ome"]["omero"]["channels"]] == list(
        info.channel_names
    )
    assert image.labels is not None
    assert image.labels.ome_attributes.labels == ["nuclei", "cells"]
    for name in ("nuclei", "cells"):
        yaozarrs.validate_zarr_store(group / "labels" / name)
        label = ImageLabel.from_zarr(zarr.open_group(group / "labels" / name, mode="r"))
        assert "".join(axis.name for axis in label.ome_attributes.multiscales[0].axes) == label_axes(info)
        assert len(label.ome_attributes.multiscales[0].datasets) == len(level_steps(*info.shape))


def test_a_plate_with_holes_is_valid_and_lists_what_it_holds(tmp_path: Path) -> None:
    """No well at all, some of many, and fewer listed than there are."""
    plate = tmp_path / "raw.ome.zarr"
    create_plate(plate, INFO, "F")
    assert listed(plate) == []
    make_plate(plate, INFO, {"C10": [1], "B02": [0], "C09": [0]})
    assert listed(plate) == committed_wells(plate) == ["B02", "C09", "C10"]
    list_wells(plate, ["C09"])
    assert listed(plate) == ["C09"]
    yaozarrs.validate_zarr_store(plate)
    HCS.from_zarr(zarr.open_group(plate, mode="r"))


def listed(plate: Path) -> list[str]:
    return [well["path"].replace("/", "") for well in read_attributes(plate)["ome"]["plate"]["wells"]]


def test_a_second_skeleton_keeps_wells_and_takes_new_facts(tmp_path: Path) -> None:
    make_plate(tmp_path, INFO, {"A01": [0], "B12": [0]})
    changed = replace(INFO, pixel_size=0.25)
    create_plate(tmp_path, changed, "G")
    assert listed(tmp_path) == ["A01", "B12"]
    assert read_info(tmp_path) == changed
    assert stored_fingerprint(tmp_path) == "G"
    assert stored_fingerprint(tmp_path / "B" / "12") == "WB12"


def test_listing_wells_changes_nothing_else(tmp_path: Path) -> None:
    make_plate(tmp_path, INFO, {"A01": [0]})
    before = read_attributes(tmp_path)
    list_wells(tmp_path, [])
    after = read_attributes(tmp_path)
    assert after[OURS] == before[OURS]
    assert {**before["ome"]["plate"], "wells": []} == after["ome"]["plate"]


def test_unfinished_wells_are_not_committed(tmp_path: Path) -> None:
    make_plate(tmp_path, INFO, {"B03": [0]})
    for left_over in (".03.0a1b.tmp", ".04.0a1b.old"):
        write_well(tmp_path / "B" / left_over, [0], {})
    assert committed_wells(tmp_path) == ["B03"]
    assert committed_wells(tmp_path / "nowhere") == []


def test_wells_beyond_row_z(tmp_path: Path) -> None:
    info = replace(INFO, rows=32, columns=48)
    make_plate(tmp_path, info, {"Z01": [0], "AF48": [0], "AA02": [0]})
    assert listed(tmp_path) == ["Z01", "AA02", "AF48"]
    yaozarrs.validate_zarr_store(tmp_path)


def test_what_does_not_exist_has_no_fingerprint(tmp_path: Path) -> None:
    assert stored_fingerprint(tmp_path / "A" / "01") is None
    write_well(tmp_path / "A" / "01", [0], {})
    assert stored_fingerprint(tmp_path / "A" / "01") is None


@pytest.mark.parametrize(
    ("shape", "files"),
    [
        ((70, 90), 1 + 2 * 2),  # the group; for each of two levels its metadata and one shard of all channels
        ((1027, 1501), 1 + 2 * 2),
        ((3, 4099), 1 + 3 + 2 * 2),  # the finest level is wider than a shard; two levels more
    ],
)
def test_a_field_takes_few_files(tmp_path: Path, shape: tuple[int, int], files: int) -> None:
    info = replace(INFO, shape=shape)
    image = pixels(info, planes=3) + np.uint16(1)  # no empty chunk, which would not be written
    add_field(tmp_path, 0, np.maximum(image, 1), info)
    assert sum(path.is_file() for path in tmp_path.rglob("*")) == files


@given(st.integers(1, 60_000))
def test_chunks_cover_each_side_in_nearly_equal_parts(size: int) -> None:
    chunk = _even(size)
    parts = -(-size // chunk)
    assert chunk <= 1024
    assert (parts - 1) * chunk < size <= parts * chunk
    assert parts * chunk - size < parts
    shard = _shard("y", size, chunk)
    assert shard % chunk == 0
    assert shard >= min(size, 2049)


def test_pixel_sizes_and_places_of_levels() -> None:
    """Pixels of 0.5 um: those of level 1 are 2 um, and the middle of the first lies 1.5 pixels, 0.75 um, further in."""
    [multiscale] = image_metadata("0", "tczyx", [1, 4, 16], {"y": 0.5, "x": 0.5, "z": 3.0})["multiscales"]
    found = [dataset["coordinateTransformations"] for dataset in multiscale["datasets"]]
    assert found[0] == [{"type": "scale", "scale": [1.0, 1.0, 3.0, 0.5, 0.5]}]
    assert found[1] == [
        {"type": "scale", "scale": [1.0, 1.0, 3.0, 2.0, 2.0]},
        {"type": "translation", "translation": [0.0, 0.0, 0.0, 0.75, 0.75]},
    ]
    assert found[2][0]["scale"][-1] == 8.0
    assert found[2][1]["translation"][-1] == 3.75
    assert [axis["name"] for axis in multiscale["axes"]] == list("tczyx")
    assert [axis.get("unit") for axis in multiscale["axes"]] == [None, None, *["micrometer"] * 3]


def test_an_unknown_pixel_size_has_no_unit() -> None:
    [multiscale] = image_metadata("0", "cyx", [1, 4], {})["multiscales"]
    assert [axis.get("unit") for axis in multiscale["axes"]] == [None, None, None]
    assert multiscale["datasets"][1]["coordinateTransformations"][0]["scale"] == [1.0, 4.0, 4.0]


def test_metadata_is_strict_json(tmp_path: Path) -> None:
    """A focus that is not a number is null: readers in other languages refuse NaN."""
    write_well(tmp_path, [0], {"quality": [{"focus": float("nan"), "background": 3.0}]})

    def refuse(constant: str) -> float:
        raise AssertionError(constant)

    content = json.loads((tmp_path / "zarr.json").read_text(), parse_constant=refuse)
    assert content["attributes"][OURS]["quality"] == [{"focus": None, "background": 3.0}]
