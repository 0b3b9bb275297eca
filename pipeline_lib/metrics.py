"""How well a segmentation agrees with the truth: objects are matched one to one by overlap."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.ndimage import distance_transform_edt
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import maximum_bipartite_matching, min_weight_full_bipartite_matching

from pipeline_lib.core.labels import areas, median_diameter, overlaps, renumber

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from pipeline_lib.core.labels import Labels

THRESHOLDS = tuple(percent / 100 for percent in range(50, 100, 5))  # 0.5, 0.55 .. 0.95, each the float of that name
BOUNDARY_SCALE = 0.1  # of the median diameter: how far outlines may be off


class Matches(NamedTuple):
    """Objects found (true positives), objects made up (false positives), objects missed (false negatives)."""

    tp: int
    fp: int
    fn: int

    @property
    def ap(self) -> float:
        """The average precision tp / (tp + fp + fn), 0..1; 1 without any object, since nothing is wrong then."""
        return self.tp / sum(self) if sum(self) else 1.0

    @property
    def error_rate(self) -> float:
        """Mistakes per true object, (fp + fn) / (tp + fn), from 0 and without limit; NaN without true objects."""
        return (self.fp + self.fn) / (self.tp + self.fn) if self.tp + self.fn else math.nan


class BoundaryScore(NamedTuple):
    """How well outlines agree, each 0..1: the part of the predicted ones, of the true ones, and their harmonic mean."""

    precision: float
    recall: float
    f: float


@dataclass(frozen=True)
class Scores:
    """What one label image is worth.

    Attributes:
        matches: Found, made up and missed objects by threshold of overlap.
        aji: Aggregated Jaccard index, 0..1.
        boundary: How well outlines agree, at a tolerance of a tenth of the median true diameter.
        n_true: Objects there are.
        n_pred: Objects predicted.
    """

    matches: dict[float, Matches]
    aji: float
    boundary: BoundaryScore
    n_true: int
    n_pred: int


def scores(truth: Labels, prediction: Labels, thresholds: Sequence[float] = THRESHOLDS) -> Scores:
    """Score one image by everything here; the images are overlaid once.

    Raises:
        ValueError: the images differ in shape, or a threshold is outside (0, 1].
    """
    truth, prediction = renumber(truth), renumber(prediction)
    overlap = _overlap(truth, prediction)
    return Scores(
        matches={threshold: _match(overlap.iou, threshold) for threshold in thresholds},
        aji=_aggregated_jaccard(overlap),
        boundary=_boundary_score(truth, prediction, BOUNDARY_SCALE),
        n_true=overlap.iou.shape[0],
        n_pred=overlap.iou.shape[1],
    )


def match(truth: Labels, prediction: Labels, threshold: float) -> Matches:
    """Match objects whose intersection over union is at least ``threshold``, in (0, 1]; as many pairs as possible.

    Above 0.5 an object has at most one partner. Below, the number of pairs is that of the best one-to-one assignment.

    Raises:
        ValueError: the images differ in shape, or the threshold is outside (0, 1].
    """
    return _match(_overlap(renumber(truth), renumber(prediction)).iou, threshold)


def average_precision(
    truth: Labels, prediction: Labels, thresholds: Sequence[float] = (0.5, 0.75, 0.9)
) -> NDArray[np.float64]:
    """Compute tp / (tp + fp + fn) at each threshold; 1 if neither image has an object, since nothing is wrong then.

    Raises:
        ValueError: the images differ in shape, or a threshold is outside (0, 1].
    """
    overlap = _overlap(renumber(truth), renumber(prediction))
    return np.array([_match(overlap.iou, threshold).ap for threshold in thresholds])


def aggregated_jaccard(truth: Labels, prediction: Labels) -> float:
    """Compute the pixels shared by partners over the pixels of either image's objects; 1 without any object.

    Cellpose's definition (`cellpose.metrics.aggregated_jaccard_index`): objects are partners in the one-to-one
    assignment with most pairs that overlap by half, then most overlap, however little that is. The index of Kumar et
    al. (2017) differs: there several true objects may share a partner, and the unions of partners are added up.

    Raises:
        ValueError: the images differ in shape.
    """
    return _aggregated_jaccard(_overlap(renumber(truth), renumber(prediction)))


def boundary_score(truth: Labels, prediction: Labels, scale: float = BOUNDARY_SCALE) -> BoundaryScore:
    """Compare outlines, each made wider by a disk of radius max(1, scale * median true diameter) pixels.

    Cellpose's definition (`cellpose.metrics.boundary_scores`): precision and recall are those of the pixels of the
    widened outlines. Outlines lie inside the objects and include where the image cuts them off; unlike Cellpose's, they
    follow holes. All three are 1 if neither image has an object, 0 if one has none.

    Raises:
        ValueError: the images differ in shape, or the scale is negative.
    """
    if truth.shape != prediction.shape:
        raise ValueError(f"label images have shapes {truth.shape} and {prediction.shape}; they must be equal")
    return _boundary_score(renumber(truth), renumber(prediction), scale)


class _Overlap(NamedTuple):
    """Tables (objects of truth, objects of prediction), only for pairs that meet; `either`: pixels of any object."""

    shared: csr_array
    iou: csr_array
    either: int


def _overlap(truth: NDArray[np.uint32], prediction: NDArray[np.uint32]) -> _Overlap:
    """Overlay two images whose objects are numbered without gaps."""
    shared = overlaps(truth, prediction)[1:, 1:].tocoo()
    rows, columns = shared.coords
    union = areas(truth)[rows] + areas(prediction)[columns] - shared.data
    iou = coo_array((shared.data / union, (rows, columns)), shape=shared.shape)
    return _Overlap(shared.tocsr(), iou.tocsr(), int(np.count_nonzero((truth > 0) | (prediction > 0))))


def _match(iou: csr_array, threshold: float) -> Matches:
    if not 0 < threshold <= 1:
        raise ValueError(f"the overlap threshold is {threshold}; it must lie in (0, 1]")
    in_truth, in_prediction = iou.shape
    partners = maximum_bipartite_matching(csr_array(iou >= threshold), perm_type="column")
    tp = int(np.count_nonzero(partners >= 0))
    return Matches(tp, fp=in_prediction - tp, fn=in_truth - tp)


def _aggregated_jaccard(overlap: _Overlap) -> float:
    if overlap.either == 0:
        return 1.0
    if overlap.iou.nnz == 0:
        return 0.0
    rows, columns = _partners(overlap.iou)
    return float(overlap.shared[rows, columns].sum() / overlap.either)


def _partners(iou: csr_array) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pairs of the assignment with most pairs that overlap by half, then most overlap: rows and columns.

    Each row also gets a column of its own that means "no partner". All weights are raised by 1, since a sparse table
    knows no 0; as every row has exactly one column in the end, that changes nothing.
    """
    in_truth, in_prediction = iou.shape
    pairs = iou.tocoo()
    rows, columns = (place.astype(np.int32) for place in pairs.coords)
    alone = np.arange(in_truth, dtype=np.int32)
    worth = (pairs.data >= 0.5) + pairs.data / (2 * min(iou.shape))
    weights = csr_array(
        (
            np.concatenate([1 + worth, np.ones(in_truth)]),
            (np.concatenate([rows, alone]), np.concatenate([columns, in_prediction + alone])),
        ),
        shape=(in_truth, in_prediction + in_truth),
    )
    rows, columns = min_weight_full_bipartite_matching(weights, maximize=True)
    real = columns < in_prediction
    return rows[real], columns[real]


