"""Planes linked by hand, and random ones against the definition with dense tables."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pipeline_lib.core.labels import renumber
from pipeline_lib.flows.stitch import stitch_planes


def stack(*planes: str) -> np.ndarray:
    """Planes of one row each, a digit per pixel."""
    return np.array([[[int(digit) for digit in plane]] for plane in planes], dtype=np.uint16)


def stitched(threshold: float, *planes: str) -> list[str]:
    return ["".join(map(str, plane[0])) for plane in stitch_planes(stack(*planes), threshold)]


def dense_stitch(labels: np.ndarray, threshold: float) -> np.ndarray:
    """Follow the definition with a table of all pairs."""
    planes = [labels[0].astype(int)]
    count = labels[0].max()
    for plane in labels[1:]:
        size = plane.max(initial=0), planes[-1].max(initial=0)
        table = np.zeros(size)
        for new, old in np.ndindex(*size):
            a, b = plane == new + 1, planes[-1] == old + 1
            table[new, old] = (a & b).sum() / max((a | b).sum(), 1)
        table[(table < threshold) | (table < table.max(axis=0, initial=0))] = 0
        number = np.zeros(size[0] + 1, dtype=int)
        for new in range(size[0]):
            if table[new].any():
                number[new + 1] = table[new].argmax() + 1
            else:
                count += 1
                number[new + 1] = count
        planes.append(number[plane])
    return renumber(np.array(planes))


def test_same_place_is_same_object_whatever_its_number():
    assert stitched(0.5, "1122", "2211", "3344") == ["1122", "1122", "1122"]


def test_overlap_must_reach_the_threshold():
    planes = "11110", "01111"  # 3 of 5 pixels are shared
    assert stitched(0.6, *planes) == ["11110", "01111"]
    assert stitched(0.61, *planes) == ["11110", "02222"]


def test_object_goes_on_in_its_best_cover_only():
    # 6 pixels split in 4 and 2: overlaps of 4/6 and 2/6.
    assert stitched(0.1, "111111", "111122") == ["111111", "111122"]
    assert stitched(0.1, "111111", "112222") == ["111111", "221111"]


def test_object_reached_from_two_continues_the_better():
    assert stitched(0.1, "112222", "111111") == ["112222", "222222"]
    assert stitched(0.1, "111222", "111111") == ["111222", "111111"]  # among equals the lower number


def test_equal_halves_stay_one_object():
    assert stitched(0.1, "1111", "1122") == ["1111", "1111"]


def test_nothing_is_linked_over_an_empty_plane_and_numbers_go_on():
    assert stitched(0.1, "1122", "0000", "1122", "1122") == ["1122", "0000", "3344", "3344"]
    assert stitched(0.1, "0000", "1122") == ["0000", "1122"]


def test_a_new_number_is_never_one_that_ended_before():
    assert stitched(0.1, "1020", "1000", "1003", "0003") == ["1020", "1000", "1003", "0003"]


@pytest.mark.parametrize("threshold", [0.0, 0.5, 1.0])
def test_one_plane_and_no_object_at_all(threshold):
    assert stitched(threshold, "0330") == ["0110"]
    assert not stitch_planes(np.zeros((4, 3, 2), np.uint8), threshold).any()
    assert stitch_planes(np.zeros((0, 3, 2), np.uint8), threshold).shape == (0, 3, 2)


def test_more_objects_than_16_bits_hold():
    plane = np.arange(1, 40_001, dtype=np.uint16).reshape(200, 200)
    apart = np.stack([plane, np.zeros_like(plane), plane])
    assert stitch_planes(apart, 0.25).max() == 80_000
    assert stitch_planes(np.stack([plane, plane]), 0.25).max() == 40_000


def test_what_is_no_stack_or_no_overlap_is_refused():
    with pytest.raises(ValueError, match=r"\(4, 4\)"):
        stitch_planes(np.zeros((4, 4), np.uint8), 0.5)
    with pytest.raises(ValueError, match=r"threshold 1\.5.*0 to 1"):
        stitch_planes(np.zeros((4, 4, 4), np.uint8), 1.5)


@given(arrays(np.uint8, (5, 4, 4), elements=st.integers(0, 4)), st.sampled_from([0.0, 0.1, 0.25, 1 / 3, 0.5, 1.0]))
@settings(deadline=None, max_examples=200)
def test_matches_the_dense_definition(labels, threshold):
    before = labels.copy()
    assert np.array_equal(stitch_planes(labels, threshold), dense_stitch(labels, threshold))
    assert np.array_equal(labels, before)
