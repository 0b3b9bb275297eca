"""What happens before the first job of a run."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path

import pytest

from pipeline_lib.core.deaths import Strike
from pipeline_lib.io.claims import FINISHED, Claim, read_claim
from pipeline_lib.io.locks import Taken, hold, is_held
from pipeline_lib.io.records import write_json
from pipeline_lib.launch import PlannedJob, clear_orders, lock_plates, told_load
from pipeline_lib.workflow import Workflow, load_workflow


def planned(folder: Path, **config: object) -> Workflow:
    """Two plates of six wells, two fields each, in batches of four."""
    for name in ("P1", "P2"):
        raw = folder / name
        raw.mkdir(exist_ok=True)
        for well in ("A01", "A02", "A03", "B01", "B02", "B03"):
            for field in (1, 2):
                (raw / f"{well}_s{field}_wDNA.tif").touch()
    sheet = folder / "plates.tsv"
    sheet.write_text("plate\tfolder\tformat\nP1\tP1\tpattern\nP2\tP2\tpattern\n")
    batches = {stage: {"wells_per_job": 4} for stage in ("ingest", "segment", "measure")}
    return load_workflow({"plates": str(sheet), "results": str(folder / "results"), **batches, **config})


JOBS = [PlannedJob("ingest", plate, batch) for plate in ("P1", "P2") for batch in ("A01-B01", "B02-B03")]


def test_every_plate_of_the_run_is_locked(tmp_path: Path) -> None:
    workflow = planned(tmp_path)
    locks = lock_plates(workflow, JOBS[:2])
    assert is_held(workflow.plates["P1"].paths.lock)
    assert not is_held(workflow.plates["P2"].paths.lock)
    for lock in locks:
        lock.close()


def test_all_plates_that_are_taken_are_named(tmp_path: Path) -> None:
    workflow = planned(tmp_path)
    with (
        hold(workflow.plates["P1"].paths.lock),
        hold(workflow.plates["P2"].paths.lock),
        pytest.raises(Taken, match=r"(?s)plate P1: another run .*plate P2: another run .*nothing has been started"),
    ):
        lock_plates(workflow, JOBS)


def quarantine(workflow: Workflow, batch: str, well: str) -> None:
    """A record with a quarantined well, and the claim of the jobs that died on it."""
    paths = workflow.plates["P1"].paths
    outcome = {"status": "quarantined", "kind": "out of memory", "reason": "..."}
    write_json(paths.record("ingest", batch), {"wells": {well: outcome}, "finished": "2026", "seconds": 1.0})
    strikes = (Strike(well, "F", "out of memory", 2),)
    claim = Claim("c", "h", 1, None, (well,), time.time(), time.time(), strikes=strikes, ended=FINISHED)
    write_json(paths.claim("ingest", batch), asdict(claim))


def test_orders_are_for_batches_with_quarantined_wells_and_new_every_time(tmp_path: Path) -> None:
    quarantine(planned(tmp_path), "A01-B01", "A02")
    plate = planned(tmp_path, retry_failed=True).plates["P1"]
    first = plate.to_retry("ingest", "A01-B01")
    assert first is not None
    assert plate.to_retry("ingest", "B02-B03") is None
    assert planned(tmp_path).plates["P1"].to_retry("ingest", "A01-B01") is None, "nobody asked"
    quarantine(planned(tmp_path), "A01-B01", "A02")
    assert plate.to_retry("ingest", "A01-B01") != first


def test_a_retry_gives_wells_that_jobs_died_on_new_tries(tmp_path: Path) -> None:
    workflow = planned(tmp_path, retry_failed=True)
    paths = workflow.plates["P1"].paths
    quarantine(workflow, "A01-B01", "A02")
    order = paths.retries / "ingest.A01-B01.old"
    order.parent.mkdir()
    order.touch()
    clear_orders(planned(tmp_path), JOBS)
    assert read_claim(paths.claim("ingest", "A01-B01")) is not None, "a plain run leaves them aside"
    assert not order.exists()
    clear_orders(workflow, JOBS)
    assert not paths.claim("ingest", "A01-B01").exists()


def test_the_load_is_told_from_earlier_jobs(tmp_path: Path) -> None:
    workflow = planned(tmp_path)
    wells = {well: {"status": "done"} for well in ("A01", "A02")}
    record = {"wells": wells, "finished": "2026", "seconds": 60.0}  # of 4 fields: 15 seconds each
    write_json(workflow.plates["P1"].paths.record("ingest", "A01-A02"), record)
    told = told_load(workflow, [*JOBS, PlannedJob("report", "P1", "")])
    assert told.startswith("Wellpose: 2 plate(s)")
    ingest = next(line for line in told.splitlines() if "ingest" in line)
    minutes = (2 * 6 * 2 * 15 + 4 * 10) / 60
    assert ingest.split() == ["ingest", "4", "12", f"{minutes:.1f}", f"{minutes / 4:.1f}", "60"]
    assert "(guess)" in next(line for line in told.splitlines() if "report" in line)
