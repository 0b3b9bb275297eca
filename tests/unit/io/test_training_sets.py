"""Training sets in every layout: what comes out is what was put in, and what is wrong with one is told in full."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import imagecodecs
import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from pipeline_lib.core.labelled import Labelled
from pipeline_lib.io.ngff import Channel, PlateInfo
from pipeline_lib.io.plate import commit_labels, create_plate, write_field, write_group, write_well
from pipeline_lib.io.training_sets import FORMATS, SetSource, TrainingSetError, count_images, read_set
from pipeline_lib.io.training_sets.outlines import Polygon, Runs, draw
from pipeline_lib.paths import labels_path, well_path

GREY = np.arange(12, dtype=np.uint8).reshape(3, 4)
MASKS = np.array([[0, 1, 1, 0], [0, 0, 0, 7], [300, 300, 0, 7]], np.uint16)
RGB = np.stack([GREY, GREY + 10, GREY * 3], axis=-1)
NOTHING = np.zeros_like(GREY)
BYTES = (np.uint8, np.uint16)


def save(path: Path, pixels: NDArray[Any], **options: Any) -> Path:
    """As TIFF with the axes untold, or as PNG, by the name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix in (".tif", ".tiff"):
        tifffile.imwrite(path, pixels, **({"photometric": "minisblack"} | options))
    else:
        encode = {".png": imagecodecs.png_encode, ".jpg": imagecodecs.jpeg_encode}[path.suffix]
        path.write_bytes(encode(pixels))
    return path


def read(folder: Path, format: str = "pairs", *channels: int | str, labels: str = "") -> list[Labelled]:  # noqa: A002
    source = SetSource(format, folder, channels, labels)
    found = list(read_set(source))
    assert count_images(source) == len(found)
    for one in found:
        assert one.image.shape == (2, *one.labels.shape)
        assert one.labels.dtype == np.uint32
    return found


def check(found: Labelled, name: str, image: Iterable[NDArray[Any]], labels: NDArray[Any]) -> None:
    assert found.name == name
    np.testing.assert_array_equal(found.image, np.stack([*image]))
    np.testing.assert_array_equal(found.labels, labels)


def trouble(folder: Path, format: str = "pairs", *channels: int | str, labels: str = "") -> str:  # noqa: A002
    """What is told of a set before any image is read."""
    source = SetSource(format, folder, channels, labels)
    with pytest.raises(TrainingSetError) as counting:
        count_images(source)
    with pytest.raises(TrainingSetError) as reading:
        read_set(source)
    assert str(counting.value) == str(reading.value)
    return str(counting.value)


def late_trouble(folder: Path, format: str = "pairs", *channels: int | str) -> str:  # noqa: A002
    """What is told when the only image of a set is read."""
    source = SetSource(format, folder, channels)
    assert count_images(source) == 1
    images = read_set(source)
    with pytest.raises(TrainingSetError) as reading:
        next(images)
    return str(reading.value)


# ------------------------------------------------------------------------------------------------------------- pairs


def test_pairs_have_names_kinds_and_an_order(tmp_path: Path) -> None:
    save(tmp_path / "b_img.png", GREY)
    save(tmp_path / "b_masks.tif", MASKS)
    save(tmp_path / "a_img.tif", GREY + 1)
    save(tmp_path / "a_masks.png", MASKS * 0)
    (tmp_path / "manifest.csv").write_text("name,kind,height\nb,phase,3\nz,fluo,9\n")
    save(tmp_path / "below" / "c_img.png", GREY)
    (tmp_path / "notes.txt").write_text("mine")
    first, second = read(tmp_path)
    check(first, "a", [GREY + 1, NOTHING], MASKS * 0)
    check(second, "b", [GREY, NOTHING], MASKS)
    assert (first.kind, second.kind) == ("", "phase")
    assert first.image.dtype == np.uint8


def test_pairs_as_cellpose_names_them(tmp_path: Path) -> None:
    for name in ("a", "b_img"):
        save(tmp_path / f"{name}.tif", GREY)
        save(tmp_path / f"{name}_masks.tif", MASKS)
        save(tmp_path / f"{name}_flows.tif", np.zeros((4, 3, 4), np.float32))
        (tmp_path / f"{name}_seg.npy").write_bytes(b"never opened")
    assert [one.name for one in read(tmp_path)] == ["a", "b_img"]


