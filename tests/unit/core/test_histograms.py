"""Histograms: exact where they say so, within one bin elsewhere, and the same however they are added up."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline_lib.core.histograms import BINS, histogram, merge, percentiles

WANTED = [0.0, 1.0, 5.0, 50.0, 99.0, 99.8, 100.0]
FLOATS = st.floats(-(2.0**100), 2.0**100, width=32)

narrow = st.integers(-40_000, 61_000).flatmap(
    lambda low: st.lists(st.integers(low, low + BINS - 1), min_size=1, max_size=60)
)
integers = st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=60).map(lambda v: np.array(v, np.uint32))
floats = st.lists(FLOATS, min_size=1, max_size=60).map(lambda v: np.array(v, np.float32))
arrays = integers | floats


def between_neighbours(found: float, values: NDArray[np.generic], percent: float, width: float) -> bool:
    """Whether a percentile lies within one bin of the values between which it is interpolated."""
    ordered = np.sort(values.astype(np.float64))
    position = percent / 100 * (len(ordered) - 1)
    below, above = ordered[int(position)], ordered[min(int(position) + 1, len(ordered) - 1)]
    return bool(below - width <= found <= above + width)


@given(narrow, st.sampled_from(["int32", "uint16", "uint8"]))
def test_percentiles_of_narrow_integers_are_those_of_numpy(values: list[int], dtype: str) -> None:
    assume(np.iinfo(dtype).min <= min(values) <= max(values) <= np.iinfo(dtype).max)
    array = np.array(values, dtype)
    counted = histogram(array)
    assert counted.width == 1.0
    assert percentiles(counted, WANTED) == pytest.approx(np.percentile(array, WANTED).tolist(), rel=1e-12, abs=1e-9)


@given(arrays)
def test_every_value_is_counted_in_its_own_bin(values: NDArray[np.generic]) -> None:
    counted = histogram(values)
    assert counted.counts.shape == (BINS,)
    assert counted.total == values.size
    bins = np.floor(values.astype(np.float64) / counted.width) - counted.first
    np.testing.assert_array_equal(counted.counts, np.bincount(bins.astype(int), minlength=BINS))


@given(arrays)
def test_percentiles_of_wide_data_lie_within_one_bin(values: NDArray[np.generic]) -> None:
    counted = histogram(values)
    spread = float(values.max()) - float(values.min())
    resolution = 2.0**-30 * float(np.abs(values.astype(np.float64)).max())
    assert counted.width <= max(1.0 if values.dtype.kind == "u" else 0.0, 4 * spread / BINS, 2 * resolution, 1e-29)
    for percent, found in zip(WANTED, percentiles(counted, WANTED), strict=True):
        assert between_neighbours(found, values, percent, counted.width)


@given(st.lists(narrow.map(lambda v: np.array(v, np.int32)), min_size=2, max_size=4) | st.lists(arrays, min_size=2))
def test_merging_counts_all_values_together(parts: list[NDArray[np.generic]]) -> None:
    merged = merge(map(histogram, parts))
    everything = np.concatenate([part.astype(np.float64) for part in parts])
    assert merged.total == everything.size
    bins = np.floor(everything / merged.width) - merged.first
    np.testing.assert_array_equal(merged.counts, np.bincount(bins.astype(int), minlength=BINS))


@given(st.lists(arrays, min_size=3, max_size=3))
def test_the_order_of_merging_does_not_matter(parts: list[NDArray[np.generic]]) -> None:
    counted = [histogram(part) for part in parts]
    found = [percentiles(merge(order), WANTED) for order in permutations(counted)]
    nested = percentiles(merge([counted[0], merge(counted[1:])]), WANTED)
    assert all(one == found[0] for one in [*found, nested])


@pytest.mark.parametrize("values", [[3, 3, 7, 4098], [0, 4095], [-5, 4090]])
def test_merged_integers_stay_exact_while_they_span_4096_values(values: list[int]) -> None:
    merged = merge(histogram(np.array([value], np.int32)) for value in values)
    assert merged.width == 1.0
    assert percentiles(merged, WANTED) == pytest.approx(np.percentile(values, WANTED).tolist(), rel=1e-12)


def test_one_value_more_and_bins_are_two_wide() -> None:
    assert histogram(np.array([1, 4097], np.uint16)).width == 2.0  # 1 shares a bin with 0, so 2,049 bins are filled
    assert histogram(np.arange(4096, dtype=np.uint16)).width == 1.0


@pytest.mark.parametrize("value", [0.0, 1000.0, -0.1, 1e-20, 3e38])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_constant_picture_has_its_value_for_every_percentile(value: float, dtype: str) -> None:
    array = np.full((4, 5), value, dtype)
    found = percentiles(histogram(array), WANTED)
    assert found == pytest.approx([float(array[0, 0])] * len(WANTED), rel=1e-8, abs=1e-29)


def test_a_blank_field_adds_to_a_plate_of_floats() -> None:
    blank, field = np.zeros(100, np.float32), np.linspace(100, 900, 300, dtype=np.float32)
    merged = merge([histogram(blank), histogram(field)])
    wanted = np.percentile(np.concatenate([blank, field]), [10, 50, 90])
    assert percentiles(merged, [10, 50, 90]) == pytest.approx(wanted, abs=2 * merged.width)
    assert merged.width <= 0.5
