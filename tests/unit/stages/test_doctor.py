"""`wellpose doctor`: what is wrong is found, said on one line with what to do, and told by the exit code."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tifffile

from pipeline_lib.__main__ import main
from pipeline_lib.arrays.pyramid import level_steps, pyramid
from pipeline_lib.core.manifest import ImageFile, Manifest
from pipeline_lib.core.needs import NEEDS
from pipeline_lib.io.cluster import longest_minutes, request_flags
from pipeline_lib.io.ngff import Channel, PlateInfo
from pipeline_lib.io.plate import commit_labels, write_field
from pipeline_lib.io.records import write_json
from pipeline_lib.io.run_profiles import find_profile, read_run_profile
from pipeline_lib.io.vendors import ImageInfo
from pipeline_lib.io.weights import save_safetensors
from pipeline_lib.nets.flownet import FlowNet
from pipeline_lib.settings import LabelSettings
from pipeline_lib.stages._config import read_config
from pipeline_lib.stages.doctor import cost as cost
from pipeline_lib.stages.doctor import estimate as estimate
from pipeline_lib.stages.doctor.raw_files import RawFile, lacking_planes
from pipeline_lib.stages.doctor.requests import request_of, value_of
from pipeline_lib.tiling import gpus
from pipeline_lib.workflow import Plate, load_workflow

PIXELS = np.arange(64 * 64, dtype=np.uint16).reshape(64, 64)
SLURM = {
    "sbatch": 'for word; do case $word in --partition=nope) echo "error: invalid partition" >&2; exit 1;; esac; done',
    "squeue": "exit 0",
    "scontrol": "echo 'MinJobAge               = 300 sec'; echo 'AccountingStorageType = accounting_storage/none'",
    "sinfo": "echo 1-00:00:00",
    "sacctmgr": "echo lab",
}
ON_SLURM = {
    "executor": "slurm",
    "slurm-status-command": "squeue",
    "slurm-init-seconds-before-status-checks": 20,
    "default-resources": {"slurm_partition": "cpu"},
    "set-resources": {stage: {"slurm_partition": "gpu", "gpu": 1} for stage in ("calibrate", "segment")},
}


@dataclass(frozen=True)
class Asked:
    """An answer of the command."""

    code: int
    findings: list[dict[str, str]]
    counts: Mapping[str, int]

    def about(self, about: str) -> list[str]:
        """`level: found` of all findings about something."""
        return [f"{one['level']}: {one['found']}" for one in self.findings if one["about"] == about]


@dataclass(frozen=True)
class Screen:
    """A working folder with two wells of two channels, and Snakemake's places for profiles."""

    folder: Path
    capsys: pytest.CaptureFixture[str]

    @property
    def raw(self) -> Path:
        return self.folder / "raw"

    def raw_file(self, well: str, channel: str = "DNA") -> Path:
        return self.raw / f"{well}_s1_w{channel}.tif"

    def profile(self, place: str, keys: Mapping[str, Any]) -> Path:
        path = self.folder / place / "config.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(keys))  # JSON is YAML
        return path

    def ask(self, *arguments: str) -> Asked:
        code = main(["doctor", "--json", "--config", "plates=plates.tsv", *self._cpu(arguments)])
        told = json.loads(self.capsys.readouterr().out)
        return Asked(code, told["findings"], told["counts"])

    def _cpu(self, arguments: Sequence[str]) -> list[str]:
        """Most tests are not about GPUs."""
        chosen = [] if any(word.startswith("segment=") for word in arguments) else ["segment={device: cpu}"]
        return [*chosen, *arguments]


@pytest.fixture
def screen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Screen:
    made = Screen(tmp_path, capsys)
    made.raw.mkdir()
    for well in ("A01", "A02"):
        for channel in ("DNA", "GFP"):
            tifffile.imwrite(made.raw_file(well, channel), PIXELS)
    (tmp_path / "plates.tsv").write_text("plate\tfolder\tformat\nP1\traw\tpattern\n")
    (tmp_path / "Snakefile").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CONFIG_DIRS", str(tmp_path / "site"))
    return made


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Put programs that answer like SLURM's on the PATH, and nothing else; None: that one is not there."""

    def answer(**changed: str | None) -> None:
        folder = tmp_path / "bin"
        folder.mkdir(exist_ok=True)
        for name, script in {**SLURM, **changed}.items():
            if script is not None:
                (folder / name).write_text(f"#!/bin/sh\n{script}\n")
                (folder / name).chmod(0o755)
        monkeypatch.setenv("PATH", str(folder))

    return answer


def test_nothing_wrong(screen: Screen) -> None:
    asked = screen.ask()
    assert asked.code == 0
    assert asked.counts == {"ok": len(asked.findings), "warn": 0, "FAIL": 0}
    assert asked.about("config") == ["ok: 1 plate(s) with 2 wells in plates.tsv"]
    assert asked.about("raw files of P1") == [f"ok: 4 files in {screen.raw}, all whole"]
    assert "checksum as in wellpose-1.safetensors.sha256" in asked.about("weights")[0]


