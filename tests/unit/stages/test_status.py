"""status: store, records and claims of a plate, told as one."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from pipeline_lib.__main__ import main
from pipeline_lib.core.deaths import Strike
from pipeline_lib.io.claims import Claim, claimed
from pipeline_lib.io.locks import hold
from pipeline_lib.io.records import read_json, write_json
from pipeline_lib.paths import PlatePaths
from pipeline_lib.stages.status import _ago

WELLS = ("A01", "A02", "B01")  # A02 is quarantined by ingest
Edit = Callable[[dict[str, Any]], object]


def told(plate: PlatePaths, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    flags = ["--analysis", plate.analysis] if plate.analysis else []
    assert main(["status", str(plate.folder), "--json", *flags]) == 0
    [status] = json.loads(capsys.readouterr().out)
    return dict(status)


def lines(plate: PlatePaths, capsys: pytest.CaptureFixture[str]) -> list[str]:
    flags = ["--analysis", plate.analysis] if plate.analysis else []
    assert main(["status", str(plate.folder), *flags]) == 0
    return capsys.readouterr().out.splitlines()


def table(text: list[str]) -> dict[str, dict[str, int]]:
    """The numbers a person sees: stage -> column -> count."""
    plain = [line.replace("held back", "held_back").split() for line in text if ":" not in line]
    [head] = [words for words in plain if "quarantined" in words]
    rows = [words for words in plain if words[0] in ("ingest", "segment", "measure")]
    return {stage: dict(zip(head, map(int, counts), strict=True)) for stage, *counts in rows}


def wells_of(status: dict[str, Any], stage: str) -> dict[str, str]:
    """Well -> the column it is in."""
    return {well: column for column, wells in status["stages"][stage].items() for well in wells}


def dead_claim(plate: PlatePaths, stage: str = "segment", **about: Any) -> Claim:
    """The claim of a job that is no more."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    about = {"wells": WELLS, "started": time.time(), "beat": time.time() - 300, "slurm_job": None, **about}
    claim = Claim(id="dead", host=os.uname().nodename, pid=process.pid, **about)
    write_json(plate.claim(stage, "A01-B01"), asdict(claim))
    return claim


@pytest.fixture
def begun(finished: PlatePaths, tmp_path: Path) -> PlatePaths:
    """A plate that is ingested, and no more."""
    for folder in (finished.records("segment"), finished.records("measure"), finished.cells("A01").parent):
        shutil.rmtree(folder)
    for labels in finished.raw.rglob("labels"):
        shutil.rmtree(labels)
    for stage in ("calibrate", "aggregate"):
        shutil.rmtree(finished.records(stage))
    return finished


