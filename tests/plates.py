"""A plate on disk and the workflow run on it, for tests."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from pipeline_lib.paths import PlatePaths

REPOSITORY = Path(__file__).parents[1]


@dataclass(frozen=True)
class Run:
    """A plate sheet and where its results go."""

    folder: Path

    @property
    def plate(self) -> PlatePaths:
        return PlatePaths(self.folder / "results" / "tiny")

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
