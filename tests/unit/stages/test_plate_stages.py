"""Stages that treat a plate as one: which wells they speak of, and what they take for a replicate."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline_lib.io.ngff import Channel, PlateInfo
from pipeline_lib.io.plate import create_plate, read_attributes, write_well
from pipeline_lib.io.records import read_json, write_json
from pipeline_lib.io.tables import write_table
from pipeline_lib.paths import PlatePaths
from pipeline_lib.settings import IngestSettings, SegmentSettings
from pipeline_lib.stages._job import Job
from pipeline_lib.stages._plate import plate_outcomes
from pipeline_lib.stages.aggregate import _profiles, _scores, _with_responders
from pipeline_lib.stages.calibrate import calibrate
from pipeline_lib.stages.complete import complete


@pytest.fixture
def plate(tmp_path: Path) -> PlatePaths:
    """A plate of two columns in which A01 and A02 are committed."""
    paths = PlatePaths(tmp_path / "P1")
    channel = Channel("1", "DNA", "0000FF", (0.0, 1.0))
    create_plate(paths.raw, PlateInfo("P1", 2, 3, 1, 1, (channel,), None, (8, 8), "uint8"), "F")
    for well in ("A01", "A02"):
        write_well(paths.raw_well(well), [], {"fingerprint": well})
    return paths


def listed(plate: PlatePaths) -> list[str]:
    return [well["path"] for well in read_attributes(plate.raw)["ome"]["plate"]["wells"]]


def test_a_well_that_has_left_the_plate_is_listed_no_more_and_not_deleted(plate: PlatePaths) -> None:
    complete(Job("complete", plate, IngestSettings(), plate.record("complete", "plate"), ("A02", "A03")))
    assert listed(plate) == ["A/02"]
    assert plate.raw_well("A01").exists()


def test_outcomes_are_those_of_the_plates_wells_by_their_newest_records(plate: PlatePaths) -> None:
    done, bad = {"status": "done"}, {"status": "quarantined", "kind": "data", "reason": "cut off"}
    for stage in ("ingest", "segment", "measure"):
        write_json(plate.record(stage, "A01-A02"), {"finished": "1", "wells": {"A01": done, "A02": bad}})
        write_json(plate.record(stage, "A02-A03"), {"finished": "2", "wells": {"A02": done, "A03": bad}})
    outcomes = plate_outcomes(plate, ["A02", "A03", "B01"])
    assert list(outcomes) == ["A02", "A03", "B01"], "A01 is in a record, but no longer on the plate"
    assert [outcome.done for outcome in outcomes.values()] == [True, False, False]
    assert (outcomes["A03"].stage, outcomes["A03"].reason) == ("ingest", "cut off")


def test_a_plate_without_wells_is_not_calibrated_for_good(plate: PlatePaths) -> None:
    calibrate(Job("calibrate", plate, SegmentSettings(), plate.record("calibrate", "plate"), ("B03",)))
    assert plate.record("calibrate", "plate").exists()
    assert not plate.calibration.exists()


def test_a_calibration_that_was_made_is_kept(plate: PlatePaths) -> None:
    settings = SegmentSettings.model_validate({"scaling": "field", "labels": {"nuclei": {"diameter": 20}}})
    job = Job("calibrate", plate, settings, plate.record("calibrate", "plate"), ("A01",))
    calibrate(job)
    made = read_json(plate.calibration)
    assert made["diameters"] == {"nuclei": 20}
    write_json(plate.calibration, {**made, "diameters": {"nuclei": 7}})
    calibrate(job)
    assert read_json(plate.calibration)["diameters"] == {"nuclei": 7}


def wells_over_time() -> pd.DataFrame:
    """Two wells of each control at two time points; the feature doubles with time."""
    rows = [
        {"Metadata_Well": well, "Metadata_Timepoint": time, "Metadata_Role": role, "Area": value * (time + 1)}
        for well, role, value in (
            ("A01", "negative", 1.0),
            ("A02", "negative", 3.0),
            ("B01", "positive", 20.0),
            ("B02", "positive", 22.0),
        )
        for time in (0, 1)
    ]
    return pd.DataFrame(rows)


def test_time_points_are_no_replicates_of_a_well() -> None:
    [score] = _scores(wells_over_time(), ["Area"]).to_dict("records")
    assert (score["PositiveN"], score["NegativeN"]) == (2, 2)
    spread = 1.5 * 2**0.5  # sample standard deviation of 1.5 and 4.5, and of 30 and 33, is 1.5 sqrt(2)
    assert score["ZPrime"] == pytest.approx(1 - 3 * (spread + spread) / (31.5 - 3.0))


def test_scores_compare_wells_with_the_controls_of_their_time_point() -> None:
    profiles = _profiles(wells_over_time(), ["Area"])
    at = profiles.set_index(["Metadata_Well", "Metadata_Timepoint"])["Area"]
    assert at["B01", 0] == pytest.approx((20 - 2) / 1.4826)
    assert at["B01", 1] == pytest.approx((40 - 4) / (2 * 1.4826))


RATIO = "Cells_Intensity_MeanIntensity_GFP"


def wells_of(plate: PlatePaths, cells: dict[str, list[float]], roles: Sequence[str]) -> pd.DataFrame:
    """The aggregated table of wells whose cells have these values of one feature."""
    for well, values in cells.items():
        write_table(
            pd.DataFrame({"Metadata_Well": well, "Metadata_Timepoint": 0, RATIO: values}), plate.cells(well), {}
        )
    told = {"Metadata_Well": list(cells), "Metadata_Timepoint": 0, "Metadata_Role": roles, "Metadata_Status": "done"}
    return pd.DataFrame({**told, RATIO: [float(np.median(values)) for values in cells.values()]})


def test_each_well_gets_its_share_of_responders(plate: PlatePaths) -> None:
    wells = wells_of(plate, {"A01": [1, 1, 9], "A02": [11, 11, 7, 3], "B01": [2, 8]}, ["negative", "positive", ""])
    shares = _with_responders(plate, wells, [RATIO])[f"{RATIO}_Responders"]  # half way: (1 + 9) / 2
    assert shares.tolist() == [1 / 3, 3 / 4, 1 / 2]
    lost = wells.assign(Metadata_Status=["done", "done", "quarantined"])
    shares = _with_responders(plate, lost, [RATIO])[f"{RATIO}_Responders"]
    assert shares.isna().tolist() == [False, False, True]
    pd.testing.assert_frame_equal(_with_responders(plate, wells, []), wells)


def test_without_both_controls_no_cell_responds(plate: PlatePaths, caplog: pytest.LogCaptureFixture) -> None:
    wells = wells_of(plate, {"A01": [1, 1, 9], "A02": [11]}, ["negative", ""])
    assert _with_responders(plate, wells, [RATIO])[f"{RATIO}_Responders"].isna().all()
    assert f"no responders by {RATIO}" in caplog.text


def test_a_feature_that_no_cell_has_is_told_with_the_nearest(plate: PlatePaths) -> None:
    wells = wells_of(plate, {"A01": [1.0]}, ["negative"])
    with pytest.raises(ValueError, match=f"no Cells_Intensity_MeanIntensty_GFP; 1 features are known.*{RATIO}"):
        _with_responders(plate, wells, ["Cells_Intensity_MeanIntensty_GFP"])


def test_a_spread_of_a_well_is_no_feature_of_its_cells(plate: PlatePaths) -> None:
    wells = wells_of(plate, {"A01": [1.0]}, ["negative"]).assign(**{f"{RATIO}_MAD": 0.5, "Quality_Focus_GFP": 1.0})
    with pytest.raises(ValueError, match=f"no {RATIO}_MAD, Quality_Focus_GFP; 1 features are known"):
        _with_responders(plate, wells, [f"{RATIO}_MAD", "Quality_Focus_GFP"])
