"""Image files as T, C, Z, Y, X: what they tell of their axes, what is wrong with them, and how often they are read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
import zarr
from hypothesis import given
from hypothesis import strategies as st

from pipeline_lib.io import pictures
from pipeline_lib.io.pictures import Picture, UnreadablePicture, open_picture

CYX = np.arange(2 * 70 * 90, dtype=np.uint16).reshape(2, 70, 90)
GREY = {"photometric": "minisblack", "metadata": None}


class Counted:
    """An array that remembers which boxes were read."""

    def __init__(self, array: np.ndarray[Any, Any], chunks: tuple[int, ...]) -> None:
        self.array, self.chunks, self.shape, self.dtype = array, chunks, array.shape, array.dtype
        self.read: list[Any] = []

    def __getitem__(self, box: Any) -> Any:
        self.read.append(box)
        return self.array[box]


def write_zarr(path: Path, pixels: np.ndarray[Any, Any], names: list[str] | None) -> None:
    zarr.create_array(path, data=pixels, chunks=(16,) * pixels.ndim, dimension_names=names)


def write_ome_zarr(path: Path, version: str, pixels: np.ndarray[Any, Any]) -> None:
    """An image of two levels, axes (c, y, x)."""
    group = zarr.create_group(path, zarr_format=2 if version == "0.4" else 3)
    axes = [{"name": "c", "type": "channel"}, {"name": "y", "type": "space"}, {"name": "x", "type": "space"}]
    about = {
        "multiscales": [{"axes": axes, "datasets": [{"path": "full"}, {"path": "half"}]}],
        "omero": {"channels": [{"label": "DNA"}, {"label": "ER"}]},
    }
    group.attrs.update(about if version == "0.4" else {"ome": {"version": version, **about}})
    group.create_array("full", data=pixels, chunks=(1, 32, 32))
    group.create_array("half", data=pixels[:, ::2, ::2])


def save(path: Path, kind: str) -> None:
    """The pixels of CYX in a file of some kind."""
    yxc = np.ascontiguousarray(np.moveaxis(CYX, 0, -1))
    match kind:
        case "imagej":
            tifffile.imwrite(path / "i.tif", CYX, imagej=True, photometric="minisblack", metadata={"axes": "CYX"})
        case "ome":
            named = {"axes": "CYX", "Channel": {"Name": ["DNA", "ER"]}}
            options: Any = {"tile": (16, 32), "compression": "zlib", "photometric": "minisblack"}
            tifffile.imwrite(path / "i.ome.tif", CYX, metadata=named, **options)
        case "strips":
            tifffile.imwrite(path / "i.tif", CYX, rowsperstrip=7, compression="zlib", **GREY)
        case "memmap":
            tifffile.imwrite(path / "i.tif", CYX, byteorder=">", **GREY)
        case "interleaved":
            tifffile.imwrite(path / "i.tif", yxc, tile=(32, 16), planarconfig="contig", compression="zlib", **GREY)
        case "zarr":
            write_zarr(path / "i.zarr", CYX, ["channel", "y", "x"])
        case "turned":
            write_zarr(path / "i.zarr", CYX.T, ["x", "y", "c"])
        case version:
            write_ome_zarr(path / "i.zarr", version, CYX)


@pytest.mark.parametrize(
    ("kind", "axes", "names"),
    [
        ("imagej", None, ("", "")),
        ("ome", None, ("DNA", "ER")),
        ("strips", "CYX", ("", "")),
        ("memmap", "cyx", ("", "")),
        ("interleaved", None, ("", "")),
        ("zarr", None, ("", "")),
        ("turned", None, ("", "")),
        ("0.4", None, ("DNA", "ER")),
        ("0.5", None, ("DNA", "ER")),
    ],
)
def test_every_format_holds_the_same_pixels(
    kind: str, axes: str | None, names: tuple[str, ...], tmp_path: Path
) -> None:
    save(tmp_path, kind)
    [path] = tmp_path.iterdir()
    with open_picture(path, axes) as picture:
        assert picture.channels == names
        assert [picture.length(axis) for axis in "TCZYX"] == [1, 2, 1, 70, 90]
        swapped = picture.plane((1, 0))
        assert swapped.shape == (2, 70, 90)
        np.testing.assert_array_equal(swapped[:], CYX[::-1])
        np.testing.assert_array_equal(swapped[0, 3:60:5, 7:80], CYX[1, 3:60:5, 7:80])
        np.testing.assert_array_equal(picture.volume((1,)), CYX[1:, None])
        assert swapped[:].dtype == swapped.dtype == np.uint16


def test_planes_and_frames(tmp_path: Path) -> None:
    stack = np.arange(2 * 3 * 2 * 20 * 30, dtype=np.uint16).reshape(2, 3, 2, 20, 30)
    tifffile.imwrite(tmp_path / "s.tif", stack, imagej=True, metadata={"axes": "TZCYX"})
    with open_picture(tmp_path / "s.tif") as picture:
        assert [picture.length(axis) for axis in "TCZYX"] == [2, 2, 3, 20, 30]
        np.testing.assert_array_equal(picture.plane((1, 0), 1, 2)[:], stack[1, 2, ::-1])
        np.testing.assert_array_equal(picture.volume((1,), 1), stack[1:, :, 1])


@pytest.mark.parametrize(
    ("shape", "dtype", "names"),
    [
        ((40, 50), np.uint16, ("grey",)),
        ((40, 50, 2), np.uint8, ("grey",)),
        ((40, 50, 3), np.uint16, ("red", "green", "blue")),
        ((40, 50, 4), np.uint8, ("red", "green", "blue")),
    ],
)
def test_png_keeps_16_bits_and_forgets_alpha(shape: tuple[int, ...], dtype: Any, names: Any, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, shape).astype(dtype)
    (tmp_path / "i.png").write_bytes(imagecodecs.png_encode(pixels))
    with open_picture(tmp_path / "i.png") as picture:
        assert picture.channels == names
        last = pixels.reshape(40, 50, -1)[..., len(names) - 1]
        np.testing.assert_array_equal(picture.plane((len(names) - 1,))[0], last)


def test_alpha_of_a_tiff_is_no_channel(tmp_path: Path) -> None:
    rgba = np.zeros((20, 30, 4), np.uint8)
    tifffile.imwrite(tmp_path / "i.tif", rgba, photometric="rgb", extrasamples=["unassalpha"])
    with open_picture(tmp_path / "i.tif") as picture:
        assert picture.channels == ("red", "green", "blue")


@given(
    band=st.integers(1, 40),
    boxes=st.lists(st.tuples(st.integers(0, 70), st.integers(0, 70), st.integers(1, 9)), min_size=1, max_size=5),
    interleaved=st.booleans(),
    kept=st.sampled_from([0, 5000, 2**20]),
)
def test_slices_are_those_of_the_array(
    band: int, boxes: list[tuple[int, int, int]], interleaved: bool, kept: int
) -> None:
    chunks = (2 if interleaved else 1, band, 90)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pictures, "LEAST_ROWS", 1)
        patch.setattr(pictures, "KEPT_BYTES", kept)
        plane = Picture(Counted(CYX, chunks), "CYX", ("", "")).plane((1, 0))
        for start, stop, step in boxes:
            np.testing.assert_array_equal(plane[:, start:stop:step], CYX[::-1, start:stop:step])
            np.testing.assert_array_equal(plane[1, start:stop, ::step], CYX[0, start:stop, ::step])


@pytest.mark.parametrize(("chunks", "reads"), [((1, 16, 32), 2 * 5), ((2, 16, 32), 5)])
def test_no_chunk_is_read_twice_by_overlapping_windows(
    chunks: tuple[int, ...], reads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pictures, "LEAST_ROWS", 1)
    monkeypatch.setattr(pictures, "KEPT_BYTES", 6 * 16 * 90 * 2)
    counted = Counted(CYX, chunks)
    plane = Picture(counted, "CYX", ("", "")).plane((0, 1))
    for top in (0, 10, 20, 30, 40, 50):
        for channel in (0, 1):
            np.testing.assert_array_equal(plane[channel, top : top + 20], CYX[channel, top : top + 20])
    assert len(counted.read) == reads


def test_what_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "LEAST_ROWS", 1)
    monkeypatch.setattr(pictures, "KEPT_BYTES", 3 * 16 * 90 * 2)
    plane = Picture(Counted(CYX, (1, 16, 32)), "CYX", ("", "")).plane((0, 1))
    np.testing.assert_array_equal(plane[:], CYX)
    assert sum(kept.nbytes for kept in plane._kept.values()) <= 3 * 16 * 90 * 2


@pytest.mark.parametrize(
    ("shape", "axes", "told"),
    [
        ((5, 20, 30), None, r"axes IYX of lengths \(5, 20, 30\).*--axes CYX"),
        ((5, 20, 30), "YX", r"--axes YX names 2 axes, but the image has 3, of lengths \(5, 20, 30\)"),
        ((5, 20, 30), "CZX", "Y, X and what every other one means must be known"),
        ((5, 20, 30), "YYX", "name Y twice"),
    ],
)
def test_axes_that_do_not_fit(shape: tuple[int, ...], axes: str | None, told: str, tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "i.tif", np.zeros(shape, np.uint8), **GREY)
    with pytest.raises(UnreadablePicture, match=told), open_picture(tmp_path / "i.tif", axes):
        pass


def test_all_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    zarr.create_array(tmp_path / "i.zarr", shape=(3, 0, 5), dtype=np.complex64, dimension_names=["p", "y", "x"])
    told = r"axes PYX .*; the image is empty: .*\(3, 0, 5\); the pixels are complex64"
    with pytest.raises(UnreadablePicture, match=told), open_picture(tmp_path / "i.zarr"):
        pass


def test_axes_of_length_1_need_no_name(tmp_path: Path) -> None:
    write_zarr(tmp_path / "i.zarr", CYX[:1], None)
    with pytest.raises(UnreadablePicture, match=r"axes \?\?\?"), open_picture(tmp_path / "i.zarr"):
        pass
    write_zarr(tmp_path / "p.zarr", CYX[:1], ["position", "y", "x"])
    with open_picture(tmp_path / "p.zarr") as picture:
        np.testing.assert_array_equal(picture.plane((0,))[:], CYX[:1])


@pytest.mark.parametrize("options", [{}, {"rowsperstrip": 8}, {"compression": "zlib"}, {"tile": (16, 16)}])
def test_a_file_that_is_cut_off(options: dict[str, Any], tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 65536, (70, 90)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "i.tif", noise, **GREY, **options)
    whole = (tmp_path / "i.tif").read_bytes()
    (tmp_path / "i.tif").write_bytes(whole[: len(whole) * 3 // 4])
    told = "not a readable image: |the file is cut off: it has 9,[0-9]{3} of at least 12,[0-9]{3} bytes"
    with pytest.raises(UnreadablePicture, match=told), open_picture(tmp_path / "i.tif") as picture:
        picture.plane((0,))[:]


def test_pages_that_are_cut_off(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "i.tif") as tif:
        for page in CYX:
            tif.write(page, **GREY)
    whole = (tmp_path / "i.tif").read_bytes()
    (tmp_path / "i.tif").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UnreadablePicture, match="cut off or damaged"), open_picture(tmp_path / "i.tif", "CYX"):
        pass


def test_what_is_no_image(tmp_path: Path) -> None:
    (tmp_path / "i.txt").write_text("no image", encoding="utf-8")
    (tmp_path / "i.png").write_bytes(b"no image either")
    (tmp_path / "folder").mkdir()
    zarr.create_group(tmp_path / "plate.zarr").create_group("B")
    write_ome_zarr(tmp_path / "labels.zarr", "0.4", CYX)
    zarr.open_group(tmp_path / "labels.zarr").attrs["image-label"] = {}
    told = {
        "i.txt": "allowed are TIFF, .png, .jpg",
        "i.png": "not a readable image",
        "folder": "no Zarr array or group",
        "labels.zarr": "the labels of an image .*, not an image; name the image itself",
        "plate.zarr": "no multiscales.*name one inside: B",
    }
    for name, match in told.items():
        with pytest.raises(UnreadablePicture, match=match), open_picture(tmp_path / name):
            pass
    with pytest.raises(FileNotFoundError), open_picture(tmp_path / "none.tif"):
        pass


def test_of_several_images_the_first_is_used(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with tifffile.TiffWriter(tmp_path / "i.tif") as tif:
        tif.write(CYX[0], **GREY)
        tif.write(CYX[1, :20], **GREY)
    with open_picture(tmp_path / "i.tif") as picture:
        np.testing.assert_array_equal(picture.plane((0,))[0], CYX[0])
    assert "holds 2 images; the first, YX (70, 90), is used" in caplog.text
