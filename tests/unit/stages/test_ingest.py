"""From files of a microscope to wells of a plate: what arrives, and every way in which a well can be incomplete."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from pipeline_lib.arrays.quality import quality
from pipeline_lib.core.histograms import histogram, percentiles
from pipeline_lib.io.arrays import read_array
from pipeline_lib.io.manifests import write_manifest
from pipeline_lib.io.plate import (
    OURS,
    committed_wells,
    fields_of,
    levels_of,
    read_attributes,
    read_field,
    read_histograms,
)
from pipeline_lib.io.records import read_json
from pipeline_lib.io.vendors import scan_plate
from pipeline_lib.paths import PlatePaths
from pipeline_lib.settings import IngestSettings
from pipeline_lib.stages._job import Job
from pipeline_lib.stages.ingest import ingest
from pipeline_lib.stages.skeleton import file_count, plate_info, skeleton

PATTERN = r"(?P<well>[A-Z][0-9]{2})_f(?P<field>[0-9])_c(?P<channel>[0-9])(_t(?P<time>[0-9]))?(_z(?P<z>[0-9]))?\.tif"
WELLS = ("A01", "B02", "B03")
SHAPE = (20, 30)


def picture(name: str, *planes: int) -> NDArray[np.uint16]:
    """Random pixels (planes, Y, X) of a file, always the same for its name."""
    rng = np.random.default_rng(list(name.encode()))
    return rng.integers(0, 4000, (*planes, *SHAPE)).astype(np.uint16)


class Raw:
    """A folder of tiny TIFF files and the jobs that convert it."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.folder = folder / "raw"
        self.folder.mkdir()
        self.plate = PlatePaths(folder / "results" / "P1")
        self.settings = IngestSettings(pattern=PATTERN, **settings)

    def save(self, name: str, values: NDArray[Any] | None = None) -> None:
        options: dict[str, Any] = {"photometric": "minisblack"}
        tifffile.imwrite(self.folder / f"{name}.tif", picture(name) if values is None else values, **options)

    def job(self, stage: str = "ingest") -> Job:
        return Job(stage, self.plate, self.settings, self.plate.record(stage, "x"), WELLS)

    def ingest(self) -> dict[str, dict[str, Any]]:
        """Run skeleton and ingest; returns what the record says of each well."""
        write_manifest(scan_plate("P1", self.folder, "pattern", PATTERN), self.plate.manifest)
        skeleton(self.job("skeleton"))
        ingest(self.job())
        wells: dict[str, dict[str, Any]] = read_json(self.plate.record("ingest", "x"))["wells"]
        return wells

    def statuses(self) -> list[str]:
        return [outcome["status"] for outcome in self.ingest().values()]

    def reason(self, well: str = "B02", kind: str = "missing channel") -> str:
        """Why a well is set aside, after making sure that it is absent and that the others are there."""
        wells = self.ingest()
        assert [name for name, outcome in wells.items() if outcome["status"] not in ("done", "current")] == [well]
        assert wells[well]["status"] == "quarantined"
        assert committed_wells(self.plate.raw) == [name for name in WELLS if name != well]
        assert wells[well]["kind"] == kind
        return str(wells[well]["reason"])


@pytest.fixture
def raw(tmp_path: Path) -> Raw:
    """Three wells, two fields, two channels."""
    made = Raw(tmp_path)
    for well in WELLS:
        for field in (1, 2):
            for channel in (1, 2):
                made.save(f"{well}_f{field}_c{channel}")
    return made


def test_pixels_arrive_unchanged(raw: Raw) -> None:
    assert raw.statuses() == ["done"] * 3
    for well in WELLS:
        assert fields_of(raw.plate.raw, well) == [0, 1]
        for field in (0, 1):
            wanted = np.stack([picture(f"{well}_f{field + 1}_c{channel}") for channel in (1, 2)])
            np.testing.assert_array_equal(read_field(raw.plate.raw, well, field), wanted)
            assert levels_of(raw.plate.raw, well, field) == 2


def test_histograms_and_quality_are_those_of_the_pixels(raw: Raw) -> None:
    raw.ingest()
    pictures = [[picture(f"B02_f{field}_c{channel}") for channel in (1, 2)] for field in (1, 2)]
    found = read_histograms(raw.plate.raw, "B02")
    for channels, counted in zip(pictures, found, strict=True):
        for pixels, one in zip(channels, counted, strict=True):
            assert percentiles(one, [1, 50, 99]) == pytest.approx(np.percentile(pixels, [1, 50, 99]))
    told = read_attributes(raw.plate.raw_well("B02"))[OURS]["fields"]
    assert [seen["field"] for seen in told] == [0, 1]
    for seen, channels in zip(told, pictures, strict=True):
        for [one], pixels in zip(seen["quality"], channels, strict=True):
            wanted = quality(pixels, histogram(pixels))
            assert (one["saturation"], one["background"]) == (wanted.saturation, wanted.background)
            assert one["focus"] == (None if np.isnan(wanted.focus) else wanted.focus)


