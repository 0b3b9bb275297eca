"""What is written in two places says the same in both."""

from __future__ import annotations

import re
import tomllib
from importlib import import_module
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from pipeline_lib.__main__ import COMMANDS, STAGES
from pipeline_lib.core.needs import NEEDS
from pipeline_lib.io.platesheets import SHEET_COLUMNS
from pipeline_lib.io.training_sets import FORMATS
from pipeline_lib.paths import BATCH_STAGES, PLATE_STAGES, SHARED_STAGES
from pipeline_lib.settings import Settings, TrainingSet
from pipeline_lib.stages.schema import generated

REPOSITORY = Path(__file__).parents[2]
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
NOT_IN_JOBS = {
    "snakemake",
    "snakemake-executor-plugin-slurm",
}  # they start the jobs; the environments are the jobs' own
CONDA_NAMES = {"pytorch-cpu": "torch", "pytorch-gpu": "torch"}


def requirements(lines: list[str]) -> dict[str, Requirement]:
    """Canonical name -> requirement."""
    parsed = [Requirement(line) for line in lines]
    return {canonicalize_name(one.name): one for one in parsed}


DEPENDENCIES = requirements(PROJECT["dependencies"])
EXTRAS = {name: requirements(lines) for name, lines in PROJECT["optional-dependencies"].items()}


@pytest.mark.parametrize("name", generated())
def test_generated_files_are_up_to_date(name: str) -> None:
    """If this fails: `make config`."""
    assert (REPOSITORY / "config" / name).read_text(encoding="utf-8") == generated()[name]


def test_the_config_says_what_holds_without_it() -> None:
    config = yaml.safe_load((REPOSITORY / "config" / "config.yaml").read_text())
    assert Settings.model_validate(config) == Settings()
    assert set(config) == set(Settings.model_fields)


def test_the_plate_sheet_has_the_columns_that_are_read_and_explained() -> None:
    [header] = [
        line
        for line in (REPOSITORY / "config" / "plates.tsv").read_text().splitlines()
        if line and not line.startswith("#")
    ]
    assert tuple(header.split("\t")) == SHEET_COLUMNS
    assert all(f"| `{column}` |" in generated()["README.md"] for column in SHEET_COLUMNS)


@pytest.mark.parametrize(
    "path", sorted((REPOSITORY / "config" / "examples").glob("*.yaml")), ids=lambda path: path.name
)
def test_examples_are_valid_overrides(path: Path) -> None:
    Settings.model_validate(yaml.safe_load(path.read_text()))


@pytest.mark.parametrize("name", ["cpu.yaml", "gpu.yaml"])
def test_conda_environments_have_the_ranges_of_the_project(name: str) -> None:
    listed = yaml.safe_load((REPOSITORY / "envs" / name).read_text())["dependencies"]
    [pip] = [entry["pip"] for entry in listed if isinstance(entry, dict)]
    found = {
        CONDA_NAMES.get(canonicalize_name(one.name), canonicalize_name(one.name)): one.specifier
        for one in map(Requirement, [conda(entry) for entry in listed if isinstance(entry, str)] + pip)
    }
    python = found.pop("python")
    assert found.pop("pip") == ""
    assert found == {n: one.specifier for n, one in DEPENDENCIES.items() if n not in NOT_IN_JOBS}
    assert any(python.contains(Version(f"3.{minor}.5")) for minor in range(11, 20))
    assert not python.contains(Version("3.10.5"))
    assert PROJECT["requires-python"] == ">=3.11"


def conda(entry: str) -> str:
    """conda's `python=3.11` in the words of pip."""
    return re.sub(r"(?<![=<>!~])=(?!=)([0-9.]+)$", r"==\1.*", entry)


@pytest.mark.parametrize(
    ("name", "left_out"), [("cpu.lock.txt", {"torch"}), ("gpu.lock.txt", set())], ids=["cpu", "gpu"]
)
def test_locks_hold_every_requirement_within_its_range(name: str, left_out: set[str]) -> None:
    locked = pinned(name)
    wanted = DEPENDENCIES | EXTRAS["dev"]
    assert set(wanted) - set(locked) == left_out
    outside = {n: str(locked[n]) for n, one in wanted.items() if n in locked and locked[n] not in one.specifier}
    assert outside == {}