@given(
    labels=arrays(st.sampled_from([np.uint8, np.uint16, np.uint32, np.int32, np.bool_]), (5, 6)),
    image=arrays(st.sampled_from(BYTES), (5, 6)),
    endings=st.tuples(st.sampled_from(["png", "tif"]), st.sampled_from(["png", "tif"])),
)
def test_any_labels_come_back(
    tmp_path_factory: pytest.TempPathFactory,
    labels: NDArray[Any],
    image: NDArray[Any],
    endings: tuple[str, str],
) -> None:
    folder = tmp_path_factory.mktemp("set")
    save(folder / f"x_img.{endings[0]}", image)
    save(folder / f"x_masks.{endings[1] if labels.dtype in BYTES else 'tif'}", labels)
    if labels.min() < 0:
        assert "go from" in late_trouble(folder)
        return
    [found] = read(folder)
    check(found, "x", [image, image * 0], labels)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int8, np.uint32, np.int64])
def test_masks_of_other_number_types_are_labels_too(tmp_path: Path, dtype: type) -> None:
    save(tmp_path / "a_img.png", GREY)
    save(tmp_path / "a_masks.tif", (MASKS % 100).astype(dtype))
    [found] = read(tmp_path)
    check(found, "a", [GREY, NOTHING], MASKS % 100)


def test_binary_masks_are_one_object(tmp_path: Path) -> None:
    save(tmp_path / "a_img.png", GREY)
    save(tmp_path / "a_masks.png", np.where(MASKS, 255, 0).astype(np.uint8))
    [found] = read(tmp_path)
    check(found, "a", [GREY, NOTHING], np.where(MASKS, 255, 0))


# ---------------------------------------------------------------------------------------------------------- channels


@pytest.mark.parametrize(
    ("channels", "expected"),
    [
        ((), (RGB.mean(-1), NOTHING)),
        ((0,), (RGB.mean(-1), NOTHING)),
        ((2,), (RGB[..., 1], NOTHING)),
        ((2, 0), (RGB[..., 1], NOTHING)),
        ((2, 1), (RGB[..., 1], RGB[..., 0])),
        ((3, 3), (RGB[..., 2], RGB[..., 2])),
        ((0, 3), (RGB.mean(-1), RGB[..., 2])),
        (("green", "red"), (RGB[..., 1], RGB[..., 0])),
    ],
)
@pytest.mark.parametrize("ending", ["png", "tif"])
def test_channels_of_colours(
    tmp_path: Path, ending: str, channels: tuple[int | str, ...], expected: tuple[NDArray[Any], ...]
) -> None:
    save(tmp_path / f"a_img.{ending}", RGB, **({"photometric": "rgb"} if ending == "tif" else {}))
    save(tmp_path / "a_masks.tif", MASKS)
    [found] = read(tmp_path, "pairs", *channels)
    assert found.name == "a"
    np.testing.assert_allclose(found.image, np.stack([*expected]), rtol=1e-6)


@pytest.mark.parametrize("channels", [(), (0,), (2, 1), (3,)])
def test_grey_images_are_taken_as_they_are(tmp_path: Path, channels: tuple[int, ...]) -> None:
    save(tmp_path / "a_img.png", GREY)
    save(tmp_path / "a_masks.tif", MASKS)
    [found] = read(tmp_path, "pairs", *channels)
    check(found, "a", [GREY, NOTHING], MASKS)


@pytest.mark.parametrize("options", [{}, {"imagej": True, "metadata": {"axes": "CYX"}}])
def test_two_channels_are_both_taken(tmp_path: Path, options: dict[str, Any]) -> None:
    both = np.stack([GREY, GREY * 2]).astype(np.uint16)
    save(tmp_path / "a.tif", both, **options)
    save(tmp_path / "a_masks.tif", MASKS)
    check(read(tmp_path)[0], "a", both, MASKS)
    check(read(tmp_path, "pairs", 2, 1)[0], "a", both[::-1], MASKS)


def test_channels_must_be_chosen_or_be_there(tmp_path: Path) -> None:
    save(tmp_path / "a.tif", np.stack([GREY] * 4))
    save(tmp_path / "a_masks.tif", MASKS)
    assert "has the channels 1, 2, 3, 4; say with `channels`" in late_trouble(tmp_path)
    assert "channel 5 asked for, but the image has 1, 2, 3, 4" in late_trouble(tmp_path, "pairs", 1, 5)
    assert "channel DNA asked for" in late_trouble(tmp_path, "pairs", "DNA")
    assert len(read(tmp_path, "pairs", 4)) == 1


# ------------------------------------------------------------------------------------------------- what is told early


