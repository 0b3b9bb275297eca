"""`wellpose install-profile`: the profile that is written, that it is not written over another, and what is said."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline_lib.__main__ import main
from pipeline_lib.core.needs import NEEDS
from pipeline_lib.stages.install_profile import CHECKOUT, TEMPLATE, filled

ON_GPU = [*(stage for stage, need in NEEDS.items() if need.gpu), "train", "train_restoration"]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of the user's profiles; the working folder is empty too."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "home" / "snakemake"


def installed(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(path.read_text())
    return content


TEMPLATE_KEYS = installed(CHECKOUT / TEMPLATE)


def test_without_options_it_is_the_template_and_the_snakefile(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["install-profile"]) == 0
    keys = installed(home / "slurm" / "config.yaml")
    assert keys == {**TEMPLATE_KEYS, "snakefile": str(CHECKOUT / "Snakefile")}
    told = capsys.readouterr().out
    assert told.startswith(f"wrote {home}/slurm/config.yaml\n")
    assert "snakemake --profile slurm " in told
    assert f"there say --profile {home}/slurm" in told
    assert "HERE" not in told


def test_comments_of_the_template_are_kept(home: Path) -> None:
    main(["install-profile"])
    head = (CHECKOUT / TEMPLATE).read_text().partition("\ndefault-resources:")[0]
    assert head in (home / "slurm" / "config.yaml").read_text()


def test_the_template_names_the_gpu_stages_and_enough_tries() -> None:
    assert list(TEMPLATE_KEYS["set-resources"]) == ON_GPU
    assert TEMPLATE_KEYS["retries"] >= 3
    assert list(TEMPLATE_KEYS)[-2:] == ["default-resources", "set-resources"]  # else `filled` would drop a key
    default = installed(CHECKOUT / "profiles" / "default" / "config.yaml")
    shared = default.keys() & TEMPLATE_KEYS.keys()
    assert {"nolock", "rerun-triggers"} <= shared
    assert {key: default[key] for key in shared} == {key: TEMPLATE_KEYS[key] for key in shared}


@pytest.mark.parametrize(
    ("options", "gpu"),
    [
        ((), {"gpu": 1}),
        (("--gpu-model", "a100"), {"gpu": 1, "gpu_model": "a100"}),
        (("--gpu-syntax", "gres"), {"gpu": 0, "gres": "gpu:1"}),
        (("--gpu-syntax", "gres", "--gpu-model", "a100"), {"gpu": 0, "gres": "gpu:a100:1"}),
    ],
)
def test_account_partitions_and_both_gpu_syntaxes(home: Path, options: tuple[str, ...], gpu: dict[str, Any]) -> None:
    chosen = ("--name", "lab", "--account", "12345", "--cpu-partition", "short", "--gpu-partition", "volta")
    assert main(["install-profile", *chosen, *options]) == 0
    keys = installed(home / "lab" / "config.yaml")
    assert keys["default-resources"] == {
        **TEMPLATE_KEYS["default-resources"],
        "slurm_partition": "short",
        "slurm_account": "12345",  # text, although it looks like a number
    }
    assert keys["set-resources"] == {stage: {"slurm_partition": "volta", **gpu} for stage in ON_GPU}


def test_a_partition_file_chooses_unless_partitions_are_named(home: Path, tmp_path: Path) -> None:
    file = tmp_path / "work" / "partitions.yaml"
    file.write_text("partitions: {cpu: {max_runtime: 60}}")
    assert main(["install-profile", "--partition-file", "partitions.yaml"]) == 0
    keys = installed(home / "slurm" / "config.yaml")
    assert keys["slurm-partition-config"] == str(file)
    assert "slurm_partition" not in str(keys)
    named = ("--cpu-partition", "short", "--gpu-partition", "volta", "--replace")
    assert main(["install-profile", "--partition-file", str(file), *named]) == 0
    keys = installed(home / "slurm" / "config.yaml")
    assert keys["default-resources"]["slurm_partition"] == "short"
    assert keys["set-resources"]["segment"]["slurm_partition"] == "volta"


def test_all_faults_at_once_and_nothing_is_written(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = ("--name", "a/b", "--account", "a b", "--gpu-partition", "", "--gpu-model", "a-b", "--partition-file", "no")
    assert main(["install-profile", *wrong]) == 2
    told = capsys.readouterr().err
    assert told.startswith("wellpose install-profile: 6 fault(s), nothing was written:\n")
    for option in ("--name 'a/b'", "--account 'a b'", "--gpu-partition ''", "--gpu-model 'a-b'", "--partition-file: "):
        assert f"  * {option}" in told
    assert not home.exists()


def test_a_profile_that_is_there_is_replaced_on_demand_only(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = home / "slurm" / "config.yaml"
    path.parent.mkdir(parents=True)
    path.write_text("mine: 1")
    assert main(["install-profile"]) == 2
    assert "exists; give another --name, or --replace" in capsys.readouterr().err
    assert path.read_text() == "mine: 1"
    assert main(["install-profile", "--replace"]) == 0
    assert installed(path)["executor"] == "slurm"
    assert [entry.name for entry in path.parent.iterdir()] == ["config.yaml"]


def test_a_file_that_snakemake_would_read_instead(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    newer = home / "slurm" / "config.v8+.yaml"
    newer.parent.mkdir(parents=True)
    newer.write_text("cores: 1")
    assert main(["install-profile", "--replace"]) == 2
    assert f"{newer} would be read instead" in capsys.readouterr().err


def test_a_profile_in_the_working_folder_is_told_of(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    here = tmp_path / "work" / "slurm" / "config.yaml"
    here.parent.mkdir()
    here.write_text("cores: 1")
    main(["install-profile"])
    told = capsys.readouterr().out
    assert f"HERE, in {tmp_path}/work, --profile slurm means {here}: say --profile {home}/slurm" in told


def test_another_folder_is_named_in_the_command(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["install-profile", "--folder", str(tmp_path / "far")]) == 0
    assert (tmp_path / "far" / "slurm" / "config.yaml").is_file()
    assert not home.exists()
    assert f"snakemake --profile {tmp_path}/far/slurm " in capsys.readouterr().out


def test_a_template_without_its_last_keys_is_a_defect() -> None:
    with pytest.raises(AssertionError):
        filled("executor: slurm\n", {})


def test_snakemake_takes_every_key(home: Path, tmp_path: Path) -> None:
    """A dry run from a folder that is no checkout, with a Snakefile of one rule in place of ours."""
    main(["install-profile", "--gpu-syntax", "gres", "--gpu-model", "a100"])
    path = home / "slurm" / "config.yaml"
    small = tmp_path / "Snakefile"
    small.write_text("rule segment:\n    output: 'x'\n    resources:\n        mem_mb=1, gpu=1\n    shell: 'touch x'\n")
    text = path.read_text().replace(str(CHECKOUT / "Snakefile"), str(small))
    path.write_text(text.replace("  segment:\n", "  segment:\n    mem_mb: min(attempt * 12000, 40000)\n"))
    command = [sys.executable, "-m", "snakemake", "--profile", "slurm", "-n"]
    done = subprocess.run(command, capture_output=True, text=True, env=dict(os.environ), check=False, timeout=120)
    told = done.stdout + done.stderr
    assert done.returncode == 0, told
    for asked in ("mem_mb=12000", "gpu=0", "gres=gpu:a100:1", "slurm_partition=gpu"):
        assert asked in told
