"""Compact intensity histograms that add up: plate percentiles without a second pass over the pixels.

A histogram has 4,096 bins whose width is a power of two and whose edges are multiples of that width, so two histograms
always share a common coarser grid. Integers spanning at most 4,096 values get width 1 and are counted exactly.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce
from math import frexp
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pipeline_lib.core.compiled import compiled

BINS = 4096
SHORT = (np.dtype(np.uint8), np.dtype(np.uint16))
FINEST = 2.0**-32  # narrowest bin, as a share of the largest value: so bin numbers stay exact


@dataclass(frozen=True)
class Histogram:
    """Counts of values in [(first + i) * width, (first + i + 1) * width), i = 0..4095. counts: (4096,) int64."""

    width: float
    first: int
    counts: NDArray[np.int64]

    @property
    def total(self) -> int:
        return int(self.counts.sum())


def histogram(values: ArrayLike) -> Histogram:
    """Count the values of an array of any shape; it must be finite and hold at least one value."""
    flat = np.asarray(values).ravel()
    if flat.dtype in SHORT:
        return _of_counts(_counted(flat, np.iinfo(flat.dtype).max + 1))
    low, high = float(flat.min()), float(flat.max())
    width = 1.0 if flat.dtype.kind in "ui" else _float_width(low, high)
    while np.floor(high / width) - np.floor(low / width) >= BINS:
        width *= 2
    first = int(np.floor(low / width))
    if flat.dtype.kind in "ui" and width >= 1:
        bins = flat.astype(np.int64) // int(width) - first
    else:
        bins = np.floor(flat.astype(np.float64) / width).astype(np.int64) - first
    return Histogram(width, first, np.bincount(bins, minlength=BINS).astype(np.int64))


def _of_counts(counts: NDArray[np.int64]) -> Histogram:
    """From how often each value from 0 on is there."""
    there = np.flatnonzero(counts)
    low, high = int(there[0]), int(there[-1])
    width = 1
    while high // width - low // width >= BINS:
        width *= 2
    first = low // width
    binned = np.bincount(there // width - first, counts[there], BINS)
    return Histogram(float(width), first, binned.astype(np.int64))


@compiled
def _counted(values: NDArray[Any], size: int) -> NDArray[np.int64]:
    """How often each of the values 0..size - 1 is there."""
    counts = np.zeros(size, np.int64)
    for value in values:
        counts[value] += 1
    return counts


def merge(histograms: Iterable[Histogram]) -> Histogram:
    """The histogram of all values together, on the finest grid that holds them all."""
    return reduce(_add, histograms)


def percentiles(counted: Histogram, wanted: Iterable[float]) -> list[float]:
    """Percentiles (0..100) with linear interpolation between neighbouring values.

    Exact for integers counted with width 1; otherwise within one bin width, a bin standing for its middle.
    """
    cumulative = np.cumsum(counted.counts)
    middle = 0.0 if counted.width == 1.0 else counted.width / 2

    def ordered(rank: int) -> float:
        """The value of the given 0-based rank."""
        bin_index = int(np.searchsorted(cumulative, rank, side="right"))
        return (counted.first + bin_index) * counted.width + middle

    def one(percent: float) -> float:
        position = percent / 100 * (counted.total - 1)
        below = int(position)
        low, high = ordered(below), ordered(min(below + 1, counted.total - 1))
        return low + (position - below) * (high - low)

    return [one(percent) for percent in wanted]


def _add(a: Histogram, b: Histogram) -> Histogram:
    width = max(a.width, b.width)
    while True:
        edges = [(h, _first_at(h, width), _last_at(h, width)) for h in (a, b)]
        first, last = min(e[1] for e in edges), max(e[2] for e in edges)
        if last - first < BINS:
            break
        width *= 2
    counts = np.zeros(BINS, np.int64)
    for counted, _, _ in edges:
        filled = np.flatnonzero(counted.counts)
        bins = np.floor((filled + counted.first) * (counted.width / width)).astype(np.int64) - first
        np.add.at(counts, bins, counted.counts[filled])
    return Histogram(width, first, counts)


def _first_at(counted: Histogram, width: float) -> int:
    """Index, on a coarser grid, of the first filled bin."""
    return int((int(np.flatnonzero(counted.counts)[0]) + counted.first) // (width / counted.width))


def _last_at(counted: Histogram, width: float) -> int:
    return int((int(np.flatnonzero(counted.counts)[-1]) + counted.first) // (width / counted.width))


def _float_width(low: float, high: float) -> float:
    """Bin width for floats: as narrow as their range allows, but not beyond their own resolution."""
    return _power_of_two(max((high - low) / BINS, max(abs(low), abs(high)) * FINEST, 1e-30))


def _power_of_two(value: float) -> float:
    """The smallest power of two that is not below a positive value."""
    fraction, exponent = frexp(value)
    return float(2.0 ** (exponent - 1 if fraction == 0.5 else exponent))
