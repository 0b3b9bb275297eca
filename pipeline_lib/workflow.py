"""What the Snakefile knows: plates, their settings, wells and batches, checked before any job starts.

Standard library and pydantic only, because the Snakefile is parsed again in every SLURM job.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from pipeline_lib.core.manifest import Manifest
from pipeline_lib.core.platemap import check
from pipeline_lib.core.wells import row_column
from pipeline_lib.io.manifests import is_current, read_manifest, write_manifest
from pipeline_lib.io.platemaps import read_plate_map
from pipeline_lib.io.vendors import READERS, scan_plate
from pipeline_lib.paths import PlatePaths
from pipeline_lib.settings import Section, Settings, section_at

SHEET_COLUMNS = ("plate", "folder", "format", "plate_map", "overrides")
REQUIRED_COLUMNS = SHEET_COLUMNS[:3]
BATCH_STAGES = ("ingest", "segment", "measure")
PLATE_STAGES = ("skeleton", "complete", "calibrate", "aggregate", "report")
WHOLE_PLATE = "plate"  # the batch name of stages that treat a plate as one
PLATE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
NOT_PER_PLATE = ("plates", "results")


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

    @cached_property
    def wells(self) -> tuple[str, ...]:
        """Every well that should be there, row by row: imaged, announced by the index file, or on the plate map."""
        wells = {*self.manifest.wells, *self.manifest.missing, *self.mapped_wells}
        return tuple(sorted(wells, key=row_column))

    def section(self, stage: str) -> Section:
        """The settings of a stage."""
        section: Section = getattr(self.settings, stage)
        return section

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

    def targets(self) -> list[str]:
        """Everything a finished plate has: the report, and every record."""
        single = [str(self.paths.record(stage, WHOLE_PLATE)) for stage in PLATE_STAGES]
        return [str(self.paths.report), *single, *(path for stage in BATCH_STAGES for path in self.records(stage))]


@dataclass(frozen=True)
class Workflow:
    """All plates of a run."""

    settings: Settings
    plates: Mapping[str, Plate] = field(default_factory=dict)


def load_workflow(config: Mapping[str, Any]) -> Workflow:
    """Check a config and its plate sheet, and find the images of every plate.

    Raises:
        ConfigError: Anything is wrong; the message names all faults, what was found and what is allowed.
    """
    faults: list[str] = []
    settings = _settings(config, "config", faults)
    if settings is None:
        raise ConfigError(faults)
    plates = {}
    for row in _sheet(Path(settings.plates), faults):
        plate = _plate(row, config, Path(settings.plates), faults)
        if plate is not None:
            plates[plate.name] = plate
    if faults:
        raise ConfigError(faults)
    return Workflow(settings, plates)


def _settings(config: Mapping[str, Any], source: str, faults: list[str]) -> Settings | None:
    try:
        return Settings.model_validate(config)
    except ValidationError as error:
        faults += [_told(fault, source) for fault in error.errors()]
        return None


def _told(fault: Mapping[str, Any], source: str) -> str:
    """One fault of a config in words: where, what was found, what is allowed."""
    where = ".".join(str(part) for part in fault["loc"])
    if fault["type"] == "extra_forbidden":
        allowed = section_at(fault["loc"][:-1]).model_fields
        return f"{source}: unknown key {where}; allowed here: {', '.join(allowed)}"
    return f"{source}: {where or 'settings'}: {fault['msg']} (found {fault['input']!r})"


def _sheet(path: Path, faults: list[str]) -> list[dict[str, str]]:
    """The lines of the plate sheet that name a plate, checked as a table."""
    if not path.is_file():
        faults.append(f"plate sheet {path} does not exist; create it with the columns {', '.join(SHEET_COLUMNS)}")
        return []
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeError as error:
        faults.append(f"{path} is not a text file in UTF-8: {error}")
        return []
    reader = csv.DictReader((line for line in lines if line.strip() and not line.startswith("#")), delimiter="\t")
    rows = [{key: (value or "").strip() for key, value in row.items() if key} for row in reader]
    columns = reader.fieldnames or []
    lacking = [name for name in REQUIRED_COLUMNS if name not in columns]
    unknown = [name for name in columns if name not in SHEET_COLUMNS]
    if lacking or unknown:
        faults.append(
            f"{path}: columns {', '.join(columns) or 'none'} found (tabs between them?); required: "
            f"{', '.join(REQUIRED_COLUMNS)}; also allowed: {', '.join(SHEET_COLUMNS[3:])}"
        )
        return []
    names = Counter(row["plate"] for row in rows)
    faults += [f"{path}: plate {name!r} is listed {count} times" for name, count in names.items() if count > 1]
    faults += [
        f"{path}: plate id {name!r}: letters, digits, '_', '-' and '.' are allowed, beginning with a letter or digit"
        for name in names
        if not PLATE_ID.fullmatch(name)
    ]
    return [row for row in rows if PLATE_ID.fullmatch(row["plate"])]


def _plate(row: Mapping[str, str], config: Mapping[str, Any], sheet: Path, faults: list[str]) -> Plate | None:
    """One plate, or None after noting what is wrong with it."""
    name, beside = row["plate"], sheet.parent
    settings = _settings(_overridden(config, row.get("overrides", ""), name, beside, faults), f"plate {name}", faults)
    if settings is None:
        return None
    paths = PlatePaths(Path(settings.results) / name)
    manifest = _manifest(name, (beside / row["folder"]).resolve(), row["format"], settings, paths, faults)
    if manifest is None:
        return None
    faults += _channel_faults(name, manifest, settings)
    if not row.get("plate_map"):
        return Plate(name, paths, settings, manifest)
    path = beside / row["plate_map"]
    plate_map = read_plate_map(path, settings.aggregate.plate_map_columns())
    faults += [f"plate map {path}: {fault}" for fault in check(plate_map, manifest.rows, manifest.columns)]
    return Plate(name, paths, settings, manifest, path, tuple(plate_map.wells))


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
    return _merged(config, {key: value for key, value in content.items() if key not in NOT_PER_PLATE})


def _merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with the values of `over`, section by section. A label image of another method is replaced whole."""
    merged = dict(base)
    for key, value in over.items():
        old = base.get(key)
        if isinstance(old, Mapping) and isinstance(value, Mapping) and _same_method(old, value):
            merged[key] = _merged(old, value)
        else:
            merged[key] = value
    return merged


