"""Average precision by hand and against the definition with a full assignment."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import linear_sum_assignment

from pipeline_lib.core.labels import renumber
from pipeline_lib.metrics import average_precision, match

images = arrays(np.uint8, (7, 7), elements=st.integers(0, 5))


def assigned_pairs(truth: np.ndarray, prediction: np.ndarray, threshold: float) -> int:
    """Pairs at the threshold in the assignment with most of them, then most overlap; dense, pair by pair."""
    truth, prediction = renumber(truth), renumber(prediction)
    iou = np.zeros((truth.max(), prediction.max()))
    for i, j in np.ndindex(*iou.shape):
        a, b = truth == i + 1, prediction == j + 1
        iou[i, j] = (a & b).sum() / (a | b).sum()
    if iou.size == 0:
        return 0
    rows, columns = linear_sum_assignment(-(iou >= threshold).astype(float) - iou / (2 * min(iou.shape)))
    return int((iou[rows, columns] >= threshold).sum())


@given(images, images, st.sampled_from([0.05, 0.2, 0.3, 0.5, 0.75, 1.0]))
@settings(deadline=None, max_examples=200)
def test_pairs_match_the_best_assignment(truth, prediction, threshold):
    n_truth, n_prediction = len(np.unique(truth[truth > 0])), len(np.unique(prediction[prediction > 0]))
    tp = assigned_pairs(truth, prediction, threshold)
    assert match(truth, prediction, threshold) == (tp, n_prediction - tp, n_truth - tp)


def test_counts_by_hand():
    truth = np.zeros((10, 30), dtype=np.uint16)
    prediction = np.zeros_like(truth)
    truth[:, 0:10], prediction[:, 0:9] = 4, 7  # overlap 0.9
    truth[:, 10:20], prediction[:, 15:20] = 9, 2  # overlap 0.5
    prediction[0:2, 25:27] = 30  # made up
    assert match(truth, prediction, 0.5) == (2, 1, 0)
    assert match(truth, prediction, 0.9) == (1, 2, 1)
    assert average_precision(truth, prediction) == pytest.approx(np.array([2 / 3, 1 / 4, 1 / 4]))


@given(images)
@settings(deadline=None)
def test_an_image_agrees_with_itself_under_any_numbers(labels):
    numbers = np.array([0, 900, 3, 77, 12, 5])
    assert average_precision(labels, numbers[labels], (0.5, 1.0)).tolist() == [1.0, 1.0]


@given(images, images)
@settings(deadline=None)
def test_truth_and_prediction_change_places(first, second):
    forth, back = match(first, second, 0.5), match(second, first, 0.5)
    assert (forth.tp, forth.fp, forth.fn) == (back.tp, back.fn, back.fp)


def test_empty_images():
    empty, one = np.zeros((4, 4), dtype=np.uint8), np.eye(4, dtype=np.uint8)
    assert average_precision(empty, empty).tolist() == [1, 1, 1]
    assert average_precision(one, empty).tolist() == [0, 0, 0]
    assert average_precision(empty, one).tolist() == [0, 0, 0]
    assert match(one, empty, 0.5) == (0, 0, 1)
    assert match(empty, empty, 0.5) == (0, 0, 0)


@pytest.mark.parametrize("threshold", [0, -0.5, 1.01, float("nan")])
def test_thresholds_without_meaning_are_refused(threshold):
    with pytest.raises(ValueError, match="threshold"):
        match(np.eye(2, dtype=int), np.eye(2, dtype=int), threshold)


def test_different_shapes_are_refused():
    with pytest.raises(ValueError, match="shapes"):
        average_precision(np.eye(2, dtype=int), np.eye(3, dtype=int))
