"""What SLURM and Snakemake add to the work: 96 tiny wells, two slots, 16 wells per job. `make bench-slurm`.

Starts a SLURM of its own (as root), runs the plate through `snakemake --profile slurm` and writes
`tests/bench/results/slurm-overhead.json`: wall time, the work of all jobs by their records, what is left, and where
the time of a job goes. Exits with 1 where the overhead is not under the bar.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from statistics import mean
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from machine import write
from plates import REPOSITORY, Run, grow_cells
from slurm.cluster import Cluster, cluster_up, lacking

from pipeline_lib.io.records import read_records
from pipeline_lib.paths import BATCH_STAGES, PLATE_STAGES
from pipeline_lib.stages.synthesize import Drawing, synthesize

BAR = 0.30
SLOTS = 2  # GPUs for the network, and room in memory for two jobs on the node without one
MEMORY = 8000  # MB per node
INIT = 5  # seconds after which Snakemake first asks about jobs; profiles/slurm has a value for large clusters
PORTIONS = dict.fromkeys(BATCH_STAGES, "{wells_per_job: 16}")


@dataclass(frozen=True)
class Timing:
    """One job: its times in seconds since 1970. work: seconds by its record; SLURM's times are None for local jobs."""

    stage: str
    begun: float
    ended: float
    work: float
    submitted: float | None = None
    started: float | None = None
    over: float | None = None


def main() -> None:
    """Run the plate, and once before a small one, so that compiled functions are at hand."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", type=int, default=512, help="pixels along each side of a field")
    parser.add_argument("--fields", type=int, default=1)
    parser.add_argument("--init", type=int, default=INIT, help="seconds before the first look at jobs")
    parsed = parser.parse_args()
    if lack := lacking():
        sys.exit(lack)
    shape = Drawing("tiny", 8, 12, parsed.fields, parsed.size, parsed.size**2 / 3500, compounds=2, seed=3)
    shared = Path(os.environ.get("WELLPOSE_SHARED", REPOSITORY.parent / "shared"))
    with tempfile.TemporaryDirectory(prefix="overhead-") as folder, cluster_up(shared, MEMORY) as cluster:
        _warm(Path(folder) / "warm", shape)
        run = _drawn(Path(folder) / "plate", shape)
        wall = _timed(cluster, run, parsed.init)
        figures = _figures(wall, list(_timings(cluster, run)))
    wells = f"96 wells of {parsed.fields} field(s) of {parsed.size} x {parsed.size}"
    write(
        "slurm-overhead", {"plate": wells, "slots": SLOTS, "wells_per_job": 16, "init_seconds": parsed.init, **figures}
    )
    if figures["overhead"] >= BAR:
        sys.exit(f"overhead {figures['overhead']:.0%} is not under {BAR:.0%}")


def _drawn(folder: Path, shape: Drawing) -> Run:
    folder.mkdir()
    synthesize(folder, shape)
    grow_cells(folder)
    return Run(folder, settings=PORTIONS)


def _warm(folder: Path, shape: Drawing) -> None:
    run = _drawn(folder, replace(shape, rows=2, columns=3))
    done = run.snakemake()
    if done.returncode:
        sys.exit(done.stdout + done.stderr)


def _timed(cluster: Cluster, run: Run, init: int) -> float:
    """Wall seconds of `snakemake --profile slurm`, as it is but for the first look at jobs."""
    profile = ("--profile", "slurm", "--slurm-init-seconds-before-status-checks", str(init))
    on_slurm = replace(run, profile=profile, environment=cluster.environment)
    started = time.monotonic()
    done = on_slurm.snakemake()
    wall = time.monotonic() - started
    if done.returncode:
        sys.exit(done.stdout + done.stderr)
    return wall


def _timings(cluster: Cluster, run: Run) -> Iterable[Timing]:
    """What the records say of every job, and what SLURM says of it."""
    known = {}
    for line in cluster.call("squeue", "--noheader", "--states=all", "--format=%k|%V|%S|%e").splitlines():
        comment, *times = line.split("|")
        stage, _, wildcards = comment.removeprefix("rule_").partition("_wildcards_")
        known[stage, wildcards.rpartition("_")[2]] = [_seconds(text) for text in times]
    for stage in (*BATCH_STAGES, *PLATE_STAGES):
        for record in read_records(run.plate.records(stage)):
            begun, ended = _seconds(record["started"]), _seconds(record["finished"])
            batch = record["batch"] if stage in BATCH_STAGES else run.plate_name
            yield Timing(stage, begun, ended, record["seconds"], *known.get((stage, batch), ()))


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def _figures(wall: float, timings: list[Timing]) -> dict[str, Any]:
    work = sum(timing.work for timing in timings)
    by_stage = defaultdict(list)
    for timing in sorted(timings, key=lambda timing: timing.begun):
        by_stage[timing.stage].append(timing)
    return {
        "wall_seconds": round(wall, 1),
        "work_seconds": round(work, 1),
        "overhead": round((wall - work) / wall, 3),
        "overhead_against_work_by_slots": round((wall - work / SLOTS) / wall, 3),
        "seconds_without_any_work": round(wall - _covered(timings), 1),
        "stages": {stage: _of_stage(of_stage) for stage, of_stage in by_stage.items()},
    }


def _of_stage(timings: list[Timing]) -> dict[str, Any]:
    """Means over the jobs of a stage, in seconds."""
    told: dict[str, Any] = {"jobs": len(timings), "work": round(mean(timing.work for timing in timings), 1)}
    remote = [timing for timing in timings if timing.submitted is not None]
    if not remote:
        return {**told, "where": "local"}
    return {
        **told,
        "where": "SLURM",
        "queued": round(mean(timing.started - timing.submitted for timing in remote), 1),
        "start_up_of_snakemake_and_python": round(mean(timing.begun - timing.started for timing in remote), 1),
        "wind_down": round(mean(timing.over - timing.ended for timing in remote), 1),
        "first_submitted_to_last_over": round(
            max(timing.over for timing in remote) - min(timing.submitted for timing in remote), 1
        ),
    }


def _covered(timings: list[Timing]) -> float:
    """Seconds in which at least one job worked."""
    covered, until = 0.0, 0.0
    for timing in sorted(timings, key=lambda timing: timing.begun):
        covered += max(0.0, timing.ended - max(until, timing.begun))
        until = max(until, timing.ended)
    return covered


if __name__ == "__main__":
    main()