def _same_method(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    return bool(new.get("method", old.get("method")) == old.get("method"))


def _manifest(
    name: str, folder: Path, image_format: str, settings: Settings, paths: PlatePaths, faults: list[str]
) -> Manifest | None:
    """The plate's manifest: the stored one while its folder is unchanged, else a new one, which is stored."""
    if image_format not in READERS:
        faults.append(f"plate {name}: format {image_format!r} is unknown; allowed: {', '.join(sorted(READERS))}")
        return None
    try:
        if paths.manifest.is_file():
            stored = read_manifest(paths.manifest)
            if is_current(stored, folder, image_format, settings.ingest.pattern):
                return stored
    except ValueError:
        pass  # an older version of the file: made again below
    try:
        manifest = scan_plate(name, folder, image_format, settings.ingest.pattern)
    except (ValueError, FileNotFoundError) as error:
        faults.append(str(error))
        return None
    write_manifest(manifest, paths.manifest)
    return manifest


def _channel_faults(name: str, manifest: Manifest, settings: Settings) -> list[str]:
    """Channels the settings speak of and the plate does not have."""
    names = [settings.ingest.channel_name(channel, manifest.channel_names) for channel in manifest.channels]
    faults = [
        f"plate {name}: segment.labels uses channel {wanted!r}; the plate has {', '.join(names)} "
        "(ingest.channels gives names to the ids in the raw files)"
        for wanted in sorted(settings.segment.labels.channel_names() - set(names))
    ]
    faults += [
        f"plate {name}: ingest.channels names channel id {unknown!r}; the raw files have {', '.join(manifest.channels)}"
        for unknown in sorted(set(settings.ingest.channels) - set(manifest.channels))
    ]
    if len(set(names)) < len(names):
        faults.append(f"plate {name}: two channels have one name: {', '.join(names)}")
    return faults
