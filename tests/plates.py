"""A plate on disk and the workflow run on it, for tests."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from pipeline_lib.core.wells import well_name
from pipeline_lib.paths import PlatePaths

REPOSITORY = Path(__file__).parents[1]


@dataclass(frozen=True)
class Run:
    """A plate sheet and where its results go."""

    folder: Path
    plate_name: str = "tiny"

    @property
    def plate(self) -> PlatePaths:
        """Where the results of its plate lie."""
        return PlatePaths(self.folder / "results" / self.plate_name)

    def snakemake(self, *arguments: str, **config: str) -> subprocess.CompletedProcess[str]:
        """`snakemake` as a user calls it, from a folder of its own, on all cores."""
        chosen = {"plates": str(self.folder / "plates.tsv"), "results": str(self.folder / "results"), **config}
        command = [
            *(sys.executable, "-m", "snakemake", "--snakefile", str(REPOSITORY / "Snakefile")),
            *("--configfile", str(REPOSITORY / "config" / "config.yaml")),
            *("--workflow-profile", str(REPOSITORY / "profiles" / "default"), "--directory", str(self.folder)),
            *("--config", *(f"{key}={value}" for key, value in chosen.items()), *arguments),
        ]
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        return subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PATH": path}, check=False)


def fake_plate(folder: Path, rows: int, columns: int, fields: int) -> Run:
    """A plate of empty files: planning reads names only."""
    raw = folder / "raw"
    raw.mkdir()
    wells = [well_name(row, column) for row, column in product(range(rows), range(columns))]
    for well, field, channel in product(wells, range(1, fields + 1), ("DNA", "ER", "AGP", "Mito")):
        (raw / f"{well}_s{field}_w{channel}.tif").touch()
    sheet = "plate\tfolder\tformat\tplate_map\toverrides\ntiny\traw\tpattern\t\t\n"
    (folder / "plates.tsv").write_text(sheet, encoding="utf-8")
    return Run(folder)
