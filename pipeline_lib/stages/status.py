"""status: what became of every well so far, stage by stage: done, running, quarantined, held back, waiting."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from pipeline_lib.core.wells import row_column
from pipeline_lib.io.claims import FINISHED, Claim, read_claims
from pipeline_lib.io.locks import is_held
from pipeline_lib.io.manifests import read_manifest
from pipeline_lib.io.plate import committed_wells
from pipeline_lib.io.records import QUARANTINED, well_outcomes
from pipeline_lib.paths import BATCH_STAGES, PLATE_STAGES, WHOLE_PLATE, PlatePaths
from pipeline_lib.stages._folders import add_plates, deleted_wells, plates_in, stages_there
from pipeline_lib.stages.segment import labels_fingerprint

UNITS = ((86400, "days"), (3600, "h"), (60, "min"), (1, "s"))
COLUMNS = ("done", "running", "quarantined", "held_back", "waiting")


@dataclass
class StageStatus:
    """The wells of one stage. quarantined: well -> `kind` and `reason`. held_back: quarantined by a stage before."""

    done: list[str] = field(default_factory=list)
    running: list[str] = field(default_factory=list)
    quarantined: dict[str, Mapping[str, str]] = field(default_factory=dict)
    held_back: list[str] = field(default_factory=list)
    waiting: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class PlateStatus:
    """Where a plate stands.

    active: whether a run holds the plate. finished: plate stage -> whether its record is there. jobs: what live jobs
    work on, and how dead ones ended.
    """

    plate: str
    analysis: str
    wells: int
    active: bool
    stages: dict[str, StageStatus]
    finished: dict[str, bool]
    jobs: list[dict[str, Any]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's flags."""
    add_plates(parser)
    parser.add_argument("--json", action="store_true", help="as JSON, for programs")


def run(parsed: argparse.Namespace) -> None:
    """Write the status of the plates to the terminal."""
    told = [plate_status(plate) for plate in plates_in(parsed.folders, parsed.analysis)]
    text = (
        json.dumps([asdict(status) for status in told], indent=1) if parsed.json else "\n\n".join(map(in_words, told))
    )
    sys.stdout.write(f"{text}\n")


def plate_status(plate: PlatePaths) -> PlateStatus:
    """What the store, the records and the claims of a plate say together."""
    manifest = read_manifest(plate.manifest)
    batch_stages = stages_there(plate, BATCH_STAGES)
    claims = {stage: read_claims(plate.claims(stage)) for stage in batch_stages}
    outcomes = {stage: well_outcomes(plate.records(stage)) for stage in batch_stages}
    mapped = {well for of_stage in outcomes.values() for well in of_stage}
    wells = sorted({*manifest.wells, *manifest.missing, *mapped}, key=row_column)
    stages: dict[str, StageStatus] = {}
    aside: set[str] = set()
    for stage in batch_stages:
        stages[stage] = _sorted_out(wells, _committed(plate, stage, wells), outcomes[stage], claims[stage], aside)
        aside = aside | set(stages[stage].quarantined)
    return PlateStatus(
        plate=plate.folder.name,
        analysis=plate.analysis,
        wells=len(wells),
        active=is_held(plate.lock),
        stages=stages,
        finished={stage: plate.record(stage, WHOLE_PLATE).exists() for stage in stages_there(plate, PLATE_STAGES)},
        jobs=[_job(stage, claim) for stage in batch_stages for claim in _telling(claims[stage], stages[stage])],
    )


def _telling(claims: Sequence[Claim], status: StageStatus) -> list[Claim]:
    """Claims of live jobs, and of dead ones whose work nobody has done since."""
    waiting = set(status.waiting)
    return [claim for claim in claims if claim.ended != FINISHED and (claim.alive or waiting & set(claim.wells))]


def _committed(plate: PlatePaths, stage: str, wells: Sequence[str]) -> set[str]:
    """The wells a stage has a result of, whatever settings it was made with."""
    if stage == "ingest":
        return set(committed_wells(plate.raw))
    if stage == "restore":
        return {*committed_wells(plate.restored), *deleted_wells(plate)}
    if stage == "segment":
        return {well for well in wells if labels_fingerprint(plate, well) is not None}
    return {well for well in wells if plate.cells(well).exists()}


