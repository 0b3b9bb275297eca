"""What is kept of a stack: by hand, and the sharp plane of a blurred one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from pipeline_lib.arrays.projection import PROJECTIONS, projected, sharpest, stacked

stacks = st_numpy.arrays(np.uint16, st.tuples(st.integers(1, 4), st.integers(2, 9), st.integers(2, 9)))


@given(stacks)
def test_simple_projections_are_numpys(stack: NDArray[np.uint16]) -> None:
    np.testing.assert_array_equal(projected(stack, "max"), stack.max(axis=0)[None])
    np.testing.assert_array_equal(projected(stack, "mean"), np.rint(stack.mean(axis=0))[None])
    np.testing.assert_array_equal(projected(stack, "keep"), stack)
    np.testing.assert_array_equal(projected(stack, len(stack)), stack[-1:])


@given(stacks, st.sampled_from(sorted(PROJECTIONS)))
def test_a_single_plane_stays_what_it_is(stack: NDArray[np.uint16], how: str) -> None:
    plane = stack[:1]
    found = projected(plane, how)
    assert found.dtype == plane.dtype
    np.testing.assert_array_equal(found, plane)
    np.testing.assert_array_equal(projected(plane, 3), plane)


@given(stacks)
def test_focus_stacking_takes_values_of_the_planes(stack: NDArray[np.uint16]) -> None:
    (found,) = stacked(stack)
    assert ((stack == found).any(axis=0)).all()


def tilted(seed: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Dots of which the left half is sharp in plane 1, the right half in plane 3; and how they are without blur."""
    rng = np.random.default_rng(seed)
    dots = np.zeros((96, 192), np.float32)
    dots[rng.integers(4, 92, 120), rng.integers(4, 188, 120)] = 4000
    left, right = dots.copy(), dots.copy()
    left[:, 96:], right[:, :96] = 0, 0
    planes = [gaussian_filter(left, 1 + 2 * abs(z - 1)) + gaussian_filter(right, 1 + 2 * abs(z - 3)) for z in range(5)]
    return np.stack(planes), gaussian_filter(dots, 1)


def test_the_sharpest_plane_is_found() -> None:
    stack, sharp = tilted(1)
    only_left = np.where(np.arange(192) < 96, stack, 0).astype(np.float32)
    np.testing.assert_array_equal(sharpest(only_left)[0], only_left[1])
    empty = np.full((3, 8, 8), 7, np.uint16)
    np.testing.assert_array_equal(sharpest(empty), empty[1:2])
    assert np.abs(stacked(stack)[0] - sharp).mean() < 0.3 * np.abs(sharpest(stack)[0] - sharp).mean()


def test_a_plane_that_is_not_there_is_told() -> None:
    with pytest.raises(ValueError, match="plane 4 is asked for, and there are 3"):
        projected(np.zeros((3, 4, 4), np.uint8), 4)
