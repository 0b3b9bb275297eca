"""What SLURM says of a job."""

from __future__ import annotations

import re
import shutil
import subprocess

RUNNING = frozenset(("PENDING", "RUNNING", "SUSPENDED", "COMPLETING", "CONFIGURING", "STOPPED", "REQUEUED", "RESIZING"))
PATIENCE = 20  # seconds to wait for an answer


def job_state(job: str) -> str | None:
    """Such as RUNNING or TIMEOUT; None where SLURM is not there, does not answer, or has forgotten the job."""
    if shutil.which("scontrol") is None:
        return None
    try:
        asked = ["scontrol", "--oneliner", "show", "job", job]
        told = subprocess.run(asked, capture_output=True, text=True, timeout=PATIENCE, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.search(r"\bJobState=(\w+)", told)
    return found[1] if found else None


def is_over(state: str | None) -> bool:
    """Whether a job in this state has ended; None: nobody knows, so it is not taken for ended."""
    return state is not None and state not in RUNNING
