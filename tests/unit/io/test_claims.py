"""Claims: one job at a time on a well, whoever dies, and whatever lies there."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_lib.core.deaths import Strike
from pipeline_lib.io import claims
from pipeline_lib.io.claims import Claim, claimed, forget_strikes, read_claim, read_claims
from pipeline_lib.io.records import write_json

HERE = socket.gethostname()
PATIENCE = 30  # seconds
JOB = """
import sys, time
from pathlib import Path
from pipeline_lib.io import claims
claims.LOOK = 0.02
path, wells, diary, seconds = Path(sys.argv[1]), sys.argv[2].split(","), Path(sys.argv[3]), float(sys.argv[4])
with claims.claimed(path, wells) as holder:
    holder.begin(wells[0], "F")
    with diary.open("a") as file:
        file.write("begin\\n")
    time.sleep(seconds)
    with diary.open("a") as file:
        file.write("end\\n")
    holder.finish(wells[0])
"""
Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture(autouse=True)
def in_haste(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "LOOK", 0.02)


@pytest.fixture
def diary(tmp_path: Path) -> Path:
    """What jobs did, line by line."""
    path = tmp_path / "diary"
    path.touch()
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "claims" / "A01-A02.json"


@pytest.fixture
def start(path: Path, diary: Path) -> Iterator[Start]:
    """Start a job in a process of its own; it holds its claim for some seconds."""
    started: list[subprocess.Popen[str]] = []

    def run(seconds: float, claim: Path = path, wells: str = "A01,A02") -> subprocess.Popen[str]:
        started.append(subprocess.Popen([sys.executable, "-c", JOB, str(claim), wells, str(diary), str(seconds)]))
        return started[-1]

    yield run
    for process in started:
        process.kill()
        process.wait()


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def dead_process() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def claim_of(**about: Any) -> Claim:
    now = time.time()
    told = {"id": "other", "host": HERE, "pid": os.getpid(), "slurm_job": None, "wells": ("A01", "A02")}
    return Claim(**{**told, "started": now, "beat": now, **about})


def left_by(path: Path, **about: Any) -> Claim:
    """A claim that lies there."""
    claim = claim_of(**about)
    write_json(path, asdict(claim))
    return claim


texts = st.text(max_size=5)
strikes = st.builds(Strike, texts, texts, texts, st.integers(0, 9), texts)


@given(
    st.builds(
        Claim,
        id=texts,
        host=texts,
        pid=st.integers(1, 2**22),
        slurm_job=st.none() | texts,
        wells=st.lists(texts, max_size=3).map(tuple),
        started=st.floats(0, 1e10),
        beat=st.floats(0, 1e10),
        working_on=st.none() | st.dictionaries(texts, texts, max_size=2),
        strikes=st.lists(strikes, max_size=2).map(tuple),
        finished=st.lists(texts, max_size=2).map(tuple),
        careful=st.booleans(),
    )
)
def test_a_claim_comes_back(tmp_path_factory: pytest.TempPathFactory, claim: Claim) -> None:
    path = tmp_path_factory.getbasetemp() / "claim.json"
    write_json(path, asdict(claim))
    assert read_claim(path) == claim


@pytest.mark.parametrize("text", ["", "{", "{}", "[]", "null", '{"id": "of an older version", "wells": ["A01"]}'])
def test_what_is_no_claim_is_none(path: Path, text: str) -> None:
    path.parent.mkdir()
    path.write_text(text)
    assert read_claim(path) is None
    assert read_claims(path.parent) == []


def test_unfinished_files_are_no_claims(path: Path) -> None:
    claim = left_by(path)
    left_by(path.with_name(f".{path.name}.0a1b.tmp"))
    left_by(path.with_name(f".{path.name}.0a1b.old"))
    assert read_claims(path.parent) == [claim]
    assert read_claims(path.parent / "nowhere") == []


@pytest.mark.parametrize(
    ("about", "alive"),
    [
        ({}, True),
        ({"ended": "error"}, False),
        ({"pid": 2**22 + 1}, False),
        ({"host": "another", "pid": 2**22 + 1}, True),
        ({"host": "another", "beat": -119}, True),
        ({"host": "another", "beat": -121}, False),
        ({"beat": -121}, False),  # its number may be another process's by now
    ],
)
def test_who_is_alive(monkeypatch: pytest.MonkeyPatch, about: dict[str, Any], alive: bool) -> None:
    """beat: seconds relative to now."""
    monkeypatch.setattr(claims.time, "time", lambda: 1000.0)
    claim = replace(claim_of(started=900.0, beat=1000.0), **about)
    assert replace(claim, beat=1000.0 + about.get("beat", 0)).alive is alive


@pytest.mark.parametrize(
    ("state", "silent", "alive"),
    [
        ("RUNNING", 60, True),
        ("TIMEOUT", 60, False),
        ("TIMEOUT", 20, True),  # it has just spoken: SLURM is not asked
        (None, 60, True),
        (None, 130, False),
        ("RUNNING", 130, False),
    ],
)
def test_slurm_is_asked_about_a_job_that_has_grown_silent(
    monkeypatch: pytest.MonkeyPatch, state: str | None, silent: int, alive: bool
) -> None:
    monkeypatch.setattr(claims, "job_state", lambda job: {"77": state}[job])
    claim = claim_of(host="another", slurm_job="77", beat=time.time() - silent)
    assert claim.alive is alive


@pytest.mark.parametrize(
    ("about", "state", "death"),
    [
        ({"ended": "error"}, "TIMEOUT", "error"),  # it could tell
        ({"ended": "cancelled"}, "TIMEOUT", "time limit"),  # it was asked to end, and could not know why
        ({"ended": "cancelled"}, "CANCELLED", "cancelled"),
        ({"ended": "cancelled"}, None, "cancelled"),
        ({}, "OUT_OF_MEMORY", "out of memory"),
        ({}, "NODE_FAIL", "cancelled"),
        ({}, "FAILED", "killed"),
        ({}, None, "killed"),
        ({"memory": 950.0, "memory_limit": 1000.0}, "FAILED", "out of memory"),
    ],
)
def test_why_a_job_ended(monkeypatch: pytest.MonkeyPatch, about: dict[str, Any], state: str | None, death: str) -> None:
    monkeypatch.setattr(claims, "job_state", lambda _: state)
    assert claim_of(slurm_job="77", **about).death == death


def test_of_two_jobs_that_start_at_once_one_waits(start: Start, path: Path, diary: Path) -> None:
    jobs = [start(0.3), start(0.3), start(0.3)]
    assert [job.wait(PATIENCE) for job in jobs] == [0, 0, 0]
    assert diary.read_text().split() == ["begin", "end"] * 3
    assert list(path.parent.iterdir()) == []


def test_of_jobs_that_find_a_dead_claim_one_takes_it_over(path: Path) -> None:
    """Threads, so that they meet: again and again, no two have the claim at a time and it is never lost."""
    pid, at_work, faults = dead_process(), [], []

    def work() -> None:
        with claimed(path, ["A01"]) as holder:
            at_work.append(holder.claim.id)
            if len(at_work) > 1:
                faults.append("two at once")
            time.sleep(0.001)
            if (found := read_claim(path)) is None or found.id != holder.claim.id:
                faults.append("the claim on disk is another's")
            at_work.pop()

    for number in range(20):
        left_by(path, id=f"dead {number}", pid=pid, working_on={"A01": "F"})
        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
        assert list(path.parent.iterdir()) == []
    assert faults == []


def test_a_claim_that_took_the_place_of_a_dead_one_is_left_alone(path: Path) -> None:
    """A job has read a dead claim; before it removes that, another has done so and has written its own."""
    dead = left_by(path, id="dead", pid=dead_process())
    living = left_by(path, id="living")
    for missed in (dead, None):
        claims._move_away(path, missed)
        assert read_claim(path) == living
    claims._move_away(path, living)
    assert list(path.parent.iterdir()) == []


def test_a_claim_that_another_job_is_about_to_remove_is_left_to_it(path: Path) -> None:
    dead = left_by(path, id="dead", pid=dead_process())
    right = path.with_name(f".{path.name}.dead.old")
    right.touch()
    claims._move_away(path, dead)
    assert read_claim(path) == dead
    os.utime(right, (0, 0))  # it died over it
    claims._move_away(path, dead)
    claims._move_away(path, dead)
    assert list(path.parent.iterdir()) == []


def test_the_claim_of_a_killed_job_is_taken_over(start: Start, path: Path, diary: Path) -> None:
    job = start(60)
    until(lambda: "begin" in diary.read_text())
    job.send_signal(signal.SIGKILL)
    job.wait()
    began = time.monotonic()
    with claimed(path, ["A01", "A02"]) as holder:
        assert time.monotonic() - began < PATIENCE
        assert holder.claim.careful
    assert list(path.parent.iterdir()) == []


@pytest.mark.parametrize("text", ["", "{"])
def test_a_torn_claim_is_waited_for_and_then_removed(path: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its writer may be about to write it."""
    looks = []
    monkeypatch.setattr(claims, "STALE", 0.5)
    monkeypatch.setattr(claims, "LOOK", 0.1)
    monkeypatch.setattr(claims, "_is_torn", lambda path, real=claims._is_torn: looks.append(1) or real(path))
    path.parent.mkdir()
    path.write_text(text)
    began = time.monotonic()
    with claimed(path, ["A01"]) as holder:
        assert time.monotonic() - began > 0.4
        assert read_claim(path) == holder.claim
        assert not holder.claim.careful
    assert len(looks) < 12, "it was looked at without a pause"


