"""Killed at any instant: what a job was writing is absent or complete, and the next job completes it.

Every commit runs again and again in a process of its own, which is killed right before its first, second, third, ...
file operation. Moments between which nothing changed on the disk count as one. This file is also the program that those
processes are forked from, so that libraries load once.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import tifffile
from numpy.typing import NDArray

from pipeline_lib.arrays.pyramid import level_steps, pyramid
from pipeline_lib.arrays.resample import shrink_labels
from pipeline_lib.io import claims
from pipeline_lib.io.commit import is_temporary
from pipeline_lib.io.manifests import read_manifest, write_manifest
from pipeline_lib.io.plate import (
    commit_labels,
    committed_wells,
    fields_of,
    labels_of,
    levels_of,
    read_attributes,
    read_field,
    read_histograms,
    read_info,
    read_labels,
    stored_fingerprint,
)
from pipeline_lib.io.records import read_json, write_json
from pipeline_lib.io.tables import read_table, table_fingerprint
from pipeline_lib.io.vendors import scan_plate
from pipeline_lib.paths import PlatePaths, labels_path
from pipeline_lib.provenance import code_digest
from pipeline_lib.settings import IngestSettings, MeasureSettings, SegmentSettings
from pipeline_lib.stages import _job
from pipeline_lib.stages._job import Job, WellWork, make_current
from pipeline_lib.stages.complete import complete
from pipeline_lib.stages.ingest import Ingest
from pipeline_lib.stages.measure import Measure
from pipeline_lib.stages.segment import Labelled, Segment, labels_fingerprint
from pipeline_lib.stages.skeleton import skeleton

pytestmark = pytest.mark.faults
REPOSITORY = Path(__file__).parents[3]
PATTERN = r"(?P<well>[A-Z][0-9]{2})_f(?P<field>[0-9])_c(?P<channel>[0-9])\.tif"
WELL, SHAPE = "B03", (20, 30)
SETTINGS: dict[str, Any] = {
    "ingest": IngestSettings(pattern=PATTERN),
    "segment": SegmentSettings.model_validate({"labels": {"cells": None}}),
    "measure": MeasureSettings(features=("shape",)),
}


# What is interrupted


def job_of(plate: PlatePaths, stage: str) -> Job:
    section = SETTINGS.get(stage, SETTINGS["ingest"])
    return Job(stage, plate, section, plate.record(stage, "B03-B03"), (WELL,))


def make(work: WellWork[Any, Any]) -> None:
    """What a job does to one well."""
    wanted = work.wanted(WELL)
    assert wanted is not None
    if work.stored(WELL) != wanted:
        work.commit(WELL, map(work.compute, work.read(WELL)), wanted)


def ingest_well(plate: PlatePaths) -> None:
    job = job_of(plate, "ingest")
    make(Ingest(job, read_manifest(plate.manifest), read_info(plate.raw), job.settings))
    complete(job_of(plate, "complete"))


class HandMade(Segment):
    """Segmentation without a network: what is found follows from the field's number."""

    def compute(self, piece: list[Any]) -> list[Labelled]:
        return [
            Labelled(frame.field, {"nuclei": list(pyramid(objects(frame.field), shrink_labels))}, {"nuclei": 9})
            for frame in piece
        ]


def segment_well(plate: PlatePaths) -> None:
    job = job_of(plate, "segment")
    make(HandMade(job, job.settings))


class Counted(Measure):
    """Measurement without features: how many pixels have an object."""

    def compute(self, piece: Any) -> pd.DataFrame:
        return pd.DataFrame({"field": [piece.field], "pixels": [np.count_nonzero(piece.labels["nuclei"])]})


def measure_well(plate: PlatePaths) -> None:
    job = job_of(plate, "measure")
    make_current(job, Counted(job, job.settings))


WORKS: dict[str, Callable[[PlatePaths], None]] = {
    "ingest": ingest_well,
    "segment": segment_well,
    "measure": measure_well,
}


# What it begins with


