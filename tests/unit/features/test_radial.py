"""Rings: hand-computed shares, and the numbers of cp_measure whatever the objects look like."""

from __future__ import annotations

import numpy as np
import pytest
from cp_measure.core.measureobjectintensitydistribution import get_radial_distribution
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from pipeline_lib.features.radial import radial_distribution

FRACTION, DENSITY, VARIATION = (
    [f"RadialDistribution_{name}_{ring}of4" for ring in range(1, 5)] for name in ("FracAtD", "MeanFrac", "RadialCV")
)


def values(labels: NDArray[np.int32], pixels: NDArray[np.float64], names: list[str]) -> NDArray[np.float64]:
    features = radial_distribution(labels, pixels)
    return np.stack([features[name] for name in names], axis=1)


def test_a_square_of_five_by_hand() -> None:
    labels = np.pad(np.ones((5, 5), dtype=np.int32), 2)
    # way / (way + depth): 0/3 in the middle; 1/3 and 1.41/3.41 around it; 2/3, 2.41/3.41 and 2.83/3.83 at the edge
    ring_of_pixel = np.array([[2, 2, 2, 2, 2], [2, 1, 1, 1, 2], [2, 1, 0, 1, 2], [2, 1, 1, 1, 2], [2, 2, 2, 2, 2]])
    for ring in range(3):
        bright = np.pad((ring_of_pixel == ring).astype(float), 2)
        np.testing.assert_array_equal(values(labels, bright, FRACTION)[0], np.arange(4) == ring)
    flat = values(labels, np.ones((9, 9)), FRACTION)[0]
    np.testing.assert_allclose(flat, [1 / 25, 8 / 25, 16 / 25, 0])
    np.testing.assert_allclose(values(labels, np.ones((9, 9)), DENSITY)[0], [1, 1, 1, 0])
    np.testing.assert_allclose(values(labels, np.ones((9, 9)), VARIATION)[0], 0, atol=1e-12)


def test_ways_stay_inside_the_object() -> None:
    labels = np.zeros((11, 11), dtype=np.int32)
    labels[1:4, 1:10] = labels[1:10, 7:10] = labels[7:10, 1:10] = (
        1  # a C: its tips are close, the way between them long
    )
    labels[0:5, 0:4] = 1
    tip = np.zeros((11, 11))
    tip[8, 1] = 1.0
    np.testing.assert_array_equal(values(labels, tip, FRACTION), [[0, 0, 0, 1]])


def test_a_fragment_does_not_count() -> None:
    labels = np.zeros((12, 20), dtype=np.int32)
    labels[1:8, 1:8] = 1
    pixels = np.random.default_rng(0).random(labels.shape)
    whole = radial_distribution(labels, pixels)
    labels[10, 15:18] = 1
    for name, expected in whole.items():
        assert radial_distribution(labels, pixels)[name] == pytest.approx(expected), name


@settings(max_examples=60, deadline=None)
@given(
    blocks=arrays(np.int32, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.sampled_from([0, 0, 1, 2, 3])),
    size=st.integers(1, 4),
    seed=st.integers(0, 100),
)
def test_the_numbers_are_those_of_cp_measure(blocks: NDArray[np.int32], size: int, seed: int) -> None:
    numbers = np.unique(blocks[blocks > 0])
    closed = np.where(blocks > 0, np.searchsorted(numbers, blocks) + 1, 0)
    labels = np.pad(np.kron(closed, np.ones((size, size))), ((0, 0), (0, 1))).astype(np.int32)
    pixels = np.random.default_rng(seed).random(labels.shape)
    if not labels.any():
        return
    with np.errstate(divide="ignore", invalid="ignore"):
        expected, found = get_radial_distribution(labels, pixels), radial_distribution(labels, pixels)
    assert list(found) == list(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, atol=1e-9, err_msg=name)
