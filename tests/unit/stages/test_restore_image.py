"""`wellpose restore-image`: from a file to a restored one, in every shape and format; faults told at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
import yaozarrs
import zarr

from pipeline_lib import __main__ as cli
from pipeline_lib import api
from pipeline_lib.arrays.normalise import normalise_image
from pipeline_lib.io.pictures import open_picture
from pipeline_lib.io.pixel_sizes import PixelSize
from pipeline_lib.nets.flownet import FlowNet
from pipeline_lib.restoration import Restorer
from pipeline_lib.tiling.predict import PredictSettings

pytestmark = pytest.mark.usefixtures("quiet")


@pytest.fixture
def asked(folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """A network that gives what it is given and works at 20 pixels; notes the weights and where it was to run."""
    made: list[Any] = []
    Path("same.pth").touch()
    settings = PredictSettings(4, torch.device("cpu"), torch.float32)
    net: Any = lambda x: (x.clone(), torch.zeros(len(x), 256))  # noqa: E731

    def load(*arguments: Any) -> Restorer:
        made.extend(arguments)
        return Restorer(net, 20.0, settings)

    monkeypatch.setattr(api, "load_restorer", load)
    return made


def pixels(*shape: int, dtype: str = "uint16") -> np.ndarray:
    return (np.random.default_rng(0).random(shape) * 250).astype(dtype)


def command(*words: str, weights: str = "same.pth", diameter: str = "20") -> int:
    return cli.main(["restore-image", *words, "--weights", weights, "--diameter", diameter])


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("output", ["o.tif", "o.ome.tif", "o.zarr", "o.npy"])
def test_a_picture_keeps_its_intensities_type_and_pixel_size(asked: list[Any], dtype: str, output: str) -> None:
    image = pixels(2, 40, 60, dtype=dtype)
    told = {"axes": "CYX", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.25, "Channel": {"Name": ["DNA", "Actin"]}}
    tifffile.imwrite("i.ome.tif", image, photometric="minisblack", metadata=told)
    assert command("i.ome.tif", "--output", output) == 0
    if output == "o.npy":
        np.testing.assert_allclose(np.load(output), image, rtol=1e-5)
        return
    with open_picture(Path(output)) as picture:
        found = picture.volume((0, 1))[:, 0]
        assert (picture.size.y, picture.size.x) == (0.25, 0.5)
        assert picture.channels == (("", "") if output == "o.tif" else ("DNA", "Actin"))
    assert found.dtype == image.dtype
    np.testing.assert_allclose(found, image, rtol=1e-5)


def test_everything_said(asked: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    image = pixels(3, 40, 60)
    tifffile.imwrite("i.tif", image, photometric="minisblack", metadata=None)
    said = {"axes": "cyx", "channels": "3,1", "lowhigh": "0,100,0,200", "device": "cpu", "precision": "float32",
            "batch-size": "3"}  # fmt: skip
    words = [word for name, value in said.items() for word in (f"--{name}", value)]
    assert command("i.tif", "--output", "o.npy", "--float", "--invert", *words, diameter="40,20") == 0
    assert asked == ["same.pth", api.RunSettings("cpu", "float32", 3)]
    found = np.load("o.npy")
    assert (found.shape, found.dtype) == ((2, 40, 60), np.float32)
    np.testing.assert_allclose(found[1], 1 - image[0] / 200, rtol=0, atol=1e-5)
    told = capsys.readouterr().err
    assert told.startswith(
        "i.tif: 2 channel(s) of 40 x 60 pixels in float32, diameter 40, 20, same.pth on cpu in float32"
    )


def test_an_enlarged_picture_has_smaller_pixels(asked: list[Any]) -> None:
    told = {"axes": "YX", "PhysicalSizeX": 0.6, "PhysicalSizeY": 0.3}
    tifffile.imwrite("i.ome.tif", pixels(31, 60), metadata=told)
    assert command("i.ome.tif", "--output", "o.ome.tif", "--enlarge", diameter="12") == 0
    with open_picture(Path("o.ome.tif")) as picture:
        assert (picture.length("Y"), picture.length("X")) == (51, 100)
        assert picture.size == PixelSize(pytest.approx(0.3 * 31 / 51), pytest.approx(0.6 * 60 / 100))


@pytest.mark.parametrize("output", ["o.tif", "o.zarr", "o.npy"])
def test_every_plane_of_every_frame_for_itself(asked: list[Any], output: str) -> None:
    image = pixels(2, 3, 2, 20, 30)
    image[1, 2] *= 7  # a brighter plane
    tifffile.imwrite("i.tif", image, imagej=True, metadata={"axes": "TZCYX"})
    assert command("i.tif", "--output", output) == 0
    if output == "o.npy":
        np.testing.assert_array_equal(np.load(output), np.moveaxis(image, 2, 1))
        return
    with open_picture(Path(output)) as picture:
        for time in range(2):
            np.testing.assert_array_equal(picture.volume((0, 1), time), np.moveaxis(image[time], 1, 0))


def test_a_pyramid_that_viewers_can_show(asked: list[Any]) -> None:
    image = pixels(1100, 40)
    tifffile.imwrite("i.tif", image)
    assert command("i.tif", "--output", "o.zarr") == 0
    yaozarrs.validate_zarr_store("o.zarr")
    group = zarr.open_group("o.zarr", mode="r")
    assert group["1"].shape == (1, 275, 10)
    np.testing.assert_allclose(group["1"][0, 3, 4], image[12:16, 16:20].mean(), rtol=0, atol=0.51)
    (channel,) = group.attrs["ome"]["omero"]["channels"]  # type: ignore[index, call-overload]
    assert channel["label"] == "channel 1"
    assert 0 < channel["window"]["start"] < channel["window"]["end"] < 250
    assert "image-label" not in group.attrs["ome"]  # type: ignore[operator]


def test_a_mask_becomes_numbers(asked: list[Any]) -> None:
    zarr.create_array("i.zarr", data=pixels(20, 30) > 100, dimension_names=("y", "x"))
    assert command("i.zarr", "--output", "o.tif") == 0
    np.testing.assert_array_equal(tifffile.imread("o.tif"), pixels(20, 30) > 100)


def test_tiles_with_percentiles_of_their_own(asked: list[Any]) -> None:
    tifffile.imwrite("i.tif", pixels(40, 60))
    assert command("i.tif", "--output", "o.npy", "--tile", "16", "--float") == 0
    wanted = normalise_image(pixels(1, 40, 60), api.NormaliseSettings(tile_size=16))
    np.testing.assert_allclose(np.load("o.npy"), wanted, rtol=0, atol=1e-5)


def test_several_images_go_to_a_folder(asked: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    tifffile.imwrite("a.tif", pixels(20, 30))
    Path("b.tif").write_bytes(b"no image")
    assert command("a.tif", "b.tif", "--output", "out") == 1
    assert [path.name for path in Path("out").iterdir()] == ["a_restored.tif"]
    assert "wellpose restore-image: b.tif: not an image" in capsys.readouterr().err


def test_all_faults_are_told_at_once(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command("none.tif", "--output", "o.tif", "--channels", "0", weights="nobody", diameter="-1") == 2
    told = capsys.readouterr().err
    for fault in ("none.tif: no such file", "--channels is '0'", "--diameter is '-1'", "no weights named 'nobody'"):
        assert fault in told


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        (["--tile", "64"], "--tile cannot be undone to keep the image's own intensities: add --float"),
        (["--channels", "2"], "--channels is 2; the image has the channels 1"),
        (["--enlarge"], "a diameter of 20 pixels found; enlarging brings smaller objects to the 20"),
    ],
)
def test_what_cannot_be_is_refused(
    words: list[str], fault: str, asked: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    tifffile.imwrite("i.tif", pixels(20, 30))
    assert command("i.tif", "--output", "o.tif", *words) == 2
    assert fault in capsys.readouterr().err
    assert not Path("o.tif").exists()


def test_the_diameter_must_be_said(asked: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    tifffile.imwrite("i.tif", pixels(20, 30))
    assert cli.main(["restore-image", "i.tif", "--output", "o.tif", "--weights", "same.pth"]) == 2
    assert "--diameter is missing" in capsys.readouterr().err


def test_pixels_that_are_no_numbers(asked: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    image = pixels(20, 30, dtype="float32")
    image[3, 4] = np.nan
    tifffile.imwrite("i.tif", image)
    assert command("i.tif", "--output", "o.tif") == 2
    assert "channel 1: 1 of 600 pixels are NaN or infinite" in capsys.readouterr().err


def test_networks_for_the_other_command_are_refused_by_name(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tifffile.imwrite("i.tif", pixels(20, 30))
    torch.save(FlowNet(1, 1).state_dict(), "clean.pth")
    assert command("i.tif", "--output", "o.tif", weights="wellpose-1") == 2
    assert "restore-image: wellpose-1 segments: it has 2 input and 3 output channels" in capsys.readouterr().err
    assert cli.main(["segment-image", "i.tif", "--output", "o.tif", "--weights", "clean.pth"]) == 2
    assert "segment-image: clean.pth restores images: it has 1 output channel" in capsys.readouterr().err


def test_a_real_network_from_end_to_end(folder: Path) -> None:
    torch.manual_seed(0)
    torch.save(FlowNet(1, 1).state_dict(), "net.pth")
    tifffile.imwrite("i.tif", pixels(60, 70))
    assert command("i.tif", "--output", "o.tif", "--device", "cpu", weights="net.pth", diameter="25") == 0
    assert tifffile.imread("o.tif").shape == (60, 70)