def test_what_a_killed_job_left_beside_its_claim_goes(path: Path) -> None:
    left_by(path, pid=dead_process())
    left = [path.with_name(f".{path.name}.{name}") for name in ("0a1b.tmp", "2c3d.old")]
    other = path.with_name(".B01-B02.json.0a1b.tmp")  # perhaps being written now
    for file in (*left, other):
        file.touch()
    with claimed(path, ["A01"]):
        assert sorted(path.parent.iterdir()) == sorted([path, other])


def test_a_job_of_another_host_is_dead_when_it_has_been_silent(path: Path) -> None:
    left_by(path, host="another", beat=time.time() - 121, working_on={"A01": "F", "A02": "F"})
    with claimed(path, ["A01", "A02"]) as holder:
        assert holder.claim.careful
        assert holder.claim.strikes == ()  # which of the two was to blame is not known


def test_a_job_of_another_host_that_speaks_is_waited_for(path: Path) -> None:
    claim = left_by(path, host="another")
    got = threading.Event()

    def work() -> None:
        with claimed(path, ["A01"]):
            got.set()

    thread = threading.Thread(target=work)
    thread.start()
    assert not got.wait(0.5)
    write_json(path, asdict(replace(claim, ended="error")))
    assert got.wait(PATIENCE)
    thread.join()


