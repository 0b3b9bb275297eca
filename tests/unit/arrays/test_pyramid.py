"""Resolution levels: how many there are, how large, and from what each is made."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_lib.arrays.pyramid import SMALL_ENOUGH, STEP, level_steps, pyramid
from pipeline_lib.arrays.resample import shrink


@pytest.mark.parametrize(
    ("height", "width", "steps"),
    [
        (1, 1, [1, 4]),
        (1080, 1080, [1, 4]),
        (4096, 100, [1, 4]),
        (4097, 100, [1, 4, 16]),
        (100, 4097, [1, 4, 16]),
        (16385, 2, [1, 4, 16, 64]),
    ],
)
def test_levels_of_known_sizes(height: int, width: int, steps: list[int]) -> None:
    assert level_steps(height, width) == steps


@given(st.integers(1, 10**6), st.integers(1, 10**6))
def test_there_are_no_more_levels_than_needed(height: int, width: int) -> None:
    steps = level_steps(height, width)
    assert steps == [STEP**level for level in range(len(steps))]
    assert len(steps) >= 2
    assert max(height, width) / steps[-1] <= SMALL_ENOUGH
    assert len(steps) == 2 or max(height, width) / steps[-2] > SMALL_ENOUGH


def test_each_level_averages_blocks_of_the_one_before() -> None:
    picture = np.arange(2 * 8 * 12, dtype=np.float64).reshape(2, 8, 12)
    fine, coarse = pyramid(picture, shrink)
    assert fine is picture
    np.testing.assert_allclose(coarse, picture.reshape(2, 2, 4, 3, 4).mean(axis=(2, 4)))


def test_a_level_is_made_from_the_one_before_it() -> None:
    """`shrink` is given here what it was asked to shrink, and by how much."""
    asked = []

    def halve(picture: np.ndarray, factor: int) -> np.ndarray:
        asked.append((picture.shape, factor))
        return picture[..., ::factor, ::factor]

    levels = pyramid(np.zeros((1, 5000, 8), np.uint8), halve)
    assert asked == [((1, 5000, 8), 4), ((1, 1250, 2), 4)]
    assert [level.shape for level in levels] == [(1, 5000, 8), (1, 1250, 2), (1, 313, 1)]
