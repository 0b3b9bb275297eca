"""Why a committed result is not the one that is wanted: settings, code, weights, raw files, calibration."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from pipeline_lib.core.changes import changes
from pipeline_lib.io.ngff import PlateInfo
from pipeline_lib.io.plate import OURS, read_attributes
from pipeline_lib.io.records import read_json, read_records
from pipeline_lib.paths import WHOLE_PLATE
from pipeline_lib.provenance import fingerprint
from pipeline_lib.settings import MeasureSettings, RestoreSettings, SegmentSettings
from pipeline_lib.stages._job import Job
from pipeline_lib.stages.diff.reruns import code_change, section_name, section_of, weights_changes, weights_for
from pipeline_lib.stages.diff.stored import stored_provenance
from pipeline_lib.stages.measure import Measure
from pipeline_lib.stages.restore import Restore
from pipeline_lib.stages.segment import Segment
from pipeline_lib.workflow import Plate

NAMED = 3  # raw files that are told by name
NOTHING_THERE = "nothing there yet"
INPUTS = {
    "restore": "raw images, or by another preparation,",
    "segment": "images, or by another calibration,",
    "measure": "labels or images",
}


Work = Restore | Segment | Measure


@dataclass(frozen=True)
class AsMade(Job):
    """A job with the code and settings that made a result: where its fingerprint is another one, the inputs are."""

    code: str = ""
    identity: Mapping[str, Any] = field(default_factory=dict)

    def fingerprint(self, **inputs: object) -> str:
        return fingerprint(code=self.code, settings=self.identity, inputs=inputs)


def job_of(plate: Plate, stage: str) -> Job:
    """A job as a run would start it, good for asking about fingerprints."""
    return Job(stage, plate.paths, section_of(plate, stage), plate.paths.record(stage, WHOLE_PLATE))


def work_of(job: Job) -> Work:
    """How a stage that reads earlier results deals with one well."""
    if isinstance(job.settings, RestoreSettings):
        return Restore(job, job.settings)
    if isinstance(job.settings, SegmentSettings):
        return Segment(job, job.settings)
    assert isinstance(job.settings, MeasureSettings)
    return Measure(job, job.settings)


@dataclass(frozen=True)
class Why:
    """Reasons for one plate. info: what its skeleton will say of it."""

    plate: Plate
    info: PlateInfo

    def ingested(self, well: str) -> list[str]:
        """Why a well would be converted again."""
        return self.own("ingest", well) or self._raw_changes(well)

    def chosen(self, stage: str, kept: Path) -> list[str]:
        """Why calibrate or prepare would choose anew what it keeps in a file."""
        record = read_json(self.plate.paths.record(stage, WHOLE_PLATE))
        if not record or not kept.exists():
            return [f"no {kept.stem} yet"]
        identity = section_of(self.plate, stage).identity()
        old = {key: value for key, value in record["settings"].items() if key in identity}
        return [
            *changes(old, identity, section_name(stage)),
            *code_change(stage, record["code"]),
            *self._replaced_weights(stage),
        ] or [f"the plate is {'described' if stage == 'calibrate' else 'calibrated'} anew before it"]

    def made(self, stage: str, well: str) -> list[str]:
        """Why a well of a stage that reads earlier results would be made again, while those stay as they are."""
        return self.own(stage, well) or [f"made from other {INPUTS[stage]} than there are now"]

    def own(self, stage: str, well: str) -> list[str]:
        """Settings, code and weights that are no longer those by which a result was made; that there is none."""
        made = stored_provenance(stage, self.plate.paths, well)
        if not made:
            return [NOTHING_THERE]
        return [
            *changes(made["settings"], section_of(self.plate, stage).identity(), section_name(stage)),
            *code_change(stage, made["code"]),
            *(self._replaced_weights(stage) if stage in ("restore", "segment") else []),
        ]

    def is_certain(self, stage: str, well: str) -> bool:
        """Whether a result will be out of date as soon as its inputs change.

        One that was made from older inputs than there are now might be what is wanted again; that shows only when the
        new inputs are there.
        """
        made = stored_provenance(stage, self.plate.paths, well)
        work = self._as_made(stage, made["code"], json.dumps(made["settings"]))
        return bool(work.wanted(well) == made["fingerprint"])

    @cached_property
    def _as_made(self) -> Callable[[str, str, str], Work]:
        """(stage, code, settings as JSON) -> its work, kept because it reads weights and calibration once."""

        @cache
        def work(stage: str, code: str, settings: str) -> Work:
            paths, section = self.plate.paths, section_of(self.plate, stage)
            record = paths.record(stage, WHOLE_PLATE)
            return work_of(AsMade(stage, paths, section, record, code=code, identity=json.loads(settings)))

        return work

    def _replaced_weights(self, stage: str) -> list[str]:
        """Networks of a stage whose weights are no longer those of its newest record."""
        records = read_records(self.plate.paths.records(stage))
        return weights_changes(records[-1].get("weights", {}), weights_for(self.plate, stage)) if records else []

    def _raw_changes(self, well: str) -> list[str]:
        """Raw files of a well that changed after it was committed, and what is now told of its plate."""
        committed = (self.plate.paths.raw_well(well) / "zarr.json").stat().st_mtime_ns
        folder = Path(self.plate.manifest.folder)
        times = {file.path: _changed_at(folder / file.path) for file in self.plate.manifest.of_well(well)}
        gone = [path for path, time in times.items() if time is None]
        newer = [path for path, time in times.items() if time is not None and time > committed]
        stored = read_attributes(self.plate.paths.raw).get(OURS, {}).get("info")
        told = PlateInfo.from_json(stored).of_wells() if stored else {}
        return [
            *([f"raw files are gone: {_some(gone)}"] if gone else []),
            *([f"raw files changed: {_some(newer)}"] if newer else []),
            *changes(told, self.info.of_wells(), "plate"),
        ] or ["made from other raw files than there are now"]


def _changed_at(path: Path) -> int | None:
    """When a file or its name last changed, in ns; copies keep their modification time, but not this one."""
    try:
        return path.stat().st_ctime_ns
    except FileNotFoundError:
        return None


def _some(paths: Sequence[str]) -> str:
    """The first of many files."""
    more = f" and {len(paths) - NAMED} more" if len(paths) > NAMED else ""
    return ", ".join(paths[:NAMED]) + more