def test_one_line_per_finding(screen: Screen) -> None:
    screen.raw_file("A01").write_bytes(b"")
    assert main(["doctor", "--config", "plates=plates.tsv", "segment={device: cpu}"]) == 0
    *lines, counts = screen.capsys.readouterr().out.splitlines()
    assert all(re.match(r"(ok  |warn|FAIL)  [^:]+: .", line) for line in lines)
    [warned] = [line for line in lines if line.startswith("warn")]
    assert warned.startswith("warn  raw files of P1: 1 of 4 empty: A01_s1_wDNA.tif (well A01)")
    assert " -> their wells will be quarantined" in warned
    assert counts == f"{len(lines) - 1} ok, 1 warn, 0 FAIL"


def test_faults_of_the_config_are_told_one_by_one_and_the_machine_is_looked_at(screen: Screen) -> None:
    asked = screen.ask("measure={wells_per_job: 0}", "x=1", "ingest={channels: {'7': {name: X}}}", "--profile", "slurm")
    assert asked.code == 1
    assert len(asked.about("config")) == 3
    for fault in ("measure.wells_per_job", "unknown key x", "plate P1: ingest.channels names channel id '7'"):
        assert any(fault in found for found in asked.about("config"))
    assert asked.about("plates") == ["warn: weights, raw files, disk space, number of files, cost not looked at"]
    assert asked.about("profile")[0].startswith("FAIL: nothing of that name in ")
    assert asked.about("GPU")
    assert not asked.about("weights")


def test_a_config_file_that_is_missing(screen: Screen) -> None:
    asked = screen.ask("--configfile", "nowhere.yaml")
    assert (asked.code, len(asked.about("config"))) == (1, 1)
    assert "nowhere.yaml" in asked.about("config")[0]


# --- raw files


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def missing(path: Path) -> None:
    """A link into nothing is listed like a file."""
    path.unlink()
    path.symlink_to("nothing")


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        (truncated, "1 of 4 truncated: A02_s1_wGFP.tif (well A02); the first: the file is cut off"),
        (missing, "1 of 4 missing: A02_s1_wGFP.tif (well A02)"),
        (lambda path: path.write_bytes(b""), "1 of 4 empty: A02_s1_wGFP.tif (well A02); the first: 0 bytes"),
        (lambda path: path.write_bytes(b"<html>"), "1 of 4 unreadable: A02_s1_wGFP.tif (well A02)"),
        (lambda path: tifffile.imwrite(path, np.zeros((9, 9, 3), np.uint8), photometric="rgb"), "1 of 4 unreadable"),
        (lambda path: tifffile.imwrite(path, PIXELS.astype(np.float32)), "1 of 4 32-bit (float32): A02_s1_wGFP.tif"),
        (lambda path: tifffile.imwrite(path, PIXELS.astype(np.uint32)), "1 of 4 32-bit (uint32): A02_s1_wGFP.tif"),
    ],
)
def test_a_bad_file_is_named_with_its_well_and_stops_nothing(
    screen: Screen, harm: Callable[[Path], object], told: str
) -> None:
    harm(screen.raw_file("A02", "GFP"))
    asked = screen.ask()
    [found] = asked.about("raw files of P1")
    assert found.startswith(f"warn: {told}")
    assert (asked.code, asked.counts["warn"]) == (0, 1)


def test_a_plate_without_a_readable_file_fails(screen: Screen) -> None:
    for path in screen.raw.iterdir():
        truncated(path)
    asked = screen.ask()
    assert asked.code == 1
    assert asked.about("raw files of P1")[0].startswith(f"FAIL: none of 4 files in {screen.raw} is readable")
    assert asked.about("disk space")[0].startswith("ok: 0.00 to 0.00 GB")


def test_at_most_five_files_are_named(screen: Screen) -> None:
    for well in ("B01", "B02", "B03"):
        for channel in ("DNA", "GFP"):
            screen.raw_file(well, channel).touch()
    [found] = screen.ask().about("raw files of P1")
    assert found.count("(well B0") == 5
    assert found.startswith("warn: 6 of 10 empty")
    assert "(6 in all)" in found


def test_wells_without_images_and_wells_that_lack_some(screen: Screen) -> None:
    screen.raw_file("A02", "GFP").unlink()
    (screen.folder / "map.csv").write_text("well,role\nA01,negative\nA02,positive\nA03,x\n")
    (screen.folder / "plates.tsv").write_text("plate\tfolder\tformat\tplate_map\nP1\traw\tpattern\tmap.csv\n")
    found = screen.ask().about("raw files of P1")
    assert found == [
        "warn: 1 well(s) of the plate map or index file without any image: A03",
        "warn: 1 well(s) lack a channel, plane or time point that others have: A02",
    ]


def test_fields_may_be_fewer_but_must_be_whole() -> None:
    """B01 has one of two fields, whole; C01 lacks the second plane of its second field."""
    places = [(well, field, z) for well in ("A01", "B01", "C01") for field in (0, 1) for z in (0, 1)]
    gone = {("B01", 1, 0), ("B01", 1, 1), ("C01", 1, 1)}
    files = tuple(ImageFile(well, field, "1", 0, z, "x") for well, field, z in places if (well, field, z) not in gone)
    assert list(lacking_planes(Manifest("P", "/", "pattern", ("1",), 8, 12, files))) == ["C01"]


