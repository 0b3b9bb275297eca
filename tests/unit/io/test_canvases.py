"""Labels and pixels of single pictures on disk: the same in every format, as ImageJ, napari and NumPy read them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import yaozarrs
import zarr
from numpy.typing import NDArray

from pipeline_lib.io import canvases
from pipeline_lib.io.canvases import canvas, new_canvas, save_numpy, save_tiff, save_zarr
from pipeline_lib.io.pictures import open_picture
from pipeline_lib.io.pixel_sizes import PixelSize

SHAPES = {(1, 1, 30, 50): "YX", (1, 3, 30, 50): "ZYX", (2, 1, 30, 50): "TYX", (2, 3, 30, 50): "TZYX"}


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Thirty rows are several chunks, the last one not whole."""
    monkeypatch.setattr(canvases, "CHUNK", 16)


def labels(shape: tuple[int, ...], highest: int = 900) -> NDArray[np.uint32]:
    return np.random.default_rng(0).integers(0, highest, shape, np.uint32, endpoint=True)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("highest", "dtype"), [(65535, "uint16"), (65536, "uint32")])
def test_tiff_as_imagej_reads_it(shape: Any, highest: int, dtype: str, tmp_path: Path) -> None:
    wanted = labels(shape, highest)
    with canvas(tmp_path / "new" / "out.tif", shape) as made:
        made.array[:] = wanted.reshape(made.array.shape)
        save_tiff(made, tmp_path / "new" / "out.tif", dtype, PixelSize())
    with tifffile.TiffFile(tmp_path / "new" / "out.tif") as tif:
        [series] = tif.series
        assert (series.axes, series.dtype, tif.is_imagej) == (SHAPES[shape], dtype, True)
        assert {page.aspage().compression for page in tif.pages} == {tifffile.COMPRESSION.ADOBE_DEFLATE}
        np.testing.assert_array_equal(series.asarray().reshape(shape), wanted)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["out.tif"]


