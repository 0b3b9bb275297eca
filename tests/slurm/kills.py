"""`kill -9` of jobs at random moments, again and again, until the plate is finished all the same. `make test-kills`.

Plates are made on this machine, as plain `snakemake` makes them. A part of the jobs is killed after a random time, or
soon after they began to write a result; after every run that had a kill all that is committed is compared with a plate
nothing happened to, and `wellpose verify` looks at it. Each plate is finished by plain reruns and compared in full.
Writes `tests/bench/results/kills.json`.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[1] / "bench"))

from machine import write
from plates import WELL_STAGES, Run, grow_cells
from slurm.compare import differences, torn
from slurm.jobs import JobProcess, committed, job_processes

from pipeline_lib.io.claims import read_claim
from pipeline_lib.io.commit import is_temporary
from pipeline_lib.paths import well_path
from pipeline_lib.stages.synthesize import Drawing, synthesize

DRAWING = Drawing("tiny", rows=4, columns=6, fields=2, size=128, cells=6.0, compounds=1, seed=3)
PORTIONS = dict.fromkeys(WELL_STAGES, "{wells_per_job: 6}")
DOOMED = 0.6  # share of jobs that are killed
AT_WRITING = 0.3  # share of those that are killed soon after they began to write
SOON = 0.03  # seconds
LIVES = {"ingest": 3.0, "segment": 8.0, "measure": 8.0}  # seconds within which a job is killed
LIFE = 4.0  # the same for stages that treat the plate as one
RUNS = 30  # after that many runs a plate is given up
ONE_BY_ONE = ("--cores", "2", "--retries", "0")


@dataclass
class Killer:
    """Kills jobs of a run while it lasts. kills: what was killed, and at which moment."""

    run: Run
    chance: random.Random
    kills: list[dict[str, Any]] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    def work(self) -> None:
        """Decide on every job when it first appears; kill it when its time has come."""
        due: dict[int, float | None] = {}  # process -> when to kill it; None: never
        at_writing: set[int] = set()
        while not self.over.wait(0.01):
            now = time.monotonic()
            for job in job_processes(self.run):
                if job.pid not in due:
                    due[job.pid] = self._decided(job, at_writing)
                if job.pid in at_writing and _writes(self.run, job):
                    at_writing.remove(job.pid)
                    due[job.pid] = now + self.chance.uniform(0, SOON)
                when = due[job.pid]
                if when is not None and when <= now:
                    due[job.pid] = None
                    self._kill(job)

    def _decided(self, job: JobProcess, at_writing: set[int]) -> float | None:
        if self.chance.random() > DOOMED:
            return None
        if job.stage in WELL_STAGES and self.chance.random() < AT_WRITING:
            at_writing.add(job.pid)
            return None
        return time.monotonic() + self.chance.uniform(0, LIVES.get(job.stage, LIFE))

    def _kill(self, job: JobProcess) -> None:
        try:
            os.kill(job.pid, signal.SIGSTOP)  # so that it stays as it is seen
            moment = _moment(self.run, job)
            os.kill(job.pid, signal.SIGKILL)
        except ProcessLookupError:
            return
        self.kills.append({"stage": job.stage, "moment": moment})


def main() -> None:
    """Kill until there were enough kills, then finish the last plate."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=4)
    parsed = parser.parse_args()
    chance, kills, faults, plates = random.Random(parsed.seed), [], [], 0
    with tempfile.TemporaryDirectory(prefix="kills-") as folder:
        expected = _undisturbed(Path(folder))
        while len(kills) < parsed.kills and not faults:
            plates += 1
            run = Run(Path(folder) / f"plate{plates}", settings=PORTIONS)
            _drawn_again(expected, run)
            of_plate, faults = _killed_and_finished(run, expected, chance)
            kills += of_plate
            sys.stderr.write(f"plate {plates}: {len(of_plate)} kills, {len(kills)} in all; faults: {faults}\n")
    write("kills", _figures(kills, faults, plates, parsed.seed))
    sys.exit(bool(faults))


