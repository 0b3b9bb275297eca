"""Two programs that take turns, so that what else the machine does meets both."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch


def take_turns(ours: Callable[[], Any], theirs: Callable[[], Any], rounds: int) -> dict[str, Any]:
    """Seconds of both, round by round, and the median of their ratios; both have run once before."""
    times = [(_seconds(ours), _seconds(theirs)) for _ in range(rounds)]
    return {
        "times_faster": round(statistics.median(slow / fast for fast, slow in times), 2),
        "our_seconds": [round(fast, 3) for fast, _ in times],
        "their_seconds": [round(slow, 3) for _, slow in times],
    }


def _seconds(call: Callable[[], Any]) -> float:
    started = time.perf_counter()
    call()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - started