def test_an_archived_raw_folder_is_missed_only_by_wells_that_are_not_ingested(screen: Screen) -> None:
    screen.ask()  # writes the manifest
    for path in screen.raw.iterdir():
        path.unlink()
    screen.raw.rmdir()
    assert screen.ask().about("raw files of P1")[0].startswith(f"FAIL: no folder {screen.raw}, and 2 well(s) not ing")
    for well in ("01", "02"):
        (screen.folder / "results" / "P1" / "raw.ome.zarr" / "A" / well).mkdir(parents=True)
    assert screen.ask().about("raw files of P1") == [f"ok: no folder {screen.raw} any more; all 2 wells are ingested"]


# --- disk


def test_disk_space_and_files_by_hand(screen: Screen, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = 4 * 64 * 64 * 2 * 1.07
    beside = 2 * 64 * 64 * (3 * 0.15 + 0.6)
    image = 1 + 2 * (1 + 1)  # group; two levels of one metadata file and one shard
    wells = 2 * (4 + image + 1 + 3 * image)
    total = 1 + 2 + wells + 3 * (5 + 3) + 8  # group, rows of a 6-well plate, wells, jobs, tables and the like
    monkeypatch.setattr("pipeline_lib.stages.doctor.plates.GB", 1.0)
    asked = screen.ask("--file-budget", str(total))
    [found] = asked.about("disk space")
    assert found.startswith(
        f"ok: {round(pixels / 2 + beside):.2f} to {round(pixels + beside):.2f} GB still to be written"
    )
    assert asked.about("number of files")[0].startswith(f"ok: {total} files when all is done, {total} of them new")
    assert asked.about("file budget") == [f"ok: {total} files when all is done, the budget is {total}"]
    asked = screen.ask("--file-budget", str(total - 1))
    assert asked.code == 1
    assert asked.about("file budget")[0].startswith("FAIL")


@pytest.mark.parametrize("ratio", [None, 2.5])
def test_a_restored_plate_takes_as_much_again(
    screen: Screen, monkeypatch: pytest.MonkeyPatch, ratio: float | None
) -> None:
    """Once it has been prepared it is known how much larger than raw images its images are."""
    monkeypatch.setattr("pipeline_lib.stages.doctor.plates.GB", 1.0)
    mine = screen.folder / "mine.safetensors"
    save_safetensors(FlowNet(1, 1).state_dict(), mine, {})
    if ratio:
        write_json(screen.folder / "results" / "P1" / "restoration.json", {"ratio": ratio})
    plain, restored = screen.ask(), screen.ask(f"restore={{channels: {{DNA: {{kind: oneclick, weights: {mine}}}}}}}")
    assert (plain.code, restored.code) == (0, 0)
    assert any(told.startswith(f"ok: {mine} for P1 DNA: ") for told in restored.about("weights"))
    pixels = 4 * 64 * 64 * 2 * 1.07 * (ratio or 1) ** 2
    assert most_bytes(restored) - most_bytes(plain) == pytest.approx(pixels, abs=2)
    wells = 2 * (1 + 1 + 2 * (1 + 1))  # each a group and an image as above
    assert all_files(restored) - all_files(plain) == 1 + 2 + wells + 3 * 3  # group and rows, wells, three more jobs


def most_bytes(asked: Asked) -> float:
    """Still to be written, at most; GB is one byte."""
    return float(asked.about("disk space")[0].split(" to ")[1].split(" GB")[0])


def all_files(asked: Asked) -> int:
    return int(asked.about("number of files")[0].removeprefix("ok: ").split(" files")[0])


@pytest.mark.parametrize(("free", "level"), [(8000, "FAIL"), (30_000, "warn"), (10**6, "ok")])
def test_space_that_does_not_or_may_not_suffice(
    screen: Screen, monkeypatch: pytest.MonkeyPatch, free: int, level: str
) -> None:
    """To be written: 26,133 to 43,664 bytes."""
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=free))
    asked = screen.ask()
    assert asked.about("disk space")[0].startswith(level)
    assert asked.code == (level == "FAIL")


def test_what_is_there_already_takes_no_new_space(screen: Screen, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline_lib.stages.doctor.plates.GB", 1.0)
    (screen.folder / "results" / "P1" / "raw.ome.zarr" / "A" / "01").mkdir(parents=True)
    pixels, beside = 2 * 64 * 64 * 2 * 1.07, 2 * 64 * 64 * (3 * 0.15 + 0.6)
    assert f"{round(pixels / 2 + beside):.2f} to {round(pixels + beside):.2f}" in screen.ask().about("disk space")[0]


@pytest.mark.parametrize(("size", "times"), [((64, 64), 1), ((64, 64), 3), ((5000, 1100), 1)])
def test_the_files_of_an_image_are_those_that_are_written(tmp_path: Path, size: tuple[int, int], times: int) -> None:
    info = PlateInfo("P", 1, 1, 1, times, (Channel("1", "DNA", "FFFFFF", (0.0, 1.0)),), None, size, "uint8")
    levels = pyramid(np.zeros((times, 1, 1, *size), np.uint8), lambda a, step: a[..., ::step, ::step])
    labels = pyramid(np.zeros((times, *size), np.uint32), lambda a, step: a[..., ::step, ::step])
    write_field(tmp_path, 0, levels, level_steps(*size), info)
    image = estimate.files_of_image((times, 1, 1, *size))
    assert sum(path.is_file() for path in tmp_path.rglob("*")) == image
    names = ("nuclei", "cells", "cytoplasm")
    assert estimate.label_images(LabelSettings()) == len(names)
    commit_labels(tmp_path / "0" / "labels", "", dict.fromkeys(names, labels), level_steps(*size), info, {})
    assert sum(path.is_file() for path in tmp_path.rglob("*")) == image + 1 + len(names) * image


# --- what plates cost


def rows(screen: Screen, *arguments: str) -> list[dict[str, Any]]:
    """The table of `--dry-run`, plate by plate."""
    config = ["--config", "plates=plates.tsv", *arguments]
    assert main(["doctor", "--dry-run", "--json", *config]) == 0
    told: list[dict[str, Any]] = json.loads(screen.capsys.readouterr().out)["plates"]
    return told


def planned(setting: str) -> Plate:
    """The plate of a screen, with a setting."""
    asked = argparse.Namespace(configfile=[], config=["plates=plates.tsv", setting])
    return load_workflow(read_config(asked)).plates["P1"]


def stack_plate(raw: Path, lacking: int = 0) -> None:
    """Two wells of two fields, three time points, two channels and four planes; without the last `lacking` images."""
    for path in raw.iterdir():
        path.unlink()
    numbers = product(("A01", "A02"), (1, 2), ("DNA", "GFP"), (1, 2, 3), (1, 2, 3, 4))
    names = [f"{well}_s{field}_w{channel}_t{time}_z{z}.tif" for well, field, channel, time, z in numbers]
    for name in names[: len(names) - lacking]:
        tifffile.imwrite(raw / name, PIXELS)


@pytest.fixture
def two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {4, 7}, raising=False)


