"""What SLURM says of a job, or does not."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline_lib.io import slurm
from pipeline_lib.io.slurm import ask, is_over, is_there, job_state

SCONTROL = """#!/bin/sh
echo "$@" > "$(dirname "$0")/asked"
{answer}
"""
ONE_LINE = (
    "JobId=77 JobName=x UserId=u(1) Priority=1 JobState={state} Reason=None Dependency=(null) Requeue=0 ExitCode=0:15 "
    "OldJobState=PENDING RunTime=00:01:00 TimeLimit=00:01:00 NodeList=n1"
)
Answer = Callable[[str], Path]


@pytest.fixture
def scontrol(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Answer:
    """A `scontrol` that answers with a shell command; returns the file with what it was asked."""

    def make(answer: str) -> Path:
        program = tmp_path / "scontrol"
        program.write_text(SCONTROL.format(answer=answer))
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}/usr/bin{os.pathsep}/bin")
        return tmp_path / "asked"

    return make


@pytest.mark.parametrize(
    ("state", "over"),
    [
        ("PENDING", False),
        ("RUNNING", False),
        ("COMPLETING", False),
        ("SUSPENDED", False),
        ("TIMEOUT", True),
        ("OUT_OF_MEMORY", True),
        ("FAILED", True),
        ("CANCELLED", True),
        ("NODE_FAIL", True),
        ("PREEMPTED", True),
        ("COMPLETED", True),
    ],
)
def test_the_state_of_a_job(scontrol: Answer, state: str, over: bool) -> None:
    asked = scontrol(f'echo "{ONE_LINE.format(state=state)}"')
    assert job_state("77") == state
    assert is_over(job_state("77")) is over
    assert asked.read_text().split() == ["--oneliner", "show", "job", "77"]


def test_a_job_that_slurm_has_forgotten(scontrol: Answer) -> None:
    scontrol('echo "slurm_load_jobs error: Invalid job id specified" >&2; exit 1')
    assert job_state("77") is None
    assert not is_over(None), "nobody knows, so it is not taken for ended"


def test_slurm_that_does_not_answer(scontrol: Answer, monkeypatch: pytest.MonkeyPatch) -> None:
    scontrol("exec sleep 20")
    monkeypatch.setattr(slurm, "PATIENCE", 0.2)
    assert job_state("77") is None
    assert ask("scontrol", "ping") == slurm.Answer(good=False, text="scontrol gave no answer in 0.2 seconds")


def test_a_machine_without_slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not is_there("scontrol")
    assert job_state("77") is None
    assert ask("sbatch", "x").text == "sbatch: no such program on the PATH"


def test_what_went_wrong_is_the_answer(scontrol: Answer) -> None:
    scontrol("echo fine; echo 'no such partition' >&2; exit 3")
    assert ask("scontrol", "x") == slurm.Answer(good=False, text="no such partition")
    scontrol("echo fine")
    assert ask("scontrol", "x") == slurm.Answer(good=True, text="fine")
