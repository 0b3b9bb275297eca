"""Wells put together from their fields: pixels, levels, table of places, bands, quarantine; light corrected first."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from measurements import PLATE
from numpy.typing import NDArray

from pipeline_lib.core.manifest import ChannelFacts, PlateFacts
from pipeline_lib.io.arrays import read_array
from pipeline_lib.io.illumination import read_illumination
from pipeline_lib.io.layouts import LAYOUTS
from pipeline_lib.io.layouts.base import Measurement
from pipeline_lib.io.manifests import write_manifest
from pipeline_lib.io.plate import OURS, fields_of, levels_of, read_attributes, read_field, read_histograms, read_info
from pipeline_lib.io.records import read_json
from pipeline_lib.io.vendors import scan_plate
from pipeline_lib.paths import PlatePaths
from pipeline_lib.settings import IngestSettings
from pipeline_lib.stages._job import Job
from pipeline_lib.stages._layout import NoPlaces
from pipeline_lib.stages.illuminate import illuminate
from pipeline_lib.stages.ingest import ingest
from pipeline_lib.stages.skeleton import plate_info, skeleton

SIDE, STEP = 64, 44  # of a field, and from one to the next
GRID = [(row, column) for row in range(3) for column in range(3)]
WELLS = ("A01", "B03")
PIXEL = 0.5


def scene(well: str, channel: int, time: int = 0) -> NDArray[np.uint16]:
    """What a camera as large as the well would see: smooth blobs, different in each well."""
    from scipy.ndimage import gaussian_filter

    rng = np.random.default_rng([*well.encode(), channel, time])
    noise = gaussian_filter(rng.normal(0, 1, (200, 200)), 2)
    return np.asarray(1000 + 4000 * noise / noise.std(), np.float64).clip(0, 20000).astype(np.uint16)


def jitter(well: str) -> dict[int, tuple[int, int]]:
    rng = np.random.default_rng(list(well.encode()))
    return {n: (int(y), int(x)) for n, (y, x) in enumerate(rng.integers(-3, 4, (9, 2)))}


class Screen:
    """Two wells of 3 x 3 fields whose true places differ a little from those the index tells."""

    def __init__(self, folder: Path, times: int = 1, depth: int = 1, **settings: Any) -> None:
        self.raw, self.plate = folder / "raw", PlatePaths(folder / "results" / "P1")
        positions = tuple((float(row * STEP * PIXEL), float(column * STEP * PIXEL)) for row, column in GRID)
        self.measurement = Measurement(
            "P1", 8, 12, WELLS, (ChannelFacts("DNA"), ChannelFacts("GFP")), PlateFacts(pixel_size=PIXEL),
            positions, (times, 2, depth, SIDE, SIDE), "uint16",
        )  # fmt: skip
        self.settings = IngestSettings(fields="montage", **settings)
        layout = LAYOUTS["cellvoyager"]
        self.files = {
            (well, n): layout.write_field(self.raw, self.measurement, well, n, self.field(well, n, times, depth))
            for well in WELLS for n in range(9)
        }  # fmt: skip
        layout.write_index(self.raw, self.measurement)

    def field(self, well: str, number: int, times: int = 1, depth: int = 1) -> NDArray[np.uint16]:
        """(T, C, Z, Y, X); every plane is darker by 10 than the one before."""
        (row, column), (dy, dx) = GRID[number], jitter(well)[number]
        y, x = 20 + row * STEP + dy, 20 + column * STEP + dx
        cut = [[scene(well, c, t)[y : y + SIDE, x : x + SIDE] for c in range(2)] for t in range(times)]
        planes = [np.add(cut, np.uint16(10 * (depth - 1 - z))) for z in range(depth)]
        return np.stack(planes, axis=2).astype(np.uint16)

    def job(self, stage: str) -> Job:
        return Job(stage, self.plate, self.settings, self.plate.record(stage, "x"), WELLS)

    def run(self) -> PlatePaths:
        write_manifest(scan_plate("P1", self.raw, "auto", ""), self.plate.manifest)
        skeleton(self.job("skeleton"))
        if self.settings.illumination.is_on:
            illuminate(self.job("illuminate"))
        ingest(self.job("ingest"))
        return self.plate


def places(plate: PlatePaths, well: str) -> dict[int, tuple[float, float]]:
    told = read_attributes(plate.raw_well(well))[OURS]["fields"]
    return {field["field"]: tuple(field["place"]) for field in told}


def shown(plate: PlatePaths, well: str, time: int = 0) -> tuple[NDArray[Any], NDArray[Any]]:
    """The image of a well, and the scene as it should be there, away from the border."""
    [middle] = [told for told in read_attributes(plate.raw_well(well))[OURS]["fields"] if told["field"] == 4]
    (y, x), (dy, dx) = middle["corner"], jitter(well)[4]
    top, left = 20 + STEP + dy - y, 20 + STEP + dx - x
    image = read_field(plate.raw, well, 0, time)
    height, width = image.shape[1:]
    truth = np.stack([scene(well, c, time)[top : top + height, left : left + width] for c in range(2)])
    return image[:, 5:-5, 5:-5], truth[:, 5:-5, 5:-5]


def test_a_well_is_the_scene_its_fields_were_cut_from(tmp_path: Path) -> None:
    plate = Screen(tmp_path).run()
    info = read_info(plate.raw)
    assert (info.fields, info.shape) == (1, (2 * STEP + SIDE, 2 * STEP + SIDE))
    for well in WELLS:
        assert fields_of(plate.raw, well) == [0]
        image, truth = shown(plate, well)
        np.testing.assert_allclose(image.astype(int), truth.astype(int), atol=1)
        found, planted = places(plate, well), jitter(well)
        off = np.array([np.subtract(found[n], [GRID[n][0] * STEP, GRID[n][1] * STEP]) - planted[n] for n in range(9)])
        assert np.abs(off - off.mean(axis=0)).max() < 0.5
        told = read_attributes(plate.raw_well(well))[OURS]["fields"]
        assert [len(field["quality"]) for field in told] == [2] * 9
        assert told[8]["told"] == pytest.approx([2 * STEP, 2 * STEP])


def test_coarser_levels_and_histograms_are_those_of_the_image(tmp_path: Path) -> None:
    plate = Screen(tmp_path).run()
    image = read_field(plate.raw, "A01", 0)
    coarse = read_field(plate.raw, "A01", 0, level=1)
    assert levels_of(plate.raw, "A01", 0) == 2
    whole = image[:, : image.shape[1] // 4 * 4, : image.shape[2] // 4 * 4].astype(float)
    mean = whole.reshape(2, whole.shape[1] // 4, 4, whole.shape[2] // 4, 4).mean(axis=(2, 4))
    np.testing.assert_allclose(coarse[:, : mean.shape[1], : mean.shape[2]], mean, atol=0.5)
    [counted] = read_histograms(plate.raw, "A01")
    covered = sum(one.total for one in counted)
    assert 0.97 * image.size < covered <= image.size


def test_bands_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Screen(tmp_path / "whole", times=2).run()
    monkeypatch.setattr("pipeline_lib.io.arrays.LARGEST_CHUNK", 37)
    monkeypatch.setattr("pipeline_lib.io.arrays.LARGEST_SHARD", 80)
    cut = Screen(tmp_path / "cut", times=2).run()
    assert [len(list((plate.raw_well("A01") / "0" / "0").rglob("c/0/*/*/*"))) for plate in (whole, cut)] == [1, 9]
    for well in WELLS:
        for time in range(2):
            for level in range(2):
                np.testing.assert_array_equal(
                    read_field(whole.raw, well, 0, time, level), read_field(cut.raw, well, 0, time, level)
                )
        ([one], [other]) = (read_histograms(plate.raw, well) for plate in (whole, cut))
        for of_whole, of_cut in zip(one, other, strict=True):
            np.testing.assert_array_equal(of_whole.counts, of_cut.counts)
        told, told_of_cut = (read_attributes(p.raw_well(well))[OURS]["fields"] for p in (whole, cut))
        assert told == told_of_cut


def test_a_well_without_its_first_row_of_fields_is_dim_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bands that no field reaches come before the first field is read for one."""
    monkeypatch.setattr("pipeline_lib.io.arrays.LARGEST_CHUNK", 20)
    screen = Screen(tmp_path, montage={"largest_move": 0})
    for number in range(3):
        for path in screen.files["B03", number]:
            path.unlink()
    [index] = screen.raw.rglob("MeasurementData.mlf")
    lines = index.read_text(encoding="utf-8").splitlines(keepends=True)
    gone = {path.name for number in range(3) for path in screen.files["B03", number]}
    index.write_text("".join(line for line in lines if not any(name in line for name in gone)), encoding="utf-8")
    plate = screen.run()
    there, whole = read_field(plate.raw, "B03", 0), read_field(plate.raw, "A01", 0)
    assert there.shape == whole.shape
    for channel in range(2):
        value = there[channel, 0, 0]
        assert (there[channel, : STEP - 5] == value).all()
        assert value == np.percentile(screen.field("B03", 3)[0, channel], 1.0, method="nearest")
    assert [told["field"] for told in read_attributes(plate.raw_well("B03"))[OURS]["fields"]] == list(range(3, 9))
    assert there[:, STEP + 5 :].std() > 100


