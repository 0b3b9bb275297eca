"""`wellpose segment-image`: from a file to labels in a file, in every shape; faults told at once and in one place."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr
from numpy.typing import NDArray
from scipy import ndimage

from pipeline_lib import __main__ as cli
from pipeline_lib import api
from pipeline_lib.arrays.resample import shrink_labels
from pipeline_lib.io.pictures import open_picture
from pipeline_lib.io.pixel_sizes import PixelSize
from pipeline_lib.stages import _single, segment_image

GREY: Any = {"photometric": "minisblack", "metadata": None}
Command = Callable[..., int]


pytestmark = pytest.mark.usefixtures("quiet")


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """A network that calls everything above 0 an object, and what was asked of it: name and arguments."""
    made: list[Any] = []
    network = SimpleNamespace(channels_in=2, predict=SimpleNamespace(device="cpu", precision="torch.float32"))

    def noted(name: str, answer: Callable[..., Any]) -> None:
        def call(*arguments: Any, **named: Any) -> Any:
            made.append((name, *arguments, *named.values()))
            return answer(*arguments)

        monkeypatch.setattr(api, name, call)

    def large(_: Any, image: Any, target: Any, *_rest: Any) -> Any:
        target[:] = found = blobs(None, image[:])
        return SimpleNamespace(objects=int(found.max()))

    noted("load_network", lambda *_: network)
    noted("find_diameter", lambda *_: 12.345)
    noted("segment_large", large)
    for name in ("segment_image", "segment_volume", "segment_planes"):
        noted(name, blobs)
    return made


def blobs(_: Any, image: NDArray[Any], *_rest: Any) -> NDArray[np.uint32]:
    return np.asarray(ndimage.label(image[0] > 0)[0], np.uint32)


def names(calls: list[Any]) -> list[str]:
    return [call[0] for call in calls]


def stack(*shape: int) -> NDArray[np.uint8]:
    """Zeros with one bright pixel, and a second one in the first plane."""
    pixels = np.zeros(shape, np.uint8)
    pixels[..., 3, 4] = 1
    pixels.reshape(-1, *shape[-2:])[0, 8, 9] = 2
    return pixels


def command(*words: str) -> int:
    return cli.main(["segment-image", *words])


def files(folder: str) -> list[str]:
    return sorted(path.name for path in Path(folder).iterdir())


def error_of(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().err


# One image


def test_an_image_with_everything_said(folder: Path, calls: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    yxc = np.moveaxis(stack(3, 20, 30), 0, -1)
    tifffile.imwrite("i.tif", np.ascontiguousarray(yxc), planarconfig="contig", **GREY)
    said = {
        "axes": "yxc", "channels": "3,1", "diameter": "17", "cellprob-threshold": "-1.5", "flow-threshold": "0",
        "min-size": "0", "max-size-fraction": "1", "niter": "9", "enclosed": "keep", "lowhigh": "0,9,1,5",
        "normalise": "2,98", "tile": "64", "smooth": "1", "sharpen": "2", "device": "cpu", "precision": "float32",
        "batch-size": "3",
    }  # fmt: skip
    words = [word for name, value in said.items() for word in (f"--{name}", value)]
    assert command("i.tif", "--output", "out.tif", "--augment", "--invert", *words) == 0
    (_, weights, run), (_, _, image, settings) = calls
    assert weights == "wellpose-1"
    assert run == api.RunSettings(device="cpu", precision="float32", batch_size=3, augment=True)
    np.testing.assert_array_equal(image, np.moveaxis(yxc, -1, 0)[[2, 0]])
    masks = api.MaskSettings(-1.5, 0, min_size=0, max_size_fraction=1, niter=9, enclosed="keep")
    intensities = api.NormaliseSettings(True, ((0, 9), (1, 5)), (2, 98), 1, 2, 64, True)
    assert settings == api.ImageSettings(diameter=17, masks=masks, normalise=intensities)
    np.testing.assert_array_equal(tifffile.imread("out.tif"), blobs(None, image))
    assert error_of(capsys).startswith("i.tif: 1 objects, diameter 17 (given), wellpose-1 on cpu in float32, ")


def test_nothing_said(folder: Path, calls: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    tifffile.imwrite("i.tif", stack(20, 30))
    assert command("i.tif", "--output", "labels") == 0
    assert names(calls) == ["load_network", "find_diameter", "segment_image"]
    assert calls[2][3] == api.ImageSettings(diameter=12.345)
    told = error_of(capsys)
    assert "i.tif: 2 objects, diameter 12.35 (estimated)" in told
    assert told.endswith(f" s -> {Path('labels/i_labels.tif')}\n")
    assert "\r" not in told
    np.testing.assert_array_equal(tifffile.imread("labels/i_labels.tif"), blobs(None, stack(1, 20, 30)))


def test_no_scaling(folder: Path, calls: list[Any]) -> None:
    tifffile.imwrite("i.tif", stack(20, 30))
    assert command("i.tif", "--output", "o.tif", "--normalise", "off", "--diameter", "9") == 0
    assert calls[1][3].normalise == api.NormaliseSettings(enabled=False)


def test_on_a_terminal_one_line_is_updated(folder: Path, calls: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stderr", terminal)
    tifffile.imwrite("i.tif", stack(3, 20, 30), **GREY)
    assert command("i.tif", "--axes", "TYX", "--output", "o.tif") == 0
    passing, last = terminal.getvalue().rsplit("\r\x1b[K", 1)
    assert passing.startswith("\r\x1b[Kpreparing (the first run compiles for half a minute)\r\x1b[Kimage: 1 of 3")
    assert passing.endswith("\r\x1b[Ksaving")
    assert "\n" not in passing
    assert last.startswith("i.tif: 4 objects")


def test_progress_has_units(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    with _single.progress_line() as progress:
        progress("network", 256, 6000)
        progress("labels", 3, 80)
    _, _, *told, _ = error_of(capsys).split("\r\x1b[K")
    assert told == ["network: 256 of 6,000 rows", "labels: 3 of 80 blocks"]


def test_help_tells_the_words_that_are_allowed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command("--help")
    told = capsys.readouterr().out
    for words in ("--z {volume,stitch,separate}", "--enclosed {absorb,keep}", "--precision {auto,float32,bfloat16}"):
        assert words in told


def test_labels_have_the_pixel_size_of_their_image(folder: Path, calls: list[Any]) -> None:
    about = {"axes": "ZYX", "unit": "um", "spacing": 2.0}
    tifffile.imwrite("i.tif", stack(3, 20, 30), imagej=True, resolution=(4, 2), metadata=about)
    for name in ("o.tif", "o.ome.tif", "o.zarr"):
        assert command("i.tif", "--output", name, "--z", "stitch") == 0
    scale = zarr.open_group("o.zarr", mode="r").attrs["ome"]["multiscales"][0]["datasets"][0]  # type: ignore[index, call-overload]
    assert scale["coordinateTransformations"][0]["scale"] == [2.0, 0.5, 0.25]
    for name in ("o.tif", "o.ome.tif"):
        with open_picture(Path(name)) as picture:
            assert picture.size == PixelSize(0.5, 0.25, 2.0)


def test_a_large_image_goes_through_the_disk(folder: Path, calls: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segment_image, "LARGEST_WHOLE", 20 * 30 - 1)
    tifffile.imwrite("i.tif", stack(2, 20, 30), **GREY)
    assert command("i.tif", "--axes", "TYX", "--output", "o.npy") == 0
    assert names(calls) == ["load_network", *["find_diameter", "segment_large"] * 2]
    _, _, image, target, settings, _ = calls[2]
    assert not isinstance(image, np.ndarray)
    assert (image.shape, target.shape, settings.diameter) == ((1, 20, 30), (20, 30), 12.345)
    np.testing.assert_array_equal(np.load("o.npy"), [blobs(None, frame[None]) for frame in stack(2, 20, 30)])


@pytest.mark.parametrize("words", [["--tile", "64"], ["--smooth", "1"], ["--sharpen", "2"]])
def test_a_large_image_is_refused_what_it_cannot_have_before_it_is_read(
    words: list[str],
    folder: Path,
    calls: list[Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(segment_image, "LARGEST_WHOLE", 20 * 30 - 1)
    tifffile.imwrite("i.tif", stack(20, 30))
    assert command("i.tif", "--output", "o.npy", *words) == 2
    assert "scaled by ranges alone: drop them" in error_of(capsys)
    assert names(calls) == ["load_network"]


@pytest.mark.parametrize("height", [20, 4500])
def test_a_pyramid_is_that_of_the_whole(height: int, folder: Path, calls: list[Any]) -> None:
    pixels = np.random.default_rng(0).integers(0, 2, (height, 30)).astype(np.uint8)
    tifffile.imwrite("i.tif", pixels)
    assert command("i.tif", "--output", "o.zarr") == 0
    level = blobs(None, pixels[None])
    group = zarr.open_group("o.zarr", mode="r")
    for number in range(len(list(group.arrays()))):
        np.testing.assert_array_equal(group[str(number)][:], level)
        level = shrink_labels(level, 4)
    assert max(level.shape) < 1024


# Planes and frames


@pytest.mark.parametrize(
    ("words", "called", "objects"),
    [
        (["separate"], ["segment_image"] * 6, 7),
        (["volume"], ["segment_volume"] * 2, 3),
        (["stitch"], ["segment_planes"] * 2, 3),
    ],
)
def test_stacks_and_movies(
    words: list[str],
    called: list[str],
    objects: int,
    folder: Path,
    calls: list[Any],
    capsys: pytest.CaptureFixture[str],
) -> None:
    tifffile.imwrite("i.tif", stack(2, 3, 20, 30), imagej=True, metadata={"axes": "TZYX"})
    assert command("i.tif", "--output", "o.tif", "--diameter", "9", "--z", *words) == 0
    assert names(calls)[1:] == called
    assert f"i.tif: {objects} objects" in error_of(capsys)
    with tifffile.TiffFile("o.tif") as tif:
        assert tif.series[0].axes == "TZYX"
        found = tif.asarray()
    wanted = stack(2, 3, 20, 30)
    parts = wanted if words != ["separate"] else wanted.reshape(6, 20, 30)
    np.testing.assert_array_equal(found.reshape(parts.shape), [blobs(None, part[None]) for part in parts])


def test_how_planes_belong_together(folder: Path, calls: list[Any]) -> None:
    tifffile.imwrite("i.tif", stack(3, 20, 30), imagej=True, metadata={"axes": "ZYX"})
    assert command("i.tif", "--output", "v.tif", "--z", "volume", "--anisotropy", "2.5") == 0
    assert command("i.tif", "--output", "s.tif", "--z", "stitch", "--stitch-threshold", "0.4") == 0
    assert calls[1][-1] == api.VolumeSettings(anisotropy=2.5)
    assert calls[3][-1] == 0.4


# Several images


def test_a_failing_image_does_not_stop_the_others(
    folder: Path, calls: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    tifffile.imwrite("a.tif", stack(20, 30))
    Path("b.tif").write_text("no image", encoding="utf-8")
    tifffile.imwrite("c.ome.tif", stack(20, 30))
    assert command("a.tif", "b.tif", "c.ome.tif", "--output", "out") == 1
    assert files("out") == ["a_labels.tif", "c_labels.tif"]
    assert names(calls).count("load_network") == 1
    told = error_of(capsys).splitlines()
    assert told[1].startswith("wellpose segment-image: b.tif: not an image")
    assert told[-1] == "1 of 3 images failed: b.tif"


# Faults


def test_all_faults_of_the_words_at_once(folder: Path, calls: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    tifffile.imwrite("i.tif", stack(20, 30))
    Path("o.tif").touch()
    faults = {
        "axes": "YXX", "channels": "0", "diameter": "0", "cellprob-threshold": "nan", "flow-threshold": "-1",
        "min-size": "-1", "max-size-fraction": "0", "niter": "0", "enclosed": "eat", "lowhigh": "5,1",
        "normalise": "99,1", "tile": "x", "precision": "half", "batch-size": "0", "stitch-threshold": "2",
        "weights": "starter_nucleus",
    }  # fmt: skip
    words = [f"--{name}={value}" for name, value in faults.items()]
    assert command("none.tif", "--output", "o.tif", *words) == 2
    told = error_of(capsys)
    for name, value in faults.items():
        assert (f"--{name} is {value!r}; allowed: " in told) == (name != "weights")
    assert "none.tif: no such file" in told
    assert "o.tif exists; give another --output, or --overwrite" in told
    assert "'starter_nucleus'" in told
    assert names(calls) == []


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["i.tif", "--output", "o.tif", "--diameter", "wide"], "--diameter is 'wide'; allowed: a positive number"),
        (["i.tif", "--output", "o.tif", "--anisotropy", "2"], "--anisotropy has a meaning with --z volume only"),
        (["i.tif", "--output", "o.tif", "--z", "volume", "--flow-threshold", "1"], "no meaning with --z volume"),
        (["i.tif", "--output", "o.tif", "--tile", "5"], "tile_size is 5"),
        (["i.tif", "--output", "o.png"], "--output is o.png; allowed: a folder"),
        (["i.tif", "i.tif", "--output", "o.tif"], "--output is o.tif; allowed: a folder"),
        (["i.tif", "i.png", "--output", "o"], "would be made of 2 images"),
        (["i.tif", "--output", "i.tif", "--overwrite"], "i.tif is one of the images"),
        (["i.tif", "--output", "full.tif", "--overwrite"], "full.tif is a folder"),
        (["i.tif", "--output", "i.png/o.tif"], "nothing can be written to"),
        (["i.tif", "--output", "o.tif", "--weights", "i.png"], "i.png"),
    ],
)
def test_faults_of_words(words: list[str], told: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tifffile.imwrite("i.tif", stack(20, 30))
    Path("i.png").touch()
    Path("full.tif").mkdir()
    before = files(".")
    assert command(*words) == 2
    message = error_of(capsys)
    assert told in message
    assert "Traceback" not in message
    assert files(".") == before


@pytest.mark.parametrize(
    ("pixels", "axes", "words", "told"),
    [
        (stack(3, 20, 30), "CYX", [], "the image has the channels 1, 2, 3; choose up to 2 of them with --channels"),
        (stack(3, 20, 30), "CYX", ["--channels", "4"], "--channels is 4; the image has the channels 1, 2, 3"),
        (stack(3, 20, 30), "CYX", ["--channels", "1,2,3"], "wellpose-1 takes up to 2"),
        (stack(3, 20, 30), "ZYX", [], "the image has 3 planes along z; say with --z"),
        (stack(3, 20, 30), None, [], "such as --axes CYX"),
        (stack(20, 30) + 0j, "YX", [], "the pixels are complex128"),
        (np.array([[0, np.nan], [np.inf, 1]]), "YX", [], "channel 1: 2 of 4 pixels are NaN or infinite"),
        (np.array([[[0, 1]], [[-np.inf, 1]]]), "CYX", ["--channels", "2,1"], "channel 2: 1 of 2 pixels are NaN"),
        (np.array([[[0, 1]], [[np.nan, 1]]]), "ZYX", ["--z", "volume"], "channel 1: 1 of 4 pixels are NaN"),
    ],
)
def test_faults_of_an_image(
    pixels: NDArray[Any],
    axes: str | None,
    words: list[str],
    told: str,
    folder: Path,
    calls: list[Any],
    capsys: pytest.CaptureFixture[str],
) -> None:
    tifffile.imwrite("i.tif", pixels, **GREY)
    chosen = ["--axes", axes] if axes else []
    assert command("i.tif", "--output", "o.tif", *chosen, *words) == 2
    message = error_of(capsys)
    assert message.startswith("wellpose segment-image: i.tif: ")
    assert told in message
    assert files(".") == ["i.tif"]
    assert names(calls) == ["load_network"]


def test_an_empty_axis(folder: Path, calls: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    zarr.create_array("i.zarr", shape=(0, 30), dtype=np.uint8)
    assert command("i.zarr", "--output", "o.tif") == 2
    assert "the image is empty: its axes have the lengths (0, 30)" in error_of(capsys)


def test_labels_are_replaced_on_request_only(folder: Path, calls: list[Any]) -> None:
    tifffile.imwrite("i.tif", stack(20, 30))
    Path("o.tif").write_text("mine", encoding="utf-8")
    assert command("i.tif", "--output", "o.tif") == 2
    assert Path("o.tif").read_text(encoding="utf-8") == "mine"
    assert command("i.tif", "--output", "o.tif", "--overwrite") == 0
    np.testing.assert_array_equal(tifffile.imread("o.tif"), blobs(None, stack(1, 20, 30)))


# The real network


def discs() -> tuple[NDArray[np.uint16], int]:
    """A (150, 200) image of 20 blurred discs of 17 pixels, and their number."""
    rng = np.random.default_rng(3)
    y, x = np.mgrid[:150, :200]
    image = np.full((150, 200), 100.0)
    centres = [(18 + 36 * row, 22 + 38 * column) for row in range(4) for column in range(5)]
    for row, column in centres:
        image += rng.uniform(800, 1500) * ((y - row) ** 2 + (x - column) ** 2 < 8.5**2)
    blurred = ndimage.gaussian_filter(image, 1.5) + rng.normal(0, 8, image.shape)
    return blurred.astype(np.uint16), len(centres)


def test_the_shipped_network_finds_every_disc(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image, count = discs()
    tifffile.imwrite("i.tif", image)
    assert command("i.tif", "--diameter", "17", "--output", "o.tif") == 0
    assert f"i.tif: {count} objects, diameter 17 (given), wellpose-1 on " in error_of(capsys)
    assert tifffile.imread("o.tif").max() == count


def test_labels_do_not_depend_on_how_the_image_is_stored(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As TIFF; as Zarr with axes turned and a second channel; and block by block."""
    image = discs()[0][:72, :116]
    tifffile.imwrite("i.tif", image)
    turned = np.stack([image // 3, image], axis=-1).swapaxes(0, 1)
    zarr.create_array("i.zarr", data=turned, chunks=(64, 50, 2), dimension_names=["x", "y", "c"])
    assert command("i.tif", "--output", "tiff.npy") == 0
    assert command("i.zarr", "--channels", "2", "--output", "zarr.npy") == 0
    monkeypatch.setattr(segment_image, "LARGEST_WHOLE", 1000)
    assert command("i.zarr", "--channels", "2", "--output", "large.npy") == 0
    told = [line.split(", ")[1] for line in error_of(capsys).splitlines()]
    assert len(set(told)) == 1  # the diameters that were estimated
    labels = np.load("tiff.npy")
    assert labels.max() > 0
    np.testing.assert_array_equal(np.load("zarr.npy"), labels)
    np.testing.assert_array_equal(np.load("large.npy"), labels)


def test_a_constant_image_has_no_objects(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tifffile.imwrite("i.tif", np.full((40, 50), 7, np.uint8))
    assert command("i.tif", "--output", "o.tif") == 0
    assert "i.tif: 0 objects" in error_of(capsys)
    np.testing.assert_array_equal(tifffile.imread("o.tif"), np.zeros((40, 50)))