def test_all_faults_of_a_folder_are_told_at_once(tmp_path: Path) -> None:
    for name in ("lost_img.png", "twice_img.png", "twice.png", "two_img.png", "jpeg_img.png", "seg_img.png"):
        save(tmp_path / name, GREY)
    for name in ("alone_masks.png", "twice_masks.png", "two_masks.png"):
        save(tmp_path / name, MASKS)
    save(tmp_path / "two_masks.tif", MASKS)
    save(tmp_path / "jpeg_masks.jpg", GREY)
    (tmp_path / "seg_img_seg.npy").write_bytes(b"")
    (tmp_path / "manifest.csv").write_text("image,kind\nx,fluo\n")
    told = trouble(tmp_path, "pairs", 1, 2, 3, labels="cells")
    for fault in (
        "channels (1, 2, 3) given",
        "labels 'cells' given",
        "lost_img.png: an image without masks",
        "alone_masks.png: masks without an image",
        "twice: 2 images (twice.png, twice_img.png)",
        "two: 2 files of masks",
        "jpeg_masks.jpg: JPEG",
        "seg_img_seg.npy: a Python pickle",
        "has the columns image, kind; needed are name and kind",
    ):
        assert fault in told
    assert len(told.splitlines()) == 10


def test_a_set_that_is_not_there(tmp_path: Path) -> None:
    told = trouble(tmp_path / "none", "pears", -1)
    assert "format 'pears' is not known; allowed are pairs, " in told
    assert "none does not exist" in told
    assert "channels (-1,) given" in told
    (tmp_path / "manifest.csv").write_bytes(b"\xff")
    assert "manifest.csv: not a table in UTF-8" in trouble(tmp_path)


@pytest.mark.parametrize("format", FORMATS)
def test_nothing_is_found(tmp_path: Path, format: str) -> None:  # noqa: A002
    (tmp_path / "notes.txt").write_text("mine")
    assert str(tmp_path) in trouble(tmp_path, format)
    assert "notes.txt" in trouble(tmp_path / "notes.txt", format)


# -------------------------------------------------------------------------------------------------- what is told late


@pytest.mark.parametrize(
    ("masks", "told"),
    [
        (MASKS[:2], "the masks have the shape (Y, X) (2, 4), the image (3, 4)"),
        (MASKS + np.float32(0.5), "the masks are float32 with 12 values that are not whole, such as 0.5"),
        (np.where(MASKS, np.nan, 0), "not whole, such as nan"),
        (np.where(MASKS, np.inf, 0), "the masks go from 0.0 to inf"),
        (MASKS.astype(np.int16) - 1, "the masks go from -1 to 299"),
        (MASKS.astype(np.int64) * 2**40, "and numbers up to 4294967295 for objects"),
        (np.stack([MASKS, MASKS]), "the masks have 2 pages or channels"),
        (np.stack([MASKS] * 6).reshape(2, 3, 3, 4), "cannot be read"),
    ],
)
def test_masks_that_cannot_be_used(tmp_path: Path, masks: NDArray[Any], told: str) -> None:
    save(tmp_path / "a_img.png", GREY)
    save(tmp_path / "a_masks.tif", masks)
    assert told in (message := late_trouble(tmp_path))
    assert str(tmp_path / "a_masks.tif") in message


def test_masks_in_colour_and_in_planes(tmp_path: Path) -> None:
    save(tmp_path / "a_img.png", GREY)
    save(tmp_path / "a_masks.png", RGB)
    assert "the masks have colours" in late_trouble(tmp_path)
    (tmp_path / "a_masks.png").unlink()
    save(tmp_path / "a_masks.tif", np.stack([MASKS, MASKS]), imagej=True, metadata={"axes": "ZYX"})
    assert "holds 1 time points of 2 planes" in late_trouble(tmp_path)


@pytest.mark.parametrize(
    ("content", "told"),
    [(b"", "cannot be read"), (b"II*\0garbage", "cannot be read"), (b"not an image", "cannot be read (not an image")],
)
def test_files_that_cannot_be_read(tmp_path: Path, content: bytes, told: str) -> None:
    save(tmp_path / "a_masks.png", MASKS)
    (tmp_path / "a_img.tif").write_bytes(content)
    assert told in (message := late_trouble(tmp_path))
    assert str(tmp_path / "a_img.tif") in message


