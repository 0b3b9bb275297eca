"""What a run would make anew, foretold from records, attributes and file times: no array is read.

A job skips every well whose fingerprint is as wanted, so two questions are asked of each well: does the job of its
batch run, and is its fingerprint another one? The stages answer the second themselves (`wanted`, `stored`); what a
stage before would change first is followed through.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Any

from pipeline_lib.core.changes import changes
from pipeline_lib.core.errors import DataTrouble
from pipeline_lib.io.ngff import PlateInfo
from pipeline_lib.io.plate import OURS, read_attributes, read_layout, stored_fingerprint
from pipeline_lib.io.records import read_json, read_records, well_outcomes
from pipeline_lib.paths import WHOLE_PLATE
from pipeline_lib.settings import RestoreSettings
from pipeline_lib.stages._folders import deleted_wells
from pipeline_lib.stages.calibrate import calibration
from pipeline_lib.stages.diff.reruns import Jobs, batches_of, section_name, section_of, stages_of
from pipeline_lib.stages.diff.why import NOTHING_THERE, Why, Work, job_of, work_of
from pipeline_lib.stages.ingest import Ingest
from pipeline_lib.stages.prepare import preparation
from pipeline_lib.stages.skeleton import plate_info, with_kept_windows
from pipeline_lib.workflow import Plate

WELL_BEFORE = {"restore": "ingest", "segment": "ingest", "measure": "segment"}
"""Stage -> the stage whose result of the same well it reads."""


class State(StrEnum):
    """What would become of a result. The values are what people read."""

    ANEW = "anew"
    PERHAPS = "perhaps anew"
    CURRENT = "current"
    RETRIED = "quarantined, tried again"
    LOST = "would be quarantined"
    QUARANTINED = "quarantined"
    ABSENT = "without input"
    UNSEEN = "out of date, but no job would look"


@dataclass(frozen=True)
class Expected:
    """What would become of the result of a stage for one well, or for the plate, and why."""

    state: State
    reasons: tuple[str, ...] = ()


CHANGING = {State.ANEW, State.PERHAPS}
CURRENT = Expected(State.CURRENT)
ABSENT = Expected(State.ABSENT)


@dataclass(frozen=True)
class Forecast:
    """What would become of every result of a plate. jobs: those that would run."""

    plate: Plate
    jobs: Jobs

    @cached_property
    def stages(self) -> dict[str, dict[str, Expected]]:
        """Stage -> well, or "plate" where a stage treats a plate as one -> what would become of it, in order."""
        known = {
            "ingest": self._ingested,
            "calibrate": {WHOLE_PLATE: self._calibrated},
            **({"prepare": {WHOLE_PLATE: self._prepared}, "restore": self._restored} if self._restores else {}),
            "segment": {well: self._made("segment", well, self._images("segment", well)) for well in self.plate.wells},
        }
        known["measure"] = {
            well: self._made("measure", well, self._measured_from(labels, well))
            for well, labels in known["segment"].items()
        }
        return {stage: known.get(stage) or {WHOLE_PLATE: self._whole(stage)} for stage in stages_of(self.plate)}

    def scheduling(self, stage: str) -> list[str]:
        """Settings that only say how the work is portioned, where they differ from those of the newest record."""
        records = read_records(self.plate.paths.records(stage))
        section = section_of(self.plate, stage)
        told, identity = section.told(), section.identity()
        now = {key: value for key, value in told.items() if key not in identity}
        before = {key: records[-1]["settings"].get(key) for key in now} if records else now
        return changes(before, now, section_name(stage))

    def _whole(self, stage: str) -> Expected:
        """A stage that is made anew whenever its job runs."""
        why = self.jobs[stage].get(WHOLE_PLATE)
        return Expected(State.ANEW, tuple(why)) if why else CURRENT

    def _runs(self, stage: str, well: str) -> bool:
        return self._batch[stage][well] in self.jobs[stage]

    @cached_property
    def _batch(self) -> dict[str, dict[str, str]]:
        """Stage -> well -> its batch."""
        return {
            stage: {well: batch for batch, wells in batches_of(self.plate, stage).items() for well in wells}
            for stage in self.plate.batch_stages
        }

    @cached_property
    def _outcomes(self) -> dict[str, dict[str, dict[str, Any]]]:
        return {stage: well_outcomes(self.plate.paths.records(stage)) for stage in self.plate.batch_stages}

    @property
    def _restores(self) -> bool:
        return self.plate.settings.restore.is_on

    @cached_property
    def _why(self) -> Why:
        return Why(self.plate, self._info)

    @cached_property
    def _info(self) -> PlateInfo:
        """What holds for the plate once its skeleton is written; only where that would be done images are looked at."""
        manifest = self.plate.manifest
        stored = read_attributes(self.plate.paths.raw).get(OURS, {}).get("info")
        if stored is None:
            times = len({file.time for file in manifest.files})
            return PlateInfo(manifest.plate, manifest.rows, manifest.columns, 0, times, (), None, (0, 0), "")
        try:
            if self.jobs["skeleton"]:
                return with_kept_windows(plate_info(manifest, self.plate.settings.ingest), self.plate.paths.raw)
        except DataTrouble:  # an archived raw folder: the skeleton's job will say so
            pass
        return PlateInfo.from_json(stored)

    @cached_property
    def _ingested(self) -> dict[str, Expected]:
        job, settings = job_of(self.plate, "ingest"), self.plate.settings.ingest
        work = Ingest(job, self.plate.manifest, self._info, settings, read_layout(self.plate.paths.raw))
        return {well: self._of_ingest(work, well) for well in self.plate.wells}

    def _of_ingest(self, work: Ingest, well: str) -> Expected:
        stored, runs = work.stored(well), self._runs("ingest", well)
        if stored is not None and stored == work.wanted(well):
            return CURRENT
        if stored is None and (set_aside := self._set_aside("ingest", well)):
            return set_aside
        folder = Path(self.plate.manifest.folder)
        if stored is not None and not runs and not folder.exists():
            return Expected(State.CURRENT, (f"kept, though the raw folder {folder} is gone",))
        if lacking := _lacking(work, well):
            return Expected(State.LOST if runs else State.UNSEEN, (lacking,))
        return Expected(State.ANEW if runs else State.UNSEEN, tuple(self._why.ingested(well)))

    @cached_property
    def _calibrated(self) -> Expected:
        kept = read_json(self.plate.paths.calibration)
        job, weights = job_of(self.plate, "calibrate"), self.plate.calibrating_weights
        if kept.get("fingerprint") == calibration(job, weights, self._plate_fingerprint):
            return CURRENT
        there = {State.ANEW, State.CURRENT, State.UNSEEN}
        if not any(expected.state in there for expected in self._ingested.values()):
            return ABSENT
        state = State.ANEW if self.jobs["calibrate"] else State.UNSEEN
        return Expected(state, tuple(self._why.chosen("calibrate", self.plate.paths.calibration)))

    @cached_property
    def _plate_fingerprint(self) -> str | None:
        """The fingerprint of the plate's own group once its skeleton is written."""
        if self.jobs["skeleton"]:
            return job_of(self.plate, "skeleton").fingerprint(info=self._info.of_wells())
        return stored_fingerprint(self.plate.paths.raw)

    @cached_property
    def _prepared(self) -> Expected:
        kept = read_json(self.plate.paths.restoration)
        job, settings = job_of(self.plate, "prepare"), self.plate.section("restore")
        assert isinstance(settings, RestoreSettings)
        calibrated = self._calibrated.state is State.ANEW and any(
            isinstance(made.diameter, str) for made in settings.channels.values() if made.network
        )
        wanted = preparation(job, settings, self.plate.restoring_weights, self._plate_fingerprint)
        if kept.get("fingerprint") == wanted:
            return Expected(State.PERHAPS, ("because the calibration is chosen anew",)) if calibrated else CURRENT
        if self._calibrated.state is State.ABSENT:
            return ABSENT
        state = State.ANEW if self.jobs["prepare"] else State.UNSEEN
        return Expected(state, tuple(self._why.chosen("prepare", self.plate.paths.restoration)))

    @cached_property
    def _restored(self) -> dict[str, Expected]:
        """What would become of restored images. Temporary ones that have been deleted are as they should be."""
        deleted = deleted_wells(self.plate.paths)
        made = {}
        for well, before in self._ingested.items():
            if well in deleted and not self._runs("restore", well):
                made[well] = Expected(State.CURRENT, ("temporary, and deleted",))
            else:
                made[well] = self._made("restore", well, before)
        return made

    def _images(self, stage: str, well: str) -> Expected:
        """What would become of the images that a stage reads.

        Restored ones are known by what they are made from: deleted and made again, they are no other ones.
        """
        raw = self._ingested[well]
        if not self.plate.reads_restored(stage) or raw.state is not State.CURRENT:
            return raw
        restored = self._restored[well]
        lost = restored.state in {State.QUARANTINED, State.RETRIED, State.ABSENT}
        return restored if lost else Expected(self._prepared.state)

    def _measured_from(self, labels: Expected, well: str) -> Expected:
        """What would become of what cells are measured from: labels, and images where those are restored ones."""
        return labels if labels.state is not State.CURRENT else self._images("measure", well)

    @cached_property
    def _work(self) -> dict[str, Work]:
        return {stage: work_of(job_of(self.plate, stage)) for stage in WELL_BEFORE if stage in self.plate.batch_stages}

    def _made(self, stage: str, well: str, before: Expected) -> Expected:
        """A well of a stage that reads the result `before`."""
        if before.state in {State.QUARANTINED, State.LOST, State.ABSENT}:
            return ABSENT
        if before.state is State.RETRIED:
            return Expected(State.RETRIED, (f"if {self._before(stage)} before it succeeds",))
        work = self._work[stage]
        stored = work.stored(well)
        if stored is None and (set_aside := self._set_aside(stage, well)):
            return set_aside
        if because := self._new_inputs(stage, before):
            return self._after(stage, well, before, because)
        wanted = work.wanted(well)
        if wanted is None:
            return ABSENT
        if stored == wanted:
            return CURRENT
        state = State.ANEW if self._runs(stage, well) else State.UNSEEN
        return Expected(state, tuple(self._why.made(stage, well)))

    def _new_inputs(self, stage: str, before: Expected) -> tuple[str, ...]:
        """Why the inputs of a stage will be other ones."""
        anew = before.state in CHANGING
        calibrated = stage == "segment" and self._calibrated.state is State.ANEW
        prepared = stage == "restore" and self._prepared.state in CHANGING
        return (
            *([f"because {self._before(stage)} before it is made anew"] if anew else []),
            *(["because the calibration is chosen anew"] if calibrated else []),
            *(["because its preparation is chosen anew"] if prepared else []),
        )

    def _before(self, stage: str) -> str:
        """The stage whose result of the same well a stage reads first."""
        return "restore" if stage == "segment" and self.plate.reads_restored(stage) else WELL_BEFORE[stage]

    def _after(self, stage: str, well: str, before: Expected, because: tuple[str, ...]) -> Expected:
        """A well whose inputs change first. New raw images take its labels away with them."""
        own = tuple(self._why.own(stage, well))
        gone = stage == "segment" and self._ingested[well].state is State.ANEW
        certain = own or gone or (before.state is not State.PERHAPS and self._why.is_certain(stage, well))
        return Expected(State.ANEW if certain else State.PERHAPS, own if own == (NOTHING_THERE,) else (*own, *because))

    def _set_aside(self, stage: str, well: str) -> Expected | None:
        """A well that its newest record tells to be quarantined."""
        outcome = self._outcomes[stage].get(well, {})
        if outcome.get("status") != "quarantined":
            return None
        state = State.RETRIED if self._runs(stage, well) else State.QUARANTINED
        return Expected(state, (str(outcome.get("reason", "")),))


def _lacking(work: Ingest, well: str) -> str:
    """What is missing of a well's raw files; empty if nothing is."""
    try:
        files = work.complete(well)
    except DataTrouble as trouble:
        return str(trouble)
    gone = [file.path for file in files if not (Path(work.manifest.folder) / file.path).exists()]
    return f"{len(gone)} of its raw files are gone, such as {gone[0]}" if gone else ""
