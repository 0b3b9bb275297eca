"""The loop behind every batch stage: current wells are left alone, bad ones set aside, a bad machine stops the job."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from pipeline_lib.core.deaths import Strike
from pipeline_lib.core.errors import MissingImages
from pipeline_lib.io.claims import Claim, read_claim
from pipeline_lib.io.records import read_json, write_json
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
    computing: threading.Lock = field(default_factory=threading.Lock)

    def wanted(self, well: str) -> str | None:
        return self.inputs[well]

    def stored(self, well: str) -> str | None:
        return self.committed.get(well)

    def read(self, well: str) -> Iterator[str]:
        yield from (well, well)

    def compute(self, piece: str) -> str:
        assert self.computing.acquire(blocking=False), "two pieces are computed at once"
        self.diary.append(f"compute {piece}")
        self.computing.release()
        if piece in self.trouble:
            raise self.trouble[piece]
        return piece

    def commit(self, well: str, made: Iterable[str], wanted: str) -> Mapping[str, Any]:
        assert list(made) == [well, well]
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


def outcome(job: Job, well: str) -> dict[str, Any]:
    """What the record says of a well, without the time it took."""
    told: dict[str, Any] = read_json(job.record)["wells"][well]
    assert told.pop("seconds") >= 0
    return told


def test_current_wells_are_skipped_and_the_others_made(job: Job) -> None:
    work = Work({well: f"new {well}" for well in job.wells}, {"A01": "new A01", "A02": "old"})
    make_current(job, work, lambda: {"weights": "W"})
    assert sorted(work.diary) == sorted(2 * ["compute A02", "compute A03", "compute A04"])
    record = read_json(job.record)
    assert outcome(job, "A01") == {"status": "current", "fingerprint": "new A01"}
    assert outcome(job, "A02") == {"status": "done", "fingerprint": "new A02", "objects": 7}
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
    assert work.diary.count("compute A02") == work.diary.count("discard A02") == 1
    assert set(work.committed) == {"A01", "A03", "A04"}  # an old result would pass for the new one
    told = outcome(job, "A02")
    assert told == {"status": "quarantined", "kind": "missing channel", "reason": "field 1 is lost"}


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
    assert work.committed["A03"] == "old"
    finished = {well for well, found in work.committed.items() if found == "new"}
    assert {"A01", "A02"} <= finished
    work.trouble.clear()
    work.diary.clear()
    make_current(job, work)
    assert {entry.removeprefix("compute ") for entry in work.diary} == set(job.wells) - finished


def test_without_its_input_a_result_is_discarded(job: Job) -> None:
    work = Work({"A01": None, "A02": "F", "A03": "F", "A04": "F"}, {"A01": "F"})
    make_current(job, work)
    assert "discard A01" in work.diary
    assert "A01" not in work.committed
    assert outcome(job, "A01") == {"status": "absent", "reason": "its input is absent"}


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
    assert record["settings"] == job.settings.told()
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


def dead_claim(job: Job, **about: Any) -> Path:
    """The claim of a job that is no more, on this job's batch."""
    path = job.plate.claim(job.stage, job.record.stem)
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    claim = Claim("dead", os.uname().nodename, process.pid, None, job.wells, time.time(), time.time(), **about)
    write_json(path, asdict(claim))
    return path


def test_a_claim_is_there_while_the_job_works_and_gone_afterwards(job: Job) -> None:
    path = job.plate.claim("measure", "A01-A04")
    seen = []

    class Looking(Work):
        def compute(self, piece: str) -> str:
            seen.append(read_claim(path))
            return super().compute(piece)

    make_current(job, Looking(dict.fromkeys(job.wells, "F")))
    assert all(claim is not None and claim.alive and claim.wells == job.wells for claim in seen)
    assert {well for claim in seen if claim for well in claim.working_on or ()} == set(job.wells)
    assert not path.exists()


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (MemoryError(), "out of memory"),
        (RuntimeError("CUDA error: device-side assert triggered"), "GPU lost"),
        (OSError(28, "No space left on device"), "disk full"),
        (ZeroDivisionError("of ours"), "error"),
    ],
)
def test_a_failed_job_says_why(job: Job, error: Exception, reason: str) -> None:
    with pytest.raises(type(error)):
        make_current(job, Work(dict.fromkeys(job.wells, "F"), trouble={"A02": error}))
    claim = read_claim(job.plate.claim("measure", "A01-A04"))
    assert claim is not None
    assert (claim.ended, claim.death, claim.alive) == (reason, reason, False)
    assert type(error).__name__ in claim.said
    assert "A02" in (claim.working_on or ())


def test_a_well_that_job_after_job_dies_on_is_set_aside(job: Job) -> None:
    """The first death may have any of the wells in hand to blame; then two on one well alone are needed."""
    work = Work(dict.fromkeys(job.wells, "F"), trouble={"A02": MemoryError("too large")})
    for _ in range(3):
        with pytest.raises(MemoryError):
            make_current(job, work)
    make_current(job, work)
    told = outcome(job, "A02")
    assert (told["status"], told["kind"]) == ("quarantined", "out of memory")
    assert "2 jobs in a row" in told["reason"]
    assert "too large" in told["reason"]
    assert set(work.committed) == {"A01", "A03", "A04"}
    work.diary.clear()
    make_current(job, work)  # a later job does not try again by itself
    assert work.diary == ["discard A02"]
    assert outcome(job, "A02")["kind"] == "out of memory"


def test_several_such_wells_are_all_set_aside(job: Job) -> None:
    work = Work(dict.fromkeys(job.wells, "F"), trouble={"A02": MemoryError(), "A04": MemoryError()})
    for _ in range(5):
        with pytest.raises(MemoryError):
            make_current(job, work)
    make_current(job, work)
    assert set(work.committed) == {"A01", "A03"}