def test_a_file_that_went_away_and_one_that_is_cut_off(tmp_path: Path) -> None:
    image = save(tmp_path / "a_img.png", GREY)
    save(tmp_path / "a_masks.png", MASKS)
    images = read_set(SetSource("pairs", tmp_path))
    image.write_bytes(image.read_bytes()[:40])
    assert "cannot be read" in late_trouble(tmp_path)
    image.unlink()
    with pytest.raises(TrainingSetError, match=r"a_img\.png: cannot be read \(No such file"):
        next(images)


def test_pixels_that_are_no_numbers(tmp_path: Path) -> None:
    save(tmp_path / "a_img.tif", np.where(GREY, GREY, np.nan).astype(np.float32))
    save(tmp_path / "a_masks.png", MASKS)
    assert "a_img.tif: some pixels are infinite" in late_trouble(tmp_path)


def test_images_of_truth_values(tmp_path: Path) -> None:
    save(tmp_path / "a_img.tif", GREY > 5)
    save(tmp_path / "a_masks.png", MASKS)
    [found] = read(tmp_path)
    assert found.image.dtype == np.uint8
    check(found, "a", [GREY > 5, NOTHING], MASKS)


def test_good_images_before_a_bad_one_are_given(tmp_path: Path) -> None:
    for name, masks in (("a", MASKS), ("b", MASKS[:2])):
        save(tmp_path / f"{name}_img.png", GREY)
        save(tmp_path / f"{name}_masks.png", masks)
    images = read_set(SetSource("pairs", tmp_path))
    assert next(images).name == "a"
    with pytest.raises(TrainingSetError, match="b_masks"):
        next(images)


# ----------------------------------------------------------------------------------- omnipose, yeaz, deepbacs: folders


def test_omnipose(tmp_path: Path) -> None:
    save(tmp_path / "train_sorted" / "bsub" / "01.tif", GREY)
    save(tmp_path / "train_sorted" / "bsub" / "01_masks.tif", MASKS)
    save(tmp_path / "train_sorted" / "bsub" / "01_flows.tif", np.zeros((5, 3, 4), np.float32))
    save(tmp_path / "train_sorted" / "acin" / "deep" / "01.png", GREY + 1)
    save(tmp_path / "train_sorted" / "acin" / "deep" / "01_masks.png", MASKS)
    save(tmp_path / "test_sorted" / "bsub" / "02.png", GREY)
    first, second = read(tmp_path, "omnipose")
    check(first, "acin/deep/01", [GREY + 1, NOTHING], MASKS)
    check(second, "bsub/01", [GREY, NOTHING], MASKS)
    assert "02.png: an image without masks" in trouble(tmp_path / "test_sorted", "omnipose")


def test_yeaz(tmp_path: Path) -> None:
    save(tmp_path / "x" / "a_im.tif", GREY)
    save(tmp_path / "x" / "a_mask.tif", MASKS)
    save(tmp_path / "overview.png", GREY)
    stack, truths = np.stack([GREY, GREY + 1, GREY + 2]), np.stack([MASKS, MASKS * 0, MASKS * 2])
    save(tmp_path / "b_im.tif", stack)
    save(tmp_path / "b_mask.tif", truths)
    first, *others = read(tmp_path, "yeaz")[::-1]
    check(first, "x/a", [GREY, NOTHING], MASKS)
    for number, found in enumerate(others[::-1]):
        check(found, f"b_t{number}", [stack[number], NOTHING], truths[number])


def test_yeaz_stacks_that_do_not_fit(tmp_path: Path) -> None:
    save(tmp_path / "a_im.tif", np.stack([GREY] * 3))
    save(tmp_path / "a_mask.tif", np.stack([MASKS] * 2))
    save(tmp_path / "b_im.tif", GREY)
    (tmp_path / "b_mask.tif").write_bytes(b"")
    save(tmp_path / "c_im.tif", GREY)
    told = trouble(tmp_path, "yeaz")
    assert "a_mask.tif: 2 time points, but its image has 3" in told
    assert "b_mask.tif: cannot be read" in told
    assert "c_im.tif: an image without masks" in told


def test_deepbacs(tmp_path: Path) -> None:
    for split, image in (("training", GREY), ("test", GREY + 1)):
        save(tmp_path / split / "source" / "01.tif", image)
        save(tmp_path / split / "target" / "01.tif", MASKS)
        save(tmp_path / split / "other" / "01.tif", MASKS)
    [found] = read(tmp_path / "training", "deepbacs")
    check(found, "01", [GREY, NOTHING], MASKS)
    first, second = read(tmp_path, "deepbacs")
    check(first, "test/01", [GREY + 1, NOTHING], MASKS)
    check(second, "training/01", [GREY, NOTHING], MASKS)
    (tmp_path / "test" / "target" / "01.tif").unlink()
    assert "01.tif: an image without masks" in trouble(tmp_path, "deepbacs")


