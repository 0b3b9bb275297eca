"""A plate on disk and the workflow run on it, for tests."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path

from pipeline_lib.core.wells import well_name
from pipeline_lib.paths import BATCH_STAGES, RESTORING_STAGES, PlatePaths
from pipeline_lib.stages.synthesize import OVERRIDES

WELL_STAGES = tuple(stage for stage in BATCH_STAGES if stage not in RESTORING_STAGES)  # where nothing is restored
REPOSITORY = Path(__file__).parents[1]
LOCALLY = ("--workflow-profile", str(REPOSITORY / "profiles" / "default"))
TOLD = "snakemake.txt"  # in the folder of a run: what Snakemake said, run after run


@dataclass(frozen=True)
class Run:
    """A plate sheet, where its results go, and how Snakemake is called.

    profile: the arguments that choose one. settings: what is set in every call, such as `ingest: {...}`. environment:
    variables on top of our own. limit: seconds after which Snakemake is stopped.
    """

    folder: Path
    plate_name: str = "tiny"
    profile: tuple[str, ...] = LOCALLY
    settings: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    limit: int = 3600

    @property
    def plate(self) -> PlatePaths:
        """Where the results of its plate lie."""
        return PlatePaths(self.folder / "results" / self.plate_name)

    @property
    def told(self) -> str:
        """What all runs of Snakemake said that `snakemake` waited for or `started` began."""
        path = self.folder / TOLD
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""

    def having(self, **settings: str) -> Run:
        """The same with more settings."""
        return replace(self, settings={**self.settings, **settings})

    def command(self, *arguments: str, **config: str) -> list[str]:
        """What a user types, for a folder of their own."""
        chosen = {"plates": str(self.folder / "plates.tsv"), "results": str(self.folder / "results")}
        return [
            *(sys.executable, "-m", "snakemake", "--snakefile", str(REPOSITORY / "Snakefile")),
            *("--configfile", str(REPOSITORY / "config" / "config.yaml")),
            *(*self.profile, "--directory", str(self.folder)),
            *("--config", *(f"{key}={value}" for key, value in {**chosen, **self.settings, **config}.items())),
            *arguments,
        ]

    def snakemake(self, *arguments: str, **config: str) -> subprocess.CompletedProcess[str]:
        """`snakemake` as a user calls it, from a folder of its own, on all cores."""
        command = ["timeout", "-k", "30", str(self.limit), *self.command(*arguments, **config)]
        done = subprocess.run(command, cwd=REPOSITORY, env=self.variables, capture_output=True, text=True, check=False)
        with (self.folder / TOLD).open("a", encoding="utf-8") as file:
            file.write(done.stdout + done.stderr)
        return done

    @contextmanager
    def started(self, *arguments: str, **config: str) -> Iterator[subprocess.Popen[str]]:
        """`snakemake` in the background; at the end it is stopped, if it has not come to one."""
        with (
            (self.folder / TOLD).open("a", encoding="utf-8") as file,
            subprocess.Popen(
                self.command(*arguments, **config),
                **{"cwd": REPOSITORY, "env": self.variables, "stdout": file, "stderr": file, "text": True},
            ) as process,
        ):
            try:
                yield process
            finally:
                process.kill()

    def command_line(self, *words: str) -> subprocess.CompletedProcess[str]:
        """`wellpose` as a user calls it, in the folder of the run."""
        command = [sys.executable, "-m", "pipeline_lib", *words]
        return subprocess.run(command, cwd=self.folder, env=self.variables, capture_output=True, text=True, check=False)

    @property
    def variables(self) -> dict[str, str]:
        """The environment of its commands."""
        path = self.environment.get("PATH", os.environ["PATH"])
        ours = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{path}", "PYTHONPATH": str(REPOSITORY)}
        return {**os.environ, **self.environment, **ours}


def fake_plate(folder: Path, rows: int, columns: int, fields: int) -> Run:
    """A plate of empty files: planning reads names only."""
    raw = folder / "raw"
    raw.mkdir()
    wells = [well_name(row, column) for row, column in product(range(rows), range(columns))]
    for well, field_number, channel in product(wells, range(1, fields + 1), ("DNA", "ER", "AGP", "Mito")):
        (raw / f"{well}_s{field_number}_w{channel}.tif").touch()
    list_plates(folder, ["tiny"])
    return Run(folder)


def list_plates(folder: Path, names: list[str]) -> None:
    """A sheet of plates that all have the same raw files."""
    lines = "".join(f"{name}\traw\tpattern\t\t\n" for name in names)
    (folder / "plates.tsv").write_text(f"plate\tfolder\tformat\tplate_map\toverrides\n{lines}", encoding="utf-8")


def grow_cells(folder: Path) -> None:
    """Have the cells of a drawn plate grown around their nuclei, which takes half the time a second network would."""
    sheet = folder / "plates.tsv"
    grown = "{segment: {labels: {cells: {method: grow, distance: 16}}}}"
    sheet.write_text(sheet.read_text(encoding="utf-8").replace(OVERRIDES, grown), encoding="utf-8")
