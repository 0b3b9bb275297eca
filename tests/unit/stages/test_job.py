"""The loop behind every batch stage: current wells are left alone, bad ones set aside, a bad machine stops the job."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from pipeline_lib.core.errors import MissingImages
from pipeline_lib.io.records import read_json
from pipeline_lib.paths import PlatePaths
from pipeline_lib.settings import MeasureSettings
from pipeline_lib.stages._job import Job, make_current


@dataclass
class Work:
    """Wells that carry a fingerprint each, and a diary of what was done to them."""

    inputs: dict[str, str | None]
    committed: dict[str, str] = field(default_factory=dict)
    trouble: dict[str, Exception] = field(default_factory=dict)
    diary: list[str] = field(default_factory=list)

    def wanted(self, well: str) -> str | None:
        return self.inputs[well]

    def stored(self, well: str) -> str | None:
        return self.committed.get(well)

    def compute(self, well: str, wanted: str) -> Mapping[str, Any]:
        self.diary.append(f"compute {well}")
        if well in self.trouble:
            raise self.trouble[well]
        self.committed[well] = wanted
        return {"objects": 7}

    def discard(self, well: str) -> None:
        self.diary.append(f"discard {well}")
        self.committed.pop(well, None)


@pytest.fixture
def job(tmp_path: Path) -> Job:
    plate = PlatePaths(tmp_path / "P1")
    record = plate.record("measure", "A01-A04")
    return Job("measure", plate, MeasureSettings(), record, ("A01", "A02", "A03", "A04"))


def test_current_wells_are_skipped_and_the_others_made(job: Job) -> None:
    work = Work({well: f"new {well}" for well in job.wells}, {"A01": "new A01", "A02": "old"})
    make_current(job, work, lambda: {"weights": "W"})
    assert work.diary == ["compute A02", "compute A03", "compute A04"]
    record = read_json(job.record)
    assert record["wells"]["A01"] == {"status": "current", "fingerprint": "new A01"}
    assert record["wells"]["A02"] == {"status": "done", "fingerprint": "new A02", "objects": 7}
    assert list(record["wells"]) == list(job.wells)
    assert record["weights"] == "W"


def test_a_second_run_computes_nothing(job: Job) -> None:
    work = Work(dict.fromkeys(job.wells, "F"))
    make_current(job, work)
    work.diary.clear()
    make_current(job, work)
    assert work.diary == []
    assert {outcome["status"] for outcome in read_json(job.record)["wells"].values()} == {"current"}


def test_trouble_with_data_sets_the_well_aside_and_goes_on(job: Job) -> None:
    work = Work(dict.fromkeys(job.wells, "new"), {"A02": "old"}, {"A02": MissingImages("field 1 is lost")})
    make_current(job, work)
    assert work.diary == ["compute A01", "compute A02", "discard A02", "compute A03", "compute A04"]
    assert "A02" not in work.committed  # an old result would pass for the new one
    outcome = read_json(job.record)["wells"]["A02"]
    assert outcome == {"status": "quarantined", "kind": "missing images", "reason": "field 1 is lost"}


def test_a_well_that_was_set_aside_is_tried_again(job: Job) -> None:
    work = Work(dict.fromkeys(job.wells, "new"), trouble={"A02": MissingImages("lost")})
    make_current(job, work)
    work.trouble.clear()
    make_current(job, work)
    assert work.diary[-1] == "compute A02"
    assert read_json(job.record)["wells"]["A02"]["status"] == "done"


@pytest.mark.parametrize("error", [OSError(28, "disk full"), MemoryError(), ValueError("defect"), KeyboardInterrupt()])
def test_any_other_trouble_fails_the_job_and_keeps_what_is_done(job: Job, error: BaseException) -> None:
    work = Work(dict.fromkeys(job.wells, "new"), {"A03": "old"}, {"A03": error})
    with pytest.raises(type(error)):
        make_current(job, work)
    assert not job.record.exists()
    assert work.diary == ["compute A01", "compute A02", "compute A03"]
    assert work.committed == {"A01": "new", "A02": "new", "A03": "old"}
    work.trouble.clear()
    work.diary.clear()
    make_current(job, work)
    assert work.diary == ["compute A03", "compute A04"]


def test_without_its_input_a_result_is_discarded(job: Job) -> None:
    work = Work({"A01": None, "A02": "F", "A03": "F", "A04": "F"}, {"A01": "F"})
    make_current(job, work)
    assert work.diary[0] == "discard A01"
    assert "A01" not in work.committed
    assert read_json(job.record)["wells"]["A01"] == {"status": "absent", "reason": "its input is absent"}


def test_trouble_while_looking_at_the_input_is_trouble_with_the_data(job: Job) -> None:
    class Unreadable(Work):
        def wanted(self, well: str) -> str | None:
            raise MissingImages(f"{well} has no image")

    work = Unreadable({}, {"A01": "old"})
    make_current(job, work)
    assert work.committed == {}
    assert {outcome["status"] for outcome in read_json(job.record)["wells"].values()} == {"quarantined"}


def test_a_batch_of_no_wells_leaves_a_record(job: Job) -> None:
    make_current(replace(job, wells=()), Work({}))
    assert read_json(job.record)["wells"] == {}


def test_a_record_tells_what_made_it(job: Job) -> None:
    make_current(job, Work(dict.fromkeys(job.wells, "F")))
    record = read_json(job.record)
    assert (record["stage"], record["plate"], record["batch"]) == ("measure", "P1", "A01-A04")
    assert record["settings"] == job.settings.model_dump(mode="json")
    assert record["started"] <= record["finished"]
    assert record["seconds"] >= 0
    assert record["peak_memory_mb"] > 0
    assert record["software"]["python"]


def test_each_well_is_one_line_of_the_log(job: Job, caplog: pytest.LogCaptureFixture) -> None:
    work = Work(dict.fromkeys(job.wells, "F"), {"A01": "F"}, {"A03": MissingImages("lost")})
    with caplog.at_level(logging.INFO, "wellpose"):
        make_current(job, work)
    lines = [record.getMessage() for record in caplog.records]
    assert [line.split(") ")[0] for line in lines] == [f"measure P1 A0{n} ({n}/4" for n in (1, 2, 3, 4)]
    assert "done objects=7" in lines[1]
    assert "quarantined reason=lost" in lines[2]


def test_fingerprints_follow_settings_and_inputs_but_not_scheduling(job: Job) -> None:
    before = job.fingerprint(labels="L")
    assert replace(job, settings=MeasureSettings(wells_per_job=3)).fingerprint(labels="L") == before
    assert replace(job, wells=("B01",), record=Path("other.json")).fingerprint(labels="L") == before
    assert replace(job, settings=MeasureSettings(features=("shape",))).fingerprint(labels="L") != before
    assert replace(job, stage="aggregate").fingerprint(labels="L") != before
    assert job.fingerprint(labels="M") != before
    provenance = job.provenance("F")
    assert (provenance["fingerprint"], provenance["stage"]) == ("F", "measure")
    json.dumps(provenance, allow_nan=False)
