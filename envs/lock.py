"""Resolve the lock files from `pyproject.toml`, the one hand-written list of requirements.

The CPU lock leaves torch out, because `make setup` installs the build of your choice first.
"""

from __future__ import annotations

import subprocess
import tempfile
import tomllib
from pathlib import Path

HERE = Path(__file__).parent


def main() -> None:
    """Write both lock files."""
    project = tomllib.loads((HERE.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    compile_lock([line for line in wanted if not line.startswith("torch")], HERE / "cpu.lock.txt")
    compile_lock(wanted, HERE / "gpu.lock.txt")


def compile_lock(requirements: list[str], target: Path) -> None:
    """Pin requirements and all they need, with hashes; versions already in the lock are kept where they fit."""
    with tempfile.NamedTemporaryFile("w", suffix=".in") as source:
        source.write("\n".join(requirements))
        source.flush()
        options = ["--generate-hashes", "--no-emit-index-url", "--no-header", "--no-annotate", "--python-version=3.11"]
        subprocess.run(["uv", "pip", "compile", "--quiet", source.name, *options, "-o", str(target)], check=True)


if __name__ == "__main__":
    main()
