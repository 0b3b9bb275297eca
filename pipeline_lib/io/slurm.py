"""Questions to SLURM's programs, and what it says of a job."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass

RUNNING = frozenset(("PENDING", "RUNNING", "SUSPENDED", "COMPLETING", "CONFIGURING", "STOPPED", "REQUEUED", "RESIZING"))
PATIENCE = 30  # seconds to wait for an answer


@dataclass(frozen=True)
class Answer:
    """Of one of SLURM's programs. good: it did what was asked. text: what it said; if it failed, why."""

    good: bool
    text: str


def is_there(program: str) -> bool:
    """Whether a program is on the PATH."""
    return shutil.which(program) is not None


def ask(*command: str) -> Answer:
    """Run one of SLURM's programs; what goes wrong with running it is an answer too."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    except FileNotFoundError:
        return Answer(good=False, text=f"{command[0]}: no such program on the PATH")
    except subprocess.TimeoutExpired:
        return Answer(good=False, text=f"{command[0]} gave no answer in {PATIENCE} seconds")
    good = done.returncode == 0
    told = done.stdout if good else done.stderr or done.stdout
    return Answer(good, told.strip())


def job_state(job: str) -> str | None:
    """Such as RUNNING or TIMEOUT; None where SLURM is not there, does not answer, or has forgotten the job."""
    found = re.search(r"\bJobState=(\w+)", ask("scontrol", "--oneliner", "show", "job", job).text)
    return found[1] if found else None


def is_over(state: str | None) -> bool:
    """Whether a job in this state has ended; None: nobody knows, so it is not taken for ended."""
    return state is not None and state not in RUNNING
