"""verify: prove that every committed well is readable, valid and as its record says; or drop those that are not.

What it drops, the next run makes again.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from pipeline_lib.core.errors import DataTrouble
from pipeline_lib.core.wells import row_column
from pipeline_lib.io.arrays import read_array
from pipeline_lib.io.commit import discard, is_temporary
from pipeline_lib.io.locks import hold
from pipeline_lib.io.plate import (
    analyses_of,
    committed_wells,
    fields_of,
    labels_of,
    levels_of,
    listed_wells,
    stored_fingerprint,
)
from pipeline_lib.io.records import FINISHED, well_outcomes
from pipeline_lib.io.tables import table_fault, table_fingerprint
from pipeline_lib.paths import BATCH_STAGES, HISTOGRAMS, WHOLE_PLATE, PlatePaths, label_name, labels_path
from pipeline_lib.stages._folders import add_plates, plates_in
from pipeline_lib.stages.reset import drop
from pipeline_lib.stages.segment import labels_fingerprint

READERS = 4  # arrays read at a time
FOUND = "run again with --repair to drop what is bad, then snakemake to make it again"
DROPPED = "dropped; run snakemake to make it again"
ROW = ["Metadata_Field", "Metadata_Timepoint", "ObjectNumber"]  # what tells the rows of a cell table apart

log = logging.getLogger("wellpose")


@dataclass(frozen=True)
class Fault:
    """Something that is not as it should be. stage: whose result it is; well: empty for the plate as a whole."""

    stage: str
    well: str
    found: str


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's flags."""
    add_plates(parser)
    parser.add_argument("--repair", action="store_true", help="drop what is bad, so that the next run makes it again")
    parser.add_argument("--json", action="store_true", help="as JSON, for programs")


def run(parsed: argparse.Namespace) -> int:
    """Check the plates; the exit code is 1 if anything is wrong, or was before it was dropped."""
    plates = plates_in(parsed.folders, parsed.analysis)
    found = {plate.folder.name: _checked(plate, repair=parsed.repair) for plate in plates}
    if parsed.json:
        told = {name: [asdict(fault) for fault in faults] for name, faults in found.items()}
        sys.stdout.write(json.dumps(told, indent=1) + "\n")
    else:
        advice = DROPPED if parsed.repair else FOUND
        sys.stdout.write("".join(_in_words(plate, found[plate.folder.name], advice) for plate in plates))
    return int(any(found.values()))


def _checked(plate: PlatePaths, *, repair: bool) -> list[Fault]:
    if not repair:
        return faults_of(plate)
    with hold(plate.lock):  # refused while a run works on the plate
        faults = faults_of(plate)
        for fault in faults:
            _drop(plate, fault)
        _sweep(plate)
    return faults


def faults_of(plate: PlatePaths) -> list[Fault]:
    """Everything that is wrong with a plate: raw wells, label images and tables of this analysis, and its records."""
    wells = committed_wells(plate.raw)
    with ThreadPoolExecutor(READERS) as readers:
        checked = list(readers.map(lambda well: list(_of_well(plate, well)), wells))
    return [*_of_plate(plate, wells), *(fault for of_well in checked for fault in of_well), *_of_records(plate)]


def _of_plate(plate: PlatePaths, wells: Sequence[str]) -> Iterator[Fault]:
    """The plate's own metadata, and what an interrupted run left."""
    if plate.record("complete", WHOLE_PLATE).exists():
        if (listed := listed_wells(plate.raw)) != list(wells):
            differing = ", ".join(sorted(set(listed) ^ set(wells), key=row_column))
            yield Fault("complete", "", f"the plate's well list and its committed wells differ: {differing}")
        yield from (Fault("skeleton", "", said) for said in _invalid(plate.raw))
    for left in _left_over(plate):
        yield Fault("", "", f"left by an interrupted run: {left}")
    cells = plate.cells("A01").parent
    for stray in cells.glob("*.parquet") if cells.is_dir() else ():
        if stray.stem not in wells:
            yield Fault("measure", stray.stem, "a cell table of a well that is not there")


