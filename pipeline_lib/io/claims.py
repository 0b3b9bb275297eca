"""Claims: a job says which wells it works on, that it is alive, and how it ended.

Two jobs may be asked for the same wells: SLURM jobs outlive a Snakemake that was killed, and the next run submits them
again. The later one waits until the earlier has ended, and then finds its wells current. A claim whose job is dead is
taken over; what it says of its end decides whether a well is to blame.

Only standard library: `wellpose status` reads claims too.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

from pipeline_lib.core.deaths import CANCELLED, DEATHS_ALLOWED, SLURM_STATES, Strike, reason_of, reason_without_a_word
from pipeline_lib.io.commit import sweep
from pipeline_lib.io.records import read_json, write_json
from pipeline_lib.io.slurm import is_over, job_state

BEAT = 15.0  # seconds between two signs of life
GLANCE = 1.0  # seconds between two looks at the memory in use: what is killed for it gets no time to say so
STALE = 120.0  # seconds without one after which a job is taken for dead
FINISHED = "finished"  # the end of a job that did its work
LOOK = 1.0  # seconds between two looks at a claim that is waited for

log = logging.getLogger("wellpose")


@dataclass(frozen=True)
class Claim:
    """What a job says of itself.

    Times are seconds since 1970; memory and memory_limit are MiB. working_on: well in hand -> the fingerprint it is to
    have. quarantined: well -> `kind` and `reason`. careful: one well at a time, because a job before died. strikes:
    wells that jobs before died on. ended: the reason; empty while it works. said: more words on it.
    """

    id: str
    host: str
    pid: int
    slurm_job: str | None
    wells: tuple[str, ...]
    started: float
    beat: float
    memory: float = 0.0
    memory_limit: float | None = None
    finished: tuple[str, ...] = ()
    working_on: Mapping[str, str] | None = None
    quarantined: Mapping[str, Mapping[str, str]] | None = None
    careful: bool = False
    strikes: tuple[Strike, ...] = ()
    ended: str = ""
    said: str = ""

    @property
    def alive(self) -> bool:
        """Whether its job still works, as far as can be told from here."""
        if self.ended:
            return False
        if self.host == socket.gethostname() and not Path(f"/proc/{self.pid}").exists():
            return False
        silent = time.time() - self.beat
        if silent > 2 * BEAT and self.slurm_job and is_over(job_state(self.slurm_job)):
            return False
        return silent < STALE

    @property
    def death(self) -> str:
        """Why it ended; SLURM knows whether a job that was asked to end had reached its time limit."""
        state = job_state(self.slurm_job) if self.slurm_job and self.ended in ("", CANCELLED) else None
        if self.ended:
            return SLURM_STATES.get(state or "", self.ended)
        return reason_without_a_word(state, self.memory, self.memory_limit)


def read_claim(path: Path) -> Claim | None:
    """The claim in a file; None where there is none, one that is just being written, or one of another version."""
    try:
        told = read_json(path)
        strikes = tuple(Strike(**strike) for strike in told["strikes"])
        return Claim(**{**told, "wells": tuple(told["wells"]), "finished": tuple(told["finished"]), "strikes": strikes})
    except (ValueError, KeyError, TypeError):
        return None


def read_claims(folder: Path) -> list[Claim]:
    """All claims of a stage."""
    found = (read_claim(path) for path in sorted(folder.glob("*.json")))
    return [claim for claim in found if claim is not None]


class Holder:
    """The claim of the job that runs, kept up to date on disk by a thread of its own."""

    def __init__(self, path: Path, claim: Claim) -> None:
        self._path, self._claim = path, claim
        self._lock, self._over = threading.RLock(), threading.Event()
        self._thread = threading.Thread(target=self._live, daemon=True, name="claim")
        self._thread.start()

    @property
    def claim(self) -> Claim:
        return self._claim

    def begin(self, well: str, wanted: str) -> None:
        """Work on a well begins."""
        with self._lock:
            self._tell(working_on={**(self._claim.working_on or {}), well: wanted})

    def finish(self, well: str) -> None:
        """Work on a well has ended."""
        with self._lock:
            left = {name: wanted for name, wanted in (self._claim.working_on or {}).items() if name != well}
            self._tell(working_on=left, finished=(*self._claim.finished, well))

    def set_aside(self, well: str, kind: str, reason: str) -> None:
        """A well is quarantined."""
        with self._lock:
            told = {**(self._claim.quarantined or {}), well: {"kind": kind, "reason": reason}}
            self._tell(quarantined=told)
            self.finish(well)

    def end(self, reason: str, said: str = "") -> None:
        """The job ends before its work is done; the claim stays and says why."""
        self._over.set()
        try:
            self._tell(ended=reason, said=said)
        except OSError as error:  # what ends the job is to be told of, and not this
            log.warning("claim %s: %s", self._path.name, error)

    def release(self) -> None:
        """All is done: the claim goes, unless wells were set aside that are not to be tried by every later job."""
        self._over.set()
        self._thread.join()
        if any(strike.out for strike in self._claim.strikes):
            self._tell(ended=FINISHED, working_on=None)
        else:
            self._path.unlink(missing_ok=True)

    def _tell(self, **changed: Any) -> None:
        with self._lock:
            self._claim = replace(self._claim, beat=time.time(), memory=_memory(), **changed)
            write_json(self._path, asdict(self._claim))

    def _live(self) -> None:
        while not self._over.wait(GLANCE):
            grown = self._claim.memory_limit and _memory() - self._claim.memory > self._claim.memory_limit / 10
            if not grown and time.time() - self._claim.beat < BEAT:
                continue
            try:
                self._tell()
            except OSError as error:  # a full disk is told of by the work itself
                log.warning("claim %s: %s", self._path.name, error)


@contextmanager
def claimed(
    path: Path, wells: Sequence[str], memory_limit: float | None = None, elsewhere: Iterable[Path] = ()
) -> Iterator[Holder]:
    """Hold the claim on a batch of wells, after waiting for any live job that has one of them.

    path: the file of the claim, named by the batch; claims of other batches of the stage lie beside it. elsewhere:
    other folders with claims on the same wells. On leaving without an exception the claim is released; with one, it
    stays and says why.
    """
    now = time.time()
    mine = Claim(
        id=uuid4().hex,
        host=socket.gethostname(),
        pid=os.getpid(),
        slurm_job=os.environ.get("SLURM_JOB_ID"),
        wells=tuple(wells),
        started=now,
        beat=now,
        memory_limit=memory_limit,
    )
    holder = Holder(path, _taken(path, mine))
    try:
        _wait_for_others({path.parent, *elsewhere}, holder.claim)
        yield holder
    except BaseException as error:
        holder.end(reason_of(error), f"{type(error).__name__}: {error}")
        raise
    holder.release()


def _taken(path: Path, mine: Claim) -> Claim:
    """Write the claim where no live job has it; what an earlier one left decides how careful this one is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    waiting = False
    while True:
        before = read_claim(path)
        if before is not None and before.alive:
            waiting = waiting or _say_waiting(before)
            time.sleep(LOOK)
            continue
        if before is not None or _is_torn(path):
            _move_away(path, before)
        now = time.time()
        claim = replace(_after(before, mine), started=now, beat=now)  # others have begun while this one waited
        if _written_first(path, claim):
            sweep(path)
            return claim
        time.sleep(LOOK)


