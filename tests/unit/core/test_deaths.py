"""When a well is to blame for the death of its jobs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pipeline_lib.core.deaths import DEATHS_ALLOWED, SLURM_STATES, Strike, reason_of, reason_without_a_word

ONE = Strike("B03", "F", "out of memory", 1)


def test_strikes_add_up_only_for_one_well_one_result_and_one_reason() -> None:
    assert ONE.then(None) == ONE
    assert ONE.then(ONE).count == 2
    for other in (replace(ONE, well="B04"), replace(ONE, wanted="G"), replace(ONE, reason="killed")):
        assert ONE.then(other) == ONE


@pytest.mark.parametrize("reason", [*DEATHS_ALLOWED, "cancelled", "disk full"])
def test_how_many_deaths_a_well_may_have(reason: str) -> None:
    allowed = DEATHS_ALLOWED.get(reason)
    for count in range(1, 100):
        assert Strike("B03", "F", reason, count).out == (allowed is not None and count >= allowed)


class AcceleratorError(RuntimeError):
    """What torch raises for a GPU that does not answer."""


class OutOfMemoryError(RuntimeError):
    """What torch raises for a full GPU."""


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (MemoryError(), "out of memory"),
        (OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"), "out of memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate: out of memory"), "out of memory"),
        (AcceleratorError("no answer"), "GPU lost"),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), "GPU lost"),
        (OSError(28, "No space left on device"), "disk full"),
        (OSError(122, "Disk quota exceeded"), "disk full"),
        (OSError(5, "Input/output error"), "error"),
        (KeyboardInterrupt(), "cancelled"),
        (ValueError("of ours"), "error"),
    ],
)  # fmt: skip
def test_the_reason_of_an_exception(error: BaseException, reason: str) -> None:
    assert reason_of(error) == reason


@pytest.mark.parametrize(("state", "reason"), SLURM_STATES.items())
def test_slurm_knows(state: str, reason: str) -> None:
    assert reason_without_a_word(state, 1999, 2000) == reason


@pytest.mark.parametrize("state", [None, "FAILED", "COMPLETED", "RUNNING"])
def test_memory_speaks_where_slurm_does_not(state: str | None) -> None:
    assert reason_without_a_word(state, 1900, 2000) == "out of memory"
    assert reason_without_a_word(state, 1700, 2000) == "killed"
    assert reason_without_a_word(state, 1e9, None) == "killed"