def _of_well(plate: PlatePaths, well: str) -> Iterator[Fault]:
    raw = plate.raw_well(well)
    faults = [*_invalid(raw), *_unreadable(_raw_arrays(plate, well))]
    if faults or stored_fingerprint(raw) is None:
        yield from (Fault("ingest", well, said) for said in faults or ["it does not say what it was made from"])
        return  # what is made from it goes with it
    for name in _analyses(plate, well):
        yield from (Fault("segment", well, said) for said in _unreadable(_label_arrays(plate, well, name)))
    if said := table_fault(plate.cells(well), ROW):
        yield Fault("measure", well, said)


def _analyses(plate: PlatePaths, well: str) -> list[str]:
    """This analysis, if a field of the well has label images of it."""
    has = any(labels_of(plate.raw, well, field, plate.analysis) for field in fields_of(plate.raw, well))
    return [plate.analysis] if has else []


def _raw_arrays(plate: PlatePaths, well: str) -> Iterator[Path]:
    raw = plate.raw_well(well)
    for field in fields_of(plate.raw, well):
        yield from (raw / str(field) / str(level) for level in range(levels_of(plate.raw, well, field)))
    yield raw / HISTOGRAMS


def _label_arrays(plate: PlatePaths, well: str, analysis: str) -> Iterator[Path]:
    for field in fields_of(plate.raw, well):
        group = plate.raw_well(well) / labels_path(field)
        for name in analyses_of(group).get(analysis, {}).get("labels", ()):
            levels = range(levels_of(plate.raw, well, field))
            yield from (group / label_name(name, analysis) / str(level) for level in levels)


def _unreadable(arrays: Iterable[Path]) -> list[str]:
    """What is wrong with arrays: every chunk is read and its checksum compared."""
    said = []
    for array in arrays:
        try:
            read_array(array)
        except (DataTrouble, FileNotFoundError) as trouble:
            said.append(str(trouble))
    return said


def _invalid(group: Path) -> list[str]:
    """What keeps a plate or well, and the images and labels in it, from being valid OME-NGFF."""
    from yaozarrs import validate_zarr_store

    try:
        validate_zarr_store(group)
    except Exception as error:  # the validator, JSON and pydantic raise many kinds
        return [f"{group}: not valid OME-NGFF: {' '.join(str(error).split())[:300]}"]
    return []


def _of_records(plate: PlatePaths) -> Iterator[Fault]:
    """Wells a record calls finished and the store has not, or has another result of."""
    stored = {
        "ingest": lambda well: stored_fingerprint(plate.raw_well(well)),
        "segment": lambda well: labels_fingerprint(plate, well),
        "measure": lambda well: table_fingerprint(plate.cells(well)),
    }
    for stage in BATCH_STAGES:
        for well, outcome in well_outcomes(plate.records(stage)).items():
            if outcome["status"] in FINISHED and stored[stage](well) != outcome["fingerprint"]:
                yield Fault(
                    stage, well, "its record calls it finished, but the plate has not the result the record names"
                )


def _left_over(plate: PlatePaths) -> list[Path]:
    return [path for path in plate.folder.rglob(".*") if is_temporary(path.name)]


def _sweep(plate: PlatePaths) -> None:
    for path in _left_over(plate):
        discard(path)


def _drop(plate: PlatePaths, fault: Fault) -> None:
    if fault.well:
        drop(plate, fault.stage, {fault.well})
    elif fault.stage:
        discard(plate.record(fault.stage, WHOLE_PLATE))


def _in_words(plate: PlatePaths, faults: Sequence[Fault], advice: str) -> str:
    wells = len(committed_wells(plate.raw))
    if not faults:
        return f"{plate.folder.name}: all of {wells} committed wells are readable, valid and as their records say\n"
    lines = [f"  {fault.well or 'plate':<6}{fault.stage:<9}{fault.found}" for fault in faults]
    return "\n".join([f"{plate.folder.name}: {len(faults)} fault(s): {advice}", *lines]) + "\n"