def _boundary_score(truth: NDArray[np.uint32], prediction: NDArray[np.uint32], scale: float) -> BoundaryScore:
    if not scale >= 0:
        raise ValueError(f"the scale is {scale}; 0 or a positive number is allowed")
    if not truth.any() or not prediction.any():
        return BoundaryScore(*[float(not truth.any() and not prediction.any())] * 3)
    radius = max(1.0, scale * (median_diameter([truth]) or 0.0))
    true, predicted = (distance_transform_edt(~_outlines(labels)) <= radius for labels in (truth, prediction))
    both = np.count_nonzero(true & predicted)
    precision, recall = both / np.count_nonzero(predicted), both / np.count_nonzero(true)
    return BoundaryScore(precision, recall, 2 * precision * recall / (precision + recall) if both else 0.0)


def _outlines(labels: NDArray[np.uint32]) -> NDArray[np.bool_]:
    """The pixels (Y, X) of objects with a neighbour, of four, that is not of the object; beyond the image none is."""
    around = np.pad(labels, 1)
    sides = around[:-2, 1:-1], around[2:, 1:-1], around[1:-1, :-2], around[1:-1, 2:]
    edge: NDArray[np.bool_] = (labels > 0) & np.logical_or.reduce([side != labels for side in sides])
    return edge