BYTES = 64 * 64 * 2  # of an image
STACKS = "ingest={pattern: '(?P<well>[A-Z][0-9]+)_s(?P<field>.)_w(?P<channel>.+)_t(?P<time>.)_z(?P<z>.)[.]tif'}"


@pytest.mark.usefixtures("two_cores")
def test_a_row_by_hand(screen: Screen) -> None:
    """Both wells are one batch, so one core is all that is used; three label images."""
    stack_plate(screen.raw)
    [row] = rows(screen, STACKS)
    pixels = 2 * 2 * 3 * 2 * BYTES * 1.07  # planes are projected
    beside = 2 * 2 * 3 * 64 * 64 * (3 * 0.15 + 0.6)
    image = 1 + 2 * (1 + 3)  # group; two levels of one metadata file and a shard for each time point
    assert row == {
        "plate": "P1",
        **{"wells": 2, "fields": 2, "channels": 2, "planes": 4, "times": 3},
        "least_bytes": round(pixels / 2 + beside),
        "most_bytes": round(pixels + beside),
        "files": 1 + 2 + 2 * (4 + 2 * image) + 2 * 2 * (1 + 3 * image) + 3 * (5 + 3) + 8,
        "missing": 0,
        "minutes": pytest.approx(96 * BYTES / cost.GUESS / 60),
    }
    [kept] = rows(screen, STACKS.replace("}", ", projection: keep}"))
    assert kept["most_bytes"] == round(4 * pixels + beside)


@pytest.mark.usefixtures("two_cores")
@pytest.mark.parametrize(("per_job", "at_once"), [(2, 1), (1, 2)])
def test_jobs_run_side_by_side_if_there_are_several(screen: Screen, per_job: int, at_once: int) -> None:
    [row] = rows(screen, f"ingest={{wells_per_job: {per_job}}}")
    assert row["minutes"] == pytest.approx(4 * BYTES / cost.GUESS / 60 / at_once)


def test_what_slurm_runs_at_a_time(screen: Screen) -> None:
    profile = screen.profile("big", {**ON_SLURM, "jobs": 40})
    assert cost.jobs_at_once(read_run_profile(profile)) == 40
    local = screen.profile("small", {"executor": "local", "jobs": 40})
    assert cost.jobs_at_once(read_run_profile(local)) == cost.jobs_at_once(None)


def test_images_that_are_missing(screen: Screen) -> None:
    """Five planes are not there, one file is empty, and a well of the map with its two fields has nothing."""
    stack_plate(screen.raw, lacking=5)
    (screen.raw / "A01_s1_wDNA_t1_z1.tif").write_bytes(b"")
    (screen.folder / "map.csv").write_text("well,role\nA01,negative\nA02,positive\nA03,x\n")
    (screen.folder / "plates.tsv").write_text("plate\tfolder\tformat\tplate_map\nP1\traw\tpattern\tmap.csv\n")
    [row] = rows(screen, STACKS)
    assert (row["wells"], row["missing"]) == (3, 5 + 1 + 2 * 24)


def test_fields_that_become_one_image_make_fewer_files(screen: Screen) -> None:
    """Two fields of 64 x 64 beside each other, which have half of a side in common: 64 x 96."""
    for path in list(screen.raw.iterdir()):
        tifffile.imwrite(path.with_name(path.name.replace("_s1", "_s2")), PIXELS)
    montage = "ingest={fields: montage, montage: {place: grid, columns: 2, overlap: 0.5}}"
    [apart], [together] = rows(screen), rows(screen, montage)
    image = 1 + 2 * (1 + 1)
    assert apart["files"] - together["files"] == 2 * (image + 1 + 3 * image)
    assert together["fields"] == 2
    raw = [RawFile(ImageFile("A01", 0, "1", 0, 0, "x"), "good", ImageInfo((1, 64, 64), "uint16", 16))]
    assert estimate.montage_canvas(planned(montage), raw) == (64, 96)


