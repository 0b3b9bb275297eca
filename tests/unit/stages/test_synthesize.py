"""Drawn plates: raw files that are the drawn fields, in the layout of any microscope, with truth beside them."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import tifffile
from ingests import arrays, assert_same, ingested, planned
from measurements import read
from scipy.ndimage import gaussian_filter

from pipeline_lib.__main__ import main
from pipeline_lib.core.manifest import ChannelFacts, PlateFacts
from pipeline_lib.io.layouts import LAYOUTS
from pipeline_lib.io.plate import committed_wells, listed_wells, read_field, read_info, read_labels
from pipeline_lib.io.records import well_outcomes
from pipeline_lib.synthesis import draw_varied_field, well_seed
from pipeline_lib.workflow import Plate

TINY = ("--rows", "1", "--columns", "2", "--compounds", "0", "--cells", "2", "--size", "64")


def synthesize(folder: Path, *words: str) -> None:
    assert main(["synthesize", str(folder), *words]) == 0


def sheet(folder: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((folder / "plates.tsv").read_text(encoding="utf-8").splitlines(), delimiter="\t"))


@pytest.fixture(scope="module")
def varied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("varied")
    synthesize(
        folder, "--varied", *("--rows", "1", "--columns", "2"), *("--fields", "2", "--size", "96", "--seed", "5")
    )
    return folder


@pytest.mark.parametrize("column", [1, 2])
@pytest.mark.parametrize("index", [0, 1])
def test_each_field_is_a_scene_of_its_own(varied: Path, column: int, index: int) -> None:
    well = f"A{column:02d}"
    field = draw_varied_field((96, 96), well_seed(5, well, index))
    for plane, channel in zip(field.image, ("DNA", "GFP"), strict=True):
        drawn = tifffile.imread(varied / "raw" / f"{well}_s{index + 1}_w{channel}.tif")
        np.testing.assert_array_equal(drawn, plane)
    truth = read_labels(varied / "truth.ome.zarr", well, index)
    np.testing.assert_array_equal(truth["nuclei"], field.nuclei)
    np.testing.assert_array_equal(truth["cells"], field.cells)


def test_a_varied_plate_has_no_plate_map(varied: Path) -> None:
    assert not (varied / "platemap.csv").exists()
    assert [(line["plate"], line["plate_map"]) for line in sheet(varied)] == [("synthetic", "")]


@pytest.fixture(scope="module", params=[(), ("--varied",)], ids=["treated", "varied"])
def focused(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A plate of single planes, and the same plate of stacks of three."""
    single, stacked = tmp_path_factory.mktemp("single"), tmp_path_factory.mktemp("stacked")
    synthesize(single, *TINY, *request.param)
    synthesize(stacked, *TINY, *request.param, "--planes", "3")
    return single, stacked


@pytest.mark.parametrize("well", ["A01", "A02"])
@pytest.mark.parametrize("channel", ["DNA", "GFP"])
def test_a_stack_is_its_middle_plane_seen_out_of_focus(focused: tuple[Path, Path], well: str, channel: str) -> None:
    single, stacked = focused
    sharp = tifffile.imread(single / "raw" / f"{well}_s1_w{channel}.tif")
    below, middle, above = (tifffile.imread(stacked / "raw" / f"{well}_s1_w{channel}_z{z}.tif") for z in (1, 2, 3))
    np.testing.assert_array_equal(middle, sharp)
    assert gaussian_filter(below.astype(float), 1).std() < gaussian_filter(middle.astype(float), 1).std()
    noise = below.astype(float) - above  # as far from the focus, so their light is the same
    assert (noise != 0).mean() > 0.5
    assert abs(noise.mean()) < 5 * noise.std() / 64  # of 64 x 64 pixels


def test_the_truth_of_a_stack_is_that_of_its_middle_plane(focused: tuple[Path, Path]) -> None:
    single, stacked = (arrays(folder / "truth.ome.zarr") for folder in focused)
    assert len(single) == 2 * 3 * 2  # two wells; image, nuclei and cells; levels
    assert_same(stacked, single)


@pytest.fixture(scope="module")
def in_layout(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Plate]:
    """The same plate of stacks in every layout, as its sheet is read: layout -> plate."""
    plates = {}
    for layout in sorted(LAYOUTS):
        folder = tmp_path_factory.mktemp(layout)
        synthesize(folder, *TINY, "--fields", "2", "--planes", "2", "--as", layout)
        [plates[layout]] = planned(folder)
    return plates


