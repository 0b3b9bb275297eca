"""Scores by hand, by what must always hold, and against the definitions with a full assignment."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import linear_sum_assignment

from pipeline_lib.core.labels import renumber
from pipeline_lib.metrics import (
    THRESHOLDS,
    Matches,
    aggregated_jaccard,
    average_precision,
    boundary_score,
    match,
    scores,
)

EMPTY = np.zeros((20, 40), dtype=np.uint8)
images = arrays(np.uint8, (7, 7), elements=st.integers(0, 5))


def boxes(*corners: tuple[int, int, int, int]) -> np.ndarray:
    """Objects 1.. between (top, left) and (bottom, right)."""
    labels = EMPTY.copy()
    for number, (top, left, bottom, right) in enumerate(corners, 1):
        labels[top:bottom, left:right] = number
    return labels


def overlap_table(truth: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """Intersection over union of each two objects, pair by pair."""
    truth, prediction = renumber(truth), renumber(prediction)
    iou = np.zeros((truth.max(), prediction.max()))
    for i, j in np.ndindex(*iou.shape):
        a, b = truth == i + 1, prediction == j + 1
        iou[i, j] = (a & b).sum() / (a | b).sum()
    return iou


def assigned_overlaps(iou: np.ndarray, threshold: float) -> np.ndarray:
    """Overlaps in the assignment with most pairs at the threshold, then most overlap."""
    if iou.size == 0:
        return np.zeros(0)
    return iou[linear_sum_assignment(-(iou >= threshold).astype(float) - iou / (2 * min(iou.shape)))]


def assigned_pairs(truth: np.ndarray, prediction: np.ndarray, threshold: float) -> int:
    return int((assigned_overlaps(overlap_table(truth, prediction), threshold) >= threshold).sum())


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


def test_thresholds_are_the_numbers_people_write():
    assert THRESHOLDS == (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)


@given(images, images)
@settings(deadline=None, max_examples=200)
def test_partners_are_those_of_the_best_assignment(truth, prediction):
    """Assignments may be equally good; their overlap is the same."""
    from pipeline_lib.metrics import _overlap, _partners

    iou = _overlap(renumber(truth), renumber(prediction)).iou
    if iou.nnz:
        rows, columns = _partners(iou)
        assert len(set(rows)) == len(set(columns)) == len(rows)
        wanted = assigned_overlaps(overlap_table(truth, prediction), 0.5)
        found = np.asarray(iou[rows, columns])
        assert (found >= 0.5).sum() == (wanted >= 0.5).sum()
        assert found.sum() == pytest.approx(wanted.sum())


def test_aggregated_jaccard_by_hand():
    truth = boxes((2, 2, 12, 12), (2, 25, 12, 35))
    assert aggregated_jaccard(truth, boxes((2, 8, 12, 18))) == 40 / 260, "partners that overlap by a quarter count"
    assert aggregated_jaccard(truth, boxes((2, 8, 12, 18), (2, 25, 12, 34))) == 130 / 260
    assert aggregated_jaccard(boxes((2, 2, 12, 22)), boxes((2, 2, 12, 10), (2, 10, 12, 22))) == 120 / 200, "one partner"
    assert aggregated_jaccard(EMPTY, EMPTY) == 1
    assert aggregated_jaccard(truth, EMPTY) == aggregated_jaccard(EMPTY, truth) == 0
    assert aggregated_jaccard(boxes((0, 0, 5, 5)), boxes((10, 10, 15, 15))) == 0


def test_boundaries_by_hand():
    """Widened by one pixel, the outline of a 10 x 10 square has 12 * 12 - 4 corners - 6 * 6 = 104 pixels.

    Two that are one pixel apart share 10 * 11 + 2 * 9 pixels, less the 6 * 7 inside one of them.
    """
    truth = boxes((4, 4, 14, 14))
    assert boundary_score(truth, truth) == (1, 1, 1)
    twice = boxes((4, 4, 14, 14), (4, 20, 14, 30))
    assert boundary_score(truth, twice, scale=0) == (0.5, 1, pytest.approx(2 / 3))
    assert boundary_score(twice, truth, scale=0) == (1, 0.5, pytest.approx(2 / 3))
    assert boundary_score(truth, boxes((4, 24, 14, 34))) == (0, 0, 0)
    aside = boxes((4, 5, 14, 15))
    precision, recall, f = boundary_score(truth, aside, scale=0)
    assert precision == recall == pytest.approx(f) == pytest.approx((10 * 11 + 2 * 9 - 6 * 7) / 104)
    assert boundary_score(truth, aside, scale=0.5).f > f, "a larger radius forgives more"
    assert boundary_score(truth, aside, scale=0.05) == boundary_score(truth, aside, scale=0), "at least one pixel"


def test_boundaries_without_objects():
    one = boxes((4, 4, 14, 14))
    assert boundary_score(EMPTY, EMPTY) == (1, 1, 1)
    assert boundary_score(one, EMPTY) == boundary_score(EMPTY, one) == (0, 0, 0)


def test_boundaries_refuse_what_cannot_be_compared():
    with pytest.raises(ValueError, match="shapes"):
        boundary_score(np.eye(2, dtype=int), np.eye(3, dtype=int))
    with pytest.raises(ValueError, match="scale"):
        boundary_score(np.eye(2, dtype=int), np.eye(2, dtype=int), scale=-1)


def test_error_rates():
    assert Matches(tp=6, fp=3, fn=2).error_rate == 5 / 8
    assert Matches(tp=0, fp=9, fn=3).error_rate == 4, "made-up objects know no limit"
    assert np.isnan(Matches(0, 2, 0).error_rate)


@given(images, images)
@settings(deadline=None, max_examples=100)
def test_scores_are_those_of_each_function(truth, prediction):
    found = scores(truth, prediction, (0.3, 0.75))
    assert found.matches == {t: match(truth, prediction, t) for t in (0.3, 0.75)}
    assert [m.ap for m in found.matches.values()] == average_precision(truth, prediction, (0.3, 0.75)).tolist()
    assert (found.n_true, found.n_pred) == (len(set(truth[truth > 0])), len(set(prediction[prediction > 0])))
    assert found.aji == aggregated_jaccard(truth, prediction)
    assert found.boundary == boundary_score(truth, prediction)
    assert 0 <= found.aji <= 1
    assert all(0 <= value <= 1 for value in found.boundary)


@given(images)
@settings(deadline=None)
def test_perfect_scores(labels):
    found = scores(labels, labels)
    assert all(matches.ap == 1 for matches in found.matches.values())
    assert (found.aji, found.boundary) == (1, (1, 1, 1))


@given(images, images)
@settings(deadline=None)
def test_what_is_symmetric(first, second):
    """Precision and recall of outlines change places when the radius is the same."""
    forth, back = boundary_score(first, second, scale=0), boundary_score(second, first, scale=0)
    assert (forth.precision, forth.recall, forth.f) == pytest.approx((back.recall, back.precision, back.f))