@pytest.mark.parametrize(("wells", "waits"), [("A02,A03", True), ("B01,B02", False)])
def test_batches_that_were_cut_differently(start: Start, path: Path, diary: Path, wells: str, waits: bool) -> None:
    """They have claims of their own; the later job waits if they share a well."""
    first = start(1.5)
    until(lambda: diary.read_text() == "begin\n")
    second = start(0, path.with_name("A02-A03.json"), wells)
    assert [first.wait(PATIENCE), second.wait(PATIENCE)] == [0, 0]
    waited = ["begin", "end", "begin", "end"]
    assert diary.read_text().split() == (waited if waits else ["begin", "begin", "end", "end"])


def test_the_time_that_counts_is_that_of_the_claim_and_not_of_the_wish(path: Path) -> None:
    """While a job waits for its batch, one of another batch may begin on a well of both: it came first."""
    blocking = left_by(path, id="before")
    other = path.with_name("A02-A03.json")
    got = threading.Event()
    claim: list[Claim] = []

    def work() -> None:
        with claimed(path, ["A01", "A02"]) as holder:
            claim.append(holder.claim)
            got.set()

    thread = threading.Thread(target=work)
    thread.start()
    time.sleep(0.2)
    begun = left_by(other, id="begun", wells=("A02", "A03"))
    write_json(path, asdict(replace(blocking, ended="error")))
    assert not got.wait(0.5)
    other.unlink()
    assert got.wait(PATIENCE)
    thread.join()
    assert claim[0].started > begun.started
    assert claim[0].beat >= claim[0].started


