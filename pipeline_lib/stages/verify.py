"""verify: prove that every committed well is readable, valid and as its record says; or drop those that are not.

What it drops, the next run makes again.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict

from pipeline_lib.io.claims import read_claims
from pipeline_lib.io.commit import discard
from pipeline_lib.io.locks import Taken, hold, is_held
from pipeline_lib.io.plate import committed_wells
from pipeline_lib.paths import BATCH_STAGES, WHOLE_PLATE, PlatePaths
from pipeline_lib.stages._faults import Fault, faults_of_analysis, faults_of_raw, left_over
from pipeline_lib.stages._folders import add_plates, analyses_of, plates_in
from pipeline_lib.stages.reset import drop

FOUND = "run again with --repair to drop what is bad, then snakemake to make it again"
DROPPED = "dropped; run snakemake to make it again"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's flags."""
    add_plates(parser, "only this named analysis (default: all of a plate's)")
    parser.add_argument("--repair", action="store_true", help="drop what is bad, so that the next run makes it again")
    parser.add_argument("--json", action="store_true", help="as JSON, for programs")


def run(parsed: argparse.Namespace) -> int:
    """Check the plates; the exit code is 1 if anything is wrong, or was before it was dropped.

    Raises:
        Taken: A plate is to be repaired on which a run or a job works.
    """
    check = _repaired if parsed.repair else faults_of
    plates = plates_in(parsed.folders, parsed.analysis)
    found = {plate.folder.name: check(plate) for plate in plates}
    if parsed.json:
        told = {name: [asdict(fault) for fault in faults] for name, faults in found.items()}
        sys.stdout.write(json.dumps(told, indent=1) + "\n")
    else:
        advice = DROPPED if parsed.repair else FOUND
        sys.stdout.write("".join(_in_words(plate, found[plate.folder.name], advice) for plate in plates))
    return int(any(found.values()))


def faults_of(plate: PlatePaths) -> list[Fault]:
    """Everything that is wrong with a plate. While a run works on it, unfinished work lies there by right."""
    left = [] if is_held(plate.lock) else left_over(plate)
    return [*_faults(plate), *(Fault("", "", f"left by an interrupted run: {path}") for path in left)]


def _repaired(plate: PlatePaths) -> list[Fault]:
    """Everything that was wrong with a plate."""
    with hold(plate.lock):
        _refuse_while_jobs_work(plate)
        faults = [*_faults(plate), *(Fault("", "", f"left by an interrupted run: {path}") for path in left_over(plate))]
        for fault in faults:
            _drop(PlatePaths(plate.folder, fault.analysis), fault)
        for path in left_over(plate):
            discard(path)
    return faults


def _faults(plate: PlatePaths) -> list[Fault]:
    of_raw = faults_of_raw(plate)
    bad = {fault.well for fault in of_raw if fault.well}
    return [*of_raw, *(fault for analysis in _analyses(plate) for fault in faults_of_analysis(analysis, bad))]


def _analyses(plate: PlatePaths) -> list[PlatePaths]:
    """The analysis that was asked for, or all that a plate has."""
    return [plate] if plate.analysis else analyses_of(plate)


def _refuse_while_jobs_work(plate: PlatePaths) -> None:
    """SLURM jobs outlive their Snakemake, and with it the lock."""
    for analysis in _analyses(plate):
        for stage in BATCH_STAGES:
            if any(claim.alive for claim in read_claims(analysis.claims(stage))):
                raise Taken(f"a job of {stage} still works on plate {plate.folder.name}: see wellpose status; wait")


def _drop(plate: PlatePaths, fault: Fault) -> None:
    if fault.well or fault.stage in BATCH_STAGES:
        drop(plate, fault.stage, {fault.well} - {""})
    elif fault.stage:
        discard(plate.record(fault.stage, WHOLE_PLATE))


def _in_words(plate: PlatePaths, faults: Sequence[Fault], advice: str) -> str:
    wells = len(committed_wells(plate.raw))
    if not faults:
        return f"{plate.folder.name}: all of {wells} committed wells are readable, valid and as their records say\n"
    places = [f"{fault.stage} {fault.analysis}".strip() for fault in faults]
    width = max(map(len, places)) + 2
    told = zip(faults, places, strict=True)
    lines = [f"  {fault.well or 'plate':<6}{place:<{width}}{fault.found}" for fault, place in told]
    return "\n".join([f"{plate.folder.name}: {len(faults)} fault(s): {advice}", *lines]) + "\n"