def _sorted_out(
    wells: Sequence[str],
    committed: set[str],
    outcomes: Mapping[str, Mapping[str, Any]],
    claims: Sequence[Claim],
    aside: set[str],
) -> StageStatus:
    status = StageStatus()
    in_hand = {well for claim in claims if claim.alive for well in claim.working_on or ()}
    quarantined = {well: told for well, told in outcomes.items() if told["status"] == QUARANTINED}
    quarantined |= {well: told for claim in claims for well, told in (claim.quarantined or {}).items()}
    for well in wells:
        if well in in_hand:
            status.running.append(well)
        elif well in committed:
            status.done.append(well)
        elif well in aside:
            status.held_back.append(well)
        elif well in quarantined:
            status.quarantined[well] = {key: quarantined[well][key] for key in ("kind", "reason")}
        else:
            status.waiting.append(well)
    return status


def _job(stage: str, claim: Claim) -> dict[str, Any]:
    alive = claim.alive
    return {
        "stage": stage,
        "wells": len(claim.wells),
        "finished": len(claim.finished),
        "in_hand": sorted(claim.working_on or (), key=row_column),
        "state": "running" if alive else claim.death,
        "said": claim.said,
        "host": claim.host,
        "process": claim.pid,
        "slurm_job": claim.slurm_job,
        "seconds_since_sign_of_life": round(time.time() - claim.beat, 1),
    }


def in_words(status: PlateStatus) -> str:
    """The status as people read it."""
    return "\n".join([*_table(status), *_quarantined(status), *_jobs(status)])


def _table(status: PlateStatus) -> Iterator[str]:
    analysis = f", analysis {status.analysis}" if status.analysis else ""
    running = "a run works on it" if status.active else "no run works on it"
    yield f"{status.plate}{analysis}: {status.wells} wells; {running}"
    shown = [name for name in COLUMNS if name != "held_back" or any(s.held_back for s in status.stages.values())]
    yield f"  {'':<10}" + "".join(f"{name.replace('_', ' '):>13}" for name in shown)
    for stage, wells in status.stages.items():
        yield f"  {stage:<10}" + "".join(f"{len(getattr(wells, name)):>13}" for name in shown)
    left = [stage for stage, done in status.finished.items() if not done]
    yield f"  whole plate: {'all done' if not left else 'waiting: ' + ', '.join(left)}"


def _quarantined(status: PlateStatus) -> Iterator[str]:
    rows = [(well, stage, told) for stage, wells in status.stages.items() for well, told in wells.quarantined.items()]
    if rows:
        yield "  quarantined (mend what the reason says, then snakemake --config retry_failed=true):"
    for well, stage, told in rows:
        yield f"    {well:<5}{stage:<9}{told['kind']}: {told['reason']}"


def _jobs(status: PlateStatus) -> Iterator[str]:
    if status.jobs:
        yield "  jobs:"
    for job in status.jobs:
        where = f"SLURM job {job['slurm_job']}" if job["slurm_job"] else f"process {job['process']}"
        done = f"{job['finished']} of {job['wells']} wells"
        in_hand = f", {', '.join(job['in_hand'])} in hand" if job["in_hand"] else ""
        since = _ago(job["seconds_since_sign_of_life"])
        runs = job["state"] == "running"
        told = f"last sign of life {since}" if runs else f"{since}; the next run resumes it"
        state = "running" if runs else f"ended, {job['state']}" + (f" ({job['said']})" if job["said"] else "")
        yield f"    {job['stage']:<9}{state}: {done}{in_hand}; {where} on {job['host']}, {told}"


def _ago(seconds: float) -> str:
    """A time in the past, in the unit people would choose."""
    length, unit = next((length, unit) for length, unit in UNITS if seconds >= 2 * length or unit == "s")
    return f"{max(0.0, seconds) // length:.0f} {unit} ago"
