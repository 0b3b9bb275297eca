"""How many jobs a run will submit and how long they will take, before the first one starts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipeline_lib.core.needs import NEEDS


@dataclass(frozen=True)
class Load:
    """The jobs of one stage: how many, with how many fields of wells in all."""

    stage: str
    jobs: int
    wells: int
    fields: int


def seconds_per_field(records: Sequence[Mapping[str, float]]) -> float | None:
    """What earlier jobs of a stage took; None where there is none. records: their `seconds` and `fields` made."""
    fields = sum(record["fields"] for record in records)
    return sum(record["seconds"] for record in records) / fields if fields else None


def forecast(loads: Sequence[Load], measured: Mapping[str, float]) -> str:
    """A table of jobs and minutes. measured: stage -> seconds per field of earlier jobs; others are guessed.

    Minutes are job time, what SLURM counts: with n jobs at once it passes n times as fast.
    """
    rows = [("stage", "jobs", "wells", "minutes", "per job", "at most")]
    total, on_gpu = 0.0, 0.0
    for load in loads:
        need = NEEDS[load.stage]
        seconds = load.fields * measured.get(load.stage, need.seconds_per_field) + load.jobs * START
        total += seconds
        on_gpu += seconds * need.gpu
        known = "" if load.stage in measured else " (guess)"
        rows.append((
            load.stage, f"{load.jobs:,}", f"{load.wells:,}" if load.wells else "",
            _minutes(seconds), _minutes(seconds / load.jobs) + known, f"{need.minutes}",
        ))  # fmt: skip
    widths = [max(len(row[index]) for row in rows) for index in range(len(rows[0]))]
    table = ["  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    jobs = sum(load.jobs for load in loads)
    said = f"{jobs:,} jobs, about {_minutes(total)} minutes of job time, {_minutes(on_gpu)} of them in network jobs"
    return "\n".join([*(f"  {line}" for line in table), f"  {said}"])


START = 10.0  # seconds a job takes before its work begins: Snakemake, Python, libraries


def _minutes(seconds: float) -> str:
    minutes = seconds / 60
    return f"{minutes:.1f}" if minutes < 10 else f"{minutes:,.0f}"
