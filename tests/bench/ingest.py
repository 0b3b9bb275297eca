"""What ingest costs: our jobs, the least they could cost, and ngio's plain way of writing, on one drawn plate.

Each way runs as Snakemake runs ingest: a process of one thread for each core, side by side, each with its share of the
wells. The ways take turns on the same cores, with the raw files in the page cache. The limit (`ingest_limit.py`)
decodes the same files and writes the same arrays, byte counts compared, and does nothing else; ngio writes a part of
the plate. Speeds are of decoded raw pixels, in 10^6 bytes a second, start of Python included. Writes
`tests/bench/results/ingest.json`; exits with 1 where a bar is not met. `make bench-ingest`.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import chdir
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.document import update_document
from bench.machine import write
from scipy import ndimage

from pipeline_lib.arrays.pyramid import pyramid
from pipeline_lib.arrays.resample import shrink
from pipeline_lib.core.manifest import ChannelFacts, PlateFacts, Position
from pipeline_lib.core.wells import well_name
from pipeline_lib.io.layouts import LAYOUTS, Measurement
from pipeline_lib.io.records import read_json
from pipeline_lib.paths import WHOLE_PLATE, well_path
from pipeline_lib.provenance import PACKAGE
from pipeline_lib.workflow import Plate, load_workflow

HERE = Path(__file__).parent
PIXEL_SIZE = 0.65  # micrometres
NAMES = ("DNA", "ER", "AGP", "Mito", "RNA", "Actin", "Golgi", "Lyso")
COLUMNS = 8  # of the wells that are drawn
BARS = {"of_limit": 0.7, "times_ngio": 2.0, "peak_mib": 1536}


def main() -> None:
    """Draw the plate, take turns, write the figures."""
    asked = _asked()
    with tempfile.TemporaryDirectory(dir=asked.folder) as name:
        bench = Bench(Path(name), asked)
        bench.draw()
        figures = bench.measured()
    write("ingest", figures)
    update_document()
    if missed := figures["bars_missed"]:
        sys.exit(f"bars not met: {', '.join(missed)}")


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wells", type=int, default=48)
    parser.add_argument("--fields", type=int, default=4, help="of a well")
    parser.add_argument("--channels", type=int, default=4, choices=range(1, len(NAMES) + 1))
    parser.add_argument("--side", type=int, default=2160, help="pixels of a field, each way")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--ngio-wells", type=int, default=6, help="that ngio writes")
    parser.add_argument("--ngio", default=".ngio/bin/python", help="Python that has it; empty: without")
    parser.add_argument("--folder", type=Path, help="where the plates are written for the time of the run")
    return parser.parse_args()


@dataclass(frozen=True)
class Ran:
    """One way, in one turn. seconds: until its last process was done. processor: seconds of all its processes together.

    peak_mib: of the largest process.
    """

    megabytes: float
    seconds: float
    processor: float
    peak_mib: int


@dataclass(frozen=True)
class Bench:
    """The drawn plate below `folder`, and the ways of writing it."""

    folder: Path
    asked: argparse.Namespace

    @cached_property
    def measurement(self) -> Measurement:
        """What is drawn."""
        return measurement(self.asked, ((0.0, 0.0),) * self.asked.fields)

    @cached_property
    def plate(self) -> Plate:
        """The plate as the workflow sees it; its manifest is written."""
        return loaded(self.folder, "pattern")

    def megabytes(self, wells: Sequence[str]) -> float:
        """Of the images of some wells, decoded."""
        return decoded_megabytes(self.measurement, wells)

    def shares(self, wells: Sequence[str]) -> list[Sequence[str]]:
        """The wells of each process."""
        return [wells[core :: self.asked.cores] for core in range(self.asked.cores)]

    @property
    def places(self) -> list[tuple[str, int]]:
        """Every field of every well."""
        return list(product(self.measurement.wells, range(self.asked.fields)))

    def draw(self) -> None:
        """Raw files, the skeleton of our plate, what the other ways are told, and a first run of ours and the limit."""
        files = {}
        images = camera_images(self.measurement.shape, len(self.places))
        layout = LAYOUTS["pattern"]
        for number, ((well, field), image) in enumerate(zip(self.places, images, strict=True)):
            files[well, field] = layout.write_field(self.folder / "raw", self.measurement, well, field, image)
            for level, coarser in enumerate(pyramid(image[0, :, 0], shrink)[1:], 1):
                np.save(self.folder / f"{number}.{level}.npy", coarser)
        side_by_side([stage_command(self.plate, "skeleton", WHOLE_PLATE)], 0)
        self.turn("ours")
        arrays = [_lengths(path) for path in sorted(self._our_field(*self.places[0]).glob("[0-9]"))]
        fields = [
            {
                **dict(zip(("row", "column"), well_path(well).split("/"), strict=True)),
                "field": field,
                "files": [str(path) for path in files[well, field]],
                "levels": [str(self.folder / f"{number}.{level}.npy") for level in range(1, len(arrays))],
            }
            for number, (well, field) in enumerate(self.places)
        ]
        channels = list(NAMES[: self.asked.channels])
        plan = {"pixel_size": PIXEL_SIZE, "channels": channels, "arrays": arrays, "fields": fields}
        (self.folder / "plan.json").write_text(json.dumps(plan), encoding="utf-8")
        self.turn("limit")
        self.compare()

    def turn(self, way: str) -> Ran:
        """One way, for all its wells."""
        wells = self.measurement.wells[: self.asked.ngio_wells] if way == "ngio" else self.measurement.wells
        commands = [self._command(way, number, share) for number, share in enumerate(self.shares(wells))]
        return side_by_side(commands, self.megabytes(wells))

    def _command(self, way: str, number: int, wells: Sequence[str]) -> list[str]:
        """The process of that number."""
        if way == "ours":
            return [*stage_command(self.plate, "ingest", f"{number}"), "--wells", ",".join(wells)]
        plan, paths = str(self.folder / "plan.json"), [well_path(well) for well in wells]
        if way == "limit":
            return [sys.executable, str(HERE / "ingest_limit.py"), plan, str(self.folder / "limit"), *paths]
        return [self.asked.ngio, str(HERE / "ngio_write.py"), plan, str(self.folder / f"ngio/{number}.zarr"), *paths]

    @property
    def skeleton_seconds(self) -> float:
        """What the job before took at work: it samples 12 images of each channel, once for the whole plate."""
        return float(read_json(self.plate.paths.record("skeleton", WHOLE_PLATE))["seconds"])

    def measured(self) -> dict[str, Any]:
        """All ways in turn, round by round."""
        ways = ("ours", "limit", *(("ngio",) if self.asked.ngio else ()))
        load = os.getloadavg()
        rounds, records = [], []
        for _ in range(self.asked.rounds):
            ran = {}
            for way in ways:
                self.clear()
                ran[way] = self.turn(way)
                if way == "ours":
                    records.append(read_json(self.plate.paths.record("ingest", "0")))
            rounds.append(ran)
        return self.figures(rounds, records, load)

    def figures(
        self, rounds: Sequence[Mapping[str, Ran]], records: Sequence[Mapping[str, Any]], load: Sequence[float]
    ) -> dict[str, Any]:
        """Ratios are medians over rounds; those of processor seconds hardly change with what else the machine does.

        records: of the first of our jobs.
        """
        ways = {way: [ran[way] for ran in rounds] for way in rounds[0]}
        found = {"of_limit": _ratio(rounds, "limit", "seconds"), "times_ngio": _ratio(rounds, "ngio", "seconds")}
        found["peak_mib"] = max(ran.peak_mib for ran in ways["ours"])
        return {
            "plate": {"wells": self.asked.wells, "fields": self.asked.fields, "image": self.measurement.shape},
            "raw_mb": round(self.megabytes(self.measurement.wells)),
            "cores": self.asked.cores,
            "ratios": found,
            "ratios_of_processor_seconds": {way: _ratio(rounds, way, "processor") for way in ("limit", "ngio")},
            "ways": {way: _told(ran) for way, ran in ways.items()},
            "at_work_seconds": [record["seconds"] for record in records],
            "computing_seconds": [record["computing_seconds"] for record in records],
            "skeleton_seconds": self.skeleton_seconds,
            "load_before": [round(value, 1) for value in load],
            "load_after": [round(value, 1) for value in os.getloadavg()],
            "bars": BARS,
            "bars_missed": list(_missed(found)),
        }

    def clear(self) -> None:
        """Take away what the ways wrote; disks are at rest when the next one starts."""
        for well in self.measurement.wells:
            shutil.rmtree(self.plate.paths.raw_well(well), ignore_errors=True)
        for name in ("limit", "ngio"):
            shutil.rmtree(self.folder / name, ignore_errors=True)
        os.sync()

    def compare(self) -> None:
        """The limit has written what our job writes: the same files, each of the same number of bytes."""
        for well, field in self.places:
            ours, least = self._our_field(well, field), self.folder / "limit" / well_path(well) / str(field)
            if _shards(ours) != _shards(least):
                sys.exit(f"{least} is not what ingest writes to {ours}")

    def _our_field(self, well: str, field: int) -> Path:
        return self.plate.paths.raw_well(well) / str(field)


def measurement(asked: argparse.Namespace, positions: tuple[Position, ...]) -> Measurement:
    """A plate with the wells, channels and side of a field that are asked for."""
    return Measurement(
        plate="bench",
        rows=8,
        columns=12,
        wells=tuple(well_name(*divmod(number, COLUMNS)) for number in range(asked.wells)),
        channels=tuple(ChannelFacts(name) for name in NAMES[: asked.channels]),
        facts=PlateFacts(pixel_size=PIXEL_SIZE),
        positions=positions,
        shape=(1, asked.channels, 1, asked.side, asked.side),
        dtype="uint16",
    )


def loaded(folder: Path, layout: str, **ingest: Any) -> Plate:
    """The plate in `folder / "raw"` as the workflow sees it; its manifest is written. ingest: settings."""
    sheet = folder / "plates.tsv"
    sheet.write_text(f"plate\tfolder\tformat\nbench\traw\t{layout}\n", encoding="utf-8")
    with chdir(folder):
        config = {"plates": str(sheet), "results": str(folder / "results"), "ingest": ingest}
        return load_workflow(config).plates["bench"]


def decoded_megabytes(drawn: Measurement, wells: Sequence[str]) -> float:
    """Of the images of some wells."""
    return len(wells) * len(drawn.positions) * int(np.prod(drawn.shape)) * 2 / 1e6


def side_by_side(commands: Sequence[Sequence[str]], megabytes: float) -> Ran:
    """Processes of one thread each, on a core each, and what they cost. megabytes: that they write."""
    started = time.perf_counter()
    with ThreadPoolExecutor(len(commands)) as threads:
        usages = list(threads.map(partial(_process, cores=len(commands)), commands))
    seconds = time.perf_counter() - started
    processor = sum(usage.ru_utime + usage.ru_stime for usage in usages)
    return Ran(megabytes, seconds, processor, round(max(usage.ru_maxrss for usage in usages) / 1024))


def stage_command(plate: Plate, stage: str, batch: str) -> list[str]:
    """What the rule of a stage of ingest runs."""
    settings, paths = plate.settings.ingest.to_json(), plate.paths
    told = ("--plate", str(paths.folder), "--settings", settings, "--record", str(paths.record(stage, batch)))
    return [sys.executable, "-m", "pipeline_lib", stage, *told]


def _process(command: Sequence[str], cores: int) -> resource.struct_rusage:
    """What a process used; what it says is shown if it fails."""
    threads = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "MKL", "OPENBLAS", "NUMBA", "BLOSC")}
    variables = {**os.environ, **threads, "PYTHONPATH": str(PACKAGE.parent)}
    with tempfile.TemporaryFile() as told:
        with subprocess.Popen(command, stdout=told, stderr=told, env=variables, preexec_fn=partial(_pin, cores)) as one:
            _, status, usage = os.wait4(one.pid, 0)
            one.returncode = os.waitstatus_to_exitcode(status)
        if one.returncode:
            told.seek(0)
            raise SystemExit(f"{' '.join(command[:3])}: {told.read().decode(errors='replace')}")
    return usage


def _pin(cores: int) -> None:
    if hasattr(os, "sched_setaffinity"):  # Linux
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-cores:])


def camera_images(shape: tuple[int, ...], count: int) -> Iterator[NDArray[np.uint16]]:
    """Fields (T, C, Z, Y, X): soft blobs on a dark level with the noise of a camera, drawn once and moved about."""
    rng = np.random.default_rng(11)
    height, width = shape[-2:]
    seeds = rng.random((shape[1], height // 4 + 1, width // 4 + 1)) > 0.9985
    blobs = np.stack([ndimage.gaussian_filter(seed.astype(np.float32), 6.0) for seed in seeds])
    light = 60 + 1500 * (blobs / blobs.max()).repeat(4, 1).repeat(4, 2)[:, :height, :width]
    drawn = (100 + rng.poisson(light) + rng.normal(0, 2, light.shape)).clip(0, 65535).astype(np.uint16)
    for _ in range(count):
        shift = tuple(int(rng.integers(0, length)) for length in (height, width))
        yield np.roll(drawn, shift, axis=(1, 2)).reshape(shape)


def _ratio(rounds: Sequence[Mapping[str, Ran]], way: str, what: str) -> float | None:
    """Another way's seconds for a megabyte in ours; None where it was not run."""
    if way not in rounds[0]:
        return None
    costs = {name: [getattr(ran[name], what) / ran[name].megabytes for ran in rounds] for name in (way, "ours")}
    return round(statistics.median(other / own for other, own in zip(costs[way], costs["ours"], strict=True)), 3)