def test_a_changed_well_is_tried_again(job: Job) -> None:
    """Strikes count for one fingerprint: other settings or files are another matter."""
    strike = Strike("A02", "old", "out of memory", 9)
    dead_claim(job, ended="finished", strikes=(strike,))
    work = Work(dict.fromkeys(job.wells, "new"))
    make_current(job, work)
    assert set(work.committed) == set(job.wells)


@pytest.mark.parametrize(("ended", "deaths"), [("disk full", 50), ("cancelled", 50), ("", 4)])
def test_what_says_nothing_of_a_well_sets_none_aside(job: Job, ended: str, deaths: int) -> None:
    for _ in range(deaths):
        path = job.plate.claim(job.stage, job.record.stem)
        before = read_claim(path)
        dead_claim(job, ended=ended, careful=True, working_on={"A01": "F"}, strikes=before.strikes if before else ())
        work = Work(dict.fromkeys(job.wells, "F"), trouble={"A01": KeyboardInterrupt()})
        with pytest.raises(KeyboardInterrupt):
            make_current(job, work)
    make_current(job, work := Work(dict.fromkeys(job.wells, "F")))
    assert set(work.committed) == set(job.wells)


def test_death_near_the_memory_limit_is_taken_for_lack_of_memory(job: Job) -> None:
    path = dead_claim(job, memory=1950.0, memory_limit=2000.0)
    claim = read_claim(path)
    assert claim is not None
    assert claim.death == "out of memory"
    claim = read_claim(dead_claim(job, memory=900.0, memory_limit=2000.0))
    assert claim is not None
    assert claim.death == "killed"


def test_after_a_death_wells_are_taken_one_by_one(job: Job) -> None:
    dead_claim(job, working_on={"A01": "F", "A02": "F"})
    in_hand = []

    class Counting(Work):
        def read(self, well: str) -> Iterator[str]:
            in_hand.append(well)
            yield from super().read(well)

        def commit(self, well: str, made: Iterable[str], wanted: str) -> Mapping[str, Any]:
            told = super().commit(well, made, wanted)
            assert len(in_hand) == len(self.committed)
            return told

    make_current(job, Counting(dict.fromkeys(job.wells, "F")))
    assert in_hand == list(job.wells)


def test_one_well_is_read_while_another_is_computed(job: Job) -> None:
    """Each read waits for the computing of another well: taken one by one, this would never end."""
    computing = threading.Event()

    class Overlapping(Work):
        def read(self, well: str) -> Iterator[str]:
            if well == "A02":
                assert computing.wait(20)
            yield from super().read(well)

        def compute(self, piece: str) -> str:
            if piece == "A01":
                computing.set()
            return super().compute(piece)

        def commit(self, well: str, made: Iterable[str], wanted: str) -> Mapping[str, Any]:
            told = super().commit(well, made, wanted)
            if well == "A01":  # is written while A02 is read and computed
                deadline = time.monotonic() + 20
                while "compute A02" not in self.diary:
                    assert time.monotonic() < deadline
                    time.sleep(0.01)
            return told

    make_current(job, Overlapping(dict.fromkeys(job.wells, "F")))


JOB_THAT_STAYS = """
import sys, time
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_job import *
class Staying(Work):
    def compute(self, piece):
        if piece == "A02":
            Path({flag!r}).touch()
            time.sleep(60)
        return super().compute(piece)
plate = PlatePaths(Path({plate!r}))
job = Job("measure", plate, MeasureSettings(), plate.record("measure", "A01-A04"), ("A01", "A02", "A03", "A04"))
make_current(job, Staying(dict.fromkeys(job.wells, "F")))
"""


@pytest.fixture
def staying(job: Job, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Another process whose job is stuck on A02."""
    flag = tmp_path / "flag"
    program = JOB_THAT_STAYS.format(tests=str(Path(__file__).parent), flag=str(flag), plate=str(job.plate.folder))
    process = subprocess.Popen([sys.executable, "-c", program])
    deadline = time.monotonic() + 60
    while not flag.exists():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    yield process
    process.kill()
    process.wait()


@pytest.mark.parametrize(("how", "death"), [(signal.SIGTERM, "cancelled"), (signal.SIGKILL, "killed")])
def test_a_job_that_is_ended_from_outside(
    job: Job, staying: subprocess.Popen[bytes], how: signal.Signals, death: str
) -> None:
    staying.send_signal(how)
    assert staying.wait(10) in (143, -signal.SIGKILL)
    claim = read_claim(job.plate.claim("measure", "A01-A04"))
    assert claim is not None
    assert (claim.death, claim.alive) == (death, False)
    assert "A02" in (claim.working_on or ())
    make_current(job, Work(dict.fromkeys(job.wells, "F")))
    assert not job.plate.claim("measure", "A01-A04").exists()


@pytest.mark.parametrize(
    ("batch", "analysis"),
    [("A01-A04", ""), ("A02-B01", ""), ("A01-A04", "v2")],
    ids=["the same batch", "another batch with a well of it", "another analysis"],
)
def test_a_second_job_on_the_same_wells_waits(
    job: Job, staying: subprocess.Popen[bytes], batch: str, analysis: str
) -> None:
    plate = replace(job.plate, analysis=analysis)
    second = replace(job, plate=plate, record=plate.record("measure", batch), wells=("A02",))
    done = threading.Event()

    def run() -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(signal, "signal", lambda *_: None)  # only the main thread may set one
            make_current(second, Work({"A02": "F"}))
        done.set()

    thread = threading.Thread(target=run)
    thread.start()
    assert not done.wait(3)
    staying.kill()
    staying.wait()
    assert done.wait(20)
    thread.join()