# ------------------------------------------------------------------------------------------------------------- plates

DNA_GFP = (Channel("1", "DNA", "0000FF", (0.0, 1.0)), Channel("2", "GFP", "00FF00", (0.0, 1.0)))


def write_plate(plate: Path, info: PlateInfo, labels: dict[tuple[str, int], dict[str, NDArray[Any]]]) -> None:
    """Fields whose pixels tell where they come from. labels: (well, field) -> name -> (T, Y, X)."""
    create_plate(plate, info, "")
    for well in {well for well, _ in labels}:
        fields = sorted(field for other, field in labels if other == well)
        write_well(plate / well_path(well), fields, {})
        for field in fields:
            write_field(plate / well_path(well), field, [field_pixels(info, well, field)], [1], info)
            if made := labels[well, field]:
                levels = {name: [one.astype(np.uint32)] for name, one in made.items()}
                commit_labels(plate / well_path(well) / labels_path(field), "", levels, [1], info, {})


def field_pixels(info: PlateInfo, well: str, field: int) -> NDArray[Any]:
    """(T, C, Z, Y, X)."""
    shape = (info.times, len(info.channels), 1, 3, 4)
    start = 1000 * int(well[1:]) + 100 * field
    return (start + np.arange(np.prod(shape)).reshape(shape)).astype(np.uint16)


def test_plate(tmp_path: Path) -> None:
    info = PlateInfo("P", 8, 12, 2, 2, DNA_GFP, None, (3, 4), "uint16")
    frames = np.stack([MASKS, MASKS * 2])
    made = {"nuclei": frames, "cells": frames + 1}
    write_plate(tmp_path, info, {("B10", 0): made, ("B02", 0): {}, ("B02", 1): made})
    found = read(tmp_path, "plate", "GFP", "DNA")
    assert [one.name for one in found] == ["B02/1/0", "B02/1/1", "B10/0/0", "B10/0/1"]
    for one, (well, field, time) in zip(
        found, [("B02", 1, 0), ("B02", 1, 1), ("B10", 0, 0), ("B10", 0, 1)], strict=True
    ):
        pixels = field_pixels(info, well, field)[time, :, 0]
        check(one, one.name, pixels[::-1], frames[time] + 1)
    nuclei = read(tmp_path, "plate", "DNA", labels="nuclei")
    check(nuclei[1], "B02/1/1", [field_pixels(info, "B02", 1)[1, 0, 0], NOTHING], frames[1])


def test_plate_without_cells_has_nuclei(tmp_path: Path) -> None:
    info = PlateInfo("P", 8, 12, 1, 1, DNA_GFP[:1], None, (3, 4), "uint16")
    write_plate(tmp_path, info, {("A01", 0): {"nuclei": MASKS[None]}})
    [found] = read(tmp_path, "plate")
    check(found, "A01/0", [field_pixels(info, "A01", 0)[0, 0, 0], NOTHING], MASKS)


def test_plate_faults(tmp_path: Path) -> None:
    info = PlateInfo("P", 8, 12, 1, 1, DNA_GFP, None, (3, 4), "uint16")
    plate = tmp_path / "raw.ome.zarr"
    write_plate(plate, info, {("A01", 0): {"nuclei": MASKS[None]}})
    told = trouble(plate, "plate", labels="cells_v2")
    assert "none of 1 fields has the label image 'cells_v2'; found nuclei" in told
    assert "has the channels DNA, GFP; say with `channels`" in told
    assert "channel RFP, 3 asked for, but the image has 1 DNA, 2 GFP" in trouble(plate, "plate", "RFP", 3)
    assert "no OME-Zarr plate of this software" in trouble(tmp_path, "plate")
    assert "name one inside it: raw.ome.zarr" in trouble(tmp_path, "plate")
    (plate / "zarr.json").write_text("{")
    assert "no OME-Zarr plate of this software (JSONDecodeError" in trouble(plate, "plate", "DNA")


