"""What became of each well of a plate: shared by the stages that treat a plate as one."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline_lib.core.histograms import merge, percentiles
from pipeline_lib.io.plate import committed_wells, read_histograms, read_info
from pipeline_lib.io.records import FINISHED, QUARANTINED, well_outcomes
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


def plate_ranges(
    plate: PlatePaths, wells: Sequence[str], channels: Collection[str], wanted: tuple[float, float]
) -> dict[str, list[float]]:
    """Channel -> the intensities that stand for 0 and 1: percentiles over all raw pixels of the wells."""
    names = read_info(plate.raw).channel_names
    of_wells = [read_histograms(plate.raw, well) for well in wells]
    return {
        name: percentiles(merge(field[index] for well in of_wells for field in well), wanted)
        for index, name in enumerate(names)
        if name in channels
    }


def plate_outcomes(plate: PlatePaths, wells: Iterable[str]) -> dict[str, Outcome]:
    """Well -> what became of it, in the order of `wells`."""
    records = {stage: well_outcomes(plate.records(stage)) for stage in BATCH_STAGES}
    outcomes = {}
    for well in wells:
        told = {stage: records[stage].get(well, {}) for stage in BATCH_STAGES}
        failed = [stage for stage in BATCH_STAGES if told[stage].get("status") not in FINISHED]
        outcomes[well] = _outcome(failed, told)
    return outcomes


def _outcome(failed: Sequence[str], told: Mapping[str, Mapping[str, Any]]) -> Outcome:
    """failed: the stages that have not finished a well. Without restored images a well may be done all the same."""
    if set(failed) <= {"restore"}:
        return Outcome(done=True)
    stage = next(stage for stage in failed if stage != "restore" or told[stage].get("status") == QUARANTINED)
    return Outcome(done=False, stage=stage, kind=told[stage].get("kind", ""), reason=told[stage].get("reason", ""))
