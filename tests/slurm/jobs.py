"""The processes of a plate's jobs: found, watched, slowed down."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

from plates import Run

from pipeline_lib.paths import PlatePaths, labels_path

REST, WORK = 0.5, 0.02  # seconds: a slowed process sleeps and works in turn
Found = TypeVar("Found")


@dataclass(frozen=True)
class JobProcess:
    """The Python of a stage's job. slurm_job, node: empty outside SLURM."""

    pid: int
    stage: str
    wells: tuple[str, ...]
    slurm_job: str
    node: str

    @property
    def batch(self) -> str:
        """The name of its batch."""
        return f"{self.wells[0]}-{self.wells[-1]}"

    @property
    def alive(self) -> bool:
        return _state(self.pid) not in ("", "Z")


def job_processes(run: Run, stage: str = "") -> list[JobProcess]:
    """All processes `python -m pipeline_lib <stage>` that work in the folder of a run."""
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            job = _job_process(process, run)
            if job is not None and stage in ("", job.stage):
                found.append(job)
    return found


def _job_process(process: Path, run: Run) -> JobProcess | None:
    try:
        words = (process / "cmdline").read_bytes().decode().split("\0")
        if words[1:3] != ["-m", "pipeline_lib"] or "--record" not in words:
            return None
        if (process / "cwd").resolve() != run.folder.resolve():
            return None
        told = (process / "environ").read_bytes().decode(errors="replace").split("\0")
    except (OSError, UnicodeDecodeError):  # it has just ended
        return None
    values = dict(pairwise(words))
    known = dict(entry.split("=", 1) for entry in told if "=" in entry)
    wells = tuple(values.get("--wells", "").split(","))
    return JobProcess(
        int(process.name), words[3], wells, known.get("SLURM_JOB_ID", ""), known.get("SLURMD_NODENAME", "")
    )


def committed(plate: PlatePaths, stage: str) -> dict[str, int]:
    """Wells with a committed result of a stage -> when it was committed, in ns."""
    patterns = {
        "ingest": (plate.raw, "[A-Z]*/[0-9][0-9]/zarr.json"),
        "segment": (plate.raw, f"[A-Z]*/[0-9][0-9]/{labels_path(0)}/zarr.json"),
        "measure": (plate.cells("A01").parent, "*.parquet"),
    }
    folder, pattern = patterns[stage]
    found = {}
    for path in folder.glob(pattern):
        parts = path.relative_to(folder).parts
        found[path.stem if stage == "measure" else parts[0] + parts[1]] = path.stat().st_mtime_ns
    return found


def wait_for(what: str, look: Callable[[], Found], seconds: float = 120, every: float = 0.01) -> Found:
    """The first thing that `look` finds."""
    end = time.monotonic() + seconds
    while not (found := look()):
        if time.monotonic() > end:
            raise TimeoutError(f"no {what} within {seconds} s")
        time.sleep(every)
    return found


def amid_work(run: Run, stage: str) -> JobProcess:
    """A job of a stage that has committed some of its wells and not yet all, and is slowed down from then on."""

    def look() -> JobProcess | None:
        there = set(committed(run.plate, stage))
        for job in job_processes(run, stage):
            if there & set(job.wells) and set(job.wells) - there:
                return job
        return None

    return wait_for(f"{stage} job amid its work", look)


@contextmanager
def slowed(job: JobProcess, rest: float = REST) -> Iterator[Callable[[], None]]:
    """Let a process work for a small part of the time only, until what is given is called or the end.

    It takes signals nearly as ever, unlike one that is stopped. rest: seconds of sleep before each bit of work.
    """
    over = threading.Event()

    def brake() -> None:
        while not over.is_set() and _signalled(job.pid, signal.SIGSTOP):
            over.wait(rest)
            if not _signalled(job.pid, signal.SIGCONT):
                return
            time.sleep(WORK)

    thread = threading.Thread(target=brake)
    thread.start()
    try:
        yield over.set
    finally:
        over.set()
        thread.join()


def wait_for_end(job: JobProcess, seconds: float = 60) -> None:
    """Wait until the process has ended, as whatever runs it must see to."""
    wait_for(f"end of process {job.pid} ({job.stage})", lambda: not job.alive, seconds)


def _signalled(pid: int, number: signal.Signals) -> bool:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


def _state(pid: int) -> str:
    """The state letter of a process; empty if there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()[0]
    except OSError:
        return ""
