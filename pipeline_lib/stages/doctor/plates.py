"""Checks of `wellpose doctor` that look at the plates: weights, raw files, disk space, number of files."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path

from pipeline_lib.core.wells import row_column
from pipeline_lib.io.checksums import checksum, read_sums, sum_file
from pipeline_lib.io.plate import committed_wells
from pipeline_lib.io.weights import find_weights, load_weights
from pipeline_lib.stages.doctor.estimate import Estimate
from pipeline_lib.stages.doctor.findings import Finding, fail, few, ok, warn
from pipeline_lib.stages.doctor.preflight import Preflight
from pipeline_lib.stages.doctor.raw_files import BAD, RawFile, lacking_planes
from pipeline_lib.workflow import Plate

NEARLY_FULL = 0.8  # of what is free
GB = 1e9
QUARANTINE = "their wells will be quarantined, the others go on: copy the files again, then --config retry_failed=true"


def check_weights(preflight: Preflight) -> Iterator[Finding]:
    """Each weights file that a plate uses, with its checksum where one is known."""
    users: dict[str, list[str]] = {}
    for name, plate in preflight.plates.items():
        used = plate.settings.segment.labels.weights().items(), plate.settings.restore.weights().items()
        for user, weights in chain(*used):
            users.setdefault(weights, []).append(f"{name} {user}")
    for weights, by in users.items():
        yield _weights(weights, f"{weights} for {few(by)}")


def _weights(weights: str, used: str) -> Finding:
    try:
        path = find_weights(weights)
        known = read_sums(sum_file(path)).get(path.name) if sum_file(path).is_file() else None
        found = checksum(path)
        if known is None:
            load_weights(path)
            return ok("weights", f"{used}: {path} loads; no checksum is kept beside it (SHA-256 {found})")
    except ValueError as error:
        return fail("weights", f"{used}: {error}", "give another name or file, or fetch the model again")
    if found != known:
        told = f"{used}: {path} has SHA-256 {found}, {sum_file(path).name} says {known}"
        return fail("weights", told, "the file was changed or damaged: fetch it again, or delete the .sha256 file")
    return ok("weights", f"{used}: {path}, checksum as in {sum_file(path).name}")


def check_raw(preflight: Preflight) -> Iterator[Finding]:
    """All raw files of all plates, by their headers."""
    for name, plate in preflight.plates.items():
        yield from _raw(f"raw files of {name}", plate, preflight.raw_files[name])
    total = sum(map(len, preflight.raw_files.values()))
    bad = sum(file.kind in BAD for files in preflight.raw_files.values() for file in files)
    yield ok("raw files", f"{total:,} headers read on {len(preflight.plates)} plate(s), {bad:,} of them bad")


def _raw(about: str, plate: Plate, files: Sequence[RawFile]) -> Iterator[Finding]:
    if not files:
        yield _archived(about, plate)
        return
    if all(file.kind in BAD for file in files):
        told = f"none of {len(files):,} files in {plate.manifest.folder} is readable: {_named(files)}"
        yield fail(about, told, "copy the plate again")
        return
    findings = [*_bad_files(about, files), *_holes(about, plate)]
    yield from findings or [ok(about, f"{len(files):,} files in {plate.manifest.folder}, all whole")]


def _bad_files(about: str, files: Sequence[RawFile]) -> Iterator[Finding]:
    for kind in BAD:
        if found := [file for file in files if file.kind == kind]:
            yield warn(about, f"{len(found):,} of {len(files):,} {kind}: {_named(found)}", QUARANTINE)
    if wide := [file for file in files if file.kind == "32-bit"]:
        types = ", ".join(sorted({file.info.dtype for file in wide if file.info}))
        told = f"{len(wide):,} of {len(files):,} 32-bit ({types}): {_named(wide)}"
        yield warn(about, told, "unusual for a camera: were they processed? Intensities are taken as they are")


def _holes(about: str, plate: Plate) -> Iterator[Finding]:
    """Wells without images and wells with too few."""
    without = sorted(set(plate.wells) - set(plate.manifest.wells), key=row_column)
    if without:
        told = f"{len(without)} well(s) of the plate map or index file without any image: {few(without)}"
        yield warn(about, told, "they will be holes; if there should be images, copy them")
    if short := list(lacking_planes(plate.manifest)):
        told = f"{len(short)} well(s) lack a channel, plane or time point that others have: {few(short)}"
        yield warn(about, told, QUARANTINE)


def _archived(about: str, plate: Plate) -> Finding:
    """No raw folder: fine once all wells are in the plate."""
    missing = sorted(set(plate.manifest.wells) - set(committed_wells(plate.paths.raw)), key=row_column)
    if missing:
        told = f"no folder {plate.manifest.folder}, and {len(missing)} well(s) not ingested: {few(missing)}"
        return fail(about, told, "bring the raw folder back")
    return ok(about, f"no folder {plate.manifest.folder} any more; all {len(plate.manifest.wells)} wells are ingested")


def _named(files: Sequence[RawFile]) -> str:
    """The first files with their wells, and what is wrong with the first."""
    named = few([f"{file.file.path} (well {file.file.well})" for file in files])
    return f"{named}; the first: {files[0].told}" if files[0].told else named


def check_disk(preflight: Preflight) -> Iterator[Finding]:
    """Free space at the results against what is still to be written."""
    wanted = _total(preflight)
    place = _existing(preflight.results)
    free = shutil.disk_usage(place).free
    told = (
        f"{wanted.least / GB:.2f} to {wanted.most / GB:.2f} GB still to be written (pixels compressed to half, or not "
        f"at all; label images and tables), {free / GB:.2f} GB free at {place}"
    )
    advice = "free space, or set results to a larger disk"
    if wanted.least > free:
        yield fail("disk space", told, advice)
    elif wanted.most > NEARLY_FULL * free:
        yield warn("disk space", told, f"it may not suffice: {advice}")
    else:
        yield ok("disk space", told)


def check_files(preflight: Preflight) -> Iterator[Finding]:
    """Free inodes at the results, and the budget of files where there is one."""
    wanted = _total(preflight)
    place = _existing(preflight.results)
    free = os.statvfs(place).f_favail
    told = f"{wanted.files:,} files when all is done, {wanted.new:,} of them new"
    known = bool(os.statvfs(place).f_files)  # some file systems make inodes as they need them
    there = f"{free:,} inodes free at {place}" if known else f"{place} has no fixed number of inodes"
    advice = "fewer plates at once, or fewer label images (segment.labels)"
    if known and wanted.new > NEARLY_FULL * free:
        yield (fail if wanted.new > free else warn)("number of files", f"{told}; {there}", advice)
    else:
        yield ok("number of files", f"{told}; {there}")
    budget = preflight.file_budget
    if budget is not None:
        compared = f"{wanted.files:,} files when all is done, the budget is {budget:,}"
        over = wanted.files > budget
        yield fail("file budget", compared, advice) if over else ok("file budget", compared)


def _total(preflight: Preflight) -> Estimate:
    return sum(preflight.estimates.values(), Estimate())


def _existing(folder: Path) -> Path:
    """The folder, or the nearest above it that is there."""
    return next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