@pytest.mark.usefixtures("screen")
def test_pages_that_are_planes_of_their_own_count_once() -> None:
    """Twelve pages of a file, each a plane, and the file's own description, which is of all of them."""
    files = [ImageFile("A01", 0, "1", 0, z, "x.tif", page=z) for z in range(12)]
    raw = [RawFile(file, "good", ImageInfo((12, 64, 64), "uint16", 16)) for file in files]
    assert cost.pixel_bytes(raw) == {"A01": 12 * BYTES}
    beside = 64 * 64 * (3 * 0.15 + 0.6)
    assert estimate.estimate(planned("ingest={projection: keep}"), raw).most == round(12 * BYTES * 1.07 + beside)


def test_a_stack_in_one_file_has_planes(screen: Screen) -> None:
    for path in screen.raw.iterdir():
        tifffile.imwrite(path, np.stack([PIXELS] * 5), photometric="minisblack")
    [row] = rows(screen)
    assert (row["planes"], row["missing"]) == (5, 0)
    assert row["minutes"] == pytest.approx(5 * 4 * BYTES / cost.GUESS / 60)


def test_earlier_jobs_tell_how_fast_it_goes(screen: Screen) -> None:
    """A01 was made in 2 s; the well that was only looked at does not count, nor does the job that made nothing."""
    records = screen.folder / "results" / "P1" / "records" / "ingest"
    outcomes = {"A01": {"status": "done"}, "A02": {"status": "quarantined"}}
    write_json(records / "a.json", {"wells": outcomes, "seconds": 2.0, "finished": "2026-01-01"})
    write_json(records / "b.json", {"wells": {"A02": {"status": "current"}}, "seconds": 9.0, "finished": "2026-01-02"})
    (screen.folder / "results" / "P1" / "raw.ome.zarr" / "A" / "01").mkdir(parents=True)
    [row] = rows(screen)
    assert row["minutes"] == pytest.approx(2 * BYTES / (2 * BYTES / 2.0) / 60)
    assert "(as earlier jobs did)" in screen.ask().about("cost of P1")[0]


def test_the_table_and_nothing_else(screen: Screen) -> None:
    (screen.folder / "plates.tsv").write_text("plate\tfolder\tformat\nP1\traw\tpattern\nlonger-name\traw\tpattern\n")
    assert main(["doctor", "--dry-run", "--config", "plates=plates.tsv"]) == 0
    titles, first, second, about, minutes = screen.capsys.readouterr().out.splitlines()
    assert re.split(r"\s{2,}", titles) == list(cost.TITLES)
    assert re.split(r"\s{2,}", first)[:6] == ["P1", "2", "1", "2", "1", "1"]
    assert re.split(r"\s{2,}", second)[0] == "longer-name"
    assert first.index("2") == second.index("2") == titles.index("wells")
    assert about.startswith("GB and files")
    assert "25.0 MB of pixels a second each (a guess until a job has told)" in minutes


def test_a_dry_run_with_a_faulty_config(screen: Screen) -> None:
    assert main(["doctor", "--dry-run", "--config", "plates=plates.tsv", "x=1", "y=2"]) == 1
    *lines, counts = screen.capsys.readouterr().out.splitlines()
    assert [line[:12] for line in lines] == ["FAIL  config"] * 2
    assert counts == "0 ok, 0 warn, 2 FAIL"


def test_doctor_tells_the_cost_of_a_plate_too(screen: Screen) -> None:
    [told] = screen.ask().about("cost of P1")
    assert told.startswith(
        "ok: 2 well(s) of 1 field(s) each, 2 channel(s), 1 plane(s), 1 time point(s); 0.00 to 0.00 GB"
    )
    assert " files to write; 0 image(s) missing; about 0.0 minutes of ingest, " in told


def test_an_archived_plate_costs_nothing(screen: Screen) -> None:
    rows(screen)
    for path in screen.raw.iterdir():
        path.unlink()
    screen.raw.rmdir()
    [row] = rows(screen)
    assert (row["wells"], row["minutes"], row["most_bytes"], row["missing"]) == (2, 0.0, 0, 0)


# --- weights and GPU


def test_weights_that_differ_from_their_checksum(screen: Screen) -> None:
    shipped = Path(gpus.__file__).parents[1] / "weights" / "starter_nuclei.safetensors"
    copied = screen.folder / "mine.safetensors"
    copied.write_bytes(shipped.read_bytes())
    named = f"segment={{device: cpu, labels: {{nuclei: {{weights: {copied}}}}}}}"
    assert "mine.safetensors loads; no checksum is kept beside it" in screen.ask(named).about("weights")[0]
    (screen.folder / "mine.safetensors.sha256").write_text(f"{'0' * 64}  mine.safetensors\n")
    asked = screen.ask(named)
    assert asked.code == 1
    assert f"mine.safetensors.sha256 says {'0' * 64}" in asked.about("weights")[0]
    (screen.folder / "mine.safetensors.sha256").unlink()
    copied.write_bytes(b"no model")
    assert screen.ask(named).about("weights")[0].startswith("FAIL")


