"""The rules as Snakemake sees them, without running a job."""

from __future__ import annotations

import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from plates import REPOSITORY, Run, fake_plate

RULES = sorted((REPOSITORY / "rules").glob("*.smk"))


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A plate of 384 wells, 9 fields and 4 channels, of empty files."""
    return fake_plate(tmp_path_factory.mktemp("large"), rows=16, columns=24, fields=9)


def test_planning_a_384_well_plate_is_quick_and_complete(large: Run) -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    planned = large.snakemake("-n")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert planned.returncode == 0, planned.stderr
    told = planned.stdout + planned.stderr
    counts = {rule: int(count) for rule, count in re.findall(r"^(\w+) +(\d+)$", told, flags=re.MULTILINE)}
    assert counts == {
        "skeleton": 1,
        "ingest": 384 // 24,
        "complete": 1,
        "calibrate": 1,
        "segment": 384 // 48,
        "measure": 384 // 16,
        "aggregate": 1,
        "report": 1,
        "all": 1,
        "total": 1 + 16 + 1 + 1 + 8 + 24 + 1 + 1 + 1,
    }
    assert "Missing output files" in told, "a dry run says why"
    # Processor seconds: seconds by the clock depend on what else the machine does.
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 8


def test_the_slurm_profile_is_found_by_its_name_and_asks_for_gpus(large: Run) -> None:
    command = [sys.executable, "-m", "snakemake", "--profile", "slurm", "-n", "--config"]
    chosen = [f"plates={large.folder / 'plates.tsv'}", f"results={large.folder / 'results'}"]
    planned = subprocess.run([*command, *chosen], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    told = planned.stdout + planned.stderr
    assert planned.returncode == 0, told
    asked = {
        rule: re.search(rf"^rule {rule}:.*?resources: ([^\n]*)", told, flags=re.MULTILINE | re.DOTALL)
        for rule in ("ingest", "segment")
    }
    assert asked["segment"] is not None
    assert {"slurm_partition=gpu", "gpu=1"} <= set(asked["segment"][1].split(", "))
    assert asked["ingest"] is not None
    assert "gpu" not in asked["ingest"][1]


@pytest.mark.parametrize("path", RULES, ids=[path.stem for path in RULES])
def test_every_rule_is_one_command_with_log_and_benchmark(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for name, body in re.findall(r"^rule (\w+):\n(.*?)(?=^\S|\Z)", text, flags=re.MULTILINE | re.DOTALL):
        assert body.lstrip().startswith('"""'), f"{name} has no docstring"
        if name == "retry":  # makes an empty file
            continue
        for part in ("input:", "output:", "log:", "benchmark:", "conda:", "resources:", "shell:"):
            if not (name.startswith("train") and part == "input:"):  # their images are many, and no rule makes them
                assert f"    {part}\n" in body, f"{name} has no {part}"
        [command] = re.findall(r"python -m pipeline_lib ([\w-]+)", body)
        assert command.replace("-", "_") == name
        values = re.findall(r"\{(input|output|params|log|wildcards)\.?[\w.]*(:q)?\}", body)
        assert values, name
        assert all(quoted for _, quoted in values), f"{name} has an unquoted value"


@pytest.mark.parametrize("rule", ["train", "train_restoration"])
def test_a_training_is_one_job_that_nothing_else_asks_for(large: Run, rule: str) -> None:
    planned = large.snakemake("-n", "-p", rule, **{rule: "{name: ours, sets: [{name: a, folder: images}]}"})
    assert planned.returncode == 0, planned.stderr
    told = planned.stdout + planned.stderr
    assert re.search(r"^total +1$", told, flags=re.MULTILINE)
    assert "models/ours/ours.safetensors" in told
    assert '"folder": "images"' in told


def test_no_rule_computes() -> None:
    text = "\n".join(path.read_text(encoding="utf-8") for path in RULES)
    assert not re.search(r"^\s+(run|script):", text, flags=re.MULTILINE)
    assert not re.search(r"import (numpy|pandas|torch|zarr)", text)
