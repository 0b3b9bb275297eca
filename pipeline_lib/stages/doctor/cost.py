"""What a plate is and what it will cost: what is to be written, which images are missing, minutes of ingest."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from pipeline_lib.io.plate import committed_wells
from pipeline_lib.io.records import read_records
from pipeline_lib.io.run_profiles import RunProfile
from pipeline_lib.stages.doctor.findings import Finding, ok
from pipeline_lib.stages.doctor.preflight import Preflight
from pipeline_lib.stages.doctor.raw_files import BAD, RawFile
from pipeline_lib.workflow import Plate

GB = 1e9
GUESS = 25e6  # bytes of decoded pixels that an ingest job does in a second, until a job has told: `make bench-ingest`
TITLES = ("plate", "wells", "fields", "channels", "planes", "times", "GB to write", "files", "missing", "minutes")


@dataclass(frozen=True)
class Cost:
    """One plate. fields: of the well with most. planes: of a channel, as raw images. files: new ones.

    missing: images that are not there or not readable. minutes: of ingest, all jobs that can run at a time together.
    """

    plate: str
    wells: int
    fields: int
    channels: int
    planes: int
    times: int
    least_bytes: int
    most_bytes: int
    files: int
    missing: int
    minutes: float

    @property
    def gb(self) -> str:
        """What is to be written, from compressed to half to not at all."""
        return f"{self.least_bytes / GB:.2f} to {self.most_bytes / GB:.2f}"

    @property
    def cells(self) -> tuple[str, ...]:
        """In the order of `TITLES`."""
        numbers = (self.wells, self.fields, self.channels, self.planes, self.times)
        shown = (*(f"{number:,}" for number in numbers), self.gb, f"{self.files:,}", f"{self.missing:,}")
        return (self.plate, *shown, told_minutes(self.minutes))


@dataclass(frozen=True)
class Speed:
    """How fast plates are ingested. rate: bytes of decoded pixels a second in one job. measured: else it is a guess.

    at_once: jobs that run at a time, if there are as many.
    """

    rate: float
    measured: bool
    at_once: int

    @property
    def told(self) -> str:
        """For people."""
        source = "as earlier jobs did" if self.measured else "a guess until a job has told"
        return f"{self.at_once:,} ingest job(s) at a time, {self.rate / 1e6:.1f} MB of pixels a second each ({source})"


def check_cost(preflight: Preflight) -> Iterator[Finding]:
    """A line for each plate."""
    speed = speed_of(preflight)
    for cost in costs(preflight, speed):
        each = f"{cost.fields:,} field(s) each, {cost.channels:,} channel(s), {cost.planes:,} plane(s)"
        told = f"{cost.wells:,} well(s) of {each}, {cost.times:,} time point(s); {cost.gb} GB and {cost.files:,} files"
        took = f"about {told_minutes(cost.minutes)} minutes of ingest"
        yield ok(f"cost of {cost.plate}", f"{told} to write; {cost.missing:,} image(s) missing; {took}, {speed.told}")


def table(preflight: Preflight) -> str:
    """The same as a table, a row for each plate, and below it what the columns mean."""
    speed = speed_of(preflight)
    rows = [TITLES, *(cost.cells for cost in costs(preflight, speed))]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    minutes = f"minutes: of ingest, {speed.told}"
    lines = ["  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([*lines, "GB and files: still to be written, with labels and tables. missing: images.", minutes])


def as_rows(preflight: Preflight) -> list[dict[str, object]]:
    """The same for programs."""
    return [asdict(cost) for cost in costs(preflight, speed_of(preflight))]


def costs(preflight: Preflight, speed: Speed) -> Iterator[Cost]:
    """Of each plate."""
    for name, plate in preflight.plates.items():
        raw, estimated = preflight.raw_files[name], preflight.estimates[name]
        files = plate.manifest.files
        per_well = Counter(well for well, _ in {(file.well, file.field) for file in files})
        pages = max((one.info.shape[0] for one in raw if one.info and one.file.page is None), default=1)
        yield Cost(
            plate=name,
            wells=len(plate.wells),
            fields=max(per_well.values(), default=0),
            channels=len(plate.manifest.channels),
            planes=len({file.z for file in files}) * pages,
            times=len({file.time for file in files}),
            least_bytes=estimated.least,
            most_bytes=estimated.most,
            files=estimated.new,
            missing=missing_images(plate, raw),
            minutes=ingest_seconds(plate, raw, speed) / 60,
        )


def missing_images(plate: Plate, raw: Sequence[RawFile]) -> int:
    """Images that are missing, empty, cut off or unreadable.

    The fields of a well that has images are those it has images of; a well without any should have as many fields as
    the others have at most. Where the raw folder has been archived, only what the manifest lacks counts.
    """
    files = plate.manifest.files
    whole = len({(file.channel, file.z) for file in files}) * len({file.time for file in files})
    fields = Counter(well for well, _ in {(file.well, file.field) for file in files})
    empty = len(set(plate.wells) - set(fields)) * max(fields.values(), default=0)
    return whole * (fields.total() + empty) - len(files) + sum(one.kind in BAD for one in raw)


def ingest_seconds(plate: Plate, raw: Sequence[RawFile], speed: Speed) -> float:
    """How long the wells that are not there yet will take."""
    there = set(committed_wells(plate.paths.raw))
    size = sum(count for well, count in pixel_bytes(raw).items() if well not in there)
    waiting = sum(not there.issuperset(wells) for wells in plate.batches("ingest").values())
    return size / (speed.rate * max(1, min(speed.at_once, waiting)))


def pixel_bytes(raw: Iterable[RawFile]) -> Counter[str]:
    """Well -> bytes of its readable raw images, decoded."""
    found: Counter[str] = Counter()
    for one in raw:
        if one.info:
            planes, height, width = one.info.shape
            count = planes if one.file.page is None else 1
            found[one.file.well] += count * height * width * np.dtype(one.info.dtype).itemsize
    return found


def speed_of(preflight: Preflight) -> Speed:
    """From the records of earlier ingest jobs of these plates, else `GUESS`; jobs at a time as the profile says."""
    rate = measured_rate(preflight.plates, preflight.raw_files)
    return Speed(rate or GUESS, rate is not None, jobs_at_once(preflight.profile))


def measured_rate(plates: Mapping[str, Plate], raw: Mapping[str, Sequence[RawFile]]) -> float | None:
    """Bytes of decoded pixels a second in earlier ingest jobs; None where none made a well whose files are there."""
    size, seconds = 0, 0.0
    for name, plate in plates.items():
        of_well = pixel_bytes(raw[name])
        for record in read_records(plate.paths.records("ingest")):
            done = [well for well, outcome in record["wells"].items() if outcome["status"] == "done"]
            made = sum(of_well[well] for well in done)
            size, seconds = (size + made, seconds + record["seconds"]) if made else (size, seconds)
    return size / seconds if seconds else None


def jobs_at_once(profile: RunProfile | None) -> int:
    """On SLURM as many as the profile submits at a time, else one for each processor core of this machine."""
    asked = profile.keys.get("jobs") if profile and profile.is_slurm else None
    if isinstance(asked, int) and asked > 0:
        return asked
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def told_minutes(minutes: float) -> str:
    """Such as 0.3 or 1,240."""
    return f"{minutes:.1f}" if minutes < 10 else f"{minutes:,.0f}"