@pytest.mark.parametrize(
    ("settings", "gpu", "level"),
    [
        ("{device: auto}", None, "warn"),
        ("{device: cpu}", None, "ok"),
        ("{device: auto, precision: float32}", gpus.Gpu("X", 8000, 8000), "ok"),  # 1.5 GB and 32 tiles of 0.1 GB
        ("{device: auto, precision: float32}", gpus.Gpu("X", 8000, 4000), "warn"),
        ("{device: auto, precision: float32, batch_size: 16}", gpus.Gpu("X", 8000, 4000), "ok"),
        ("{device: auto, precision: float32}", gpus.Gpu("X", 4000, 4000), "FAIL"),
    ],
)
def test_a_gpu_and_its_memory(
    screen: Screen, monkeypatch: pytest.MonkeyPatch, settings: str, gpu: gpus.Gpu | None, level: str
) -> None:
    monkeypatch.setattr(gpus, "gpu_of", lambda _: gpu)
    asked = screen.ask(f"segment={settings}")
    assert [found.partition(":")[0] for found in asked.about("GPU")] == [level]
    assert asked.code == (level == "FAIL")


def test_a_gpu_that_is_asked_for_and_not_there(screen: Screen) -> None:
    asked = screen.ask("segment={device: 'cuda:99'}")
    assert asked.code == 1
    assert asked.about("GPU")[0].startswith("FAIL: segment.device: device 'cuda:99' found, but")


def test_on_a_cluster_nobody_misses_a_gpu_here(screen: Screen, slurm: Callable[..., None]) -> None:
    slurm()
    screen.profile("slurm", ON_SLURM)
    [found] = screen.ask("segment={device: cuda, precision: float32}", "--profile", "slurm").about("GPU")
    assert found == "ok: jobs get theirs from SLURM; it should have 4.7 GB for 32 tiles at once"


# --- profiles


def test_a_profile_in_the_working_folder_hides_that_of_the_user(screen: Screen) -> None:
    here, own = screen.profile("fast", {"cores": 2}), screen.profile("home/snakemake/fast", {"cores": 3})
    [found] = screen.ask("--profile", "fast").about("profile")
    assert found == f"warn: {here} is used from here, executor local; {own} is not looked at"
    here.unlink()
    here.parent.rmdir()
    assert screen.ask("--profile", "fast").about("profile") == [f"ok: {own} is used from here, executor local"]
    assert screen.ask("--profile", str(own.parent)).about("profile") == [f"ok: {own} is used from here, executor local"]


def test_a_link_to_the_same_profile_hides_nothing(screen: Screen) -> None:
    own = screen.profile("home/snakemake/fast", {"cores": 3})
    (screen.folder / "fast").symlink_to(own.parent)
    assert screen.ask("--profile", "fast").about("profile")[0].startswith("ok")


def test_a_folder_of_that_name_that_holds_no_profile_blocks_the_search(screen: Screen) -> None:
    screen.profile("home/snakemake/raw", {"cores": 3})
    [found] = screen.ask("--profile", "raw").about("profile")
    assert found.startswith(f"FAIL: {screen.raw} has that name and holds no profile")


def test_the_newest_form_of_a_profile_file_counts(screen: Screen) -> None:
    path = screen.profile("home/snakemake/fast", {"cores": 3})
    newer = path.with_name("config.v8+.yaml")
    newer.write_text("cores: 4")
    assert find_profile("fast").used == newer


def test_the_default_profile_is_merged_in_and_what_it_changes_is_told(screen: Screen) -> None:
    path = screen.profile("fast", {"cores": 3, "jobs": 2})
    default = screen.profile("profiles/default", {"cores": 3, "keep-going": True})
    assert read_run_profile(path).keys == {"cores": 3, "jobs": 2, "keep-going": True}
    assert screen.ask("--profile", "fast").about("default profile")[0].startswith(f"ok: {default} is merged in")
    screen.profile("profiles/default", {"cores": 4})
    [found] = screen.ask("--profile", "fast").about("default profile")
    assert found == f"warn: {default} is merged in and changes cores of {path}"
    (screen.folder / "Snakefile").unlink()
    assert read_run_profile(path).default is None


def test_a_profile_without_a_snakefile(screen: Screen) -> None:
    screen.profile("fast", {"snakefile": "/gone/Snakefile"})
    assert screen.ask("--profile", "fast").about("profile")[-1] == "FAIL: its snakefile /gone/Snakefile is not there"
    screen.profile("fast", {"cores": 1})
    (screen.folder / "Snakefile").unlink()
    assert "and the profile names none" in screen.ask("--profile", "fast").about("profile")[-1]


@pytest.mark.parametrize("content", ["a: [", "- a\n"])
def test_a_profile_that_is_none(screen: Screen, content: str) -> None:
    screen.profile("fast", {}).write_text(content)
    asked = screen.ask("--profile", "fast")
    assert asked.code == 1
    assert asked.about("profile")[0].startswith("FAIL: ")


# --- SLURM


def test_a_cluster_that_takes_everything(screen: Screen, slurm: Callable[..., None]) -> None:
    slurm()
    screen.profile("slurm", {**ON_SLURM, "retries": 3})
    asked = screen.ask("--profile", "slurm")
    assert asked.code == 0
    assert asked.counts["warn"] == 0
    told = asked.about("SLURM request")
    need = NEEDS["segment"]
    assert any(
        found.startswith(f"ok: first try of segment: --partition=gpu --time={need.minutes} --mem={need.memory}")
        and found.endswith(f"--cpus-per-task={need.threads} --gpus=1: accepted")
        for found in told
    )
    assert told[-1].startswith("ok: try 4 of ")
    assert asked.about("SLURM status") == ["ok: squeue; MinJobAge 300 s, slurm-init-seconds-before-status-checks 20 s"]


