"""reset: drop results of a plate and the records that tell of them, so that the next run makes them again."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Set
from pathlib import Path

from pipeline_lib.core.wells import well_list
from pipeline_lib.io.commit import discard
from pipeline_lib.io.locks import hold
from pipeline_lib.io.plate import committed_wells, withdraw_labels
from pipeline_lib.io.records import read_json
from pipeline_lib.paths import WHOLE_PLATE, PlatePaths, labels_path
from pipeline_lib.stages._folders import analyses_of

STAGES = ("illuminate", "ingest", "calibrate", "restore", "segment", "measure")
log = logging.getLogger("wellpose")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's flags."""
    parser.add_argument("plate", type=Path, help="the plate's results folder, such as results/plate1")
    parser.add_argument("--stage", choices=STAGES, default="ingest", help="drop this stage's results (default: ingest)")
    parser.add_argument(
        "--analysis", default="", help="the analysis whose results are dropped (default: the plain one)"
    )
    parser.add_argument("--wells", type=well_list, default=(), help="only these wells, separated by commas")


def run(parsed: argparse.Namespace) -> None:
    """Drop what is named, then the batch records that speak of it.

    Raises:
        Taken: A run works on the plate.
    """
    plate = PlatePaths(parsed.plate, parsed.analysis)
    if not plate.manifest.exists():
        raise FileNotFoundError(f"{plate.folder} is not a plate's results folder: it has no {plate.manifest.name}")
    with hold(plate.lock):
        _reset(plate, parsed)


def _reset(plate: PlatePaths, parsed: argparse.Namespace) -> None:
    of_plate = {"calibrate": plate.calibration, "illuminate": plate.illumination}
    if parsed.stage in of_plate:
        discard(of_plate[parsed.stage])
        discard(plate.records(parsed.stage))
        return
    known = set(committed_wells(plate.raw)).union(*(told or () for told in _records(plate, parsed.stage).values()))
    if unknown := set(parsed.wells) - known:
        raise ValueError(
            f"{plate.folder.name} has no well {', '.join(sorted(unknown))}; it has {', '.join(sorted(known))}"
        )
    wells = set(parsed.wells) or known
    drop(plate, parsed.stage, wells)
    log.info("reset %s: %s of %d well(s) dropped", plate.folder.name, parsed.stage, len(wells))


def drop(plate: PlatePaths, stage: str, wells: Set[str]) -> None:
    """Make the results of a stage for some wells absent, then the records and claims that speak of them.

    With a raw well goes all that was made from it, in every analysis. Records that cannot be read go too.
    """
    for well in wells:
        _drop(plate, stage, well)
    for record, told in _records(plate, stage).items():
        if told is None or wells & told:
            discard(record)
            discard(plate.claim(stage, record.stem))
    if stage == "ingest" and wells:
        discard(plate.record("complete", WHOLE_PLATE))
        for analysis in analyses_of(plate):
            for later in ("restore", "segment", "measure"):
                drop(analysis, later, wells)
    if stage == "restore" and wells:
        discard(plate.record("conclude", WHOLE_PLATE))


def _records(plate: PlatePaths, stage: str) -> dict[Path, set[str] | None]:
    """Record -> the wells it speaks of; None: it cannot be read."""
    return {path: _wells_in(path) for path in plate.records(stage).glob("[!.]*.json")}


def _wells_in(record: Path) -> set[str] | None:
    try:
        return set(read_json(record)["wells"])
    except (ValueError, KeyError, TypeError):
        return None


def _drop(plate: PlatePaths, stage: str, well: str) -> None:
    """Make one well's result of a stage absent."""
    raw = plate.raw_well(well)
    if stage == "ingest":
        discard(raw)
    elif stage == "restore":
        discard(plate.restored_well(well))
    elif stage == "measure":
        discard(plate.cells(well))
    else:
        for field in raw.glob("[0-9]*"):
            _drop_labels(raw / labels_path(int(field.name)), plate.analysis)


def _drop_labels(group: Path, analysis: str) -> None:
    """Make the label images of an analysis absent; all of them where it cannot be read which are whose."""
    try:
        withdraw_labels(group, analysis)
    except (ValueError, KeyError, TypeError, AttributeError):
        discard(group)
