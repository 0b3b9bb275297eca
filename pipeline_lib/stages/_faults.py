"""What is wrong with the committed results of a plate: unreadable, invalid, or not what the records say.

Whatever is in the files, looking at them does not fail: what cannot be read is what is looked for.
"""

from __future__ import annotations

import errno
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline_lib.core.wells import row_column
from pipeline_lib.io.arrays import read_array
from pipeline_lib.io.commit import is_temporary
from pipeline_lib.io.plate import (
    analyses_of,
    committed_wells,
    fields_of,
    levels_of,
    listed_wells,
    read_attributes,
    stored_fingerprint,
)
from pipeline_lib.io.records import FINISHED, read_json
from pipeline_lib.io.tables import table_fault, table_fingerprint
from pipeline_lib.paths import (
    HISTOGRAMS,
    PLATE_STAGES,
    SHARED_STAGES,
    WHOLE_PLATE,
    PlatePaths,
    label_name,
    labels_path,
    well_path,
)
from pipeline_lib.stages._folders import deleted_wells
from pipeline_lib.stages.segment import labels_fingerprint

READERS = 4  # arrays read at a time
DAMAGED = (FileNotFoundError, NotADirectoryError, IsADirectoryError)  # others say nothing of what was committed
CELL = ("Metadata_Field", "Metadata_Timepoint", "ObjectNumber")  # what tells the rows of a cell table apart
ROW = ("Metadata_Well", "Metadata_Timepoint")  # those of the tables of wells
NOT_THERE = "its record calls it finished, but the plate has not the result the record names"


@dataclass(frozen=True)
class Fault:
    """Something that is not as it should be.

    stage: whose result it is; empty: what an interrupted run left. well: empty for the plate as a whole. analysis: of
    the stages that every analysis has of its own.
    """

    stage: str
    well: str
    found: str
    analysis: str = ""


def faults_of_raw(plate: PlatePaths) -> list[Fault]:
    """What is wrong with what all analyses share: the plate's metadata, raw wells, and their records."""
    wells = committed_wells(plate.raw)
    faults = [Fault("ingest", well, said) for well, said in _bad_images(plate.raw, wells, [HISTOGRAMS])]
    faults += _of_records(plate, ("ingest",), {fault.well for fault in faults})
    return [*_of_plate(plate, wells, {fault.well for fault in faults}), *faults]


def faults_of_analysis(plate: PlatePaths, bad: set[str]) -> list[Fault]:
    """What is wrong with what one analysis made: labels, tables, and their records.

    bad: wells whose raw images are; what was made from them goes with them.
    """
    wells = [well for well in committed_wells(plate.raw) if well not in bad]
    with ThreadPoolExecutor(READERS) as readers:
        labels = list(readers.map(lambda well: _tried(_bad_labels, plate, well), wells))
    faults = [("segment", well, said) for well, of_well in zip(wells, labels, strict=True) for said in of_well]
    faults += [("restore", well, said) for well, said in _bad_images(plate.restored, committed_wells(plate.restored))]
    faults += [("measure", well, said) for well in wells for said in _tried(_bad_table, plate, well)]
    faults += [("measure", well, "a cell table of a well that is not there") for well in _strays(plate, {*wells, *bad})]
    faults += [("aggregate", "", said) for said in map(_bad_summary, _summaries(plate)) if said]
    told = [Fault(*fault, plate.analysis) for fault in faults]
    return told + list(_of_records(plate, ("restore", "segment", "measure"), bad | {fault.well for fault in told}))


def left_over(plate: PlatePaths) -> list[Path]:
    """What interrupted runs left."""
    return [path for path in plate.folder.rglob(".*") if is_temporary(path.name)]


