"""What a job is, and the one loop by which every batch stage makes its wells current."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from pipeline_lib.core.errors import DataTrouble
from pipeline_lib.io.records import write_json
from pipeline_lib.paths import PlatePaths
from pipeline_lib.provenance import code_digest, fingerprint, peak_memory_mb, software
from pipeline_lib.settings import Section

log = logging.getLogger("wellpose")


@dataclass(frozen=True)
class Job:
    """One call of a stage: for which plate and wells, how, and the record it leaves as its Snakemake output."""

    stage: str
    plate: PlatePaths
    settings: Section
    record: Path
    wells: tuple[str, ...] = ()
    plate_map: Path | None = None

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


class WellWork(Protocol):
    """How a stage deals with one well."""

    def wanted(self, well: str) -> str | None:
        """The fingerprint the well should have; None where what it is made from is absent."""

    def stored(self, well: str) -> str | None:
        """The fingerprint of the committed result, None where there is none."""

    def compute(self, well: str, wanted: str) -> Mapping[str, Any]:
        """Make and commit the result; return what the record says of it."""

    def discard(self, well: str) -> None:
        """Make the result absent."""


def make_current(job: Job, work: WellWork, about: Callable[[], Mapping[str, Any]] = dict) -> None:
    """Make every well of the job current and write the record.

    about: what else the record says, asked for at the end.

    A well whose stored fingerprint is the wanted one is skipped. Trouble with a well's data quarantines it; any other
    exception fails the job, whose finished wells stay.
    """
    clock = Clock()
    wells = {}
    for number, well in enumerate(job.wells, 1):
        started = time.monotonic()
        wells[well] = _make_one(well, work)
        seconds = time.monotonic() - started
        log.info(
            "%s %s %s (%d/%d) %s %.1f s", job.stage, job.name, well, number, len(job.wells), _said(wells[well]), seconds
        )
    write_record(job, clock, {"wells": wells, **about()})


def _make_one(well: str, work: WellWork) -> dict[str, Any]:
    try:
        wanted = work.wanted(well)
        if wanted is None:
            work.discard(well)
            return {"status": "absent", "reason": "its input is absent"}
        if work.stored(well) == wanted:
            return {"status": "current", "fingerprint": wanted}
        return {"status": "done", "fingerprint": wanted, **work.compute(well, wanted)}
    except DataTrouble as trouble:
        work.discard(well)
        return {"status": "quarantined", "kind": trouble.kind, "reason": str(trouble)}


def _said(outcome: Mapping[str, Any]) -> str:
    told = {key: value for key, value in outcome.items() if key not in {"status", "fingerprint", "kind"}}
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
    write_json(
        job.record, {**made, "settings": job.settings.model_dump(mode="json"), **machine, **clock.told(), **content}
    )
