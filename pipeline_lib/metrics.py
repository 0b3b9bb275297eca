"""How well a segmentation agrees with the truth: objects are matched one to one by overlap."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import maximum_bipartite_matching

from pipeline_lib.core.labels import areas, overlaps, renumber

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from pipeline_lib.core.labels import Labels


class Matches(NamedTuple):
    """Objects found (true positives), objects made up (false positives), objects missed (false negatives)."""

    tp: int
    fp: int
    fn: int


def match(truth: Labels, prediction: Labels, threshold: float) -> Matches:
    """Match objects whose intersection over union is at least ``threshold``, in (0, 1]; as many pairs as possible.

    Above 0.5 an object has at most one partner. Below, the number of pairs is that of the best one-to-one assignment.

    Raises:
        ValueError: the images differ in shape, or the threshold is outside (0, 1].
    """
    return _match(_intersection_over_union(truth, prediction), threshold)


def average_precision(
    truth: Labels, prediction: Labels, thresholds: Sequence[float] = (0.5, 0.75, 0.9)
) -> NDArray[np.float64]:
    """Compute tp / (tp + fp + fn) at each threshold; 1 if neither image has an object, since nothing is wrong then.

    Raises:
        ValueError: the images differ in shape, or a threshold is outside (0, 1].
    """
    table = _intersection_over_union(truth, prediction)
    if max(table.shape) == 0:
        return np.ones(len(thresholds))
    matches = [_match(table, threshold) for threshold in thresholds]
    return np.array([found.tp / sum(found) for found in matches])


def _intersection_over_union(truth: Labels, prediction: Labels) -> csr_array:
    """Tabulate (objects of truth, objects of prediction), only for pairs that meet."""
    truth, prediction = renumber(truth), renumber(prediction)
    shared = overlaps(truth, prediction)[1:, 1:].tocoo()
    rows, columns = shared.coords
    union = areas(truth)[rows] + areas(prediction)[columns] - shared.data
    return coo_array((shared.data / union, (rows, columns)), shape=shared.shape).tocsr()


def _match(table: csr_array, threshold: float) -> Matches:
    if not 0 < threshold <= 1:
        raise ValueError(f"the overlap threshold is {threshold}; it must lie in (0, 1]")
    in_truth, in_prediction = table.shape
    partners = maximum_bipartite_matching(csr_array(table >= threshold), perm_type="column")
    tp = int(np.count_nonzero(partners >= 0))
    return Matches(tp, fp=in_prediction - tp, fn=in_truth - tp)
