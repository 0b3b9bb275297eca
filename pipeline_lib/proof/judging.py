"""Each damaged image restored by each method at each setting, segmented, and compared with the truth: one row each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from pipeline_lib.core.labels import renumber
from pipeline_lib.evaluation import ERROR_THRESHOLDS, Contender, Labels, column
from pipeline_lib.metrics import average_precision
from pipeline_lib.proof.filters import Plane, Restore
from pipeline_lib.proof.levels import Case, damaged

DEGRADED = "degraded"  # the method that does nothing
COLUMNS = ("set", "image", "level", "method", "setting", "diameter", *(column("ap", at) for at in ERROR_THRESHOLDS))

Methods = Mapping[str, Mapping[str, Restore]]


def nothing(image: Plane, _: float) -> Plane:
    """The image as it is."""
    return image


def judge(case: Case, level: str, methods: Methods, segmenter: Contender, seed: int) -> Iterator[dict[str, Any]]:
    """One row for each setting of each method, with the columns `COLUMNS`. The true diameter is given to all.

    Raises ValueError for a restored image that holds NaN or infinity.
    """
    image = damaged(case, level, seed)
    for method, settings in methods.items():
        for setting, restore in settings.items():
            restored = restore(image, case.diameter)
            _, precisions = found(case, restored, segmenter)
            where = dict(zip(COLUMNS, (case.set, case.image, level, method, setting, case.diameter), strict=False))
            yield where | {column("ap", at): value for at, value in zip(ERROR_THRESHOLDS, precisions, strict=True)}


def found(case: Case, image: Plane, segmenter: Contender) -> tuple[Labels, tuple[float, ...]]:
    """The objects in a restored image (Y, X) of the case, and the average precision at each of `ERROR_THRESHOLDS`."""
    labels, _ = segmenter.segment(np.stack([image, np.zeros_like(image)]), case.diameter)
    precisions = average_precision(case.labels, renumber(labels), ERROR_THRESHOLDS)
    return labels, tuple(float(value) for value in precisions)