def test_a_job_shows_that_it_lives(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "BEAT", 0.1)
    monkeypatch.setattr(claims, "GLANCE", 0.02)
    with claimed(path, ["A01"], memory_limit=4000) as holder:
        first = read_claim(path)
        assert first is not None
        until(lambda: (claim := read_claim(path)) and claim.beat > first.beat)
        assert holder.claim.memory > 10
        assert holder.claim.memory_limit == 4000


def test_a_full_disk_does_not_end_the_signs_of_life(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The work itself meets the same trouble, and tells of it."""
    monkeypatch.setattr(claims, "BEAT", 0.05)
    monkeypatch.setattr(claims, "GLANCE", 0.02)
    with claimed(path, ["A01"]):
        before = read_claim(path)
        assert before is not None
        with pytest.MonkeyPatch.context() as full:
            tried = threading.Event()

            def fail(*_: object) -> None:
                tried.set()
                raise OSError(28, "No space left on device")

            full.setattr(claims, "write_json", fail)
            assert tried.wait(PATIENCE)
        until(lambda: (claim := read_claim(path)) and claim.beat > before.beat)


def test_wells_come_and_go(path: Path) -> None:
    with claimed(path, ["A01", "A02"]) as holder:
        holder.begin("A01", "F1")
        holder.begin("A02", "F2")
        holder.finish("A01")
        holder.set_aside("A02", "data", "cut off")
        told = json.loads(path.read_text())
        assert (told["working_on"], told["finished"]) == ({}, ["A01", "A02"])
        assert told["quarantined"] == {"A02": {"kind": "data", "reason": "cut off"}}
    assert not path.exists()


def test_strikes_are_kept_beyond_a_job_that_finished(path: Path) -> None:
    """Otherwise every later job would try such a well again, and die."""
    strike = Strike("A01", "F", "out of memory", 2)
    left_by(path, ended="finished", strikes=(strike,))
    with claimed(path, ["A01"]) as holder:
        assert holder.claim.strikes == (strike,)
    kept = read_claim(path)
    assert kept is not None
    assert (kept.ended, kept.strikes, kept.alive) == ("finished", (strike,), False)
    forget_strikes(path)
    assert list(path.parent.iterdir()) == []


def test_strikes_are_not_forgotten_while_a_job_works(path: Path) -> None:
    with claimed(path, ["A01"]) as holder:
        forget_strikes(path)
        assert read_claim(path) == holder.claim
    forget_strikes(path)  # nothing to forget


def test_a_failing_job_says_so_and_goes_on_failing(path: Path) -> None:
    with pytest.raises(ValueError, match="of ours"), claimed(path, ["A01"]) as holder:
        holder.begin("A01", "F")
        raise ValueError("of ours")
    claim = read_claim(path)
    assert claim is not None
    assert (claim.ended, claim.said, claim.working_on) == ("error", "ValueError: of ours", {"A01": "F"})
    last = claim.beat
    time.sleep(0.1)
    claim = read_claim(path)
    assert claim is not None
    assert claim.beat == last
