"""What became of each well of a plate: shared by the stages that treat a plate as one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pipeline_lib.io.plate import committed_wells
from pipeline_lib.io.records import FINISHED, well_outcomes
from pipeline_lib.paths import BATCH_STAGES, PlatePaths
from pipeline_lib.stages._job import Job


@dataclass(frozen=True)
class Outcome:
    """done, or the stage that quarantined the well, and why."""

    done: bool
    stage: str = ""
    kind: str = ""
    reason: str = ""


def committed_of(job: Job) -> list[str]:
    """The job's wells that are committed. Wells that have left the plate may still lie in its store."""
    wanted = set(job.wells)
    return [well for well in committed_wells(job.plate.raw) if well in wanted]


def plate_outcomes(plate: PlatePaths, wells: Iterable[str]) -> dict[str, Outcome]:
    """Well -> what became of it, in the order of `wells`."""
    records = {stage: well_outcomes(plate.records(stage)) for stage in BATCH_STAGES}
    outcomes = {}
    for well in wells:
        failed = next(
            (stage for stage in BATCH_STAGES if records[stage].get(well, {}).get("status") not in FINISHED), None
        )
        told = records[failed].get(well, {}) if failed else {}
        outcomes[well] = Outcome(failed is None, failed or "", told.get("kind", ""), told.get("reason", ""))
    return outcomes
