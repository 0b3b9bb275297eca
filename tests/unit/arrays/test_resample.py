"""Other sizes: hand-computed small cases, and the symmetries that half-pixel centres give."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy
from numpy.typing import NDArray

from pipeline_lib.arrays.resample import resize, resize_labels, shrink, shrink_labels

SIDES = st.integers(1, 30)
SHAPES = st.tuples(SIDES, SIDES)


def random_image(shape: tuple[int, int], channels: int = 2) -> np.ndarray:
    return np.random.default_rng(shape[0] * 31 + shape[1]).normal(size=(channels, *shape)).astype(np.float32)


def test_two_pixels_to_four() -> None:
    row = np.float32([[[0, 1]]])
    np.testing.assert_array_equal(resize(row, (1, 4)), np.float32([[[0, 0.25, 0.75, 1]]]))
    np.testing.assert_array_equal(resize(row.swapaxes(1, 2), (4, 1))[0, :, 0], np.float32([0, 0.25, 0.75, 1]))


def test_reduction_reads_two_neighbours_only() -> None:
    row = np.float32([[[50, 0, 9, 50, 50, 9, 9, 50]]])
    np.testing.assert_array_equal(resize(row, (1, 2))[0, 0], np.float32([4.5, 9]))


@given(SHAPES)
def test_the_own_size_changes_nothing(shape: tuple[int, int]) -> None:
    image = random_image(shape)
    resized = resize(image, shape)
    np.testing.assert_array_equal(resized, image)
    assert resized.dtype == np.float32
    assert not np.shares_memory(resized, image)


@given(SHAPES, SHAPES)
def test_turning_round_and_resizing_commute(old: tuple[int, int], new: tuple[int, int]) -> None:
    image = random_image(old)
    np.testing.assert_allclose(resize(image[:, ::-1, ::-1], new), resize(image, new)[:, ::-1, ::-1], atol=1e-5)
    np.testing.assert_allclose(resize(image.swapaxes(1, 2), new[::-1]), resize(image, new).swapaxes(1, 2), atol=1e-5)


@given(st.integers(2, 40), st.integers(2, 90))
def test_a_ramp_stays_a_ramp_between_the_outer_pixel_centres(old: int, new: int) -> None:
    ramp = np.arange(old, dtype=np.float32).reshape(1, 1, old)
    wanted = np.clip((np.arange(new) + 0.5) * old / new - 0.5, 0, old - 1)
    np.testing.assert_allclose(resize(ramp, (1, new))[0, 0], wanted, atol=1e-5)


def test_labels_take_the_pixel_at_floor_of_the_scaled_index() -> None:
    labels = np.array([[1, 2, 3]], np.uint32)
    np.testing.assert_array_equal(resize_labels(labels, (2, 6)), [[1, 1, 2, 2, 3, 3]] * 2)
    np.testing.assert_array_equal(resize_labels(labels, (1, 2)), [[1, 2]])
    assert resize_labels(labels, (2, 6)).dtype == np.uint32


@given(SHAPES, st.integers(1, 4))
def test_enlarged_labels_shrink_back(shape: tuple[int, int], factor: int) -> None:
    labels = np.random.default_rng(0).integers(0, 2**32, shape, dtype=np.uint32)
    enlarged = resize_labels(labels, (shape[0] * factor, shape[1] * factor))
    np.testing.assert_array_equal(shrink_labels(enlarged, factor), labels)


def test_blocks_are_averaged_and_cut_blocks_average_what_they_have() -> None:
    image = np.array([[[0, 2, 10], [4, 7, 21], [100, 101, 65535]]], np.uint16)
    # (0 + 2 + 4 + 7) / 4 = 3.25, (10 + 21) / 2 = 15.5, (100 + 101) / 2 = 100.5; halves go to the even neighbour
    np.testing.assert_array_equal(shrink(image, 2), [[[3, 16], [100, 65535]]])
    assert shrink(image, 2).dtype == np.uint16
    np.testing.assert_array_equal(shrink(image.astype(np.float32), 2), np.float32([[[3.25, 15.5], [100.5, 65535]]]))


@given(SHAPES, st.integers(1, 5))
def test_the_mean_survives_where_blocks_are_whole(shape: tuple[int, int], factor: int) -> None:
    image = random_image((shape[0] * factor, shape[1] * factor))
    assert shrink(image, factor).shape == (2, *shape)
    np.testing.assert_allclose(shrink(image, factor).mean(), image.mean(), atol=1e-5)


@pytest.mark.parametrize(
    ("factor", "wanted"), [(1, [[0, 1, 2, 3, 4]]), (2, [[0, 2, 4]]), (3, [[1, 4]]), (4, [[1, 4]]), (9, [[4]])]
)
def test_label_blocks_give_the_pixel_left_of_their_centre(factor: int, wanted: list[list[int]]) -> None:
    np.testing.assert_array_equal(shrink_labels(np.arange(5, dtype=np.uint32)[None], factor), wanted)


@given(
    st_numpy.arrays(
        st.sampled_from(["uint8", "uint16", "int16", "int32", "uint32"]),
        st.tuples(st.integers(1, 3), st.integers(1, 14), st.integers(1, 14)),
    ),
    st.integers(1, 5),
)
def test_integers_shrink_as_numpy_says(image: NDArray[Any], factor: int) -> None:
    wanted = np.rint(shrink(image.astype(np.float64), factor)).astype(image.dtype)
    found = shrink(image, factor)
    assert found.dtype == image.dtype
    np.testing.assert_array_equal(found, wanted)
