"""Networks side by side on images with their truth: one row for each image and network, then means over images."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline_lib.core.labelled import Labelled
from pipeline_lib.core.labels import object_diameter, renumber
from pipeline_lib.metrics import THRESHOLDS, Scores, scores

ERROR_THRESHOLDS = (0.5, 0.75, 0.9)  # overlaps at which error rates are told
ALL_KINDS = "(all)"

Image: TypeAlias = NDArray[Any]
Labels: TypeAlias = NDArray[np.uint32]
Diameter: TypeAlias = float | Literal["true", "estimate"]


@dataclass(frozen=True)
class Contender:
    """A network with its settings.

    Attributes:
        segment: From an image (2, Y, X) and the diameter of its objects in pixels, or None to have it found, to the
            label image (Y, X) and the diameter that was used.
        diameter: Of the objects the network was trained on, in pixels.
    """

    segment: Callable[[Image, float | None], tuple[Labels, float]]
    diameter: float


def compare(
    sets: Iterable[tuple[str, Iterable[Labelled]]],
    contenders: Mapping[str, Contender],
    diameter: Diameter = "estimate",
) -> pd.DataFrame:
    """Have every network segment every image, and score what it found.

    One image is in hand at a time: all networks see it before the next is asked for.

    Args:
        sets: Their names and images.
        contenders: By the names of their weights.
        diameter: In pixels, for all images. `estimate`: each network finds it in each image. `true`: the median of the
            true objects of each image, at least 5; where there is none, that of the network's training objects.

    Returns:
        One row for each image and network. Columns: `set`, `kind`, `name`, `weights`, `n_true`, `n_pred`, `diameter`
        (that was used, in pixels), and as in `metrics`: `ap_0.50` .. `ap_0.95`, `error_0.50`, `error_0.75`,
        `error_0.90`, `aji`, `boundary_f`, and found objects `tp_0.50` .. `tp_0.95`.

    Raises:
        ValueError: A set without images, or an image that a network cannot take.
    """
    rows: list[dict[str, Any]] = []
    for name, images in sets:
        seen = len(rows)
        for labelled in images:
            for weights, contender in contenders.items():
                what = {"set": name, "kind": labelled.kind, "name": labelled.name, "weights": weights}
                try:
                    rows.append(what | _judged(labelled, contender, diameter))
                except ValueError as error:
                    raise ValueError(f"set {name}, image {labelled.name}, weights {weights}: {error}") from error
        if len(rows) == seen:
            raise ValueError(f"set {name} has no images")
    return pd.DataFrame(rows)


def summarise(images: pd.DataFrame) -> pd.DataFrame:
    """Summarise the table of `compare`: one row for each set, kind and network, in the order of the images.

    Returns:
        Columns: `set`, `kind` (where a set has several, also `(all)`, first), `weights`, `images`, `n_true`, `n_pred`,
        `diameter` (median); the means over images `ap_0.50` .. `ap_0.95`, `ap_mean` (over thresholds too), `aji`,
        `boundary_f`, `error_0.50` .. (over images with true objects); and `pooled_error_0.50` .., the mistakes in all
        images over all true objects, NaN where there is none.
    """
    several = images.groupby("set", sort=False)["kind"].transform("nunique") > 1
    whole = pd.concat([images[several].assign(kind=ALL_KINDS), images])
    groups = whole.groupby(["set", "kind", "weights"], sort=False)
    rows = [dict(zip(("set", "kind", "weights"), key, strict=True)) | _means(group) for key, group in groups]
    order = {name: number for number, name in enumerate(images["set"].unique())}
    return pd.DataFrame(rows).sort_values("set", key=lambda names: names.map(order), kind="stable", ignore_index=True)


def true_diameter(labelled: Labelled, contender: Contender) -> float:
    """Of the true objects of an image, in pixels; where there is none, of those the network was trained on."""
    found = object_diameter(renumber(labelled.labels))
    return contender.diameter if math.isnan(found) else found


def column(score: str, threshold: float) -> str:
    """The column of a score at an overlap: `ap_0.50`."""
    return f"{score}_{threshold:.2f}"


def _judged(labelled: Labelled, contender: Contender, diameter: Diameter) -> dict[str, float]:
    known = _diameter(labelled, contender, diameter)
    labels, used = contender.segment(labelled.image, known)
    return _numbers(scores(labelled.labels, labels), used)


def _diameter(labelled: Labelled, contender: Contender, diameter: Diameter) -> float | None:
    if diameter == "estimate":
        return None
    if diameter != "true":
        return diameter
    return true_diameter(labelled, contender)


def _numbers(found: Scores, diameter: float) -> dict[str, float]:
    return {
        "n_true": found.n_true,
        "n_pred": found.n_pred,
        "diameter": diameter,
        **{column("ap", threshold): matches.ap for threshold, matches in found.matches.items()},
        **{column("error", threshold): found.matches[threshold].error_rate for threshold in ERROR_THRESHOLDS},
        "aji": found.aji,
        "boundary_f": found.boundary.f,
        **{column("tp", threshold): matches.tp for threshold, matches in found.matches.items()},
    }


def _means(images: pd.DataFrame) -> dict[str, float]:
    """The numbers of a summary's row."""
    precisions = [column("ap", threshold) for threshold in THRESHOLDS]
    errors = [column("error", threshold) for threshold in ERROR_THRESHOLDS]
    means = images[[*precisions, "aji", "boundary_f", *errors]].mean().to_dict()
    there, found = int(images["n_true"].sum()), int(images["n_pred"].sum())
    pooled = {
        f"pooled_{column('error', threshold)}": (there + found - 2 * images[column("tp", threshold)].sum()) / there
        if there
        else np.nan
        for threshold in ERROR_THRESHOLDS
    }
    return {
        "images": len(images),
        "n_true": there,
        "n_pred": found,
        "diameter": images["diameter"].median(),
        **{name: means[name] for name in precisions},
        "ap_mean": float(np.mean([means[name] for name in precisions])),
        **{name: means[name] for name in ("aji", "boundary_f", *errors)},
        **pooled,
    }