def test_planes_are_kept_if_asked_even_where_the_first_file_is_damaged(tmp_path: Path) -> None:
    screen = Screen(tmp_path, depth=3, projection="keep")
    screen.files["A01", 0][0].write_bytes(b"II*\0")
    plate = screen.run()
    outcomes = read_json(plate.record("ingest", "x"))["wells"]
    assert {well: outcome["status"] for well, outcome in outcomes.items()} == {"A01": "quarantined", "B03": "done"}
    planes = read_array(plate.raw_well("B03") / "0" / "0")
    assert planes.shape[:2] == (2, 3)
    flat, _ = shown(plate, "B03")
    np.testing.assert_array_equal(planes.max(axis=1)[:, 5:-5, 5:-5], flat)
    inside = planes[..., 5:-5, 5:-5].astype(int)
    np.testing.assert_allclose(inside[:, 0] - inside[:, 2], 20, atol=1)


def test_a_well_with_a_damaged_field_is_set_aside_alone(tmp_path: Path) -> None:
    screen = Screen(tmp_path)
    screen.files["A01", 3][0].write_bytes(b"II*\0")
    plate = screen.run()
    outcomes = read_json(plate.record("ingest", "x"))["wells"]
    assert {well: outcome["status"] for well, outcome in outcomes.items()} == {"A01": "quarantined", "B03": "done"}


