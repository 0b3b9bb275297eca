"""Which jobs Snakemake would start and why, read from the records that jobs left.

What Snakemake itself compares lies in `.snakemake/` of the folder it was started in; the records tell the same,
wherever one stands.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from pathlib import Path
from typing import Any

from pipeline_lib.core.changes import changes
from pipeline_lib.io.records import read_json
from pipeline_lib.paths import BATCH_STAGES, RESTORING_STAGES, WHOLE_PLATE
from pipeline_lib.provenance import code_digest
from pipeline_lib.settings import Section
from pipeline_lib.workflow import Plate

BEFORE = {
    "skeleton": "",
    "illuminate": "skeleton",
    "ingest": "skeleton",
    "complete": "ingest",
    "calibrate": "complete",
    "prepare": "calibrate",
    "restore": "prepare",
    "segment": "calibrate",
    "measure": "segment",
    "aggregate": "measure",
    "report": "aggregate",
    "conclude": "restore",
}
"""Stage -> the stage whose records are the inputs of its rule, in the order of the workflow."""
SECTION = {
    "skeleton": "ingest",
    "illuminate": "ingest",
    "complete": "ingest",
    "calibrate": "segment",
    "prepare": "restore",
    "conclude": "restore",
}
"""Stage -> the config section it is handed, where that is not its own."""
READERS = ("segment", "measure")
"""Stages that may read restored images."""

Jobs = Mapping[str, Mapping[str, Sequence[str]]]
"""Stage -> batch -> why its job would run; batches whose job would not are left out."""


def section_name(stage: str) -> str:
    """The config section of a stage."""
    return SECTION.get(stage, stage)


def section_of(plate: Plate, stage: str) -> Section:
    """The settings that a stage is handed."""
    return plate.section(section_name(stage))


def stages_of(plate: Plate) -> list[str]:
    """The stages of a plate, in the order of the workflow."""
    there = {*plate.batch_stages, *plate.plate_stages}
    return [stage for stage in BEFORE if stage in there]


def batches_of(plate: Plate, stage: str) -> dict[str, tuple[str, ...]]:
    """Batch -> wells of its job, for any stage."""
    return plate.batches(stage) if stage in BATCH_STAGES else {WHOLE_PLATE: plate.wells}


def jobs_to_run(plate: Plate) -> Jobs:
    """The jobs that a run would start for a plate."""
    jobs = _jobs(plate, {})
    again = _restored_again(plate, jobs)
    return _jobs(plate, again) if again else jobs


def _jobs(plate: Plate, again: Mapping[str, str]) -> Jobs:
    """again: batches of restore that run whatever their records say -> why."""
    jobs: dict[str, dict[str, Sequence[str]]] = {}
    for stage in stages_of(plate):
        reasons = {batch: _reasons(plate, stage, batch, jobs) for batch in batches_of(plate, stage)}
        if stage == "restore":
            reasons = {batch: why or ([again[batch]] if batch in again else []) for batch, why in reasons.items()}
        jobs[stage] = {batch: why for batch, why in reasons.items() if why}
    return jobs


def _restored_again(plate: Plate, jobs: Jobs) -> dict[str, str]:
    """Batches whose restored images were temporary and are needed by the jobs that run -> why they are made again."""
    if plate.settings.restore.keep is True:
        return {}
    return {
        Path(ready).name: f"because {stage} after it runs, and its images were temporary"
        for stage in READERS
        for batch in jobs[stage]
        for ready in plate.restored_for(stage, batch)
        if not Path(ready).exists()
    }


def code_change(stage: str, old: str | None) -> list[str]:
    """What to tell if the code of a stage is no longer the one with this digest."""
    new = code_digest(stage)
    return [f"code of {stage} changed: {old} -> {new}"] if old != new else []


def weights_changes(old: Mapping[str, str], new: Mapping[str, str]) -> list[str]:
    """What to tell of networks whose weights are others than before. old, new: label image -> SHA-256."""
    return [
        f"weights of {label} replaced: {old[label][:12]} -> {checksum[:12]}"
        for label, checksum in new.items()
        if label in old and old[label] != checksum
    ]


def weights_for(plate: Plate, stage: str) -> dict[str, str]:
    """Label image or channel -> checksum of the weights a stage uses for it."""
    if stage == "calibrate":
        return plate.calibrating_weights
    return plate.restoring_weights if stage in RESTORING_STAGES else plate.weights


def _reasons(plate: Plate, stage: str, batch: str, jobs: Jobs) -> list[str]:
    """Why the job of a batch would run; `jobs`: those of the stages before."""
    path = plate.paths.record(stage, batch)
    record = read_json(path)
    if not record:
        return ["no record yet"]
    inputs, before = _inputs(plate, stage, batch), BEFORE[stage]
    later = {name for name, file in inputs.items() if _time(file) > _time(path)}
    return [
        *_changes(plate, stage, batch, record),
        *(f"{file.name} is missing" for file in _results(plate, stage) if not file.exists()),
        *(["the list of images or the plate map changed"] if {"manifest", "plate map"} & later else []),
        *(_because(before, inputs, later, jobs) if before else []),
        *_because_of_others(plate, stage, batch, jobs),
        *(["quarantined wells are tried again"] if stage in BATCH_STAGES and plate.to_retry(stage, batch) else []),
    ]


def _because(before: str, files: Iterable[str], later: Set[str], jobs: Jobs) -> list[str]:
    """Why a job runs for the sake of a stage before it. files: names of its inputs; later: those newer than it."""
    if any(name in jobs[before] for name in files):
        return [f"because {before} before it runs"]
    return [f"because {before} before it has run since"] if later - {"manifest", "plate map"} else []


def _because_of_others(plate: Plate, stage: str, batch: str, jobs: Jobs) -> list[str]:
    """The same for stages beside the one of `BEFORE`: restored images, and the last of their readers."""
    made = plate.paths.record(stage, batch)
    records: dict[str, list[str]] = {}
    if stage in READERS:
        records = {"restore": plate.restored_for(stage, batch)}
    elif stage == "report" and plate.settings.restore.is_on:
        records = {"restore": plate.records("restore")}
    elif stage == "conclude":
        records = {"report": plate.last_readers}
    return [
        why
        for before, paths in records.items()
        for why in _because(
            before, [Path(p).stem for p in paths], {p for p in paths if _time(Path(p)) > _time(made)}, jobs
        )
    ]


def _changes(plate: Plate, stage: str, batch: str, record: Mapping[str, Any]) -> list[str]:
    """What differs between a record and the parameters its job would have now."""
    settings = section_of(plate, stage).told()
    wells = set(batches_of(plate, stage)[batch])
    return [
        *changes(record["settings"], settings, section_name(stage)),
        *code_change(stage, record["code"]),
        *weights_changes(record.get("weights", {}), weights_for(plate, stage) if "weights" in record else {}),
        *(["its wells are other ones"] if wells != set(record.get("wells", wells)) else []),
    ]


def _inputs(plate: Plate, stage: str, batch: str) -> dict[str, Path]:
    """Name -> file of what the job of a batch reads; records of the stage before are named by their batches."""
    before = BEFORE[stage]
    records = {name: plate.paths.record(before, name) for name in batches_of(plate, before)} if before else {}
    if stage == "measure":
        shared = set(plate.records_sharing(before, stage, batch))
        records = {name: path for name, path in records.items() if str(path) in shared}
    given = {"plate map": plate.plate_map} if stage == "aggregate" and plate.plate_map else {}
    if stage == "ingest" and plate.light:
        given = {"illumination": Path(plate.light[0])}
    return {"manifest": plate.paths.manifest, **given, **records}


def _results(plate: Plate, stage: str) -> tuple[Path, ...]:
    """What else the rule of a stage promises beside its record."""
    report = plate.paths.report
    tables = tuple(path for path in plate.paths.results if path != report)
    return {"aggregate": tables, "report": (report,)}.get(stage, ())


def _time(path: Path) -> int:
    """Modification time in ns; 0 for a file that is not there, whose own job runs."""
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return 0