@pytest.mark.parametrize("name", ["cpu.lock.txt", "gpu.lock.txt"])
def test_every_locked_package_has_hashes(name: str) -> None:
    text = (REPOSITORY / "envs" / name).read_text()
    blocks = re.split(r"\n(?=\S)", re.sub(r"^#.*\n", "", text, flags=re.MULTILINE).strip())
    assert all("--hash=sha256:" in block for block in blocks)


def test_the_locks_agree_where_both_speak() -> None:
    cpu, gpu = pinned("cpu.lock.txt"), pinned("gpu.lock.txt")
    assert {n: (cpu[n], gpu[n]) for n in cpu.keys() & gpu.keys() if cpu[n] != gpu[n]} == {}


def test_the_peer_is_pinned_as_the_project_says() -> None:
    found = pinned("peer.txt")
    assert found.keys() == EXTRAS["peer"].keys()
    assert all(found[n] in one.specifier for n, one in EXTRAS["peer"].items())


TRAININGS = ("train", "train_restoration")


def pinned(name: str) -> dict[str, Version]:
    lines = (REPOSITORY / "envs" / name).read_text().splitlines()
    found = re.compile(r"([A-Za-z0-9_.-]+)(?:\[[^]]*\])?==([^\s;\\]+)")
    return {canonicalize_name(m[1]): Version(m[2]) for line in lines if (m := found.match(line))}


def rules() -> dict[str, str]:
    """Rule -> its text, without `all` and `retry`, which call no stage, and trainings, which know no plate."""
    texts = [path.read_text() for path in sorted((REPOSITORY / "rules").glob("*.smk"))]
    parts = [part for text in texts for part in re.split(r"^rule ", text, flags=re.MULTILINE)[1:]]
    return {name: part for part in parts if (name := part[: part.index(":")]) not in ("retry", *TRAININGS)}


def test_rules_verbs_and_stage_modules_have_the_same_names() -> None:
    folder = REPOSITORY / "pipeline_lib" / "stages"
    modules = {path.stem for path in folder.glob("[a-z]*.py")} | {
        path.parent.name for path in folder.glob("*/__init__.py")
    }
    assert set(rules()) == set(STAGES) == set(BATCH_STAGES) | set(PLATE_STAGES)
    assert modules == set(STAGES) | {name.replace("-", "_") for name in COMMANDS}
    for stage in STAGES:
        assert callable(getattr(import_module(f"pipeline_lib.stages.{stage}"), stage))


@pytest.mark.parametrize("stage", STAGES)
def test_a_rule_calls_its_own_verb_with_its_own_settings_and_leaves_its_own_record(stage: str) -> None:
    text = rules()[stage]
    batch = "{batch}" if stage in BATCH_STAGES else "plate"
    assert f"python -m pipeline_lib {stage} " in text
    assert f'settings=settings_of("{STAGES[stage].section}")' in text
    assert f'code=code_digest("{stage}")' in text
    folder = "PLATE" if stage in SHARED_STAGES else "HOME"
    assert f'record={folder} + "/records/{stage}/{batch}.json"' in text
    assert ("{params.analysis:q}" in text) == (stage not in SHARED_STAGES)
    assert f'mem_mb=memory_of("{stage}")' in text
    assert f'runtime=minutes_of("{stage}")' in text
    assert ("gpu=" in text) == NEEDS[stage].gpu
    assert ('threads: NEEDS["' in text) == (NEEDS[stage].threads > 1)
    assert ("--wells" in text) == (stage not in ("skeleton", "illuminate"))


@pytest.mark.parametrize("name", ["default", "slurm"])
def test_profiles_name_only_rules_that_exist(name: str) -> None:
    profile: dict[str, Any] = yaml.safe_load((REPOSITORY / "profiles" / name / "config.yaml").read_text())
    for key in ("set-resources", "set-threads"):
        assert set(profile.get(key, {})) <= {*rules(), *TRAININGS}


def test_the_config_knows_every_layout_of_training_sets() -> None:
    assert {*get_args(TrainingSet.model_fields["format"].annotation)} == {*FORMATS, "synthetic"}
