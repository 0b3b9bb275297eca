"""Lists of wells, short enough to read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

MOST = 8  # spans that are told one by one


def spans(wells: Iterable[str], plate: Sequence[str]) -> str:
    """`A01-A12, B03`: wells that follow each other on the plate as their first and last.

    plate: all wells of the plate, in order; others are left out. Beyond 8 spans the rest is counted.
    """
    rank = {well: number for number, well in enumerate(plate)}
    places = sorted(rank[well] for well in wells if well in rank)
    if not places:
        return ""
    breaks = [0, *(n for n, (one, next_) in enumerate(pairwise(places), 1) if next_ > one + 1), len(places)]
    runs = [places[start:end] for start, end in pairwise(breaks)]
    told = [plate[run[0]] if len(run) == 1 else f"{plate[run[0]]}-{plate[run[-1]]}" for run in runs[:MOST]]
    left = sum(map(len, runs[MOST:]))
    return ", ".join(told) + (f" and {left} more" if left else "")
