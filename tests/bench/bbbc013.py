"""The real plate BBBC013, end to end: counts, Z', dose response, time, memory. `make bench-bbbc013`.

Runs the workflow as a user would, in a folder of its own, for each way: with cells as a network sees them, the same on
restored images, and as rings grown around the nuclei; or only the ways that are named as arguments. Writes
`tests/bench/results/bbbc013.json`.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pandas as pd
from scipy.stats import spearmanr

sys.path.insert(0, str(Path(__file__).parents[1]))

from plates import REPOSITORY, Run

from pipeline_lib.io.records import read_records
from pipeline_lib.provenance import software

FEATURE = "Cells_Intensity_Log2NucleusCytoplasmRatio_GFP"
SHEET = "plate\tfolder\tformat\tplate_map\toverrides\nbbbc013\t{0}\tpattern\t{0}/platemap.csv\t{1}\n"
EXAMPLES = REPOSITORY / "config" / "examples"
WAYS = {
    "network": EXAMPLES / "bbbc013.yaml",
    "restored": EXAMPLES / "bbbc013-restored.yaml",
    "grown": EXAMPLES / "bbbc013-grown.yaml",
}  # how cells are found
CLASSICAL = 0.825  # Z' of the published analyses without networks
STAGES = (
    *("skeleton", "ingest", "complete", "calibrate", "prepare", "restore"),
    *("segment", "measure", "aggregate", "report", "conclude"),
)
RESULT = Path(__file__).parent / "results" / "bbbc013.json"


def main() -> None:
    """Run the plate the ways that are asked for, and write the figures beside those of the others."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("ways", nargs="*", default=list(WAYS), choices=WAYS)
    ways = parser.parse_args().ways
    shared = os.environ.get("WELLPOSE_SHARED", REPOSITORY.parent / "shared")
    raw = Path(shared).resolve() / "data" / "plates" / "bbbc013"
    before = json.loads(RESULT.read_text(encoding="utf-8")) if RESULT.exists() else {}
    kept = {way: before[way] for way in WAYS if way in before}
    found = {way: {**_run(raw, WAYS[way]), "cores": os.cpu_count(), "software": software()} for way in ways}
    figures = {**kept, **found, "classical_z_prime": CLASSICAL}
    RESULT.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    sys.stdout.write(json.dumps(figures, indent=1) + "\n")


def _run(raw: Path, overrides: Path) -> dict[str, Any]:
    """The plate from raw files to the report, and once more, when nothing is to be done."""
    with tempfile.TemporaryDirectory() as folder:
        run = Run(Path(folder), plate_name="bbbc013")
        (run.folder / "plates.tsv").write_text(SHEET.format(raw, overrides), encoding="utf-8")
        started = time.monotonic()
        done = run.snakemake()
        seconds = time.monotonic() - started
        if done.returncode:
            sys.exit(done.stdout + done.stderr)
        again = run.snakemake()
        idle = "Nothing to be done" in again.stdout + again.stderr
        return {"minutes": round(seconds / 60, 2), "second_run_idle": idle, **_figures(run)}


def _figures(run: Run) -> dict[str, Any]:
    wells = pd.read_parquet(run.plate.wells_parquet)
    scores = pd.read_csv(run.plate.z_prime).set_index("Feature")["ZPrime"]
    series = wells["Metadata_Row"].map(lambda row: "A-D" if row <= 4 else "E-H")
    curves = wells[wells["Metadata_Dose"] > 0].groupby([series, "Metadata_Dose"])[FEATURE].mean()
    found = {stage: read_records(run.plate.records(stage)) for stage in STAGES}
    records = {stage: of_stage for stage, of_stage in found.items() if of_stage}
    seconds = {stage: sum(record["seconds"] for record in of_stage) for stage, of_stage in records.items()}
    return {
        "wells_done": int((wells["Metadata_Status"] == "done").sum()),
        "nuclei": int(wells["Count_Nuclei"].sum()),
        "z_prime": round(float(scores[FEATURE]), 3),
        "best_z_prime": {str(name): round(float(score), 3) for name, score in scores.nlargest(5).items()},
        "dose_means": {str(name): curve.round(3).tolist() for name, curve in curves.groupby(level=0)},
        "dose_rank_correlation": {
            str(name): round(float(spearmanr(curve.index.get_level_values(1), curve).statistic), 3)
            for name, curve in curves.groupby(level=0)
        },
        "peak_memory_mib": {stage: max(r["peak_memory_mb"] for r in found) for stage, found in records.items()},
        "job_seconds": {stage: round(spent, 1) for stage, spent in seconds.items()},
        "seconds_per_field": {
            stage: round(seconds[stage] / len(wells), 2) for stage in ("restore", "segment") if stage in seconds
        },
    }


if __name__ == "__main__":
    main()
