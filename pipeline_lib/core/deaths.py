"""Why a job ended before its work was done, and when a well is to blame for it.

A job that dies is tried again with more memory and time. A well on which job after job dies would keep its plate from
ever being finished: after a few deaths it is set aside like a well with bad files.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

OUT_OF_MEMORY = "out of memory"
GPU_LOST = "GPU lost"
TIME_LIMIT = "time limit"
DISK_FULL = "disk full"
KILLED = "killed"
CANCELLED = "cancelled"
ERROR = "error"

DEATHS_ALLOWED = {OUT_OF_MEMORY: 2, GPU_LOST: 2, TIME_LIMIT: 2, ERROR: 2, KILLED: 6}
"""Reason -> how many jobs may die on one well in a row. Whoever kills a job says little about its well; a full disk and
a cancelled job say nothing."""

NEARLY_ALL = 0.9  # share of the memory limit from which on an unexplained death is taken for lack of memory

SLURM_STATES = {
    "TIMEOUT": TIME_LIMIT,
    "DEADLINE": TIME_LIMIT,
    "OUT_OF_MEMORY": OUT_OF_MEMORY,
    "CANCELLED": CANCELLED,
    "PREEMPTED": CANCELLED,
    "NODE_FAIL": CANCELLED,
    "BOOT_FAIL": CANCELLED,
}


@dataclass(frozen=True)
class Strike:
    """Jobs that died on one well, one after the other, for one reason.

    wanted: the fingerprint its result was to have. said: what the last of them could tell.
    """

    well: str
    wanted: str
    reason: str
    count: int
    said: str = ""

    @property
    def out(self) -> bool:
        """Whether the well is to be set aside."""
        return self.count >= DEATHS_ALLOWED.get(self.reason, self.count + 1)

    def then(self, before: Strike | None) -> Strike:
        """This one, counted on where the one before was of the same kind."""
        same = before and (before.well, before.wanted, before.reason) == (self.well, self.wanted, self.reason)
        return replace(self, count=before.count + self.count) if before and same else self


def reason_of(error: BaseException) -> str:
    """The reason an exception stands for."""
    text = str(error)
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError" or "out of memory" in text:
        return OUT_OF_MEMORY
    if "CUDA error" in text or type(error).__name__ == "AcceleratorError":
        return GPU_LOST
    if isinstance(error, OSError) and error.errno in (28, 122):  # ENOSPC, EDQUOT
        return DISK_FULL
    return CANCELLED if isinstance(error, KeyboardInterrupt) else ERROR


def reason_without_a_word(slurm_state: str | None, memory: float, limit: float | None) -> str:
    """The reason for the death of a job that could not tell it.

    slurm_state: what SLURM says of the job. memory, limit: MB the job had last and was allowed.
    """
    told = SLURM_STATES.get(slurm_state or "")
    if told:
        return told
    return OUT_OF_MEMORY if limit and memory >= NEARLY_ALL * limit else KILLED