@pytest.mark.parametrize("layout", sorted(LAYOUTS))
def test_the_sheet_says_how_a_layout_is_read(in_layout: dict[str, Plate], layout: str) -> None:
    plate = in_layout[layout]
    manifest, settings = plate.manifest, plate.settings
    assert manifest.format == LAYOUTS[layout].format
    assert manifest.wells == plate.wells == ("A01", "A02")
    named = [settings.ingest.channel_name(channel, manifest.channel_names) for channel in manifest.channels]
    assert named == ["DNA", "GFP"]
    cells = settings.segment.labels.cells
    assert cells is not None
    assert cells.model_dump()["channels"] == ("GFP", "DNA")


@pytest.mark.parametrize("layout", sorted(LAYOUTS))
def test_pixels_are_the_same_in_every_layout(in_layout: dict[str, Plate], layout: str) -> None:
    found, wanted = read(in_layout[layout].manifest), read(in_layout["pattern"].manifest)
    assert set(found) == {("A01", 0), ("A01", 1), ("A02", 0), ("A02", 1)}
    for place, image in found.items():
        assert image.shape == (1, 2, 2, 64, 64)
        np.testing.assert_array_equal(image, wanted[place], strict=True)


def test_the_microscope_tells_its_facts(in_layout: dict[str, Plate]) -> None:
    manifest = in_layout["operetta"].manifest
    assert manifest.facts == PlateFacts(
        pixel_size=0.65,
        z_step=3.0,
        magnification=10.0,
        numerical_aperture=0.45,
        plate_type="6 wells",
        acquired="2026-01-01T12:00:00+00:00",
        instrument="Wellpose",
    )
    assert manifest.channel_facts == {
        "1": ChannelFacts("DNA", 405.0, 450.0, 100.0),
        "2": ChannelFacts("GFP", 488.0, 525.0, 200.0),
    }
    assert manifest.positions == {well: {0: (0.0, -20.8), 1: (0.0, 20.8)} for well in ("A01", "A02")}  # 64 px = 41.6 um


@pytest.mark.parametrize(
    ("fields", "places"),
    [
        (1, [(0.0, 0.0)]),
        (4, [(-20.8, -20.8), (-20.8, 20.8), (20.8, -20.8), (20.8, 20.8)]),
        (5, [(-20.8, -41.6), (-20.8, 0.0), (-20.8, 41.6), (20.8, -41.6), (20.8, 0.0)]),
    ],
)
def test_fields_touch_around_the_middle_of_the_well(
    tmp_path: Path, fields: int, places: Sequence[tuple[float, float]]
) -> None:
    synthesize(tmp_path, *TINY, "--fields", f"{fields}", "--as", "operetta")
    [plate] = planned(tmp_path)
    assert list(plate.manifest.positions["A01"].values()) == [pytest.approx(place) for place in places]


def test_two_layouts_of_a_plate_are_ingested_alike(tmp_path: Path) -> None:
    """The plate has a damaged well: in both layouts the same one is quarantined."""
    raws = {}
    for layout in ("pattern", "operetta"):
        words = ("--rows", "2", "--columns", "5", "--compounds", "1", "--size", "64", "--plate", "P1", "--as", layout)
        synthesize(tmp_path / layout, *words)
        [plate] = planned(tmp_path / layout)
        paths = ingested(plate)
        outcomes = well_outcomes(paths.records("ingest"))
        [(bad, reason)] = [(w, o["reason"]) for w, o in outcomes.items() if o["status"] == "quarantined"]
        assert "cut off" in reason
        assert listed_wells(paths.raw) == committed_wells(paths.raw) == [well for well in plate.wells if well != bad]
        raws[layout] = paths.raw
    assert_same(arrays(raws["operetta"]), arrays(raws["pattern"]))
    stored = read_field(raws["operetta"], "A01", 0)
    for plane, name in zip(stored, ("DNA", "GFP"), strict=True):
        np.testing.assert_array_equal(plane, tifffile.imread(tmp_path / "pattern" / "raw" / f"A01_s1_w{name}.tif"))
    assert read_info(raws["operetta"]).channel_names == read_info(raws["pattern"]).channel_names == ("DNA", "GFP")


@pytest.mark.parametrize("what", ["fields", "planes"])
@pytest.mark.parametrize("number", [0, -2])
def test_plates_of_nothing_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], what: str, number: int
) -> None:
    assert main(["synthesize", str(tmp_path / "made"), f"--{what}", f"{number}"]) == 2
    assert f"{what} is {number}; 1 or more" in capsys.readouterr().err
    assert not (tmp_path / "made").exists()


def test_an_unknown_layout_is_refused_with_those_there_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["synthesize", str(tmp_path), "--as", "opretta"])
    told = capsys.readouterr().err
    assert all(layout in told for layout in LAYOUTS)
