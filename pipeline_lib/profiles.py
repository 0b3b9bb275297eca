"""Cells to wells: summaries, robust z-scores against controls, and how well an assay separates them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from pycytominer import normalize

SPREAD_SUFFIX = "_MAD"
RESPONDERS_SUFFIX = "_Responders"
Z_PRIME_COLUMNS = [
    "Feature",
    "ZPrime",
    "PositiveMean",
    "PositiveSD",
    "PositiveN",
    "NegativeMean",
    "NegativeSD",
    "NegativeN",
]

_FEATURE = re.compile(r"[^_]+_[^_]+_.+")
_PLACEMENT = re.compile(r"_Location_|_AreaShape_(Center|Orientation|BoundingBox(Minimum|Maximum))(_|$)")
_PRESENT = re.compile(r"(?P<object>[^_]+)_Location_Center_X")


def feature_names(cells: pd.DataFrame) -> list[str]:
    """Columns of a cell table that describe the cell, not where and how it lies on the field."""
    return [
        name
        for name in cells.select_dtypes("number").columns
        if _FEATURE.fullmatch(name) and not name.startswith("Metadata_") and not _PLACEMENT.search(name)
    ]


def aggregate_wells(cells: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """Summarise the cells of each well.

    Wells are independent, so a plate may be aggregated table by table: memory then follows the fullest well.

    Args:
        cells: A cell table, or several below each other.
        by: Columns that tell wells apart, such as ``Metadata_Well``.

    Returns:
        One row per well with cells, sorted by `by`: these columns; ``Count_<Object>``, how many of each object there
        are; the median of each feature under the name of the feature; and its median absolute deviation (unscaled)
        under ``<feature>_MAD``. Cells without the feature are passed over; without any, it is NaN.
    """
    wells = cells.groupby(list(by), sort=True)
    number = wells.ngroup().to_numpy()
    features = cells[feature_names(cells)]
    medians = features.groupby(number).median()
    deviations = (features - medians.reindex(number).to_numpy()).abs()
    spreads = deviations.groupby(number).median().add_suffix(SPREAD_SUFFIX)
    keys = wells.size().index.to_frame(index=False)
    return pd.concat([keys, _counts(cells).groupby(number).sum(), medians, spreads], axis=1)


def _counts(cells: pd.DataFrame) -> pd.DataFrame:
    """1 where a cell has an object, else 0; one column per object."""
    marks = {column: match["object"] for column in cells.columns if (match := _PRESENT.fullmatch(column))}
    return cells[list(marks)].notna().astype("int64").rename(columns={c: f"Count_{name}" for c, name in marks.items()})


@dataclass(frozen=True)
class Cut:
    """Where the cells that respond begin. rising: they lie above `at`, not below."""

    feature: str
    at: float
    rising: bool


def half_way(
    wells: pd.DataFrame, features: Sequence[str], positive: pd.Series[bool], negative: pd.Series[bool]
) -> list[Cut]:
    """For each feature, half way between the median of the positive and that of the negative control wells.

    A feature that is not known of both controls, or is the same in both, has no such cut: its `at` is NaN.
    """
    tops, bottoms = (wells.loc[mask, list(features)].median() for mask in (positive, negative))
    middles = ((tops + bottoms) / 2).where(tops != bottoms)
    return [Cut(name, float(middles[name]), bool(tops[name] > bottoms[name])) for name in features]


def responders(cells: pd.DataFrame, by: Sequence[str], cuts: Sequence[Cut]) -> pd.DataFrame:
    """The share (0..1) of the cells of each well that respond, under ``<feature>_Responders``.

    An assay of many cells that do or do not respond is read most steadily by how many of them do: the share stays at
    its ends, wherever the bulk of either kind lies from well to well.

    Args:
        cells: A cell table.
        by: Columns that tell wells apart.
        cuts: Where the cells that respond begin.

    Returns:
        One row per well with cells, sorted by `by`, with these columns. Cells without a feature are passed over; NaN
        where no cell has it, or where the cut is NaN.
    """
    beyond = {
        cut.feature + RESPONDERS_SUFFIX: ((cells[cut.feature] > cut.at) == cut.rising)
        .astype(float)
        .where(cells[cut.feature].notna() & np.isfinite(cut.at))
        for cut in cuts
    }
    shares = pd.DataFrame({**cells[list(by)], **beyond}).groupby(list(by), sort=True).mean()
    return shares.reset_index()


def robust_z(wells: pd.DataFrame, features: Sequence[str], controls: pd.Series[bool]) -> pd.DataFrame:
    """Express features as distances from the controls: (x - median) / (1.4826 MAD), both of the control wells.

    A feature that does not vary among the controls has no such scale and becomes NaN, instead of the huge numbers that
    a small constant in the denominator would give. Other columns stay as they are.
    """
    reference = wells.loc[controls, list(features)]
    spread = (reference - reference.median()).abs().median()
    usable = list(spread.index[spread > 0])
    scaled = wells.assign(**dict.fromkeys(features, np.nan))
    if usable:
        scaled[usable] = normalize(
            wells[usable].assign(Metadata_Control=controls),
            features=usable,
            meta_features=["Metadata_Control"],
            samples="Metadata_Control",
            method="mad_robustize",
            mad_robustize_epsilon=0,
        )[usable]
    return scaled


def z_prime(
    wells: pd.DataFrame, features: Sequence[str], positive: pd.Series[bool], negative: pd.Series[bool]
) -> pd.DataFrame:
    """Tell how well each feature separates the controls (Zhang, Chung and Oldenburg 1999).

    Z' = 1 - 3 (sd of positives + sd of negatives) / |difference of their means|, over wells, with sample standard
    deviations. 1 is perfect, above 0.5 excellent, below 0 the controls overlap.

    Returns:
        One row per feature, `Z_PRIME_COLUMNS`, best first; NaN where a feature has fewer than two values of either
        control, equal means, or the same value in all wells of both: it is then too coarse to show how they spread,
        as a median of whole pixels may be. No rows if there are fewer than two wells of either control.
    """
    if min(positive.sum(), negative.sum()) < 2:
        return pd.DataFrame(columns=Z_PRIME_COLUMNS)
    table = pd.DataFrame(index=pd.Index(features, name="Feature"))
    for role, mask in (("Positive", positive), ("Negative", negative)):
        values = wells.loc[mask, list(features)]
        table[f"{role}Mean"], table[f"{role}SD"], table[f"{role}N"] = values.mean(), values.std(ddof=1), values.count()
    gap = (table["PositiveMean"] - table["NegativeMean"]).abs()
    spread = table["PositiveSD"] + table["NegativeSD"]
    table["ZPrime"] = 1 - 3 * spread.where(spread > 0) / gap.where(gap > 0)
    return table.sort_values("ZPrime", ascending=False, kind="stable").reset_index()[Z_PRIME_COLUMNS]