def _of_plate(plate: PlatePaths, wells: Sequence[str], bad: set[str]) -> Iterator[Fault]:
    """What is wrong with the plate's own metadata. bad: wells of which is told already."""
    if not plate.record("skeleton", WHOLE_PLATE).exists():
        return
    faults = [*_tried(_invalid_plate, plate.raw), *_unparsable(plate.raw.glob("[A-Z]*/zarr.json"))]
    yield from (Fault("skeleton", "", said) for said in faults)
    if faults or not plate.record("complete", WHOLE_PLATE).exists():
        return
    listed, there = ([well for well in some if well not in bad] for some in (listed_wells(plate.raw), wells))
    if listed != there:
        differing = ", ".join(sorted(set(listed) ^ set(there), key=row_column)) or "in their order"
        yield Fault("complete", "", f"the plate's well list and its committed wells differ: {differing}")


def _tried(check: Callable[..., Iterable[str]], *arguments: Any) -> list[str]:
    """What a check says. Whatever else it meets is a fault too, except trouble with the machine."""
    try:
        return list(check(*arguments))
    except MemoryError:
        raise
    except Exception as error:  # damaged files cause many kinds
        if isinstance(error, OSError) and not isinstance(error, DAMAGED) and error.errno != errno.EIO:
            raise
        return [f"cannot be read ({type(error).__name__}: {_in_one_line(error)})"]


def _invalid_plate(raw: Path) -> list[str]:
    """What keeps the plate's own group from being valid OME-NGFF, which wants at least one well."""
    if not _unparsable([raw / "zarr.json"]) and not listed_wells(raw):
        return []  # before the first well is listed, or where all are quarantined
    return _invalid_group(raw)


def _bad_images(store: Path, wells: Sequence[str], beside: Sequence[str] = ()) -> Iterator[tuple[str, str]]:
    """What is wrong with wells of a raw or restored plate. beside: arrays they have beside their fields."""
    invalid = {well: _tried(_invalid_well, store, well) for well in wells}  # the validator is not made for threads
    with ThreadPoolExecutor(READERS) as readers:
        found = readers.map(lambda well: invalid[well] or _tried(_unreadable_well, store, well, beside), wells)
        yield from ((well, said) for well, of_well in zip(wells, found, strict=True) for said in of_well)


def _invalid_well(store: Path, well: str) -> list[str]:
    """What keeps a well and its fields from being valid OME-NGFF. Label images are looked at elsewhere."""
    from yaozarrs import validate_zarr_store

    raw = store / well_path(well)
    of_labels = set(raw.glob("*/labels/**/zarr.json"))
    if bad := _unparsable(set(raw.rglob("zarr.json")) - of_labels):
        return bad
    try:
        if not _unparsable(of_labels):  # the validator would not survive them
            validate_zarr_store(raw)
    except ValueError as error:
        faults: list[Any] = getattr(error, "errors", list)()
        told = [fault["msg"] for fault in faults if "labels" not in fault["loc"]]
        return [f"{raw}: not valid OME-NGFF: {_in_one_line('; '.join(told) or error)}"] if told or not faults else []
    return [] if stored_fingerprint(raw) else [f"{raw} does not say what it was made from"]


def _invalid_group(group: Path) -> list[str]:
    """What is wrong with the metadata of a group alone."""
    from yaozarrs import validate_ome_json

    try:
        validate_ome_json((group / "zarr.json").read_bytes())
    except ValueError as error:
        return [f"{group}: not valid OME-NGFF: {_in_one_line(error)}"]
    return []


def _unparsable(files: Iterable[Path]) -> list[str]:
    """Metadata files that hold no metadata."""
    said = []
    for file in sorted(files):
        try:
            if "node_type" not in json.loads(file.read_bytes()):
                said.append(f"{file}: no Zarr metadata")
        except (ValueError, TypeError) as error:
            said.append(f"{file}: not JSON ({_in_one_line(error)})")
    return said