def test_plate_with_damage(tmp_path: Path) -> None:
    info = PlateInfo("P", 8, 12, 1, 1, DNA_GFP, None, (3, 4), "uint16")
    write_plate(tmp_path, info, {("A01", 0): {"nuclei": MASKS[None]}})
    group = tmp_path / well_path("A01") / labels_path(0)
    [shard] = [path for path in (group / "nuclei" / "0" / "c").rglob("*") if path.is_file()]
    shard.unlink()
    assert "1 shard(s) are missing" in late_trouble(tmp_path, "plate", "DNA")
    write_group(group, {})
    assert "none of 1 fields" in trouble(tmp_path, "plate", "DNA")


# ---------------------------------------------------------------------------------------------------------- tissuenet

X = np.arange(2 * 3 * 4 * 2, dtype=np.float32).reshape(2, 3, 4, 2)
Y = np.stack([np.stack([MASKS, MASKS * 2], -1), np.stack([MASKS * 3, MASKS * 4], -1)]).astype(np.int32)


def write_npz(path: Path, compressed: bool = True, **content: Any) -> Path:
    (np.savez_compressed if compressed else np.savez)(path, **{"X": X, "y": Y, **content})
    return path


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("name", ["", "tissuenet_v1.1_train.npz"])
def test_tissuenet(tmp_path: Path, compressed: bool, name: str) -> None:
    write_npz(tmp_path / "tissuenet_v1.1_train.npz", compressed, meta=np.array([{"any": "thing"}], object))
    first, second = read(tmp_path / name, "tissuenet")
    check(first, "tissuenet_v1.1_train/00000", [X[0, ..., 1], X[0, ..., 0]], Y[0, ..., 0])
    check(second, "tissuenet_v1.1_train/00001", [X[1, ..., 1], X[1, ..., 0]], Y[1, ..., 0])
    _, nuclei = read(tmp_path / name, "tissuenet", labels="nuclei")
    check(nuclei, "tissuenet_v1.1_train/00001", [X[1, ..., 0], NOTHING], Y[1, ..., 1])
    _, chosen = read(tmp_path / name, "tissuenet", "membrane")
    check(chosen, "tissuenet_v1.1_train/00001", [X[1, ..., 1], NOTHING], Y[1, ..., 0])


def test_tissuenet_of_the_other_byte_order(tmp_path: Path) -> None:
    write_npz(tmp_path / "a.npz", X=X.astype(">f4"), y=Y.astype(">i8"))
    found, _ = read(tmp_path, "tissuenet")
    check(found, "a/00000", [X[0, ..., 1], X[0, ..., 0]], Y[0, ..., 0])
    assert found.image.dtype.isnative


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ({"X": X[:1]}, "X has the shape (1, 3, 4, 2), y (2, 3, 4, 2)"),
        ({"X": X[..., 0], "y": Y[..., 0]}, "both must be (N, Y, X, 2)"),
        ({"X": np.asfortranarray(X)}, "float32 in Fortran order"),
        ({"y": np.array([{}], object)}, "an array of object"),
    ],
)
def test_tissuenet_arrays_that_do_not_fit(tmp_path: Path, content: dict[str, Any], told: str) -> None:
    write_npz(tmp_path / "a.npz", **content)
    assert told in (message := trouble(tmp_path, "tissuenet", 3, labels="membranes"))
    assert "channel 3 asked for, but the image has 1 nuclear, 2 membrane" in message
    assert "labels 'membranes' given; allowed are cells, nuclei" in message