def test_fields_stay_where_the_stage_says_if_asked(tmp_path: Path) -> None:
    plate = Screen(tmp_path, montage={"largest_move": 0}).run()
    assert places(plate, "A01")[8] == pytest.approx((2 * STEP, 2 * STEP))


def test_a_grid_needs_no_positions(tmp_path: Path) -> None:
    montage = {"place": "grid", "columns": 3, "overlap": 1 - STEP / SIDE}
    plate = Screen(tmp_path, montage=montage).run()
    image, truth = shown(plate, "B03")
    np.testing.assert_allclose(image.astype(int), truth.astype(int), atol=1)


def test_without_positions_the_setting_is_named(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    plate = replace(PLATE, shape=(1, 2, 1, 24, 32))
    LAYOUTS["pattern"].write_field(raw, plate, "A01", 0, np.ones(plate.shape, np.uint16))
    manifest = scan_plate("P1", raw, "pattern", IngestSettings().pattern)
    with pytest.raises(NoPlaces, match=r"do not say where fields lie.*ingest\.montage\.place to grid"):
        plate_info(manifest, IngestSettings(fields="montage"))


def test_light_is_corrected_before_fields_are_put_together(tmp_path: Path) -> None:
    """Eighteen fields are few, so only the way is looked at: what is stored is what the light file undoes."""
    plain = Screen(tmp_path / "plain", montage={"largest_move": 0}).run()
    even = Screen(tmp_path / "even", montage={"largest_move": 0}, illumination={"method": "estimated", "dark": 0}).run()
    lights = read_illumination(even.illumination)
    flat, dark = lights["1"]
    assert flat.shape == (SIDE, SIDE)
    raw, corrected = (read_field(plate.raw, "A01", 0)[0, :40, :40] for plate in (plain, even))
    np.testing.assert_allclose(corrected, raw / flat[:40, :40], atol=1)
    assert not dark.any()
