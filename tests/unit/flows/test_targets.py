"""Flows of small objects by hand, and of random ones against the definition written as plainly as possible."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pipeline_lib.core.labels import renumber
from pipeline_lib.flows.targets import flow_errors, flows_from_labels

DIAGONAL = np.sqrt(0.5)


def plain_flow(inside: np.ndarray) -> np.ndarray:
    """Follow the definition for one object, on the whole image: heat from the middle, then unit central differences."""
    ys, xs = np.nonzero(inside)
    y, x = min(
        zip(ys, xs, strict=True), key=lambda p: (len(ys) * p[0] - ys.sum()) ** 2 + (len(xs) * p[1] - xs.sum()) ** 2
    )
    mask, heat = np.pad(inside, 1), np.zeros(np.array(inside.shape) + 2)
    for _ in range(2 * (np.ptp(ys) + np.ptp(xs) + 6)):
        heat[y + 1, x + 1] += 1
        shifted = [np.roll(heat, (dy, dx), (0, 1)) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]
        heat = mask * sum(shifted) / 9
    climb = np.stack([heat[2:, 1:-1] - heat[:-2, 1:-1], heat[1:-1, 2:] - heat[1:-1, :-2]])
    length = np.hypot(*climb)
    level = length <= 1e-12 * heat.max()  # rounding, not a direction
    return np.where(inside & ~level, climb / np.where(level, 1, length), np.nan)


def random_objects(seed: int) -> np.ndarray:
    """Touching objects, some of one pixel, some in several parts, with gaps in the numbers."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 6, size=(8, 8)) * 7
    return np.kron(coarse, np.ones((3, 3), dtype=int)) * (rng.random((24, 24)) > 0.1)


def test_one_pixel_has_no_direction():
    labels = np.zeros((5, 5), dtype=np.uint8)
    labels[2, 2] = 9
    assert not flows_from_labels(labels).any()


def test_flow_of_three_by_three_by_hand():
    labels = np.zeros((5, 6), dtype=np.int64)
    labels[1:4, 2:5] = 1
    d = DIAGONAL
    flow = flows_from_labels(labels)
    assert flow.dtype == np.float32
    assert flow[0, 1:4, 2:5] == pytest.approx(np.array([[d, 1, d], [0, 0, 0], [-d, -1, -d]]), abs=1e-6)
    assert flow[1, 1:4, 2:5] == pytest.approx(np.array([[d, 0, -d], [1, 0, -1], [d, 0, -d]]), abs=1e-6)
    assert not flow[:, labels == 0].any()


def test_flow_of_a_corner_by_hand():
    # All three pixels touch, so their heat is equal; outside it is 0.
    labels = np.array([[3, 3], [3, 0]])
    assert flows_from_labels(labels)[0] == pytest.approx(np.array([[DIAGONAL, 0], [-1, 0]]), abs=1e-6)
    assert flows_from_labels(labels)[1] == pytest.approx(np.array([[DIAGONAL, -1], [0, 0]]), abs=1e-6)


@pytest.mark.parametrize("seed", range(6))
def test_flow_matches_the_plain_definition(seed):
    labels = random_objects(seed)
    flow = flows_from_labels(labels)
    for label in np.unique(labels[labels > 0]):
        expected = plain_flow(labels == label)
        known = np.isfinite(expected)
        assert np.abs(flow - expected)[known].max(initial=0) < 1e-6


@given(arrays(np.uint8, (7, 8), elements=st.integers(0, 4)))
@settings(deadline=None, max_examples=50)
def test_vectors_are_unit_or_zero_and_only_inside(labels):
    length = np.hypot(*flows_from_labels(labels))
    assert not length[labels == 0].any()
    assert np.minimum(np.abs(length), np.abs(length - 1)).max() < 1e-6


def test_other_objects_do_not_matter():
    labels = random_objects(1)
    together = flows_from_labels(labels)
    apart = sum(flows_from_labels(np.where(labels == k, labels, 0)) for k in np.unique(labels[labels > 0]))
    assert np.array_equal(together, apart)


def test_flow_moves_with_the_object_to_the_bit():
    labels = random_objects(2)
    moved = flows_from_labels(np.pad(labels, ((5, 0), (11, 3))))
    assert np.array_equal(moved[:, 5:, 11:-3], flows_from_labels(labels))


def test_mirrored_object_has_the_mirrored_flow():
    yy, xx = np.mgrid[:30, :30]
    labels = ((yy - 13) ** 2 / 90 + (xx - 15) ** 2 / 140 + (yy - 13) * (xx - 15) / 150 < 1).astype(np.uint8)
    mirrored = flows_from_labels(labels[:, ::-1])[:, :, ::-1]
    assert mirrored[0] == pytest.approx(flows_from_labels(labels)[0], abs=1e-5)
    assert -mirrored[1] == pytest.approx(flows_from_labels(labels)[1], abs=1e-5)


def test_errors_are_zero_for_the_truth_and_four_for_the_opposite():
    labels = np.zeros((20, 20), dtype=np.uint32)
    labels[2:8, 3:9] = 1  # even sides: no pixel without a direction
    labels[2:8, 9:15] = 2
    flow = flows_from_labels(labels)
    flow[:, labels == 2] *= -1
    assert flow_errors(labels, flow) == pytest.approx(np.array([0, 4]), abs=1e-5)


def test_errors_are_means_over_the_object_only():
    labels = np.zeros((9, 9), dtype=np.uint32)
    labels[1:5, 1:5] = 1
    flow = flows_from_labels(labels)
    flow[:, labels == 0] = 77
    flow[0, 2, 2] += 3
    assert flow_errors(labels, flow) == pytest.approx(np.array([9 / 16]), abs=1e-5)


def test_errors_match_the_whole_image_formula():
    labels = renumber(random_objects(3))
    predicted = np.random.default_rng(0).normal(size=(2, *labels.shape)).astype(np.float32)
    squared = ((flows_from_labels(labels) - predicted) ** 2).sum(0)
    expected = [squared[labels == k].mean() for k in range(1, labels.max() + 1)]
    assert flow_errors(labels, predicted) == pytest.approx(np.array(expected), rel=1e-5)


def test_absent_label_has_no_error():
    labels = np.array([[2, 2]], dtype=np.uint32)
    errors = flow_errors(labels, np.zeros((2, 1, 2), dtype=np.float32))
    assert np.isnan(errors[0])
    assert errors[1] == pytest.approx(1)


def test_labels_are_left_as_they_were():
    labels = random_objects(4)
    before = labels.copy()
    flows_from_labels(labels)
    assert np.array_equal(labels, before)


def test_empty_image_has_no_flow():
    flow = flows_from_labels(np.zeros((4, 6), dtype=np.uint16))
    assert flow.shape == (2, 4, 6)
    assert not flow.any()
