"""Tile geometry: the reference's counts, and that every pixel is covered with the stated weight."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_lib.tiling.boxes import TileAxis, TileGrid

LENGTHS = st.integers(1, 3000)


@pytest.mark.parametrize(
    ("length", "padded", "tile", "starts"),
    [
        (20, 48, 48, (0,)),
        (200, 224, 224, (0,)),
        (208, 224, 224, (0,)),
        (209, 240, 224, (0, 16)),
        (640, 656, 224, (0, 144, 288, 432)),
        (544, 560, 224, (0, 168, 336)),
    ],
)
def test_known_axes(length: int, padded: int, tile: int, starts: tuple[int, ...]) -> None:
    axis = TileAxis.cover(length)
    assert (axis.padded, axis.tile, axis.starts) == (padded, tile, starts)


@pytest.mark.parametrize(("length", "count"), [(1024, 6), (2048, 12), (2160, 12)])
def test_known_tile_counts(length: int, count: int) -> None:
    assert len(TileAxis.cover(length).starts) == count


@given(LENGTHS)
def test_an_axis_is_padded_evenly_and_covered_from_end_to_end(length: int) -> None:
    axis = TileAxis.cover(length)
    assert axis.padded % 16 == 0
    assert axis.before >= 8
    assert axis.after - axis.before in (0, 1)
    assert axis.inner.stop - axis.inner.start == length
    assert axis.starts[0] == 0
    assert axis.starts[-1] + axis.tile == axis.padded
    steps = np.diff(axis.starts)
    assert (steps > 0).all()
    assert (steps <= axis.tile * 0.9 + 1).all()


def test_the_profile_falls_towards_the_ends_of_a_full_tile() -> None:
    weights = TileAxis.cover(1000).weights()
    np.testing.assert_allclose(weights[[0, 8, 20, 40]], [0.069, 0.18, 0.52, 0.94], atol=0.01)
    np.testing.assert_array_equal(weights, weights[::-1])


def test_a_short_tile_takes_the_middle_of_the_profile() -> None:
    full, short = TileAxis.cover(1000).weights(), TileAxis.cover(20).weights()
    np.testing.assert_array_equal(short, full[88:136])


@given(st.tuples(st.integers(1, 700), st.integers(1, 700)))
def test_tiles_blended_with_their_weights_give_the_image_back(shape: tuple[int, int]) -> None:
    grid = TileGrid.cover(shape)
    image = np.random.default_rng(0).normal(size=(grid.y.padded, grid.x.padded))
    blended = np.zeros_like(image)
    for y, x, _ in grid.tiles():
        assert image[y, x].shape == (grid.y.tile, grid.x.tile)
        blended[y, x] += image[y, x] * grid.weights()
    np.testing.assert_allclose(blended / np.outer(grid.y.total_weights(), grid.x.total_weights()), image, atol=1e-12)
    assert image[grid.y.inner, grid.x.inner].shape == shape


def test_tiles_run_along_x_first() -> None:
    corners = [(y.start, x.start) for y, x, _ in TileGrid.cover((300, 640)).tiles()]
    assert corners == sorted(corners)
    assert corners[:2] == [(0, 0), (0, 144)]
    assert len(corners) == 2 * 4