def test_a_wrong_partition_is_told_in_the_words_of_sbatch_with_its_stages(
    screen: Screen, slurm: Callable[..., None]
) -> None:
    slurm()
    screen.profile("slurm", {**ON_SLURM, "set-resources": {"segment": {"slurm_partition": "nope", "gpu": 1}}})
    asked = screen.ask("--profile", "slurm")
    assert asked.code == 1
    [refused] = [found for found in asked.about("SLURM request") if found.startswith("FAIL")]
    assert "first try of segment:" in refused
    assert refused.endswith("error: invalid partition")
    assert "warn: calibrate asks for no GPU" in asked.about("SLURM request")


@pytest.mark.parametrize(("limit", "level"), [("2:00:00", "ok"), ("1:59:00", "FAIL"), ("infinite", "ok")])
def test_a_job_that_would_wait_without_end(screen: Screen, slurm: Callable[..., None], limit: str, level: str) -> None:
    """sbatch takes jobs that are longer than their partition allows."""
    slurm(sinfo=f"echo {limit}")
    screen.profile("slurm", ON_SLURM)
    found = [told for told in screen.ask("--profile", "slurm").about("SLURM request") if "segment" in told]
    assert [told.partition(":")[0] for told in found] == [level]


def test_a_last_try_that_has_outgrown_the_cluster_is_a_warning(screen: Screen, slurm: Callable[..., None]) -> None:
    refuse = (
        f'for word; do [ "$word" != --mem={4 * NEEDS["segment"].memory} ] || {{ echo too much >&2; exit 1; }}; done'
    )
    slurm(sbatch=refuse)
    screen.profile("slurm", {**ON_SLURM, "retries": 3})
    asked = screen.ask("--profile", "slurm")
    [warned] = [found for found in asked.about("SLURM request") if found.startswith("warn")]
    assert warned.startswith("warn: try 4 of segment: ")
    assert (asked.code, asked.counts["warn"]) == (0, 1)


def test_no_slurm_at_all(screen: Screen, slurm: Callable[..., None]) -> None:
    screen.profile("slurm", ON_SLURM)
    slurm(squeue="echo no controller >&2; exit 1")
    assert screen.ask("--profile", "slurm").about("SLURM") == ["FAIL: squeue: no controller"]
    (screen.folder / "bin" / "sbatch").unlink()
    asked = screen.ask("--profile", "slurm")
    assert (asked.code, asked.about("SLURM")) == (1, ["FAIL: sbatch is not on the PATH"])


@pytest.mark.parametrize(
    ("keys", "programs", "level"),
    [
        ({"slurm-init-seconds-before-status-checks": 100}, {}, "ok"),
        ({"slurm-init-seconds-before-status-checks": 101}, {}, "warn"),
        ({"slurm-status-command": None}, {}, "ok"),  # no sacct: the plugin takes squeue
        ({"slurm-status-command": None}, {"sacct": "exit 0"}, "FAIL"),
        ({"slurm-status-command": "sacct"}, {"sacct": "exit 0"}, "FAIL"),
        (
            {"slurm-status-command": "sacct"},
            {"scontrol": "echo AccountingStorageType=accounting_storage/slurmdbd"},
            "ok",
        ),
        ({}, {"scontrol": "exit 1"}, "warn"),
    ],
)
def test_how_jobs_are_asked_for(
    screen: Screen, slurm: Callable[..., None], keys: dict[str, Any], programs: dict[str, str], level: str
) -> None:
    slurm(**programs)
    screen.profile("slurm", {**ON_SLURM, **keys})
    asked = screen.ask("--profile", "slurm")
    assert [found.partition(":")[0] for found in asked.about("SLURM status")] == [level]
    assert asked.code == (level == "FAIL")


@pytest.mark.parametrize(
    ("account", "programs", "level"),
    [
        ("Lab", {}, ["ok"]),
        ("other", {}, ["FAIL"]),
        ("other", {"sacctmgr": "exit 1", "sshare": "exit 0"}, ["ok"]),  # no accounts are kept: any is taken
        ("other", {"sacctmgr": "exit 1", "sshare": "exit 1"}, ["FAIL"]),
        (None, {}, []),
    ],
)
def test_accounts(
    screen: Screen, slurm: Callable[..., None], account: str | None, programs: dict[str, str], level: list[str]
) -> None:
    slurm(**programs)
    named = {"slurm_account": account} if account else {}
    screen.profile("slurm", {**ON_SLURM, "default-resources": named})
    found = screen.ask("--profile", "slurm").about("SLURM account")
    assert [told.partition(":")[0] for told in found] == level


def test_a_partition_file(screen: Screen, slurm: Callable[..., None]) -> None:
    """A job without a partition is taken if one of the file's takes it."""
    slurm()
    partitions = screen.folder / "partitions.yaml"
    partitions.write_text("partitions: {nope: {max_runtime: 10}, fine: {max_runtime: 10}}")
    screen.profile("slurm", {"executor": "slurm", "slurm-partition-config": str(partitions)})
    asked = screen.ask("--profile", "slurm")
    assert {found.partition(":")[0] for found in asked.about("SLURM request")} == {"ok", "warn"}  # no GPU asked for
    partitions.write_text("partitions: {nope: {max_runtime: 10}}")
    assert "no partition of the file takes it: error: invalid partition" in str(screen.ask("--profile", "slurm"))
    partitions.unlink()
    assert "No such file" in str(screen.ask("--profile", "slurm").about("SLURM request"))


