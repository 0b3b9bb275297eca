"""How long `snakemake -n` takes on one 384-well plate of 9 fields and 4 channels. `make bench-plan`.

Writes `tests/bench/results/plan.json`: seconds with the manifest still to be made, and with it at hand.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from plates import Run, fake_plate

RESULT = Path(__file__).parent / "results" / "plan.json"


def main() -> None:
    """Time the first and the second dry run."""
    with tempfile.TemporaryDirectory() as folder:
        run = fake_plate(Path(folder), rows=16, columns=24, fields=9)
        times = [_dry_run(run) for _ in range(3)]
    figures = {"first_seconds": times[0], "later_seconds": min(times[1:])}
    RESULT.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    sys.stdout.write(json.dumps(figures, indent=1) + "\n")


def _dry_run(run: Run) -> float:
    started = time.monotonic()
    planned = run.snakemake("-n", "--quiet")
    if planned.returncode:
        sys.exit(planned.stdout + planned.stderr)
    return round(time.monotonic() - started, 2)


if __name__ == "__main__":
    main()
