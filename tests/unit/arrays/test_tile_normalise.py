"""Scaling by tiles: hand-made pictures, and the symmetries that smoothing along one axis only would break."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline_lib.arrays.normalise import percentile_range, scale
from pipeline_lib.arrays.tile_normalise import normalise_tiles

WHOLE = (1.0, 99.0)
TILE = 20


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).gamma(2, 300, shape).astype(np.float32)


def vignetted(height: int, width: int) -> np.ndarray:
    """The same noise everywhere, shown four times brighter on the right and below."""
    return noise(height, width) * np.linspace(1, 4, width, dtype=np.float32) * np.linspace(1, 4, height)[:, None]


@given(st.integers(1, TILE), st.integers(1, TILE))
def test_one_tile_is_the_whole_image(height: int, width: int) -> None:
    channel = noise(height, width)
    found = normalise_tiles(channel, TILE, WHOLE)
    np.testing.assert_allclose(found, scale(channel, *percentile_range(channel, WHOLE)), rtol=1e-4, atol=1e-5)


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 70), st.integers(1, 70))
def test_turning_the_image_turns_the_result(height: int, width: int) -> None:
    """So ranges are smoothed along x as they are along y."""
    channel = noise(height, width)
    found = normalise_tiles(channel, TILE, WHOLE)
    assert found.dtype == np.float32
    np.testing.assert_allclose(normalise_tiles(channel.T, TILE, WHOLE), found.T, rtol=1e-4, atol=1e-4)


def test_dark_regions_become_as_bright_as_others() -> None:
    channel = vignetted(200, 200).astype(np.float32)
    whole, tiled = (scale(channel, *percentile_range(channel, WHOLE)), normalise_tiles(channel, 40, WHOLE))
    dark, bright = np.s_[:100, :100], np.s_[100:, 100:]
    assert whole[bright].std() > 2.5 * whole[dark].std()
    assert tiled[bright].std() == pytest.approx(tiled[dark].std(), rel=0.3)


def test_the_range_of_a_step_changes_gradually() -> None:
    """Tiles hold 0 and 100 on the left, 0 and 300 on the right; the range of each feels its neighbours along x."""
    channel = np.zeros((10, 40), np.float32)
    channel[::2, :20], channel[::2, 20:] = 100, 300
    span = channel[0] / normalise_tiles(channel, 10, (0.0, 100.0))[0]
    assert np.all(np.diff(span) >= -1e-3)
    assert 101 < span[0] < 140
    assert 260 < span[-1] < 299.9
    assert span[17] > 200  # tiles overlap, and the one in the middle holds 300 too


def test_tiles_without_signal_take_the_range_of_the_nearest() -> None:
    channel = np.full((60, 60), 40, np.float32)
    channel[::2, :22] = 240  # all tiles that have a signal have the range 40 to 240
    found = normalise_tiles(channel, TILE, (0.0, 100.0))
    np.testing.assert_allclose(found, (channel - 40) / 200, atol=1e-6)


def test_the_nearest_tile_is_the_one_that_counts() -> None:
    """Between a range of 40 to 240 on the left and one of 40 to 440 on the right, 140 is 0.5 here and 0.25 there."""
    channel = np.full((20, 160), 140, np.float32)
    for columns, high in ((np.s_[:20], 240), (np.s_[-20:], 440)):
        channel[::2, columns], channel[1::2, columns] = 40, high
    found = normalise_tiles(channel, TILE, (0.0, 100.0))[0]
    np.testing.assert_allclose(found[[40, 120]], [0.5, 0.25], rtol=0.03)


def test_an_image_without_signal_is_zero() -> None:
    np.testing.assert_array_equal(normalise_tiles(np.full((50, 30), 7, np.float32), TILE, WHOLE), np.zeros((50, 30)))


def test_planes_of_a_stack_share_the_mean_of_their_maps() -> None:
    """One tile: ranges 0 to 100 and 50 to 350, so 25 to 225. A plane without signal has no say."""
    stack = np.zeros((3, 8, 8), np.float32)
    stack[0, ::2] = 100
    stack[1], stack[1, ::2] = 50, 350
    stack[2] = 9
    np.testing.assert_allclose(normalise_tiles(stack, TILE, (0.0, 100.0)), (stack - 25) / 200, rtol=1e-6)


def test_one_plane_as_a_stack_is_no_different() -> None:
    channel = noise(50, 70)
    np.testing.assert_array_equal(normalise_tiles(channel[None], TILE, WHOLE)[0], normalise_tiles(channel, TILE, WHOLE))
