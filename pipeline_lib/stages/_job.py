"""What a job is, and the one way by which every batch stage makes its wells current."""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from types import FrameType
from typing import Any, Protocol, TypeVar

from pipeline_lib.core.deaths import CANCELLED, TIME_LIMIT, Strike
from pipeline_lib.core.errors import DataTrouble
from pipeline_lib.io.claims import Holder, claimed
from pipeline_lib.io.commit import sweep
from pipeline_lib.io.records import QUARANTINED, write_json
from pipeline_lib.paths import PlatePaths
from pipeline_lib.provenance import code_digest, fingerprint, peak_memory_mb, software
from pipeline_lib.settings import Section
from pipeline_lib.stages._folders import analyses_of

HANDS = 3  # wells in hand at a time: one is read, one computed, one written
TERMINATED = 128 + signal.SIGTERM
NEARLY = 30  # seconds before a job's time limit from which on a request to end is taken for the limit

log = logging.getLogger("wellpose")
Piece = TypeVar("Piece")
Made = TypeVar("Made")


@dataclass(frozen=True)
class Limits:
    """What the job may use; None: nobody said. memory: MB; minutes: from the start of this process."""

    memory: float | None = None
    minutes: float | None = None


@dataclass(frozen=True)
class Job:
    """One call of a stage: for which plate and wells, how, and the record it leaves as its Snakemake output."""

    stage: str
    plate: PlatePaths
    settings: Section
    record: Path
    wells: tuple[str, ...] = ()
    plate_map: Path | None = None
    limits: Limits = Limits()

    @property
    def name(self) -> str:
        """The plate's id."""
        return self.plate.folder.name

    def fingerprint(self, **inputs: object) -> str:
        """Checksum of what decides a result of this job: its code, its settings and the given inputs."""
        return fingerprint(code=code_digest(self.stage), settings=self.settings.identity(), inputs=inputs)

    def provenance(self, wanted: str) -> dict[str, Any]:
        """What committed data says of its own making."""
        made = {"stage": self.stage, "code": code_digest(self.stage), "settings": self.settings.identity()}
        return {"fingerprint": wanted, **made, "software": software()}


class WellWork(Protocol[Piece, Made]):
    """How a stage deals with one well, in pieces such as its fields."""

    def wanted(self, well: str) -> str | None:
        """The fingerprint the well should have; None where what it is made from is absent."""

    def stored(self, well: str) -> str | None:
        """The fingerprint of the committed result, None where there is none."""

    def read(self, well: str) -> Iterator[Piece]:
        """What the well is made from, piece by piece."""

    def compute(self, piece: Piece) -> Made:
        """The result of a piece. Never called twice at a time."""

    def commit(self, well: str, made: Iterable[Made], wanted: str) -> Mapping[str, Any]:
        """Write the results of all pieces as they come and commit the well; return what the record says of it."""

    def discard(self, well: str) -> None:
        """Make the result absent."""


class StruckOut(DataTrouble):
    """Job after job died on a well."""

    def __init__(self, strike: Strike) -> None:
        said = f", the last with {strike.said}" if strike.said else ""
        super().__init__(
            f"{strike.count} jobs in a row ended while they worked on it alone ({strike.reason}{said}); mend it or "
            "allow more, then run with --config retry_failed=true"
        )
        self.kind = strike.reason


def make_current(
    job: Job, work: WellWork[Any, Any], about: Callable[[], Mapping[str, Any]] = dict, hands: int = HANDS
) -> None:
    """Make every well of the job current and write the record.

    about: what else the record says, asked for at the end. hands: wells in hand at a time.

    A well whose stored fingerprint is the wanted one is skipped. Trouble with a well's data quarantines it; any other
    exception fails the job, whose finished wells stay. While one well is computed, the next is read and the last one
    written, unless a job died here before: then wells are taken one by one, so that it is known which is to blame.
    """
    clock = Clock()
    code_digest(job.stage)  # takes seconds, and is kept: once, before several wells ask for it together
    path = job.plate.claim(job.stage, job.record.stem)
    others = [analysis.claims(job.stage) for analysis in analyses_of(job.plate)]  # label images share a group
    with claimed(path, job.wells, job.limits.memory, others) as holder, _told_of_the_end(holder, job.limits):
        one = _OneWell(work, holder, Lock(), [])
        outcomes = _side_by_side(one.make, job.wells, 1 if holder.claim.careful else hands)
        wells = dict(_logged(job, outcomes))
        write_record(job, clock, {"wells": wells, "computing_seconds": round(sum(one.took), 2), **about()})