def test_as_many_files_as_promised(raw: Raw) -> None:
    raw.ingest()
    manifest = scan_plate("P1", raw.folder, "pattern", PATTERN)
    count = sum(path.is_file() for path in raw.plate.raw.rglob("*"))
    assert f" {count} files" in file_count(manifest, plate_info(manifest, raw.settings))


def test_a_second_run_converts_nothing(raw: Raw) -> None:
    raw.ingest()
    before = (raw.plate.raw_well("B02") / "zarr.json").stat().st_ino
    assert raw.statuses() == ["current"] * 3
    assert (raw.plate.raw_well("B02") / "zarr.json").stat().st_ino == before


def test_a_changed_file_converts_its_own_well_again(raw: Raw) -> None:
    raw.ingest()
    raw.save("B02_f2_c1", picture("B02_f2_c1") + np.uint16(1))
    assert raw.statuses() == ["current", "done", "current"]
    np.testing.assert_array_equal(read_field(raw.plate.raw, "B02", 1)[0], picture("B02_f2_c1") + 1)


def test_a_file_that_turned_bad_makes_its_well_absent(raw: Raw) -> None:
    raw.ingest()
    (raw.folder / "B02_f1_c1.tif").write_bytes(b"")
    assert "empty (0 bytes)" in raw.reason(kind="unreadable file")
    raw.save("B02_f1_c1")
    assert raw.statuses() == ["current", "done", "current"]


def test_a_well_that_is_delivered_later_changes_no_other(raw: Raw) -> None:
    """Neither the numbers chosen for the plate nor its other wells, though the sample of its files is another one."""
    later = {path: path.read_bytes() for path in raw.folder.glob("A01*")}
    for path in later:
        path.unlink()
    assert raw.statuses() == ["quarantined", "done", "done"]
    for path, content in later.items():
        path.write_bytes(content)
    assert raw.statuses() == ["done", "current", "current"]


def test_a_missing_channel(raw: Raw) -> None:
    (raw.folder / "B02_f2_c2.tif").unlink()
    assert (
        raw.reason()
        == "well B02 lacks 1 image(s) that its plate has (counted from 1): field 2, time 1, channel 2, plane 1"
    )


def test_a_well_without_images(raw: Raw) -> None:
    for path in raw.folder.glob("B03*"):
        path.unlink()
    assert raw.reason("B03", kind="no image") == f"well B03 has no image in {raw.folder}"


def test_many_missing_images_are_not_all_listed(raw: Raw) -> None:
    for field in range(3, 9):
        raw.save(f"B02_f{field}_c1")
    told = raw.reason()
    assert told.startswith(
        "well B02 lacks 6 image(s) that its plate has (counted from 1): field 3, time 1, channel 2, plane 1; field 4"
    )
    assert told.endswith("; ...")


def test_a_truncated_file(raw: Raw) -> None:
    path = raw.folder / "B02_f1_c2.tif"
    path.write_bytes(path.read_bytes()[:900])
    assert raw.reason(kind="unreadable file").startswith(f"{path}: the file is cut off")


def test_a_text_file(raw: Raw) -> None:
    (raw.folder / "B02_f1_c2.tif").write_text("well,dose\nA01,3\n")
    assert "not a TIFF file" in raw.reason(kind="unreadable file")


def test_a_file_that_vanished_after_the_scan(raw: Raw) -> None:
    write_manifest(scan_plate("P1", raw.folder, "pattern", PATTERN), raw.plate.manifest)
    skeleton(raw.job("skeleton"))
    (raw.folder / "B02_f1_c2.tif").unlink()
    ingest(raw.job())
    outcome = read_json(raw.plate.record("ingest", "x"))["wells"]["B02"]
    assert outcome["status"] == "quarantined"
    assert "No such file" in outcome["reason"]


@pytest.mark.parametrize(
    ("values", "told"),
    [
        (np.zeros((20, 31), np.uint16), "B02_f1_c1.tif is (20, 31) uint16; its plate is (20, 30) uint16"),
        (np.zeros(SHAPE, np.uint8), "B02_f1_c1.tif is (20, 30) uint8; its plate is (20, 30) uint16"),
    ],
)
def test_a_picture_of_another_size_or_type(raw: Raw, values: NDArray[Any], told: str) -> None:
    raw.save("B02_f1_c1", values)
    assert raw.reason(kind="unequal images") == told


def test_pixels_that_are_no_numbers(tmp_path: Path) -> None:
    raw = Raw(tmp_path)
    for well in WELLS:
        raw.save(f"{well}_f1_c1", picture(well).astype(np.float32))
    bad = picture("B02").astype(np.float32)
    bad[3, 4] = np.nan
    raw.save("B02_f1_c1", bad)
    assert "infinite or not a number" in raw.reason(kind="unreadable file")


