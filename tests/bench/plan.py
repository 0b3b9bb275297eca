"""Seconds and memory of `snakemake -n` on plates of 384 wells, 9 fields and 4 channels. `make bench-plan`.

Writes `tests/bench/results/plan.json`: per number of plates, wall seconds with the manifests still to be made and with
them at hand, and peak memory in MB. Exits with 1 where a bound is not kept.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from machine import write
from plates import Run, fake_plate, list_plates

BOUNDS = {20: (20.0, 1024.0), 100: (120.0, None)}  # plates -> (seconds of the first dry run, MB)
COUNTS = (1, 20, 100)


def main() -> None:
    """Time two dry runs for each number of plates."""
    figures = [_planned(count) for count in COUNTS]
    broken = [row for row in figures if not _within(row)]
    write("plan", {"plates_of_384_wells": figures, "bounds": "20 plates: 20 s, 1 GiB; 100 plates: 120 s"})
    if broken:
        sys.exit(f"bound not kept: {broken}")


def _planned(count: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        run = fake_plate(Path(folder), rows=16, columns=24, fields=9)
        list_plates(run.folder, [f"plate{number:03}" for number in range(count)])
        (first, most), (later, memory) = _dry_run(run), _dry_run(run)
    return {
        "plates": count,
        "first_seconds": round(first, 2),
        "later_seconds": round(later, 2),
        "later_seconds_per_plate": round(later / count, 3),
        "peak_memory_mb": round(max(most, memory), 1),
    }


def _within(row: dict[str, Any]) -> bool:
    seconds, memory = BOUNDS.get(row["plates"], (None, None))
    return (seconds is None or row["first_seconds"] < seconds) and (memory is None or row["peak_memory_mb"] < memory)


def _dry_run(run: Run) -> tuple[float, float]:
    """Wall seconds and peak memory in MB."""
    started = time.monotonic()
    with subprocess.Popen(
        run.command("-n", "--quiet"), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=run.variables
    ) as process:
        assert process.stdout is not None
        told = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)  # of this process alone, unlike the sum over all children
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(told)
    return time.monotonic() - started, usage.ru_maxrss / 1024


if __name__ == "__main__":
    main()