def _side_by_side(make: Callable[[str], dict[str, Any]], wells: Sequence[str], hands: int) -> Iterator[dict[str, Any]]:
    """The outcomes of wells, so many of which are in hand at a time; after an exception no further one is begun."""
    if hands == 1:
        yield from map(make, wells)
        return
    with ThreadPoolExecutor(hands) as threads:
        coming = [threads.submit(make, well) for well in wells]
        try:
            for outcome in coming:
                yield outcome.result()
        finally:
            threads.shutdown(wait=True, cancel_futures=True)


@dataclass(frozen=True)
class _OneWell:
    """What becomes of one well.

    computing: held while a piece is computed, so that several wells can be in hand. took: the seconds of every piece.
    """

    work: WellWork[Any, Any]
    holder: Holder
    computing: Lock
    took: list[float]

    def make(self, well: str) -> dict[str, Any]:
        """Make the well current; the outcome, as the record tells it."""
        started = time.monotonic()
        outcome = self._outcome(well)
        return {**outcome, "seconds": round(time.monotonic() - started, 2)}

    def _outcome(self, well: str) -> dict[str, Any]:
        work = self.work
        try:
            wanted = work.wanted(well)
            if wanted is None:
                work.discard(well)
                return {"status": "absent", "reason": "its input is absent"}
            if work.stored(well) == wanted:
                return {"status": "current", "fingerprint": wanted}
            self._refuse_if_struck_out(well, wanted)
            self.holder.begin(well, wanted)
            told = work.commit(well, self._computed(well), wanted)
            self.holder.finish(well)
            return {"status": "done", "fingerprint": wanted, **told}
        except DataTrouble as trouble:
            work.discard(well)
            reason = f"{trouble}{trouble.advice}"
            self.holder.set_aside(well, trouble.kind, reason)
            return {"status": QUARANTINED, "kind": trouble.kind, "reason": reason}

    def _computed(self, well: str) -> Iterator[Any]:
        for piece in self.work.read(well):
            with self.computing:
                started = time.monotonic()
                made = self.work.compute(piece)
                self.took.append(time.monotonic() - started)
            yield made

    def _refuse_if_struck_out(self, well: str, wanted: str) -> None:
        for strike in self.holder.claim.strikes:
            if strike.out and (strike.well, strike.wanted) == (well, wanted):
                raise StruckOut(strike)


@contextmanager
def _told_of_the_end(holder: Holder, limits: Limits) -> Iterator[None]:
    """Write down why, when the job is asked to end (SIGTERM: a time limit, `scancel`), and end at once.

    What is not committed by then is absent. Threads that compute cannot be interrupted, and SLURM kills after a grace
    time anyway.
    """
    started = time.monotonic()

    def end(_signal: int, _frame: FrameType | None) -> None:
        minutes = limits.minutes
        late = minutes is not None and time.monotonic() - started > minutes * 60 - NEARLY
        try:
            holder.end(TIME_LIMIT if late else CANCELLED)
        finally:
            os._exit(TERMINATED)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _logged(job: Job, outcomes: Iterable[dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each well with its outcome, which the log tells, and how many megabytes a second the job has written so far."""
    started, megabytes, count = time.monotonic(), 0.0, len(job.wells)
    for number, (well, outcome) in enumerate(zip(job.wells, outcomes, strict=True), 1):
        megabytes += outcome.get("megabytes", 0.0)
        rate = f", {megabytes / (time.monotonic() - started):.0f} MB/s so far" if megabytes else ""
        said = f"{_said(outcome)} {outcome['seconds']:.1f} s{rate}"
        log.info("%s %s %s (%d/%d) %s", job.stage, job.name, well, number, count, said)
        yield well, outcome


def _said(outcome: Mapping[str, Any]) -> str:
    told = {key: value for key, value in outcome.items() if key not in {"status", "fingerprint", "kind", "seconds"}}
    return " ".join([outcome["status"], *(f"{key}={value}" for key, value in told.items())])


class Clock:
    """When a job started."""

    def __init__(self) -> None:
        self.started = datetime.now(UTC)

    def told(self) -> dict[str, Any]:
        """Start, end and length of the job so far."""
        finished = datetime.now(UTC)
        seconds = round((finished - self.started).total_seconds(), 2)
        return {"started": self.started.isoformat(), "finished": finished.isoformat(), "seconds": seconds}


def write_record(job: Job, clock: Clock, content: Mapping[str, Any]) -> None:
    """Write the job's record, the last thing it does."""
    made = {"stage": job.stage, "plate": job.name, "batch": job.record.stem, "code": code_digest(job.stage)}
    machine = {"software": software(), "peak_memory_mb": peak_memory_mb()}
    sweep(job.record)
    write_json(job.record, {**made, "settings": job.settings.told(), **machine, **clock.told(), **content})