def test_time_points(tmp_path: Path) -> None:
    raw = Raw(tmp_path)
    for well in WELLS:
        for time in (1, 2):
            raw.save(f"{well}_f1_c1_t{time}")
    assert raw.statuses() == ["done"] * 3
    for time in (0, 1):
        found = read_field(raw.plate.raw, "B02", 0, time)
        np.testing.assert_array_equal(found, picture(f"B02_f1_c1_t{time + 1}")[None])
    [[counted]] = read_histograms(raw.plate.raw, "B02")
    assert counted.total == 2 * 20 * 30
    (raw.folder / "B02_f1_c1_t2.tif").unlink()
    assert raw.reason().endswith("field 1, time 2, channel 1, plane 1")


@pytest.mark.parametrize("projection", ["max", "keep"])
@pytest.mark.parametrize("spread", ["stacks", "files"])
def test_planes_along_z(tmp_path: Path, projection: str, spread: str) -> None:
    """Four planes in one file, or each in its own; the second channel was taken in one plane only."""
    raw = Raw(tmp_path, projection=projection)
    for well in WELLS:
        planes = picture(f"{well}_f1_c1", 4)
        if spread == "stacks":
            raw.save(f"{well}_f1_c1", planes)
        else:
            for z, plane in enumerate(planes, 1):
                raw.save(f"{well}_f1_c1_z{z}", plane)
        raw.save(f"{well}_f1_c2")
    assert raw.statuses() == ["done"] * 3
    planes, single = picture("B02_f1_c1", 4), picture("B02_f1_c2")
    found = read_field(raw.plate.raw, "B02", 0)
    np.testing.assert_array_equal(found, [planes.max(axis=0), single])
    stored = read_array(raw.plate.raw_well("B02") / "0" / "0")
    if projection == "max":
        assert stored.shape == (2, *SHAPE)
    else:
        np.testing.assert_array_equal(stored, [planes, np.broadcast_to(single, planes.shape)])


@pytest.mark.parametrize("projection", ["max", "keep"])
def test_a_lost_plane_is_not_projected_over(tmp_path: Path, projection: str) -> None:
    raw = Raw(tmp_path, projection=projection)
    for well in WELLS:
        for z in (1, 2, 3):
            raw.save(f"{well}_f1_c1_z{z}")
    (raw.folder / "B02_f1_c1_z2.tif").unlink()
    assert raw.reason().endswith("field 1, time 1, channel 1, plane 2")


def test_stacks_of_unequal_length(tmp_path: Path) -> None:
    raw = Raw(tmp_path, projection="keep")
    for well in WELLS:
        raw.save(f"{well}_f1_c1", picture(well, 3))
        raw.save(f"{well}_f1_c2", picture(well, 2 if well == "B02" else 3))
    assert raw.reason().endswith("channel(s) 2 have fewer than 3 planes")


def test_time_points_of_unequal_depth(tmp_path: Path) -> None:
    raw = Raw(tmp_path, projection="keep")
    for well in WELLS:
        raw.save(f"{well}_f1_c1_t1", picture(well, 3))
        raw.save(f"{well}_f1_c1_t2", picture(well, 2 if well == "B02" else 3))
    assert raw.reason().endswith("its time points have [3, 2] planes; they must be equal")


def test_a_disk_that_gives_back_something_else_fails_the_job(raw: Raw, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline_lib.io.shards._checksum_of", lambda _: 1)
    with pytest.raises(OSError, match="what was read back is not what was written"):
        raw.ingest()
    assert not raw.plate.record("ingest", "x").exists()
    assert committed_wells(raw.plate.raw) == []
    assert not any(path.name.startswith(".") for path in raw.plate.raw.rglob("*"))


def test_what_a_killed_job_left_is_swept(raw: Raw) -> None:
    left = raw.plate.raw / "B" / ".02.0a1b2c.tmp"
    left.mkdir(parents=True)
    (left / "zarr.json").write_text("{")
    raw.ingest()
    assert sorted(path.name for path in left.parent.iterdir()) == ["02", "03", "zarr.json"]


def test_the_log_tells_megabytes_a_second(raw: Raw, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", "wellpose"):
        raw.ingest()
    told = [record.message for record in caplog.records if record.message.startswith("ingest P1 ")]
    assert len(told) == len(WELLS)
    assert all("MB/s so far" in line for line in told)
    outcome = read_json(raw.plate.record("ingest", "x"))["wells"]["B02"]
    assert outcome["megabytes"] == pytest.approx(outcome["fields"] * 2 * SHAPE[0] * SHAPE[1] * 2 / 1e6, abs=1e-3)
