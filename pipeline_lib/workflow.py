"""What the Snakefile knows: plates, their settings, wells and batches, checked before any job starts.

Standard library and pydantic only, because the Snakefile is parsed again in every SLURM job.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from pipeline_lib.core.manifest import Manifest
from pipeline_lib.core.platemap import check
from pipeline_lib.core.wells import row_column
from pipeline_lib.io.manifests import is_current, read_manifest, write_manifest
from pipeline_lib.io.plate_faults import plate_faults
from pipeline_lib.io.platemaps import read_plate_map
from pipeline_lib.io.platesheets import is_setting, read_plate_sheet
from pipeline_lib.io.records import QUARANTINED, read_json
from pipeline_lib.io.vendors import scan_plate
from pipeline_lib.io.weights import checksums, size_checksums
from pipeline_lib.paths import BATCH_STAGES, LIGHT_STAGES, PLATE_STAGES, WHOLE_PLATE, PlatePaths, absent_stages
from pipeline_lib.settings import Section, Settings
from pipeline_lib.settings.faults import fault_words

NOT_PER_PLATE = ("plates", "results", "analysis", "retry_failed", "train", "train_restoration")


Source = tuple[Path, str, str]  # raw folder, format, pattern
Holds = Callable[[Manifest, Source], bool]


class ConfigError(ValueError):
    """Everything that is wrong with config, plate sheet and plate maps, in one message."""

    def __init__(self, faults: Sequence[str]) -> None:
        listed = "\n".join(f"  * {fault}" for fault in faults)
        super().__init__(f"{len(faults)} fault(s) to mend before any job starts:\n{listed}")


@dataclass(frozen=True)
class Plate:
    """One line of the plate sheet, with its own settings and what its raw folder holds."""

    name: str
    paths: PlatePaths
    settings: Settings
    manifest: Manifest
    plate_map: Path | None = None
    mapped_wells: tuple[str, ...] = ()
    rescanned: bool = False

    @cached_property
    def wells(self) -> tuple[str, ...]:
        """Every well that should be there, row by row: imaged, announced by the index file, or on the plate map."""
        wells = {*self.manifest.wells, *self.manifest.missing, *self.mapped_wells}
        return tuple(sorted(wells, key=row_column))

    @cached_property
    def fields(self) -> int:
        """Fields of a well."""
        return 1 + max(file.field for file in self.manifest.files)

    def section(self, stage: str) -> Section:
        """The settings of a stage, with what they take from other sections."""
        if stage == "restore":
            return self.settings.restore.with_diameters(self.settings.segment.labels.segmented())
        section: Section = getattr(self.settings, stage)
        return section

    @property
    def batch_stages(self) -> tuple[str, ...]:
        """The stages of this plate that work in batches of wells."""
        return self._existing(BATCH_STAGES)

    @property
    def plate_stages(self) -> tuple[str, ...]:
        """The stages of this plate that treat it as one."""
        return self._existing(PLATE_STAGES)

    def _existing(self, stages: Sequence[str]) -> tuple[str, ...]:
        absent = absent_stages(restored=self.settings.restore.is_on, lit=self.settings.ingest.illumination.is_on)
        return tuple(stage for stage in stages if stage not in absent)

    @property
    def light(self) -> list[str]:
        """The record of the stage that tells how the plate is lit, if its images are corrected."""
        return [str(self.paths.record(stage, WHOLE_PLATE)) for stage in LIGHT_STAGES if stage in self.plate_stages]

    def reads_restored(self, stage: str) -> bool:
        """Whether a stage reads restored images."""
        return bool(getattr(self.settings, stage).images == "restored")

    def restored_for(self, stage: str, batch: str) -> list[str]:
        """What says that the restored images for a batch of a stage that reads them are there.

        Their records; where they are temporary, files that Snakemake deletes when nobody needs them any more, and has
        made again, with the images, when a stage that reads them runs again.
        """
        if not self.reads_restored(stage):
            return []
        records = self.records_sharing("restore", stage, batch)
        if self.settings.restore.keep is True:
            return records
        return [str(self.paths.ready(Path(record).stem)) for record in records]

    @cached_property
    def weights(self) -> dict[str, str]:
        """Label image -> checksum of the weights of its network."""
        return checksums(self.settings.segment.labels.weights())

    @cached_property
    def calibrating_weights(self) -> dict[str, str]:
        """The same, and the checksums of the size models that lie beside them."""
        return self.weights | size_checksums(self.settings.segment.labels.weights())

    @property
    def last_readers(self) -> list[str]:
        """The record after which temporary restored images are needed no more."""
        return [] if self.settings.restore.keep is True else [str(self.paths.record("report", WHOLE_PLATE))]

    @cached_property
    def restoring_weights(self) -> dict[str, str]:
        """Channel -> checksum of the weights of the network that restores it."""
        return checksums(self.settings.restore.weights())

    def batches(self, stage: str) -> dict[str, tuple[str, ...]]:
        """Batch name (`A01-B12`) -> its wells."""
        size = int(getattr(self.section(stage), "wells_per_job"))  # noqa: B009 - only batch stages have it
        parts = (self.wells[start : start + size] for start in range(0, len(self.wells), size))
        return {f"{part[0]}-{part[-1]}": part for part in parts}

    def records(self, stage: str) -> list[str]:
        """The records of all batches of a stage."""
        return [str(self.paths.record(stage, batch)) for batch in self.batches(stage)]

    def records_sharing(self, stage: str, other: str, batch: str) -> list[str]:
        """The records of those batches of a stage that hold a well of a batch of another stage."""
        wanted = set(self.batches(other)[batch])
        sharing = [name for name, wells in self.batches(stage).items() if wanted & set(wells)]
        return [str(self.paths.record(stage, name)) for name in sharing]

    def to_retry(self, stage: str, batch: str) -> str | None:
        """The order to try the quarantined wells of a batch again; None where there are none, or nobody asked.

        A new file every time, and a target of the run: being missing, it is made, and with it its batch runs.
        """
        if not self.settings.retry_failed:
            return None
        record = self.paths.record(stage, batch)
        if not any(outcome["status"] == QUARANTINED for outcome in read_json(record).get("wells", {}).values()):
            return None
        return str(self.paths.retry(stage, batch, f"{record.stat().st_mtime_ns:x}"))

    def targets(self) -> list[str]:
        """Everything a finished plate has: tables, the report, and every record; and orders to retry."""
        single = [str(self.paths.record(stage, WHOLE_PLATE)) for stage in self.plate_stages]
        return [
            *map(str, self.paths.results),
            *single,
            *(path for stage in self.batch_stages for path in self.records(stage)),
            *(
                order
                for stage in self.batch_stages
                for batch in self.batches(stage)
                if (order := self.to_retry(stage, batch))
            ),
        ]


@dataclass(frozen=True)
class Workflow:
    """All plates of a run."""

    settings: Settings
    plates: Mapping[str, Plate] = field(default_factory=dict)


def load_workflow(config: Mapping[str, Any], *, rescan: bool = True) -> Workflow:
    """Check a config and its plate sheet, and find the images of every plate.

    rescan: look into raw folders that have changed; jobs do not.

    Raises:
        ConfigError: Anything is wrong; the message names all faults, what was found and what is allowed.
    """
    faults: list[str] = []
    holds = _unchanged if rescan else _as_planned
    sound = _sound(merged(Settings().model_dump(mode="json"), config), "config", faults)
    settings = Settings.model_validate(sound)
    plates = {}
    for row in read_plate_sheet(Path(settings.plates), faults):
        plate = _plate(row, sound, Path(settings.plates), holds, faults)
        if plate is not None:
            plates[plate.name] = plate
    if faults:
        raise ConfigError(faults)
    try:
        for plate in plates.values():
            if plate.rescanned:
                _store(plate.manifest, plate.paths.manifest)
    except OSError as error:
        raise ConfigError([f"results folder {settings.results} cannot be written: {error}"]) from error
    return Workflow(settings, plates)


def _sound(config: Mapping[str, Any], source: str, faults: list[str], columns: Sequence[str] = ()) -> Mapping[str, Any]:
    """The config without what is wrong in it, which is noted: so the rest can be checked in the same go.

    columns: settings with a value in a column of their own in the plate sheet.
    """
    try:
        Settings.model_validate(config)
    except ValidationError as error:
        faults += [fault_words(fault, source, columns) for fault in error.errors()]
        sound = config
        for fault in error.errors():
            sound = _without(sound, fault["loc"])
        return _sound(sound if sound != config else {}, source, faults, columns)
    return config


def _without(config: Mapping[str, Any], location: Sequence[int | str]) -> dict[str, Any]:
    """`config` without the value at a location, whose words that are no keys (a union's tag) are passed over."""
    left = dict(config)
    for depth, key in enumerate(map(str, location), 1):
        if key in left:
            inner, rest = left.pop(key), location[depth:]
            if isinstance(inner, Mapping) and rest and (smaller := _without(inner, rest)) != inner:
                left[key] = smaller
            break
    return left


def _plate(
    row: Mapping[str, str], config: Mapping[str, Any], sheet: Path, holds: Holds, faults: list[str]
) -> Plate | None:
    """One plate, or None after noting what is wrong with it."""
    name, beside = row["plate"], sheet.parent
    columns = {column: cell for column, cell in row.items() if is_setting(column) and cell}
    own = _with_columns(_overridden(config, row.get("overrides", ""), name, beside, faults), columns, name, faults)
    settings = Settings.model_validate(_sound(own, f"plate {name}", faults, tuple(columns)))
    paths = PlatePaths(Path(settings.results) / name, settings.analysis or "")
    source = ((beside / Path(row["folder"]).expanduser()).resolve(), row["format"], settings.ingest.pattern)
    stored = _stored_manifest(paths, source, holds)
    manifest = stored or _scanned(name, *source, faults)
    if manifest is None:
        return None
    faults += [f"plate {name}: {fault}" for fault in plate_faults(manifest, settings)]
    plate = Plate(name, paths, settings, manifest, rescanned=stored is None)
    if not row.get("plate_map"):
        return plate
    path = beside / Path(row["plate_map"]).expanduser()
    plate_map = read_plate_map(path, settings.aggregate.plate_map_columns())
    shape = settings.ingest.plate_shape((manifest.rows, manifest.columns))
    faults += [f"plate map {path}: {fault}" for fault in check(plate_map, *shape)]
    return replace(plate, plate_map=path, mapped_wells=tuple(plate_map.wells))


def _overridden(
    config: Mapping[str, Any], overrides: str, name: str, beside: Path, faults: list[str]
) -> Mapping[str, Any]:
    """The config with a plate's own values. overrides: a YAML file's name, or YAML itself such as {measure: {...}}."""
    if not overrides:
        return config
    try:
        content = yaml.safe_load(overrides)
        if isinstance(content, str):
            content = yaml.safe_load((beside / content).read_text(encoding="utf-8"))
    except (yaml.YAMLError, OSError, UnicodeError) as error:
        faults.append(f"plate {name}: overrides {overrides!r} are neither YAML nor a YAML file: {error}")
        return config
    if not isinstance(content, dict):
        found = type(content).__name__
        faults.append(f"plate {name}: overrides hold a {found}; sections such as {{measure: ...}} are allowed")
        return config
    faults += [f"plate {name}: {key} cannot differ between plates" for key in NOT_PER_PLATE if key in content]
    return merged(config, {key: value for key, value in content.items() if key not in NOT_PER_PLATE})


def _with_columns(
    config: Mapping[str, Any], cells: Mapping[str, str], name: str, faults: list[str]
) -> Mapping[str, Any]:
    """The config with a plate's values from columns named by settings. cells: such a column -> its text, as YAML."""
    values = {}
    for column, cell in cells.items():
        if column.split(".")[0] in NOT_PER_PLATE:
            faults.append(f"plate {name}, column {column}: {column} cannot differ between plates")
            continue
        try:
            values[column] = yaml.safe_load(cell)
        except yaml.YAMLError as error:
            faults.append(f"plate {name}, column {column}: {cell!r} is not YAML: {error}")
    return merged(config, _nested(values))


def _nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values by dotted keys, as sections inside sections; a longer key wins over the section it lies in."""
    content: dict[str, Any] = {}
    for key in sorted(values, key=lambda key: key.count(".")):
        *outer, last = key.split(".")
        section = content
        for part in outer:
            inner = section.get(part)
            section[part] = dict(inner) if isinstance(inner, Mapping) else {}
            section = section[part]
        section[last] = values[key]
    return content


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with the values of `over`, section by section. A label image of another method is replaced whole."""
    both = dict(base)
    for key, value in over.items():
        old = base.get(key)
        if isinstance(old, Mapping) and isinstance(value, Mapping) and _same_method(old, value):
            both[key] = merged(old, value)
        else:
            both[key] = value
    return both


def _same_method(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    return bool(new.get("method", old.get("method")) == old.get("method"))


def _stored_manifest(paths: PlatePaths, source: Source, holds: Holds) -> Manifest | None:
    """The manifest on disk, if there is one and it holds."""
    try:
        stored = read_manifest(paths.manifest)
    except (FileNotFoundError, ValueError):  # none yet, or one of an older version
        return None
    return stored if holds(stored, source) else None


def _unchanged(stored: Manifest, source: Source) -> bool:
    """Whether the raw folder is as it was, or has been archived since."""
    folder = source[0]
    return (not folder.exists() and stored.folder == folder.as_posix()) or is_current(stored, *source)


def _as_planned(_stored: Manifest, _source: Source) -> bool:
    """Jobs work on the plate as it was planned, whatever has happened to the raw folder since."""
    return True


def _store(manifest: Manifest, path: Path) -> None:
    """Write a new manifest; if it names the same images as the old one, with the old one's time, so nothing reruns."""
    try:
        old, time = read_manifest(path), path.stat().st_mtime_ns
    except (FileNotFoundError, ValueError):
        write_manifest(manifest, path)
        return
    write_manifest(manifest, path)
    if replace(old, directories=()) == replace(manifest, directories=()):
        os.utime(path, ns=(time, time))


def _scanned(name: str, folder: Path, image_format: str, pattern: str, faults: list[str]) -> Manifest | None:
    """A new manifest from the names in the raw folder, or None after noting what is wrong."""
    try:
        return scan_plate(name, folder, image_format, pattern)
    except (ValueError, FileNotFoundError) as error:
        faults.append(str(error) if f"plate {name}" in str(error) else f"plate {name}: {error}")
        return None
