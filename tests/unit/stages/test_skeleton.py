"""What a sample of images says of their plate, and the groups that are written for it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile

from pipeline_lib.core.errors import DataTrouble
from pipeline_lib.core.manifest import Manifest
from pipeline_lib.io.manifests import write_manifest
from pipeline_lib.io.plate import committed_wells, read_attributes, read_info, stored_fingerprint
from pipeline_lib.io.records import read_json
from pipeline_lib.io.vendors import scan_plate
from pipeline_lib.paths import PlatePaths
from pipeline_lib.settings import IngestSettings
from pipeline_lib.stages._job import Job
from pipeline_lib.stages.skeleton import SAMPLE, file_count, plate_info, skeleton

PATTERN = r"(?P<well>[A-Z][0-9]{2})_f(?P<field>[0-9])_c(?P<channel>[0-9])(_t(?P<time>[0-9]))?\.tif"


def save(folder: Path, name: str, values: object, dtype: str = "uint16", **options: object) -> None:
    """A picture of 6 x 9 pixels with the values from `values` on."""
    folder.mkdir(exist_ok=True)
    picture = (np.arange(54).reshape(6, 9) + values).astype(dtype)
    tifffile.imwrite(folder / name, picture, **options)


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """Two wells, three fields, two channels; 0.325 um per pixel."""
    folder = tmp_path / "raw"
    for well in ("B02", "C03"):
        for field in (1, 2, 3):
            for channel, values in ((1, 100), (2, 2000)):
                save(folder, f"{well}_f{field}_c{channel}.tif", values, resolution=(1e4 / 0.325,) * 2, resolutionunit=3)
    return folder


def scanned(raw: Path) -> Manifest:
    return scan_plate("P1", raw, "pattern", PATTERN)


def test_a_plate_is_what_its_images_say(raw: Path) -> None:
    info = plate_info(scanned(raw), IngestSettings.model_validate({"channels": {"2": {"name": "GFP"}}}))
    assert (info.name, info.rows, info.columns) == ("P1", 3, 4)  # the smallest format with a well C03
    assert (info.fields, info.times, info.shape, info.dtype) == (3, 1, (6, 9), "uint16")
    assert info.pixel_size == pytest.approx(0.325)
    assert [(c.id, c.name, c.colour) for c in info.channels] == [("1", "Channel1", "0000FF"), ("2", "GFP", "00FF00")]
    # Percentiles 1 and 99.8 of six times the values 0..53: ranks 3.23 and 322.354 of 324, each value taking six ranks
    assert [c.window for c in info.channels] == [pytest.approx((100, 153)), pytest.approx((2000, 2053))]


def test_the_user_knows_better(raw: Path) -> None:
    chosen = {"pixel_size": 0.5, "channels": {"1": {"name": "DNA", "colour": "ABCDEF"}}}
    info = plate_info(scanned(raw), IngestSettings.model_validate(chosen))
    assert info.pixel_size == 0.5
    assert (info.channels[0].name, info.channels[0].colour) == ("DNA", "ABCDEF")


def test_damaged_files_do_not_speak_for_the_plate(raw: Path) -> None:
    (raw / "B02_f1_c1.tif").write_bytes(b"II*\0")
    (raw / "B02_f2_c1.tif").write_text("well,dose\n")
    (raw / "B02_f1_c2.tif").unlink()
    (raw / "B02_f1_c2.tif").touch()
    clean = plate_info(scanned(raw), IngestSettings())
    assert (clean.shape, clean.dtype, clean.pixel_size) == ((6, 9), "uint16", pytest.approx(0.325))


def test_the_majority_decides_about_size_and_number_type(raw: Path) -> None:
    save(raw, "B02_f1_c1.tif", 0, "uint8")
    tifffile.imwrite(raw / "B02_f1_c2.tif", np.zeros((3, 3), np.uint16))
    info = plate_info(scanned(raw), IngestSettings())
    assert (info.shape, info.dtype) == ((6, 9), "uint16")


def test_a_channel_without_any_readable_image_still_has_a_place(raw: Path) -> None:
    for path in raw.glob("*_c2.tif"):
        path.write_bytes(b"")
    info = plate_info(scanned(raw), IngestSettings())
    assert [channel.window for channel in info.channels] == [pytest.approx((100, 153)), (0.0, 1.0)]


def test_a_plate_without_any_readable_image_is_no_plate(raw: Path) -> None:
    for path in raw.iterdir():
        path.write_bytes(b"")
    with pytest.raises(DataTrouble, match="plate P1: none of 12 sampled images is readable"):
        plate_info(scanned(raw), IngestSettings())


def test_only_a_sample_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for well in range(1, 4 * SAMPLE + 1):
        save(tmp_path / "raw", f"A{well:02d}_f1_c1.tif", well)
    from pipeline_lib.stages import skeleton as module

    opened: list[str] = []
    real = module.read_image
    monkeypatch.setattr(module, "read_image", lambda of, file: opened.append(file.path) or real(of, file))
    plate_info(scanned(tmp_path / "raw"), IngestSettings())
    assert len(opened) == SAMPLE
    assert {"A01_f1_c1.tif", "A48_f1_c1.tif"} <= set(opened)


def test_a_blank_channel_has_a_window_of_some_width(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    tifffile.imwrite(tmp_path / "raw" / "A01_f1_c1.tif", np.full((4, 4), 7, np.uint8))
    assert plate_info(scanned(tmp_path / "raw"), IngestSettings()).channels[0].window == (7.0, 8.0)


def job_of(raw: Path) -> Job:
    plate = PlatePaths(raw.parent / "results" / "P1")
    write_manifest(scanned(raw), plate.manifest)
    return Job("skeleton", plate, IngestSettings(), plate.record("skeleton", "plate"))


def test_the_groups_are_written(raw: Path) -> None:
    job = job_of(raw)
    skeleton(job)
    assert sorted(path.name for path in job.plate.raw.iterdir()) == ["A", "B", "C", "zarr.json"]
    assert committed_wells(job.plate.raw) == []
    record = read_json(job.record)
    assert record["fingerprint"] == stored_fingerprint(job.plate.raw)
    assert record["info"] == read_info(job.plate.raw).to_json() | {
        key: record["info"][key] for key in ("channels", "shape")
    }
    before = (job.plate.raw / "zarr.json").read_bytes()
    skeleton(job)
    assert (job.plate.raw / "zarr.json").read_bytes() == before


def test_the_fingerprint_follows_what_holds_for_the_plate(raw: Path) -> None:
    job = job_of(raw)
    skeleton(job)
    before = stored_fingerprint(job.plate.raw)
    skeleton(replace(job, settings=IngestSettings(pixel_size=0.5)))
    assert stored_fingerprint(job.plate.raw) != before
    assert read_info(job.plate.raw).pixel_size == 0.5
    assert read_attributes(job.plate.raw)["ome"]["plate"]["field_count"] == 3


def test_display_windows_are_chosen_once_while_the_number_type_stays(raw: Path) -> None:
    job = job_of(raw)
    skeleton(job)
    before = read_info(job.plate.raw).channels
    for path in raw.iterdir():
        save(raw, path.name, 7)
    skeleton(replace(job, settings=IngestSettings(pixel_size=0.325)))
    assert read_info(job.plate.raw).channels == before
    for path in raw.iterdir():
        save(raw, path.name, 7, "uint8")
    skeleton(job)
    assert [c.window for c in read_info(job.plate.raw).channels] == [pytest.approx((7, 60))] * 2


def test_the_promise_of_how_many_files_there_will_be(raw: Path) -> None:
    manifest = scanned(raw)
    info = plate_info(manifest, IngestSettings())
    # 6 fields of a group and two levels of metadata and pixels; 2 wells of a group and histograms; 3 rows; the plate
    assert file_count(manifest, info) == f"2 wells, 6 fields, 2 channels: {6 * 5 + 2 * 3 + 3 + 1} files will be written"
