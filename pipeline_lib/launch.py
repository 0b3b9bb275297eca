"""What happens once, before the first job of a run: plates are locked, old orders cleared, the load told.

Standard library and pydantic only, like `workflow`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import NamedTuple, TextIO

from pipeline_lib.core.forecast import Load, forecast, seconds_per_field
from pipeline_lib.core.needs import NEEDS
from pipeline_lib.io.claims import forget_strikes
from pipeline_lib.io.locks import Taken, hold
from pipeline_lib.io.records import read_json
from pipeline_lib.paths import BATCH_STAGES, PLATE_STAGES
from pipeline_lib.workflow import Plate, Workflow

LOOKED_AT = 20  # records per stage and plate from which the time of a field is taken


class PlannedJob(NamedTuple):
    """A job of the run that begins. batch: of batch stages, else empty."""

    stage: str
    plate: str
    batch: str


def lock_plates(workflow: Workflow, jobs: Iterable[PlannedJob]) -> list[TextIO]:
    """Lock every plate that a job works on, for as long as this process lives.

    Raises:
        Taken: Another run works on one of them; the message names all such plates.
    """
    held, taken = [], []
    for name in sorted({job.plate for job in jobs}):
        try:
            held.append(hold(workflow.plates[name].paths.lock))
        except Taken as error:
            taken.append(f"plate {name}: another run works on it: {error}")
    if taken:
        raise Taken("\n".join([*taken, "Wait for it, or stop it; nothing has been started."]))
    return held


def clear_orders(workflow: Workflow, jobs: Sequence[PlannedJob]) -> None:
    """Drop the retry orders of earlier runs; where this run retries, wells that jobs died on get new tries."""
    for name in {job.plate for job in jobs}:
        folder = workflow.plates[name].paths.retries
        for order in folder.iterdir() if folder.is_dir() else ():
            order.unlink()
    for job in jobs:
        if job.batch and workflow.plates[job.plate].to_retry(job.stage, job.batch):
            forget_strikes(workflow.plates[job.plate].paths.claim(job.stage, job.batch))


def told_load(workflow: Workflow, jobs: Sequence[PlannedJob]) -> str:
    """How many jobs of which stage, and how long they will take."""
    loads = [_load(workflow, stage, [job for job in jobs if job.stage == stage]) for stage in NEEDS]
    present = [load for load in loads if load.jobs]
    plates = [workflow.plates[name] for name in sorted({job.plate for job in jobs})]
    measured = {load.stage: took for load in present if (took := _measured(plates, load.stage)) is not None}
    return f"Wellpose: {len(plates)} plate(s)\n{forecast(present, measured)}"


def _load(workflow: Workflow, stage: str, jobs: Sequence[PlannedJob]) -> Load:
    wells = fields = 0
    for job in jobs:
        plate = workflow.plates[job.plate]
        of_job = plate.batches(stage)[job.batch] if stage in BATCH_STAGES else plate.wells
        fields += len(of_job) * plate.fields
        wells += len(of_job) if stage in BATCH_STAGES else 0
    return Load(stage, len(jobs), wells, fields)


def _measured(plates: Sequence[Plate], stage: str) -> float | None:
    """Seconds per field in earlier jobs of a stage."""
    told = []
    for plate in plates:
        for path in islice(plate.paths.records(stage).glob("*.json"), LOOKED_AT):
            record = read_json(path)
            outcomes = record.get("wells", {}).values()
            done = sum(outcome["status"] == "done" for outcome in outcomes)
            wells = len(plate.wells) if stage in PLATE_STAGES else done
            if wells:
                told.append({"seconds": record["seconds"], "fields": wells * plate.fields})
    return seconds_per_field(told)