def picture(seed: int) -> NDArray[np.uint16]:
    return np.random.default_rng(seed).integers(0, 4000, SHAPE).astype(np.uint16)


def objects(seed: int) -> NDArray[np.uint32]:
    """Nine squares (Y, X) with numbers of their own."""
    labels = np.zeros(SHAPE, np.uint32)
    for number, (y, x) in enumerate((y, x) for y in (1, 8, 15) for x in (1, 11, 21)):
        labels[y : y + 4, x : x + 5] = 100 * seed + number + 1
    return labels


def save_pictures(folder: Path, seed: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for field in (1, 2):
        for channel in (1, 2):
            name = f"{WELL}_f{field}_c{channel}.tif"
            tifffile.imwrite(folder / name, picture(seed + 10 * field + channel), photometric="minisblack")


def with_skeleton(folder: Path) -> PlatePaths:
    plate = PlatePaths(folder / "P1")
    save_pictures(folder / "raw", seed=0)
    write_manifest(scan_plate("P1", folder / "raw", "pattern", PATTERN), plate.manifest)
    skeleton(job_of(plate, "skeleton"))
    write_json(plate.calibration, {"ranges": None, "diameters": {"nuclei": 5}})
    return plate


def with_older_labels(plate: PlatePaths, analysis: str) -> None:
    """Labels of other settings in both fields."""
    info = read_info(plate.raw)
    for number in fields_of(plate.raw, WELL):
        levels = [level[None] for level in pyramid(objects(number + 7), shrink_labels)]
        group = plate.raw_well(WELL) / labels_path(number)
        told = {"fingerprint": f"older {analysis}"}
        commit_labels(group, analysis, {"nuclei": levels}, level_steps(*SHAPE), info, told)


def before_ingest(folder: Path) -> None:
    with_skeleton(folder)


def before_ingest_anew(folder: Path) -> None:
    """An older version of the well, and changed files."""
    plate = with_skeleton(folder)
    ingest_well(plate)
    save_pictures(folder / "raw", seed=500)


def before_segment(folder: Path) -> None:
    ingest_well(with_skeleton(folder))


def before_segment_anew(folder: Path) -> None:
    """Older labels of the same analysis, and some of another one."""
    before_segment(folder)
    for analysis in ("", "v2"):
        with_older_labels(PlatePaths(folder / "P1"), analysis)


def before_measure(folder: Path) -> None:
    before_segment(folder)
    segment_well(PlatePaths(folder / "P1"))


def before_measure_anew(folder: Path) -> None:
    """An older table; its record is gone, as Snakemake removes it before a job."""
    before_segment(folder)
    plate = PlatePaths(folder / "P1")
    with_older_labels(plate, "")
    measure_well(plate)
    plate.record("measure", "B03-B03").unlink()
    segment_well(plate)


# What a reader sees


@dataclass(frozen=True)
class Seen:
    """What all readers tell of a plate.

    whole: fingerprint of the well's result. parts: what is committed in one go each, such as fields; None: absent.
    others: what the work must leave alone.
    """

    whole: str | None
    parts: dict[str, object]
    others: object = None


def plain(array: NDArray[Any]) -> tuple[str, tuple[int, ...], bytes]:
    return array.dtype.name, array.shape, array.tobytes()


def seen_raw(plate: PlatePaths) -> Seen:
    whole = stored_fingerprint(plate.raw_well(WELL))
    if committed_wells(plate.raw) != [WELL]:
        assert whole is None
        return Seen(None, {"well": None})
    well = {
        "told": read_attributes(plate.raw_well(WELL)),
        "histograms": [[plain(one.counts) for one in of_field] for of_field in read_histograms(plate.raw, WELL)],
        **{
            f"{field}/{level}": plain(read_field(plate.raw, WELL, field, level=level))
            for field in fields_of(plate.raw, WELL)
            for level in range(levels_of(plate.raw, WELL, field))
        },
    }
    assert len(well) == 2 + 2 * 2
    return Seen(whole, {"well": well})


def seen_labels(plate: PlatePaths) -> Seen:
    fields = {str(field): labels_in(plate, field, "") for field in fields_of(plate.raw, WELL)}
    others = [labels_in(plate, field, "v2") for field in fields_of(plate.raw, WELL)]
    return Seen(labels_fingerprint(plate, WELL), fields, [seen_raw(plate), others])


def labels_in(plate: PlatePaths, field: int, analysis: str) -> object:
    """What an analysis tells of a field, and its pixels; None where it has nothing."""
    told = labels_of(plate.raw, WELL, field, analysis)
    if not told:
        return None
    listed = read_attributes(plate.raw_well(WELL) / labels_path(field))["ome"]["labels"]
    levels = [read_labels(plate.raw, WELL, field, level=level, analysis=analysis) for level in (0, 1)]
    assert [set(found) for found in levels] == [set(told["labels"])] * 2
    assert {f"{name}_{analysis}".rstrip("_") for name in told["labels"]} <= set(listed)
    return told, [{name: plain(labels) for name, labels in found.items()} for found in levels]


def seen_table(plate: PlatePaths) -> Seen:
    """A record tells of a table that is there: it is written last."""
    path = plate.cells(WELL)
    whole = table_fingerprint(path)
    table = (whole, plain(read_table(path).to_numpy(str))) if whole else None
    record = read_json(plate.record("measure", "B03-B03"))
    named = record["wells"][WELL]["fingerprint"] if record else None
    assert named in (None, whole)
    return Seen(whole, {"table": table, "record": named}, seen_labels(plate))


@dataclass(frozen=True)
class Case:
    """A commit: what lies there before, which work is interrupted, how its result is read."""

    before: Callable[[Path], None]
    work: str
    seen: Callable[[PlatePaths], Seen]


CASES = {
    "a raw well": Case(before_ingest, "ingest", seen_raw),
    "a raw well in place of an older one": Case(before_ingest_anew, "ingest", seen_raw),
    "label images": Case(before_segment, "segment", seen_labels),
    "label images in place of older ones beside another analysis": Case(before_segment_anew, "segment", seen_labels),
    "a table and the record of its job": Case(before_measure, "measure", seen_table),
    "a table in place of an older one": Case(before_measure_anew, "measure", seen_table),
}
cases = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


# Tests


@cases
def test_killed_before_any_file_operation(case: Case, tmp_path: Path, killer: Killer) -> None:
    """A reader sees the old, nothing or the new, never back and never a mix; the next job completes it."""
    case.before(tmp_path / "0")
    done = copied(tmp_path / "0", tmp_path / "done")
    old = case.seen(done)
    WORKS[case.work](done)
    new = case.seen(done)
    assert old.parts != new.parts
    assert old.whole != new.whole
    wanted = contents(done)
    moments = killer.moments(case.work, copied(tmp_path / "0", tmp_path / "counted"))
    assert len(moments) > 15
    progress = Progress(old, new)
    for moment, torn in moments:
        plate = copied(tmp_path / "0", tmp_path / f"{moment} {torn}")
        killer.kill(case.work, plate, moment, torn=torn)
        progress.check(case.seen(plate))
        WORKS[case.work](plate)
        assert case.seen(plate) == new, moment
        assert fixed(contents(plate)) == fixed(wanted), moment
        assert left_over(plate) == [], moment
        shutil.rmtree(plate.folder.parent)
    assert progress.reached == dict.fromkeys(new.parts, 2)


@dataclass
class Progress:
    """How far parts of a result have come; none may go back."""

    old: Seen
    new: Seen
    reached: dict[str, int] | None = None

    def check(self, seen: Seen) -> None:
        """Take note of what is seen after the next kill."""
        before = self.reached or dict.fromkeys(seen.parts, 0)
        self.reached = {}
        for name, part in seen.parts.items():
            stages = [self.old.parts[name], None, self.new.parts[name]]
            assert part in stages, f"{name} is a mix"
            now = [number for number, stage in enumerate(stages) if stage == part]
            self.reached[name] = next(number for number in now if number >= before[name])
        assert seen.whole in (self.old.whole, None, self.new.whole)
        for other in (self.old, self.new):
            if other.whole and seen.whole == other.whole:
                assert {**other.parts, "record": None} == {**seen.parts, "record": None}
        assert seen.others == self.old.others == self.new.others


@cases
def test_everything_is_on_the_disk_before_its_name_is(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a rename publishes has been flushed, every file and folder of it; its folder is flushed next."""
    case.before(tmp_path)
    plate = PlatePaths(tmp_path / "P1")
    flushed: list[tuple[int, int]] = []
    published: list[Path] = []
    rename, flush = os.replace, os.fsync

    def note_flush(handle: int) -> None:
        status = os.fstat(handle)
        if published:
            parent = published.pop().parent.stat()
            assert (status.st_dev, status.st_ino) == (parent.st_dev, parent.st_ino)
        flushed.append((status.st_ino, status.st_mtime_ns))
        flush(handle)

    def note_rename(source: Path, target: Path) -> None:
        source, target = Path(source), Path(target)
        if is_temporary(source.name) and not is_temporary(target.name):
            assert not published, f"the folder of {published} was not flushed"
            for path in (source, *source.rglob("*")):
                status = path.stat()
                assert (status.st_ino, status.st_mtime_ns) in flushed, f"{path} was not flushed after its last change"
            published.append(target)
        rename(source, target)

    monkeypatch.setattr(os, "fsync", note_flush)
    monkeypatch.setattr(os, "rename", note_rename)
    monkeypatch.setattr(os, "replace", note_rename)
    WORKS[case.work](plate)
    assert not published
    assert len(flushed) > 3


def copied(folder: Path, to: Path) -> PlatePaths:
    """The plate in a folder, copied to another one; the raw files stay where they are."""
    shutil.copytree(folder / "P1", to / "P1")
    return PlatePaths(to / "P1")


def left_over(plate: PlatePaths) -> list[str]:
    return [path.name for path in plate.folder.rglob("*") if is_temporary(path.name)]


def contents(plate: PlatePaths, hidden: bool = False) -> dict[str, bytes]:
    """Relative path -> what it holds; folders too. hidden: with what no reader looks at."""
    paths = [path for path in plate.folder.rglob("*") if hidden or not is_temporary(path.name)]
    return {str(path.relative_to(plate.folder)): path.read_bytes() if path.is_file() else b"" for path in paths}


def fixed(found: dict[str, bytes]) -> frozenset[tuple[str, bytes]]:
    """The same without what differs from run to run: random names; in records and claims, times and their like."""
    random = re.compile(r"[0-9a-f]{12,32}")
    varying = re.compile(rb'\b[0-9a-f]{32}\b|"objects": \d+,\s*|\d+(\.\d+)?|current|done')
    return frozenset(
        (random.sub("", name), varying.sub(b"", held) if "records" in name else held) for name, held in found.items()
    )


@pytest.fixture(autouse=True)
def in_haste(monkeypatch: pytest.MonkeyPatch) -> None:
    """A claim that was being written when its job was killed is waited for; here not for long."""
    monkeypatch.setattr(claims, "STALE", 0.0)
    monkeypatch.setattr(_job, "software", cache(_job.software))
    monkeypatch.setattr(os, "fsync", lambda _: None)


# The process that is killed, and the one it is forked from


class Killer:
    """A process with all libraries loaded, from which the ones to be killed are forked."""

    def __init__(self) -> None:
        environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
        self.process = subprocess.Popen(
            [sys.executable, __file__], env=environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def moments(self, work: str, plate: PlatePaths) -> list[tuple[int, bool]]:
        """(file operation, torn): before which to kill an undisturbed run; torn: amid the writing that came before."""
        assert self._asked(work, plate, 0, torn=False) == 0
        operations = json.loads((plate.folder.parent / OPERATIONS).read_text())
        found, before = [], ["", 0]
        for number, (kind, state) in enumerate(operations, 1):
            if before[0] == "open":
                found.append((number, True))
            if state != before[1]:
                found.append((number, False))
            before = [kind, state]
        return found

    def kill(self, work: str, plate: PlatePaths, moment: int, torn: bool) -> None:
        """Run a work that is killed before a file operation."""
        assert self._asked(work, plate, moment, torn=torn) == -signal.SIGKILL

    def _asked(self, work: str, plate: PlatePaths, moment: int, torn: bool) -> int:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps([work, str(plate.folder), moment, torn]) + "\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())


@pytest.fixture(scope="module")
def killer() -> Iterator[Killer]:
    made = Killer()
    yield made
    assert made.process.stdin is not None
    made.process.stdin.close()
    assert made.process.wait(20) == 0
    assert made.process.stdout is not None
    made.process.stdout.close()


OPERATIONS, MODULES = "operations.json", "modules.txt"
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
CHANGES = {
    "os.mkdir": 2,
    "os.rename": 2,
    "os.remove": 1,
    "os.rmdir": 1,
    "os.link": 2,
    "os.symlink": 2,
    "os.truncate": 2,
}
"""Audit event -> where among its arguments the descriptor of the folder is that a relative path is in."""


@dataclass
class Doom:
    """Counts file operations below a folder and ends the process before one of them."""

    plate: PlatePaths
    moment: int
    torn: bool
    operations: list[tuple[str, int]]
    last: Path = Path()
    over: bool = False

    def hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        """An audit hook."""
        if event == "open" and arguments[2] & WRITES:
            self.note("open", arguments[0])
        elif event in CHANGES:
            self.note(event, arguments[0], *arguments[CHANGES[event] :][:1])

    def note(self, kind: str, path: Any, handle: int = -1) -> None:
        if isinstance(path, int):
            path = Path(f"/proc/self/fd/{path}").readlink()
        folder = Path(f"/proc/self/fd/{handle}").readlink() if handle >= 0 else Path.cwd()
        path = folder / os.fsdecode(path)
        if self.over or not path.is_relative_to(self.plate.folder):
            return
        self.operations.append((kind, 0 if self.moment else hash(fixed(contents(self.plate, hidden=True)))))
        if len(self.operations) == self.moment:
            self.over = True
            if self.torn:
                os.truncate(self.last, self.last.stat().st_size // 2)
            os.kill(os.getpid(), signal.SIGKILL)
        self.last = path


def run_doomed(work: str, plate: PlatePaths, moment: int, torn: bool) -> None:
    """In a process of its own: do a work until the moment has come."""
    doom = Doom(plate, moment, torn, [])
    write = pq.write_table

    def write_table(table: Any, path: Path, **options: Any) -> None:
        write(table, path, **options)  # opened by Arrow itself, unheard
        doom.note("open", str(path))

    pq.write_table = write_table
    os.fsync = lambda handle: doom.note("fsync", handle)
    claims.STALE = 0.0
    sys.addaudithook(doom.hear)
    WORKS[work](plate)
    doom.over = True
    (plate.folder.parent / OPERATIONS).write_text(json.dumps(doom.operations))


def serve() -> None:
    """Fork a process for each line of orders; say how it ended."""
    _job.software = cache(_job.software)
    _job.software()
    for stage in ("ingest", "complete", "segment", "measure"):
        code_digest(stage)
    for line in sys.stdin:
        work, folder, moment, torn = json.loads(line)
        child = os.fork()
        if not child:
            run_doomed(work, PlatePaths(Path(folder)), moment, torn)
            (Path(folder).parent / MODULES).write_text("\n".join(sys.modules))
            os._exit(0)
        status = os.waitpid(child, 0)[1]
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()
        if not moment:  # no thread may run in this process, so it only loads what others needed
            needed = set((Path(folder).parent / MODULES).read_text().split())
            for name in needed - set(sys.modules) - {"__mp_main__"}:  # the name multiprocessing has for this file
                import_module(name)


if __name__ == "__main__":
    serve()
