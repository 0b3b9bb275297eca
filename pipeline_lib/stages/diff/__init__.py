"""diff: which wells and stages a run would make anew, and because of which setting. Nothing is started.

As with `snakemake -n`, a plate's manifest is brought up to date when its raw folder has changed.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline_lib.core.spans import spans
from pipeline_lib.paths import BATCH_STAGES, WHOLE_PLATE
from pipeline_lib.stages._config import add_config, planned_workflow
from pipeline_lib.stages.diff.forecast import Expected, Forecast, State
from pipeline_lib.stages.diff.reruns import batches_of, jobs_to_run
from pipeline_lib.workflow import Plate, Workflow

INDENT = " " * 13
LONGEST = 100  # characters of a reason in a terminal
LEFT_ALONE = {State.QUARANTINED}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's flags."""
    parser.add_argument("plates", nargs="*", metavar="PLATE", help="ids or results folders (default: every plate)")
    parser.add_argument("--json", action="store_true", help="tell the same as JSON")
    add_config(parser)


def run(parsed: argparse.Namespace) -> None:
    """Tell what a run would do.

    Raises:
        ValueError: The config has faults, or a plate is not in the plate sheet.
    """
    workflow = planned_workflow(parsed)
    told = [foretold(plate) for plate in _chosen(workflow, parsed.plates)]
    if parsed.json:
        plates = {one.plate.name: _as_json(one) for one in told}
        json.dump({"analysis": workflow.settings.analysis, "plates": plates}, sys.stdout, indent=1)
        sys.stdout.write("\n")
    else:
        sys.stdout.write("\n".join(line for one in told for line in _as_text(one)) + "\n")


@dataclass(frozen=True)
class StageOutlook:
    """What would become of the results of one stage.

    jobs: how many would run, and of how many. results: well, or "plate" -> what would become of it. scheduling:
    settings that only portion the work and differ from those of the newest record.
    """

    jobs: tuple[int, int]
    why_jobs: tuple[str, ...]
    results: Mapping[str, Expected]
    scheduling: tuple[str, ...] = ()

    @property
    def groups(self) -> dict[Expected, list[str]]:
        """What would become of wells -> the wells, for the same reasons."""
        groups: dict[Expected, list[str]] = {}
        for well, expected in self.results.items():
            groups.setdefault(expected, []).append(well)
        return groups


@dataclass(frozen=True)
class Outlook:
    """What a run would do with one plate."""

    plate: Plate
    stages: Mapping[str, StageOutlook]

    def wells(self, stage: str, *states: State) -> list[str]:
        """The wells of a stage in one of some states, in the order of the plate."""
        return [well for well, expected in self.stages[stage].results.items() if expected.state in states]

    @property
    def nothing_to_do(self) -> bool:
        """Whether no job would run, and nothing is out of date unnoticed."""
        idle = not any(outlook.jobs[0] for outlook in self.stages.values())
        return idle and not any(self.wells(stage, State.UNSEEN) for stage in self.stages)


def foretold(plate: Plate) -> Outlook:
    """What a run would do with a plate."""
    forecast = Forecast(plate, jobs_to_run(plate))
    return Outlook(plate, {stage: _outlook(forecast, stage, results) for stage, results in forecast.stages.items()})


def _outlook(forecast: Forecast, stage: str, results: Mapping[str, Expected]) -> StageOutlook:
    jobs = forecast.jobs[stage]
    why = tuple(dict.fromkeys(reason for reasons in jobs.values() for reason in reasons))
    scheduling = tuple(forecast.scheduling(stage)) if stage in BATCH_STAGES else ()
    return StageOutlook((len(jobs), len(batches_of(forecast.plate, stage))), why, results, scheduling)