def _figures(kills: list[dict[str, Any]], faults: list[str], plates: int, seed: int) -> dict[str, Any]:
    return {
        "executor": "local, profiles/default",
        "seed": seed,
        "plates_of_24_wells": plates,
        "kills": len(kills),
        "by_stage": dict(Counter(kill["stage"] for kill in kills)),
        "by_moment": dict(Counter(kill["moment"] for kill in kills)),
        "torn": sum("lost" not in fault for fault in faults),
        "lost": sum("lost" in fault for fault in faults),
        "faults": faults,
    }


def _undisturbed(folder: Path) -> Run:
    run = Run(folder / "undisturbed", settings=PORTIONS)
    run.folder.mkdir()
    synthesize(run.folder, DRAWING)
    grow_cells(run.folder)
    done = run.snakemake(*ONE_BY_ONE)
    if done.returncode:
        sys.exit(done.stdout + done.stderr)
    return run


def _drawn_again(drawn: Run, run: Run) -> None:
    """The same raw files in another folder."""
    run.folder.mkdir()
    (run.folder / "raw").symlink_to(drawn.folder / "raw")
    for name in ("plates.tsv", "platemap.csv"):
        shutil.copy2(drawn.folder / name, run.folder)


def _killed_and_finished(run: Run, expected: Run, chance: random.Random) -> tuple[list[dict[str, Any]], list[str]]:
    """The kills on one plate until it is finished, and what was wrong on the way or at the end."""
    kills: list[dict[str, Any]] = []
    for _ in range(RUNS):
        code, killed = _run_with_kills(run, chance)
        kills += killed
        faults = torn(run.plate, expected.plate) + _verified(run)
        if faults:
            return kills, faults
        if code == 0:
            faults = differences(run.plate, expected.plate)
            return kills, faults + _lost(run, expected)
    return kills, [f"lost: not finished after {RUNS} runs:\n{run.told[-3000:]}"]


def _run_with_kills(run: Run, chance: random.Random) -> tuple[int, list[dict[str, Any]]]:
    killer = Killer(run, chance)
    thread = threading.Thread(target=killer.work)
    with run.started(*ONE_BY_ONE) as process:
        thread.start()
        try:
            code = process.wait(timeout=600)
        finally:
            killer.over.set()
            thread.join()
    return code, killer.kills


def _verified(run: Run) -> list[str]:
    """What `wellpose verify` finds, except what a killed job was just writing."""
    if not run.plate.raw.exists():
        return []
    told = run.command_line("verify", str(run.plate.folder), "--json").stdout
    found = json.loads(told)[run.plate_name]
    return [str(fault) for fault in found if fault["stage"] or fault["well"]]


def _lost(run: Run, expected: Run) -> list[str]:
    return [
        f"lost: {stage} {well}"
        for stage in WELL_STAGES
        for well in set(committed(expected.plate, stage)) - set(committed(run.plate, stage))
    ]


def _moment(run: Run, job: JobProcess) -> str:
    if _writes(run, job):
        return "writing a result"
    claim = read_claim(run.plate.claim(job.stage, job.batch)) if job.stage in WELL_STAGES else None
    return "amid wells" if claim is not None and claim.working_on else "before its first well or between wells"


def _writes(run: Run, job: JobProcess) -> bool:
    """Whether a result of one of the job's wells is half written."""
    if job.stage not in WELL_STAGES:
        return False
    if job.stage == "measure":
        folders, marks = [run.plate.cells("A01").parent], [f".{well}.parquet." for well in job.wells]
    elif job.stage == "ingest":
        folders = [run.plate.raw / well_path(well).split("/")[0] for well in job.wells]
        marks = [f".{well_path(well).split('/')[1]}." for well in job.wells]
    else:
        folders, marks = [run.plate.raw_well(well) for well in job.wells], ["."]
    paths = (path for folder in set(folders) for path in _hidden(folder, deep=job.stage == "segment"))
    return any(is_temporary(path.name) and path.name.startswith(tuple(marks)) for path in paths)


def _hidden(folder: Path, *, deep: bool) -> list[Path]:
    try:
        return list(folder.rglob(".*") if deep else folder.glob(".*"))
    except OSError:  # it has just been renamed
        return []


if __name__ == "__main__":
    main()