def _after(before: Claim | None, mine: Claim) -> Claim:
    """The claim of a job that follows another one on the same batch."""
    if before is None:
        return mine
    if before.ended == FINISHED:  # there are strikes, or it would be gone
        return replace(mine, strikes=before.strikes)
    if not before.working_on:
        return replace(mine, strikes=before.strikes, careful=before.careful)
    death, strikes = before.death, {strike.well: strike for strike in before.strikes}
    log.info("claim: the job before ended (%s) with %s in hand", death, ", ".join(before.working_on))
    for well, wanted in before.working_on.items() if before.careful else ():
        strikes[well] = Strike(well, wanted, death, 1, before.said).then(strikes.get(well))
    return replace(mine, strikes=tuple(strikes.values()), careful=before.careful or death in DEATHS_ALLOWED)


def forget_strikes(path: Path) -> None:
    """Have the wells tried again that jobs died on, unless one works on them now."""
    claim = read_claim(path)
    if claim is not None and not claim.alive:
        _move_away(path, claim)


def _written_first(path: Path, claim: Claim) -> bool:
    """Write the claim unless another job has just done so."""
    try:
        with path.open("x", encoding="utf-8"):
            pass
    except FileExistsError:
        return False
    write_json(path, asdict(claim))
    return True


def _is_torn(path: Path) -> bool:
    """Whether a job died between making the file and writing it."""
    try:
        return time.time() - path.stat().st_mtime > STALE
    except FileNotFoundError:
        return False


def _move_away(path: Path, dead: Claim | None) -> None:
    """Remove a dead job's claim (None: a torn one), unless another job is about to, or has put its own in place.

    Whoever makes a file named after the dead claim has the right to remove it.
    """
    right = path.with_name(f".{path.name}.{dead.id if dead else 'torn'}.old")
    try:
        right.touch(exist_ok=False)
    except FileExistsError:
        if _is_torn(right):  # whoever made it has died
            right.unlink(missing_ok=True)
        return
    found = read_claim(path)
    if found.id == dead.id if found and dead else not found and not dead and _is_torn(path):
        path.unlink(missing_ok=True)
    right.unlink(missing_ok=True)


def _wait_for_others(folders: Iterable[Path], mine: Claim) -> None:
    """Wait for earlier live claims of other batches that share a well: batches may have been cut differently before."""
    waiting = False
    while others := [c for folder in folders for c in read_claims(folder) if _is_before(c, mine) and c.alive]:
        waiting = waiting or _say_waiting(others[0])
        time.sleep(LOOK)


def _is_before(other: Claim, mine: Claim) -> bool:
    return bool(set(other.wells) & set(mine.wells)) and (other.started, other.id) < (mine.started, mine.id)


def _say_waiting(other: Claim) -> bool:
    job = f"SLURM job {other.slurm_job}" if other.slurm_job else f"process {other.pid}"
    log.info("waiting for %s on %s, which works on the same wells", job, other.host)
    return True


def _memory() -> float:
    """Resident memory of this process now, in MiB, as SLURM counts."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except OSError:
        return 0.0
    return round(pages * os.sysconf("SC_PAGE_SIZE") / 2**20, 1)
