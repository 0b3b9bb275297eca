"""Label algebra against brute force, scipy and pictures small enough to check by eye."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy.ndimage import find_objects

from pipeline_lib.core.labels import areas, bounding_boxes, keep, median_diameter, overlaps, renumber

small_images = arrays(np.uint16, array_shapes(min_dims=2, max_dims=2, max_side=9), elements=st.integers(0, 12))


def same_objects(first: np.ndarray, second: np.ndarray) -> bool:
    pairs = set(zip(first.ravel().tolist(), second.ravel().tolist(), strict=True))
    return len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})


@given(small_images)
@settings(deadline=None)
def test_renumber_keeps_the_objects_and_orders_them(labels):
    renumbered = renumber(labels)
    numbers, first = np.unique(renumbered, return_index=True)
    assert renumbered.dtype == np.uint32
    assert same_objects(np.append(labels, 0), np.append(renumbered, 0))
    assert numbers[numbers > 0].tolist() == list(range(1, len(np.unique(labels[labels > 0])) + 1))
    assert (np.diff(first[numbers > 0]) > 0).all()
    assert np.array_equal(renumber(renumbered), renumbered)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int32, np.int64, np.uint64])
def test_renumber_takes_any_integer_type(dtype):
    assert renumber(np.array([[0, 7, 3], [3, 7, 9]], dtype=dtype)).tolist() == [[0, 1, 2], [2, 1, 3]]


def test_renumber_closes_huge_gaps_with_and_without_background():
    assert renumber(np.array([5_000_000_000, 0, 7, 5_000_000_000])).tolist() == [1, 0, 2, 1]
    assert renumber(np.array([9_000_000_000, 7])).tolist() == [1, 2]


def test_renumber_takes_more_than_16_bits_of_labels():
    labels = np.arange(1, 70_001)[::-1].reshape(700, 100)
    assert np.array_equal(renumber(labels), np.arange(1, 70_001).reshape(700, 100))


@pytest.mark.parametrize("shape", [(0, 0), (0, 5)])
def test_images_without_pixels(shape):
    labels = np.zeros(shape, dtype=np.uint32)
    assert renumber(labels).shape == shape
    assert areas(labels).size == 0
    assert bounding_boxes(labels).shape == (0, 4)


def test_renumber_refuses_what_is_no_label_image():
    with pytest.raises(ValueError, match="float64"):
        renumber(np.ones((2, 2)))
    with pytest.raises(ValueError, match="-3"):
        renumber(np.array([[0, -3]]))


def test_keep_drops_and_closes_the_gap():
    labels = np.array([[1, 2, 3], [0, 2, 3]], dtype=np.uint32)
    assert keep(labels, np.array([True, False, True])).tolist() == [[1, 0, 2], [0, 0, 2]]
    assert not keep(labels, np.zeros(3, dtype=bool)).any()


@given(small_images)
@settings(deadline=None)
def test_areas_and_boxes_match_brute_force(labels):
    count = int(labels.max())
    assert areas(labels).tolist() == [int((labels == k).sum()) for k in range(1, count + 1)]
    slices = find_objects(labels.astype(np.int32))
    expected = [[s[0].start, s[1].start, s[0].stop, s[1].stop] if s else [0] * 4 for s in slices]
    assert bounding_boxes(labels).tolist() == expected


@given(small_images, st.randoms())
@settings(deadline=None)
def test_overlaps_match_brute_force(first, random):
    second = np.array(random.choices(range(6), k=first.size)).reshape(first.shape)
    table = overlaps(first, second).toarray()
    rows, columns = np.indices(table.shape)
    assert table.sum() == first.size
    for i, j in zip(rows.ravel(), columns.ravel(), strict=True):
        assert table[i, j] == np.count_nonzero((first == i) & (second == j))


def test_overlaps_refuse_different_shapes():
    with pytest.raises(ValueError, match=r"\(2, 2\) and \(3, 2\)"):
        overlaps(np.zeros((2, 2), dtype=int), np.zeros((3, 2), dtype=int))


def test_the_median_diameter_is_that_of_discs_of_equal_area() -> None:
    labels = np.zeros((40, 40), np.uint32)
    labels[:10, :10], labels[20:22, :2], labels[30:, 30:] = 1, 2, 7
    assert median_diameter([labels]) == pytest.approx(2 * np.sqrt(100 / np.pi))
    assert median_diameter([np.zeros((5, 5), np.uint32)]) is None
