"""What every benchmark writes beside its figures: where it ran, with what, at which commit."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

from pipeline_lib.provenance import PACKAGE, software

RESULTS = Path(__file__).parent / "results"


def describe() -> dict[str, Any]:
    """Machine, versions and commit."""
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=PACKAGE.parent, capture_output=True, text=True, check=False
    )
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "software": {**software(), "torch": torch.__version__},
        "commit": commit.stdout.strip() or "unknown",
    }


def write(name: str, figures: dict[str, Any]) -> None:
    """Keep the figures as `results/<name>.json` and show them."""
    text = json.dumps({**figures, "machine": describe()}, indent=1) + "\n"
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(text, encoding="utf-8")
    sys.stdout.write(text)


def read(name: str) -> dict[str, Any]:
    """The figures that `write` kept by this name, without the machine; empty where there are none."""
    path = RESULTS / f"{name}.json"
    kept: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return {key: value for key, value in kept.items() if key != "machine"}


def number_type(precision: torch.dtype) -> str:
    """Such as bfloat16."""
    return str(precision).removeprefix("torch.")


def _processor() -> str:
    """The processor's name and the fast number types it has, as far as the system tells."""
    info = Path("/proc/cpuinfo")
    if not info.is_file():
        return platform.processor() or platform.machine()
    lines = dict(line.split(":", 1) for line in info.read_text(encoding="utf-8").splitlines() if ":" in line)
    about = {key.strip(): value.strip() for key, value in lines.items()}
    types = [flag for flag in ("avx512_bf16", "amx_bf16") if flag in about.get("flags", "").split()]
    return ", ".join([about.get("model name", platform.machine()), *types])
