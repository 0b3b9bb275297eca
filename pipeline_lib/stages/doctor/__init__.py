"""doctor: look for what would stop a run before it starts. One line per finding, with what to do.

With `--dry-run` it only tells what the plates are and what they will cost, one row per plate.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Iterator

from pipeline_lib.io.run_profiles import RunProfile, find_profile
from pipeline_lib.stages._config import add_config, planned_workflow
from pipeline_lib.stages.doctor.cost import as_rows, check_cost, table
from pipeline_lib.stages.doctor.findings import Finding, as_json, counted, fail, ok, one_line, warn
from pipeline_lib.stages.doctor.machine import check_gpu, check_slurm, read_found
from pipeline_lib.stages.doctor.plates import check_disk, check_files, check_raw, check_weights
from pipeline_lib.stages.doctor.preflight import Preflight
from pipeline_lib.workflow import ConfigError, Workflow

Check = Callable[[Preflight], Iterable[Finding]]
PLATE_CHECKS: dict[str, Check] = {
    "weights": check_weights,
    "raw files": check_raw,
    "disk space": check_disk,
    "number of files": check_files,
    "cost": check_cost,
}
MACHINE_CHECKS: dict[str, Check] = {"GPU": check_gpu, "SLURM": check_slurm}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of the command."""
    add_config(parser)
    parser.add_argument("--profile", metavar="NAME", help="the profile the run will be started with, such as slurm")
    parser.add_argument("--file-budget", type=int, metavar="N", help="files that all results together may have")
    parser.add_argument(
        "--dry-run", action="store_true", help="only a table of the plates: what they are and what they will cost"
    )
    parser.add_argument("--json", action="store_true", help="findings as JSON, for programs")


def run(parsed: argparse.Namespace) -> int:
    """Look at everything. Returns 1 if anything would stop the run, else 0."""
    return _dry_run(parsed) if parsed.dry_run else _doctor(parsed)


def _dry_run(parsed: argparse.Namespace) -> int:
    """Tell what the plates of the config cost; nothing of the machine is looked at. Returns 1 for a faulty config."""
    (workflow, found), (profile, of_profile) = _config(parsed), _profile(parsed.profile)
    faults = [finding for finding in (*found, *of_profile) if finding.level == "FAIL"]
    if workflow is None or faults:
        (_gathered if parsed.json else _line_by_line)(faults)
        return 1
    preflight = Preflight(workflow.settings, workflow.plates, profile)
    told = json.dumps({"plates": as_rows(preflight)}, indent=1) if parsed.json else table(preflight)
    sys.stdout.write(f"{told}\n")
    return 0


def _doctor(parsed: argparse.Namespace) -> int:
    tell = _gathered if parsed.json else _line_by_line
    counts = counted(tell(_found(parsed)))
    return 1 if counts["FAIL"] else 0


def _found(parsed: argparse.Namespace) -> Iterator[Finding]:
    """Findings as they come: config and profile first, since the others look at them."""
    workflow, findings = _config(parsed)
    yield from findings
    profile, findings = _profile(parsed.profile)
    yield from findings
    if workflow is None:
        told = f"{', '.join(PLATE_CHECKS)} not looked at"
        yield warn("plates", told, "mend the config, then ask again")
        preflight = Preflight(profile=profile)
    else:
        preflight = Preflight(workflow.settings, workflow.plates, profile, parsed.file_budget)
    checks = {**(PLATE_CHECKS if preflight.plates else {}), **MACHINE_CHECKS}
    for about, check in checks.items():
        yield from _guarded(about, check, preflight)


def _guarded(about: str, check: Check, preflight: Preflight) -> Iterator[Finding]:
    """A disk or server that fails is a finding; the other checks go on."""
    try:
        yield from check(preflight)
    except OSError as error:
        yield fail(about, f"could not be looked at: {error}", "check the disk or file server")


def _config(parsed: argparse.Namespace) -> tuple[Workflow | None, list[Finding]]:
    """The run that the config plans, or its faults, one by one."""
    try:
        workflow = planned_workflow(parsed)
    except ConfigError as error:
        faults = [fault.removeprefix("config: ") for fault in str(error).split("\n  * ")[1:]]
        return None, [fail("config", one_line(fault), "change config, plate sheet or plate map") for fault in faults]
    except (ValueError, FileNotFoundError) as error:
        return None, [fail("config", one_line(str(error)), "mend or name the file")]
    wells = sum(len(plate.wells) for plate in workflow.plates.values())
    told = f"{len(workflow.plates)} plate(s) with {wells:,} wells in {workflow.settings.plates}"
    return workflow, [ok("config", told)]


def _profile(name: str | None) -> tuple[RunProfile | None, list[Finding]]:
    return read_found(find_profile(name)) if name else (None, [])


def _line_by_line(findings: Iterable[Finding]) -> list[Finding]:
    """Each finding at once: reading all headers takes a while."""
    told = []
    for finding in findings:
        sys.stdout.write(f"{finding.line()}\n")
        sys.stdout.flush()
        told.append(finding)
    sys.stdout.write(", ".join(f"{count} {level}" for level, count in counted(told).items()) + "\n")
    return told


def _gathered(findings: Iterable[Finding]) -> list[Finding]:
    told = list(findings)
    sys.stdout.write(json.dumps(as_json(told), indent=1) + "\n")
    return told