def _chosen(workflow: Workflow, names: Sequence[str]) -> list[Plate]:
    """The plates that are asked for, by id or results folder."""
    ids = [Path(name).name for name in names]
    if unknown := [name for name in ids if name not in workflow.plates]:
        known = ", ".join(workflow.plates)
        raise ValueError(f"no plate {', '.join(unknown)} in {workflow.settings.plates}; it lists {known}")
    return [workflow.plates[name] for name in ids or workflow.plates]


def _as_json(told: Outlook) -> dict[str, Any]:
    """An outlook as JSON values: for each stage its jobs, and wells by what would become of them and why."""
    return {
        "nothing_to_do": told.nothing_to_do,
        "stages": {
            stage: {
                "jobs": {"run": outlook.jobs[0], "of": outlook.jobs[1], "reasons": list(outlook.why_jobs)},
                "scheduling": list(outlook.scheduling),
                "results": [
                    {"state": expected.state.value, "wells": wells, "reasons": list(expected.reasons)}
                    for expected, wells in outlook.groups.items()
                ],
            }
            for stage, outlook in told.stages.items()
        },
    }


def _as_text(told: Outlook) -> Iterator[str]:
    """An outlook as lines for a terminal."""
    plate = told.plate
    name = plate.name + (f" (analysis {plate.paths.analysis})" if plate.paths.analysis else "")
    if told.nothing_to_do:
        yield f"{name}: nothing to do{_quarantined(told)}"
        return
    running, jobs = (sum(outlook.jobs[place] for outlook in told.stages.values()) for place in (0, 1))
    yield f"{name}: {running} of {jobs} jobs would run"
    for stage, outlook in told.stages.items():
        yield f"  {stage:<10} {_counts(outlook, plate.wells)}"
        yield from (INDENT + line for line in _details(outlook, plate.wells))
    for stage in plate.batch_stages:
        if wells := told.wells(stage, State.UNSEEN):
            yield f"  No job looks at {stage} of {_named(wells, plate.wells)}: `wellpose reset` drops it"


def _quarantined(told: Outlook) -> str:
    """Wells that are left alone."""
    wells = [well for stage in told.plate.batch_stages for well in told.wells(stage, State.QUARANTINED)]
    named = _named(wells, told.plate.wells)
    return f"; quarantined: {named}, which --config retry_failed=true tries again" if wells else ""


def _counts(outlook: StageOutlook, plate: Sequence[str]) -> str:
    """How many wells would become what; of a stage that treats the plate as one, what becomes of it."""
    states: dict[State, list[str]] = {}
    for well, expected in outlook.results.items():
        states.setdefault(expected.state, []).append(well)
    if list(outlook.results) == [WHOLE_PLATE]:
        return ", ".join(states)
    return "; ".join(f"{state}: {_named(wells, plate)}" for state, wells in states.items())


def _named(wells: Sequence[str], plate: Sequence[str]) -> str:
    return f"{len(wells)} well{'' if len(wells) == 1 else 's'} ({spans(wells, plate)})"


def _details(outlook: StageOutlook, plate: Sequence[str]) -> Iterator[str]:
    """Why, and settings that recompute nothing."""
    groups = {told: wells for told, wells in outlook.groups.items() if told.reasons and told.state not in LEFT_ALONE}
    for expected, wells in groups.items():
        if len(groups) > 1:
            yield f"{expected.state}, {_named(wells, plate)}:"
        yield from (("  " if len(groups) > 1 else "") + _short(reason) for reason in expected.reasons)
    busy = groups or outlook.scheduling or not outlook.jobs[0]
    if not busy:
        yield f"its {outlook.jobs[0]} job(s) would run and compute nothing: {_short('; '.join(outlook.why_jobs))}"
    yield from (f"{change} ({_effect(change)})" for change in outlook.scheduling)


def _effect(change: str) -> str:
    """What a change of a setting that only portions the work does."""
    return f"{'jobs are cut anew; ' if '.wells_per_job' in change else ''}no well is computed again"


def _short(reason: str) -> str:
    return reason if len(reason) <= LONGEST else f"{reason[: LONGEST - 3]}..."
