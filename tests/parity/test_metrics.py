"""Scores against the metrics of cellpose 3.1.1.2, called as a black box."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import shift
from skimage.draw import disk

from pipeline_lib.metrics import THRESHOLDS, aggregated_jaccard, average_precision, boundary_score, scores

pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("ignore")]  # the peer's warnings are not ours


def images(seed: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Discs of all sizes, some cut off by the image or by each other; then a version off, torn and incomplete."""
    rng = np.random.default_rng(seed)
    truth = np.zeros((200, 240), np.int32)
    prediction = np.zeros_like(truth)
    for number, centre in enumerate(((y, x) for y in range(0, 201, 25) for x in range(5, 240, 25)), 1):
        radius, off = rng.uniform(6, 13), rng.normal(0, 2.5, 2)
        truth[disk(centre, radius, shape=truth.shape)] = number
        if rng.random() < 0.9:
            prediction[disk(centre + off, radius * rng.uniform(0.75, 1.2), shape=truth.shape)] = number
        if rng.random() < 0.2:
            half = prediction[:, centre[1] :]
            half[half == number] = 1000 + number
    return _numbered(truth), _numbered(prediction)


def _numbered(labels: NDArray[np.int32]) -> NDArray[np.int32]:
    """Without gaps, which the peer takes for objects."""
    return np.unique(labels, return_inverse=True)[1].reshape(labels.shape).astype(np.int32)


@pytest.mark.parametrize("seed", range(4))
def test_scores(peer: Any, seed: int) -> None:
    truth, prediction = images(seed)
    ap, tp, fp, fn = peer.metrics.average_precision(truth, prediction, threshold=list(THRESHOLDS))
    found = scores(truth, prediction)
    assert list(found.matches.values()) == list(zip(tp, fp, fn, strict=True))
    assert average_precision(truth, prediction, THRESHOLDS) == pytest.approx(ap, abs=1e-6)
    assert len(set(ap.tolist())) > 5
    (aji,) = peer.metrics.aggregated_jaccard_index([truth], [prediction])
    assert aggregated_jaccard(truth, prediction) == found.aji == pytest.approx(aji, abs=1e-6)


@pytest.mark.parametrize("scale", [0.01, 0.1, 0.2])
def test_boundaries(peer: Any, scale: float) -> None:
    """Whole objects only: the peer draws one outline for each label, ours goes around every piece."""
    truth, _ = images(5)
    prediction = _numbered(shift(truth, (2, -3), order=0))
    theirs = peer.metrics.boundary_scores([truth], [prediction], [scale])
    assert boundary_score(truth, prediction, scale) == pytest.approx([values.item() for values in theirs], abs=1e-6)
