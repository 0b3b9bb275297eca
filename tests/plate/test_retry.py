"""Quarantined wells tried again, and two runs that meet on one plate, as a user sees them."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from plates import WELL_STAGES, Run

from pipeline_lib.io.claims import read_claims
from pipeline_lib.io.locks import is_held
from pipeline_lib.io.records import well_outcomes

pytestmark = pytest.mark.plate
MEASURED = {"measure": "{features: [shape]}"}


def planned(run: Run, **config: str) -> dict[str, int]:
    """Rule -> jobs a dry run would start."""
    told = run.snakemake("-n", **config)
    assert told.returncode == 0, told.stdout + told.stderr
    counts = re.findall(r"^(\w+) +(\d+)$", told.stdout, flags=re.MULTILINE)
    return {rule: int(count) for rule, count in counts if rule not in ("all", "total")}


def contents(folder: Path) -> dict[str, tuple[int, int]]:
    """Every file below a folder with its size and time."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in files}


def test_quarantined_wells_are_tried_again_on_request_and_only_they(draw_plate: Callable[[int, int], Run]) -> None:
    run = draw_plate(2, 3).having(**MEASURED)
    raw = run.folder / "raw"
    bad, cut = "A02", raw / "A02_s1_wGFP.tif"
    whole = cut.read_bytes()
    cut.write_bytes(whole[: len(whole) // 2])
    assert run.snakemake().returncode == 0
    assert well_outcomes(run.plate.records("ingest"))[bad]["status"] == "quarantined"
    cut.write_bytes(whole)
    assert planned(run) == {}
    before = contents(run.folder / "results")
    chain = dict.fromkeys(("ingest", "complete", "calibrate", "segment", "measure", "aggregate", "report"), 1)
    assert planned(run, retry_failed="true") == {"retry": 1, **chain}
    assert contents(run.folder / "results") == before
    done = run.snakemake(retry_failed="true")
    assert done.returncode == 0, done.stderr
    for stage in WELL_STAGES:
        statuses = {well: outcome["status"] for well, outcome in well_outcomes(run.plate.records(stage)).items()}
        assert statuses.pop(bad) == "done"
        assert set(statuses.values()) == {"current"}
    wells = pd.read_parquet(run.plate.wells_parquet)
    assert set(wells["Metadata_Status"]) == {"done"}
    assert planned(run) == planned(run, retry_failed="true") == {}


def test_a_second_run_on_the_plate_is_refused(draw_plate: Callable[[int, int], Run]) -> None:
    run = draw_plate(2, 3).having(**MEASURED)
    with run.started() as first:
        deadline = time.monotonic() + 120
        while not is_held(run.plate.lock):
            assert first.poll() is None, run.told
            assert time.monotonic() < deadline
            time.sleep(0.1)
        second = run.snakemake()
        assert second.returncode != 0
        assert re.search(rf"plate tiny: another run works on it: .* is held by process {first.pid} on", second.stderr)
        assert run.snakemake("-n").returncode == 0, "a dry run changes nothing and is not refused"
        assert first.wait(300) == 0
    assert planned(run) == {}
    assert not is_held(run.plate.lock)
    assert all(read_claims(run.plate.claims(stage)) == [] for stage in WELL_STAGES)