def test_what_is_too_large_for_tiff_is_bigtiff(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(canvases, "_MOST_IN_CLASSIC_TIFF", 2 * 30 * 50 - 1)
    with canvas(tmp_path / "out.tif", (1, 1, 30, 50)) as made:
        save_tiff(made, tmp_path / "out.tif", np.uint16, PixelSize())
    with tifffile.TiffFile(tmp_path / "out.tif") as tif:
        assert tif.is_bigtiff


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("size", [PixelSize(0.5, 0.25, 2.0), PixelSize()])
def test_a_tiff_called_ome_is_one(shape: Any, size: PixelSize, tmp_path: Path) -> None:
    wanted = labels(shape)
    with canvas(tmp_path / "out.ome.tif", shape) as made:
        made.array[:] = wanted.reshape(made.array.shape)
        save_tiff(made, tmp_path / "out.ome.tif", np.uint16, size)
    with tifffile.TiffFile(tmp_path / "out.ome.tif") as tif:
        assert (tif.is_ome, tif.is_imagej, tif.series[0].axes) == (True, False, SHAPES[shape])
        np.testing.assert_array_equal(tif.asarray().reshape(shape), wanted)
    with open_picture(tmp_path / "out.ome.tif") as picture:
        assert picture.size == size


def test_imagej_is_told_the_size_of_a_pixel(tmp_path: Path) -> None:
    with canvas(tmp_path / "out.tif", (1, 3, 30, 50)) as made:
        save_tiff(made, tmp_path / "out.tif", np.uint16, PixelSize(0.5, 0.25, 2.0))
    with tifffile.TiffFile(tmp_path / "out.tif") as tif:
        assert tif.imagej_metadata is not None
        assert (tif.imagej_metadata["unit"], tif.imagej_metadata["spacing"]) == ("um", 2.0)
        tags = tif.pages.first.tags
        assert (tags["XResolution"].value, tags["YResolution"].value) == ((4, 1), (2, 1))
    with open_picture(tmp_path / "out.tif") as picture:
        assert picture.size == PixelSize(0.5, 0.25, 2.0)


def test_a_pyramid_in_micrometres(tmp_path: Path) -> None:
    with canvas(tmp_path / "out.zarr", (2, 3, 32, 48)) as made:
        coarse = new_canvas(made.folder.with_name("1"), (2, 3, 8, 12))
        save_zarr({1: made.folder, 4: coarse.folder}, tmp_path / "out.zarr", made.axes, PixelSize(0.5, 0.25, 2.0))
    yaozarrs.validate_zarr_store(tmp_path / "out.zarr")
    [image] = zarr.open_group(tmp_path / "out.zarr", mode="r").attrs["ome"]["multiscales"]  # type: ignore[index, call-overload]
    assert [axis.get("unit") for axis in image["axes"]] == [None, *["micrometer"] * 3]
    fine, coarse_scale = (level["coordinateTransformations"] for level in image["datasets"])
    assert fine == [{"type": "scale", "scale": [1, 2, 0.5, 0.25]}]
    assert coarse_scale[0]["scale"] == [1, 2, 2, 1]
    assert coarse_scale[1]["translation"] == [0, 0, 0.75, 0.375]


@pytest.mark.parametrize("shape", SHAPES)
def test_numpy(shape: Any, tmp_path: Path) -> None:
    wanted = labels(shape)
    with canvas(tmp_path / "out.npy", shape) as made:
        made.array[:] = wanted.reshape(made.array.shape)
        save_numpy(made, tmp_path / "out.npy")
    found = np.load(tmp_path / "out.npy")
    assert (found.ndim, found.dtype) == (len(SHAPES[shape]), np.uint32)
    np.testing.assert_array_equal(found.reshape(shape), wanted)


def test_a_zarr_image_others_can_read(tmp_path: Path) -> None:
    wanted = labels((2, 1, 30, 50))
    with canvas(tmp_path / "out.zarr", (2, 1, 30, 50)) as made:
        made.array[:] = wanted[:, 0]
        coarse = new_canvas(made.folder.with_name("1"), (2, 1, 8, 13))
        save_zarr({1: made.folder, 4: coarse.folder}, tmp_path / "out.zarr", made.axes, PixelSize())
    yaozarrs.validate_zarr_store(tmp_path / "out.zarr")
    group = zarr.open_group(tmp_path / "out.zarr", mode="r")
    assert "image-label" in group.attrs["ome"]
    np.testing.assert_array_equal(group["0"][:], wanted[:, 0])
    assert group["1"].shape == (2, 8, 13)
    assert [path.name for path in tmp_path.iterdir()] == ["out.zarr"]


def test_planes_and_stacks_are_windows_into_the_canvas(tmp_path: Path) -> None:
    made = new_canvas(tmp_path / "0", (2, 3, 30, 50))
    made.plane(1, 2)[3:5, :10] = 7
    made.stack(0)[:] = np.full((3, 30, 50), 8, np.uint32)
    wanted = np.zeros((2, 3, 30, 50), np.uint32)
    wanted[0], wanted[1, 2, 3:5, :10] = 8, 7
    np.testing.assert_array_equal(made.array[:], wanted)
    np.testing.assert_array_equal(made.plane(1, 2)[2:4, 8:12], wanted[1, 2, 2:4, 8:12])
    assert (made.plane(1, 2).shape, made.stack(0).shape, made.lengths) == ((30, 50), (3, 30, 50), (2, 3, 30, 50))


def test_nothing_is_left_of_what_failed(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="broken"), canvas(tmp_path / "out.tif", (1, 1, 30, 50)):
        raise RuntimeError("broken")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32", "bool"])
@pytest.mark.parametrize("ending", [".tif", ".ome.tif", ".npy"])
def test_pixels_with_channels(dtype: str, ending: str, tmp_path: Path) -> None:
    wanted = (np.random.default_rng(0).random((2, 3, 4, 30, 50)) * 100).astype(dtype)  # T, C, Z, Y, X
    output, size = tmp_path / f"out{ending}", PixelSize(0.5, 0.25, 2.0)
    with canvas(output, (2, 4, 30, 50), 3, dtype) as made:
        assert (made.axes, made.lengths, made.channels) == ("tczyx", (2, 4, 30, 50), 3)
        for time, z in np.ndindex(2, 4):
            made.image(time, z)[:, 0:30] = wanted[time, :, z]
        if ending == ".npy":
            save_numpy(made, output)
            np.testing.assert_array_equal(np.load(output), wanted)
            return
        save_tiff(made, output, dtype, size, ("a", "b", "c"))
    with open_picture(output) as picture:
        assert (picture.axes, picture.size) == ("TZCYX", size)
        assert picture.channels == (("a", "b", "c") if ending == ".ome.tif" else ("", "", ""))
        np.testing.assert_array_equal(picture.pixels[:], np.moveaxis(wanted, 1, 2))