def test_a_plate_that_waits(finished: PlatePaths, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plate = PlatePaths(tmp_path / "P2")
    plate.folder.mkdir()
    shutil.copy(finished.manifest, plate.manifest)
    text = lines(plate, capsys)
    assert text[0] == "P2: 3 wells; no run works on it"
    waiting = {"done": 0, "running": 0, "quarantined": 0, "waiting": 3}
    assert table(text) == dict.fromkeys(("ingest", "segment", "measure"), waiting)
    assert text[-1] == "  whole plate: waiting: skeleton, complete, calibrate, aggregate, report"
    status = told(plate, capsys)
    assert (status["plate"], status["analysis"], status["wells"], status["active"]) == ("P2", "", 3, False)
    assert status["stages"]["ingest"]["waiting"] == list(WELLS)
    assert (set(status["finished"].values()), status["jobs"]) == ({False}, [])


def test_a_finished_plate_names_its_quarantined_well_and_why(
    finished: PlatePaths, capsys: pytest.CaptureFixture[str]
) -> None:
    write_json(finished.record("report", "plate"), {})
    text = lines(finished, capsys)
    held = {"done": 2, "running": 0, "quarantined": 0, "held_back": 1, "waiting": 0}
    assert table(text) == {"ingest": {**held, "quarantined": 1, "held_back": 0}, "segment": held, "measure": held}
    assert text[-3:-1] == [
        "  whole plate: all done",
        "  quarantined (mend what the reason says, then snakemake --config retry_failed=true):",
    ]
    assert text[-1].split()[:4] == ["A02", "ingest", "missing", "channel:"]
    assert "field 2, time 1, channel 1" in text[-1]
    status = told(finished, capsys)
    assert wells_of(status, "ingest") == {"A01": "done", "A02": "quarantined", "B01": "done"}
    assert wells_of(status, "measure") == {"A01": "done", "A02": "held_back", "B01": "done"}
    assert status["stages"]["ingest"]["quarantined"]["A02"]["kind"] == "missing channel"


def test_a_named_analysis_shares_raw_wells_and_nothing_else(
    finished: PlatePaths, capsys: pytest.CaptureFixture[str]
) -> None:
    named = PlatePaths(finished.folder, "v2")
    text = lines(named, capsys)
    assert text[0] == "P1, analysis v2: 3 wells; no run works on it"
    assert (table(text)["ingest"]["done"], table(text)["segment"]["done"]) == (2, 0)
    assert "  whole plate: waiting: calibrate, aggregate, report" in text
    dead_claim(named, ended="error", working_on={"A01": "F"})
    assert len(told(named, capsys)["jobs"]) == 1
    assert told(finished, capsys)["jobs"] == []


def test_a_job_that_works(begun: PlatePaths, capsys: pytest.CaptureFixture[str]) -> None:
    with hold(begun.lock), claimed(begun.claim("segment", "A01-B01"), WELLS) as holder:
        holder.begin("A01", "F")
        text = lines(begun, capsys)
        assert text[0].endswith("a run works on it")
        assert table(text)["segment"] == {"done": 0, "running": 1, "quarantined": 0, "held_back": 1, "waiting": 1}
        here = f"process {os.getpid()} on {os.uname().nodename}"
        assert text[-1] == f"    segment  running: 0 of 3 wells, A01 in hand; {here}, last sign of life 0 s ago"
        holder.set_aside("A01", "GPU lost", "2 jobs in a row")
        holder.begin("B01", "F")
        status = told(begun, capsys)
        assert wells_of(status, "segment") == {"A01": "quarantined", "B01": "running", "A02": "held_back"}
        assert wells_of(status, "measure") == {"A01": "held_back", "B01": "waiting", "A02": "held_back"}
        [job] = status["jobs"]
        assert (job["state"], job["finished"], job["in_hand"]) == ("running", 1, ["B01"])
    assert told(begun, capsys)["jobs"] == []


@pytest.mark.parametrize(
    ("about", "words"),
    [
        ({}, "killed"),
        ({"memory": 5900.0, "memory_limit": 6000.0}, "out of memory"),
        ({"ended": "time limit"}, "time limit"),
        ({"ended": "error", "said": "ValueError: of ours"}, "error (ValueError: of ours)"),
    ],
)
def test_a_dead_job_says_why(
    begun: PlatePaths, about: dict[str, Any], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    claim = dead_claim(begun, working_on={"A01": "F"}, finished=("B01",), **about)
    text = lines(begun, capsys)
    assert text[-1] == (
        f"    segment  ended, {words}: 1 of 3 wells, A01 in hand; process {claim.pid} on {claim.host}, 5 min ago; "
        "the next run resumes it"
    )
    assert wells_of(told(begun, capsys), "segment") == {"A01": "waiting", "B01": "waiting", "A02": "held_back"}


def test_a_dead_job_whose_work_is_done_by_now_is_of_no_interest(
    finished: PlatePaths, capsys: pytest.CaptureFixture[str]
) -> None:
    """Such as of a batch that was cut differently: nobody takes its claim over."""
    dead_claim(finished, working_on={"A01": "F"})
    assert told(finished, capsys)["jobs"] == []


def test_a_well_that_jobs_died_on_keeps_its_reason(begun: PlatePaths, capsys: pytest.CaptureFixture[str]) -> None:
    """The claim of a job that finished without it stays, and is no job."""
    reason = {"kind": "out of memory", "reason": "2 jobs in a row ended while they worked on it alone"}
    strike = Strike("A01", "F", "out of memory", 2)
    dead_claim(begun, ended="finished", strikes=(strike,), quarantined={"A01": reason})
    status = told(begun, capsys)
    assert status["stages"]["segment"]["quarantined"] == {"A01": reason}
    assert status["jobs"] == []
    assert any(line.split()[:5] == ["A01", "segment", "out", "of", "memory:"] for line in lines(begun, capsys))


def test_the_newest_record_counts(begun: PlatePaths, capsys: pytest.CaptureFixture[str]) -> None:
    record = read_json(begun.record("ingest", "A01-A02"))
    newer = {**record, "finished": "9999", "wells": {"A02": {"status": "absent"}}}
    write_json(begun.record("ingest", "A02-A02"), newer)
    assert wells_of(told(begun, capsys), "ingest")["A02"] == "waiting"


def test_all_plates_of_a_folder(finished: PlatePaths, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(finished.folder, finished.folder.parent / "P0")
    assert main(["status", str(finished.folder.parent)]) == 0
    parts = capsys.readouterr().out.split("\n\n")
    assert [part[:3] for part in parts] == ["P0:", "P1:"]


def test_looking_changes_nothing(finished: PlatePaths, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.stat().st_mtime_ns for path in finished.folder.rglob("*")}
    told(finished, capsys)
    assert {path: path.stat().st_mtime_ns for path in finished.folder.rglob("*")} == before


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(-1, "0 s"), (0.4, "0 s"), (119, "119 s"), (120, "2 min"), (7199, "119 min"), (7200, "2 h"), (200_000, "2 days")],
)
def test_times_in_the_unit_people_would_choose(seconds: float, words: str) -> None:
    assert _ago(seconds) == f"{words} ago"