def _unreadable_well(store: Path, well: str, beside: Sequence[str]) -> list[str]:
    group = store / well_path(well)
    levels = [(field, range(levels_of(store, well, field))) for field in fields_of(store, well)]
    pixels = [group / str(field) / str(level) for field, of_field in levels for level in of_field]
    return _unreadable([*pixels, *(group / name for name in beside)])


def _unreadable(arrays: Iterable[Path]) -> list[str]:
    """What is wrong with arrays: every chunk is read and its checksum compared."""
    return [said for array in arrays for said in _tried(_damage, array)]


def _damage(array: Path) -> list[str]:
    read_array(array)
    return []


def _bad_labels(plate: PlatePaths, well: str) -> Iterator[str]:
    """What is wrong with the label images that an analysis made of a well."""
    for field in fields_of(plate.raw, well):
        group = plate.raw_well(well) / labels_path(field)
        made = analyses_of(group).get(plate.analysis)
        if not made:
            continue
        listed = read_attributes(group)["ome"]["labels"]
        for name in (label_name(name, plate.analysis) for name in made["labels"]):
            if name not in listed:
                yield f"{group}: does not list {name}"
            levels = [group / name / str(level) for level in range(levels_of(plate.raw, well, field))]
            yield from _invalid_group(group / name) or _unreadable(levels)


def _bad_table(plate: PlatePaths, well: str) -> list[str]:
    said = table_fault(plate.cells(well), CELL)
    return [said] if said else []


def _strays(plate: PlatePaths, wells: set[str]) -> list[str]:
    """Wells that are not there and have a table."""
    return sorted({path.stem for path in plate.cells("A01").parent.glob("[!.]*.parquet")} - wells)


def _summaries(plate: PlatePaths) -> list[Path]:
    """The tables of wells, if they are finished."""
    there = plate.record("aggregate", WHOLE_PLATE).exists()
    return [plate.wells_parquet, plate.profiles] if there else []


def _bad_summary(table: Path) -> str | None:
    return table_fault(table, ROW) if table.exists() else f"{table} is missing"


def _of_records(plate: PlatePaths, stages: Sequence[str], bad: set[str]) -> Iterator[Fault]:
    """Records that cannot be read, and wells they call finished and the store has not, or has another result of."""
    stored: dict[str, Callable[[str], str | None]] = {
        "ingest": lambda well: stored_fingerprint(plate.raw_well(well)),
        "restore": lambda well: stored_fingerprint(plate.restored_well(well)),
        "segment": lambda well: labels_fingerprint(plate, well),
        "measure": lambda well: table_fingerprint(plate.cells(well)),
    }
    shared = stages[0] in SHARED_STAGES
    for stage in (*stages, *(stage for stage in PLATE_STAGES if (stage in SHARED_STAGES) == shared)):
        outcomes, unreadable = _outcomes(plate.records(stage))
        gone = deleted_wells(plate) if stage == "restore" else set()
        analysis = "" if shared else plate.analysis
        yield from (Fault(stage, "", f"{record}: a record that cannot be read", analysis) for record in unreadable)
        for well, outcome in outcomes.items():
            finished = outcome["status"] in FINISHED and well not in bad | gone
            if finished and stored[stage](well) != outcome["fingerprint"]:
                yield Fault(stage, well, NOT_THERE, analysis)


def _outcomes(folder: Path) -> tuple[dict[str, Mapping[str, Any]], list[Path]]:
    """What the newest readable record says of each well, and the records that are not readable."""
    records, unreadable = [], []
    for path in sorted(folder.glob("[!.]*.json")):
        try:
            told = read_json(path)
            records.append((str(told["finished"]), dict(told.get("wells", {}))))
        except (ValueError, KeyError, TypeError, AttributeError):
            unreadable.append(path)
    in_time = [wells for _, wells in sorted(records, key=lambda record: record[0])]
    return {well: outcome for wells in in_time for well, outcome in wells.items()}, unreadable


def _in_one_line(error: object) -> str:
    return " ".join(str(error).split())[:300]