@pytest.mark.parametrize(
    ("told", "minutes"),
    [("30:00", 30), ("1:00:00", 60), ("2-12:30:00", 3630), ("infinite", None), ("1-00:00:00\n60:00", 60)],
)
def test_limits_of_partitions(slurm: Callable[..., None], told: str, minutes: int | None) -> None:
    slurm(sinfo=f"echo '{told}'")
    assert longest_minutes("cpu") == minutes


# --- requests


@pytest.mark.parametrize(
    ("name", "given", "value"),
    [
        ("mem_mb", "attempt * 12000", 24000),
        ("mem_mb", "min(attempt * 8000, 10000)", 10000),
        ("mem_mb", "8GB", 8000),
        ("mem_mb", "1 GiB", 1074),
        ("mem_mb", 500, 500),
        ("mem_mb", "input.size_mb * 2", "input.size_mb * 2"),
        ("runtime", "2h", 120),
        ("runtime", "90m", 90),
        ("runtime", "1d", 1440),
        ("runtime", "30 * 1.5", 45),
        ("slurm_partition", "gpu", "gpu"),
        ("slurm_partition", "gpu-long", "gpu-long"),
        ("slurm_extra", "'--nice=100'", "--nice=100"),
        ("gres", "gpu:a100:1", "gpu:a100:1"),
    ],
)
def test_values_are_worked_out_as_snakemake_does(name: str, given: object, value: object) -> None:
    from snakemake.resources import Resource

    mine = value_of(name, given, {"attempt": 2, "threads": 4})
    assert mine == value
    if isinstance(given, str) and "input" not in given:
        theirs = Resource.cli_evaluator(
            name, given, wildcards={}, input=[], attempt=2, threads=4, async_run=lambda task: task
        )
        assert Resource.parse_human_friendly(name.removesuffix("_mb"), theirs) == value


def test_what_depends_on_the_job_is_not_tested(screen: Screen, slurm: Callable[..., None]) -> None:
    slurm()
    screen.profile("slurm", {**ON_SLURM, "set-resources": {"measure": {"mem_mb": "input.size_mb * 2"}}})
    told = screen.ask("--profile", "slurm").about("SLURM request")
    assert [found for found in told if "measure" in found and found.endswith("mem_mb depends on the job")]


def test_a_profile_wins_over_needs_and_its_stages_over_its_defaults(screen: Screen) -> None:
    keys = {
        "default-resources": ["slurm_partition=cpu", "mem_mb=1", "qos=low"],
        "set-resources": ["segment:mem=10GB", "segment:gres='gpu:1'"],
        "set-threads": ["segment=7"],
    }
    profile = read_run_profile(screen.profile("listed", keys))
    asked = request_of("segment", profile, 3)
    assert asked.threads == 7
    assert {name: asked.resources[name] for name in ("slurm_partition", "mem_mb", "qos", "gres", "runtime")} == {
        "slurm_partition": "cpu",
        "mem_mb": 10_000,
        "qos": "low",
        "gres": "gpu:1",
        "runtime": 3 * NEEDS["segment"].minutes,
    }
    assert request_of("measure", profile, 1).resources["mem_mb"] == NEEDS["measure"].memory


class Resources(dict[str, Any]):
    """As a job of Snakemake has them."""

    def __getattr__(self, name: str) -> Any:
        return self[name]


SHORT = {"-A": "--account", "-p": "--partition", "-t": "--time", "-C": "--constraint"}


@pytest.mark.parametrize(
    "resources",
    [
        {"mem_mb": 2000, "runtime": 30},
        {"mem_mb": 2000, "runtime": 30, "gpu": 1},
        {"mem_mb": 2000, "gpu": 2, "gpu_model": "v100"},
        {"gpu_model": "v100"},
        {"mem_mb": 2000, "gpu": 0, "gres": "gpu:a100:1", "constraint": "big&new", "qos": "high"},
        {"mem_mb_per_cpu": 500, "mem_mb": 2000, "gpu": 0, "tasks": 2, "nodes": 1},
        {"gpu": 1, "cpus_per_gpu": 6, "tasks": 1},
        {"gpu": 1, "cpus_per_task": 3, "slurm_extra": "--nice=5 --exclusive"},
        {"cluster": "west"},
    ],
)
def test_the_flags_are_those_of_snakemakes_plugin(resources: dict[str, Any]) -> None:
    from snakemake_executor_plugin_slurm.submit_string import get_submit_command
    from snakemake_executor_plugin_slurm.utils import set_gres_string

    job = SimpleNamespace(resources=Resources(resources), threads=4)
    names = {"run_uuid": "u", "slurm_logfile": "l", "comment_str": "c", "account": "", "partition": "", "workdir": ""}
    command = get_submit_command(job, names) + set_gres_string(job)
    words = command.partition("--comment c")[2].replace("'", "").split()
    theirs = set()
    for position, word in enumerate(words):
        if word.startswith("-"):
            following = words[position + 1 : position + 2]
            value = [one for one in following if not one.startswith("-") and "=" not in word]
            theirs.add("=".join([SHORT.get(word, word), *value]))
    assert set(request_flags(resources, 4)) == theirs
