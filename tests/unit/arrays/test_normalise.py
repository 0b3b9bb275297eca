"""Intensity scaling: hand-computed ranges, and what must not happen."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from pipeline_lib.arrays.normalise import normalise, percentile_range, scale

CHANNELS = arrays(np.uint16, array_shapes(min_dims=2, max_dims=2, max_side=12))


def test_percentiles_of_a_ramp_are_its_percents() -> None:
    ramp = np.arange(101, dtype=np.uint16).reshape(1, 101)
    assert percentile_range(ramp, (1.0, 99.0)) == (1.0, 99.0)
    assert percentile_range(ramp, (0.5, 100.0)) == (0.5, 100.0)


def test_images_of_more_than_224_cubed_pixels_are_read_on_a_grid() -> None:
    side = 3360  # step 15
    image = np.full((side, side), 255, np.uint8)
    image[::15, ::15] = 7
    assert percentile_range(image, (1.0, 99.0)) == (7.0, 7.0)
    assert percentile_range(image[:3000, :3000], (1.0, 99.0)) == (255.0, 255.0)


def test_low_becomes_0_and_high_becomes_1_without_clipping() -> None:
    channel = np.array([[100, 200, 300, 50, 500]], np.uint16)
    np.testing.assert_array_equal(scale(channel, 100, 300), np.float32([[0, 0.5, 1, -0.25, 2]]))


@pytest.mark.parametrize("high", [5.0, 5.0005, 4.0])
def test_a_range_without_signal_gives_zeros(high: float) -> None:
    scaled = scale(np.random.default_rng(0).normal(5, 1, (4, 6)).astype(np.float32), 5.0, high)
    np.testing.assert_array_equal(scaled, np.zeros((4, 6), np.float32))


@given(CHANNELS, st.integers(0, 1000), st.integers(1, 60000))
def test_scaling_can_be_undone(channel: np.ndarray, low: int, span: int) -> None:
    back = scale(channel, low, low + span).astype(np.float64) * span + low
    np.testing.assert_allclose(back, channel, rtol=1e-6, atol=1e-2)


def test_scaling_leaves_its_input_alone() -> None:
    channel = np.arange(6, dtype=np.float32).reshape(2, 3)
    scaled = scale(channel, 1, 3)
    np.testing.assert_array_equal(channel.ravel(), np.arange(6))
    assert not np.shares_memory(scaled, channel)


def test_each_channel_has_its_own_range() -> None:
    image = np.stack([np.full((2, 2), 10), np.full((2, 2), 30)]).astype(np.uint16)
    np.testing.assert_array_equal(normalise(image, [(0, 20), (10, 20)])[:, 0, 0], np.float32([0.5, 2]))
    with pytest.raises(ValueError, match="shorter"):
        normalise(image, [(0, 20)])