def test_tissuenet_files_that_do_not_fit(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", images=X)
    assert "no X.npy or y.npy among images.npy" in trouble(tmp_path, "tissuenet")
    (tmp_path / "b.npz").write_bytes(b"nothing")
    assert "expected one .npz file, found a.npz, b.npz" in trouble(tmp_path, "tissuenet")
    assert "cannot be read as .npz file" in trouble(tmp_path / "b.npz", "tissuenet")
    with ZipFile(tmp_path / "c.npz", "w") as archive:
        archive.writestr("X.npy", b"\x93NUMPY\x09\x00")
        archive.writestr("y.npy", b"")
    assert "array format (9, 0)" in trouble(tmp_path / "c.npz", "tissuenet")


def test_tissuenet_that_is_damaged_or_wrong_inside(tmp_path: Path) -> None:
    large = np.arange(2 * 64 * 64 * 2, dtype=np.int32).reshape(2, 64, 64, 2)
    path = write_npz(tmp_path / "a.npz", compressed=False, X=large, y=large)
    content = bytearray(path.read_bytes())
    content[content.index(large[1].tobytes())] ^= 1
    path.write_bytes(content)
    images = read_set(SetSource("tissuenet", path))
    assert next(images).name == "a/00000"
    with pytest.raises(TrainingSetError, match=r"a\.npz: damaged at image 1 \(Bad CRC"):
        next(images)
    images = read_set(SetSource("tissuenet", write_npz(tmp_path / "b.npz", y=Y - 1)))
    with pytest.raises(TrainingSetError, match=r"b\.npz, image 0: the masks go from -1"):
        next(images)


# ----------------------------------------------------------------------------------------------------------- livecell


def square(left: float, top: float, right: float, bottom: float) -> list[float]:
    return [left, top, right, top, right, bottom, left, bottom]


def write_coco(path: Path, images: Any, annotations: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": []}))
    return path


def annotated(*outlines: Any, image_id: int = 1) -> list[dict[str, Any]]:
    return [{"id": number, "image_id": image_id, "segmentation": one} for number, one in enumerate(outlines, 100)]


def listed(*names: str) -> list[dict[str, Any]]:
    return [{"id": number, "file_name": name, "height": 3, "width": 4} for number, name in enumerate(names, 1)]


def test_livecell(tmp_path: Path) -> None:
    save(tmp_path / "images" / "livecell_train_val_images" / "A172_1.tif", GREY)
    save(tmp_path / "images" / "livecell_train_val_images" / "A172_0.tif", GREY + 1)
    save(tmp_path / "images" / "livecell_test_images" / "unlisted.tif", GREY)
    outlines = (
        [square(0, 0, 2, 2)],
        [square(1, 1, 3, 3)],  # shares the pixel in row 1, column 1 with the first
        [square(3, 0, 4, 1), square(3, 2, 4, 3)],  # one object in two parts
        {"counts": [2, 1, 9], "size": [3, 4]},  # row 2, column 0
        [square(3, 1, 4, 2)],
        [square(3, 1, 4, 2)],  # the same pixel: neither is left
        [[1, 1, 2, 2], []],  # no area
    )
    annotations = tmp_path / "annotations" / "LIVECell" / "livecell_coco_train.json"
    write_coco(annotations, listed("A172_1.tif", "A172_0.tif"), annotated(*outlines))
    (tmp_path / "other.json").write_text("[]")
    empty, found = read(tmp_path, "livecell")
    check(empty, "A172_0", [GREY + 1, NOTHING], MASKS * 0)
    check(found, "A172_1", [GREY, NOTHING], np.array([[1, 1, 0, 3], [1, 0, 2, 0], [4, 2, 2, 3]]))


def test_livecell_with_annotations_by_number_and_several_files(tmp_path: Path) -> None:
    save(tmp_path / "a.tif", GREY)
    by_number = {str(one["id"]): one for one in annotated([square(0, 0, 4, 3)])}
    write_coco(tmp_path / "train.json", listed("a.tif"), by_number)
    write_coco(tmp_path / "test.json", listed("a.tif"), [])
    told = trouble(tmp_path, "livecell")
    assert "expected one .json file with images and annotations" in told
    assert "found test.json, train.json; choose one with `labels`" in told
    for name in ("train", "train.json"):
        [found] = read(tmp_path, "livecell", labels=name)
        check(found, "a", [GREY, NOTHING], np.ones_like(MASKS))
    assert "called val with images" in trouble(tmp_path, "livecell", labels="val")


def test_livecell_faults_are_told_at_once(tmp_path: Path) -> None:
    for folder in ("x", "y"):
        save(tmp_path / folder / "twice.tif", GREY)
    save(tmp_path / "a.tif", GREY)
    images = [*listed("a.tif", "lost.tif", "twice.tif"), {"id": 4, "file_name": "a.tif"}, *listed("")]
    outlines = (
        {"counts": "12", "size": [3, 4]},
        [[1, 2, 3]],
        {"counts": [5, 5]},
        {"counts": [-2, 14]},
        [["x", "y"]],
        [[1, float("nan")]],
        None,
    )
    strangers = [*annotated([square(0, 0, 1, 1)], image_id=9), {"id": 5}, *annotated([square(0, 0, 1, 1)], image_id=2)]
    write_coco(tmp_path / "coco.json", images, [*annotated(*outlines), *strangers])
    told = trouble(tmp_path, "livecell")
    for fault in (
        "annotation 100: is compressed (counts are text)",
        "annotation 101: segmentation [[1, 2, 3]]; allowed are lists",
        "annotation 102: its counts do not add up to the 12 pixels",
        "annotation 103: its counts do not add up",
        "annotation 104: segmentation",
        "annotation 105: segmentation",
        "annotation 106: segmentation None",
        "annotation 100: belongs to image 9, which is not listed",
        "annotation {'id': 5}: needed are id, image_id and segmentation",
        "the annotations list lost.tif, expected once in the folder or below; found nothing",
        "the annotations list twice.tif, expected once in the folder or below; found x/twice.tif, y/twice.tif",
        "needed are id, file_name, height and width",
    ):
        assert fault in told
    assert len(told.splitlines()) == 14


def test_livecell_files_that_do_not_fit(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{")
    told = trouble(tmp_path, "livecell")
    assert "a.json: not JSON" in told
    write_coco(tmp_path / "a.json", [], None)
    assert "found a.json; choose one" in trouble(tmp_path, "livecell")
    write_coco(tmp_path / "a.json", [], [])
    assert "the annotations list no image" in trouble(tmp_path, "livecell")
    save(tmp_path / "a.tif", GREY)
    write_coco(tmp_path / "a.json", listed("a.tif", "a.tif"), [])
    assert "it, or its id, is listed twice" in trouble(tmp_path, "livecell")
    write_coco(tmp_path / "a.json", [{"id": 1, "file_name": "a.tif", "height": 4, "width": 4}], [])
    assert "a.tif: the masks have the shape (Y, X) (4, 4), the image (3, 4)" in late_trouble(tmp_path, "livecell")


# ----------------------------------------------------------------------------------------------------------- outlines

coordinates = st.integers(-4, 24).map(lambda number: number / 2)
corners = st.lists(st.tuples(coordinates, coordinates), min_size=1, max_size=8).map(lambda one: np.array(one, float))


def crossings(corner: NDArray[Any], y: float, x: float) -> int:
    """How often a ray from a point to the right crosses the outline, written down once more."""
    count = 0
    for (x0, y0), (x1, y1) in zip(corner, np.roll(corner, -1, axis=0), strict=True):
        if (y0 <= y) != (y1 <= y):
            count += x < x0 + (y - y0) / (y1 - y0) * (x1 - x0)
    return count


@given(corners)
def test_a_polygon_covers_the_centres_inside(corner: NDArray[Any]) -> None:
    shape = (9, 10)
    odd = [[crossings(corner, y + 0.5, x + 0.5) % 2 for x in range(10)] for y in range(9)]
    np.testing.assert_array_equal(draw([[Polygon(corner)]], shape), odd)


@given(st.lists(st.tuples(coordinates, coordinates), min_size=4, max_size=4))
def test_triangles_with_a_common_border_share_no_pixel(points: list[tuple[float, float]]) -> None:
    """Whichever sides the third corners lie on, a pixel of the border belongs to one side."""
    a, b, *thirds = (np.array(point) for point in points)
    sides = [float(np.cross([*(b - a), 0], [*(third - a), 0])[2]) for third in thirds]
    if sides[0] * sides[1] >= 0:
        return
    both = [[Polygon(np.array([a, b, third]))] for third in thirds]
    counted = [np.count_nonzero(draw([one], (9, 10))) for one in both]
    assert np.count_nonzero(draw(both, (9, 10))) == sum(counted)


@given(arrays(np.bool_, (4, 5)))
def test_runs_cover_what_they_were_made_from(inside: NDArray[np.bool_]) -> None:
    flat = np.concatenate([[False], inside.T.ravel()])
    ends = np.flatnonzero(np.diff(flat)) if flat.any() else np.array([], int)
    lengths = np.diff(np.concatenate([[0], ends, [inside.size]]))
    np.testing.assert_array_equal(draw([[Runs(lengths)]], (4, 5)), inside)


# ---------------------------------------------------------------------------------------------------------- real sets


@pytest.mark.parametrize(
    ("folder", "count"),
    [("dsb2018/train", 481), ("dsb2018/val", 82), ("usiigaci_phase/train", 35), ("usiigaci_phase/val", 5)],
)
def test_shared_sets(shared: Path, folder: str, count: int) -> None:
    source = SetSource("pairs", shared / "data" / folder)
    assert count_images(source) == count
    with (source.folder / "manifest.csv").open(encoding="utf-8") as table:
        rows = [*csv.DictReader(table)]
    for found, row in zip(islice(read_set(source), 9), rows[:9], strict=True):
        assert found.name == row["name"]
        assert found.kind == row.get("kind", "")
        assert found.image.shape == (2, int(row["height"]), int(row["width"]))
        assert found.image[0].any()
        assert len(np.unique(found.labels)) == 1 + int(row["n_objects"])
