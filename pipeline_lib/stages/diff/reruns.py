"""Which jobs Snakemake would start and why, read from the records that jobs left.

What Snakemake itself compares lies in `.snakemake/` of the folder it was started in; the records tell the same,
wherever one stands.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline_lib.core.changes import changes
from pipeline_lib.io.records import read_json
from pipeline_lib.paths import BATCH_STAGES, WHOLE_PLATE
from pipeline_lib.provenance import code_digest
from pipeline_lib.settings import Section
from pipeline_lib.workflow import Plate

BEFORE = {
    "skeleton": "",
    "ingest": "skeleton",
    "complete": "ingest",
    "calibrate": "complete",
    "segment": "calibrate",
    "measure": "segment",
    "aggregate": "measure",
    "report": "aggregate",
}
"""Stage -> the stage whose records are the inputs of its rule, in the order of the workflow."""
SECTION = {"skeleton": "ingest", "complete": "ingest", "calibrate": "segment"}
"""Stage -> the config section it is handed, where that is not its own."""

Jobs = Mapping[str, Mapping[str, Sequence[str]]]
"""Stage -> batch -> why its job would run; batches whose job would not are left out."""


def section_name(stage: str) -> str:
    """The config section of a stage."""
    return SECTION.get(stage, stage)


def section_of(plate: Plate, stage: str) -> Section:
    """The settings that a stage is handed."""
    return plate.section(section_name(stage))


def batches_of(plate: Plate, stage: str) -> dict[str, tuple[str, ...]]:
    """Batch -> wells of its job, for any stage."""
    return plate.batches(stage) if stage in BATCH_STAGES else {WHOLE_PLATE: plate.wells}


def jobs_to_run(plate: Plate) -> Jobs:
    """The jobs that a run would start for a plate."""
    jobs: dict[str, dict[str, Sequence[str]]] = {}
    for stage in BEFORE:
        reasons = {batch: _reasons(plate, stage, batch, jobs) for batch in batches_of(plate, stage)}
        jobs[stage] = {batch: why for batch, why in reasons.items() if why}
    return jobs


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


def _reasons(plate: Plate, stage: str, batch: str, jobs: Jobs) -> list[str]:
    """Why the job of a batch would run; `jobs`: those of the stages before."""
    path = plate.paths.record(stage, batch)
    record = read_json(path)
    if not record:
        return ["no record yet"]
    inputs, before = _inputs(plate, stage, batch), BEFORE[stage]
    later = [name for name, file in inputs.items() if _time(file) > _time(path)]
    running = any(name in jobs[before] for name in inputs) if before else False
    return [
        *_changes(plate, stage, batch, record),
        *(f"{file.name} is missing" for file in _results(plate, stage) if not file.exists()),
        *(["the list of images or the plate map changed"] if {"manifest", "plate map"} & set(later) else []),
        *(
            [f"because {before} before it has run since"]
            if set(later) - {"manifest", "plate map"} and not running
            else []
        ),
        *([f"because {before} before it runs"] if running else []),
        *(["quarantined wells are tried again"] if stage in BATCH_STAGES and plate.to_retry(stage, batch) else []),
    ]


def _changes(plate: Plate, stage: str, batch: str, record: Mapping[str, Any]) -> list[str]:
    """What differs between a record and the parameters its job would have now."""
    settings = section_of(plate, stage).told()
    wells = set(batches_of(plate, stage)[batch])
    return [
        *changes(record["settings"], settings, section_name(stage)),
        *code_change(stage, record["code"]),
        *weights_changes(record.get("weights", {}), plate.weights if "weights" in record else {}),
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