def _lengths(array: Path) -> dict[str, list[int]]:
    """Chunk and shard (c, y, x) of an array of ours."""
    metadata = read_json(array / "zarr.json")
    [sharding] = metadata["codecs"]
    return {
        "chunk": sharding["configuration"]["chunk_shape"],
        "shard": metadata["chunk_grid"]["configuration"]["chunk_shape"],
    }


def _shards(field: Path) -> dict[str, int]:
    """File -> bytes of all levels."""
    return {str(path.relative_to(field)): path.stat().st_size for path in field.glob("[0-9]/c/**/*") if path.is_file()}


def _told(ran: Sequence[Ran]) -> dict[str, Any]:
    return {
        "mb_per_second": round(statistics.median(one.megabytes / one.seconds for one in ran), 1),
        "seconds": [round(one.seconds, 2) for one in ran],
        "processor_seconds": [round(one.processor, 2) for one in ran],
        "peak_mib": max(one.peak_mib for one in ran),
    }


def _missed(found: Mapping[str, float | None]) -> Iterator[str]:
    for name, bar in BARS.items():
        value = found[name]
        if value is not None and (value > bar if name == "peak_mib" else value < bar):
            yield f"{name} is {value:.2f}, the bar {bar}"


if __name__ == "__main__":
    main()
