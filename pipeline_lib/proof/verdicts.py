"""From rows of `judging` to what they prove: means at each level, and three bars that a network passes or not.

A rival (classical filter, network trained on the one image) is taken at its best setting: the one with the highest mean
AP over the images, for each set and level. That needs the truth, so it flatters rivals; networks have no settings.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline_lib.evaluation import ALL_KINDS, ERROR_THRESHOLDS, column
from pipeline_lib.proof.judging import DEGRADED
from pipeline_lib.proof.levels import CLEAN, LEVELS

AP = column("ap", ERROR_THRESHOLDS[0])
PRECISIONS = [column("ap", at) for at in ERROR_THRESHOLDS]
HEAVY = 0.5  # a level is heavy where the AP of degraded images is at most this part of that of clean ones
GAIN = 1.6  # times the AP of degraded images, which restored ones reach at heavy levels
HARM = 0.02  # AP that restored clean images lose at most
RESAMPLED = 2000
INTERVAL = (2.5, 97.5)  # percentiles
_KEY = ["set", "level", "method"]


def interval(differences: Sequence[float] | NDArray[np.float64], seed: int = 0) -> tuple[float, float]:
    """The 95 % bootstrap interval of the mean of differences, one per image; images are drawn with replacement."""
    values = np.asarray(differences, np.float64)
    drawn = np.random.default_rng(seed).integers(len(values), size=(RESAMPLED, len(values)))
    low, high = np.percentile(values[drawn].mean(axis=1), INTERVAL)
    return float(low), float(high)


def at_best(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of each method at its best setting, for each set and level; of equals, the first.

    Raises ValueError where methods have not seen the same images at a level: their means could not be compared.
    """
    _check(rows)
    means = rows.groupby([*_KEY, "setting"], sort=False)[AP].mean().reset_index()
    best = means.loc[means.groupby(_KEY, sort=False)[AP].idxmax(), [*_KEY, "setting"]]
    return rows.merge(best, on=[*_KEY, "setting"])


def summarise(rows: pd.DataFrame, networks: Sequence[str]) -> pd.DataFrame:
    """One row for each set, level and method, in the order of the rows.

    Args:
        rows: Of `judge`, at least those of `degraded` at level `clean` for every set.
        networks: The methods on trial; all others but `degraded` are their rivals.

    Returns:
        Columns: `set`, `level`, `kind`, `method`, `setting` (the best), `images`, mean `ap_0.50`, `ap_0.75`, `ap_0.90`,
        `heavy` (whether the level is), `ratio` (of `ap_0.50` to that of degraded images), `rival` (the best one),
        `difference` of `ap_0.50` to it, `low` and `high` (95 % of its bootstrap over images). Where there is no rival,
        NaN; where degraded images have AP 0, an infinite ratio.
    """
    best = at_best(rows)
    clean = {name: _of(group, CLEAN, DEGRADED).mean() for name, group in best.groupby("set", sort=False)}
    summary: list[dict[str, Any]] = []
    for (name, level), group in best.groupby(["set", "level"], sort=False):
        degraded, rival = _of(group, level, DEGRADED), _best_rival(group, networks)
        heavy = level != CLEAN and bool(degraded.mean() <= HEAVY * clean[name])
        for method, own in group.groupby("method", sort=False):
            what = {"set": name, "level": level, "kind": LEVELS[str(level)].kind, "method": method}
            precision = _of(own, level, method)
            summary.append(
                what
                | {"setting": own["setting"].iloc[0], "images": len(own), **own[PRECISIONS].mean().to_dict()}
                | {"heavy": heavy, "ratio": _ratio(precision.mean(), degraded.mean()), "rival": rival}
                | _against(precision, _of(group, level, rival) if rival else None)
            )
    return pd.DataFrame(summary)


def verdicts(rows: pd.DataFrame, networks: Sequence[str]) -> pd.DataFrame:
    """Whether each network passes, for each set and kind of damage, and for all kinds together.

    Returns:
        Columns: `set`, `method`, `kind`, `levels` (the heavy ones, joined by commas), `degraded` and `restored` (AP at
        0.5 over images and heavy levels), `ratio`, `gains` (it reaches 1.6), `difference` to the best rival of each
        level (of each image the mean over levels), `low`, `high`, `wins` (`low` is above 0), `clean` and
        `clean_restored` (AP of clean images before and after), `spares` (0.02 are not exceeded). Numbers are NaN and
        bars None where no level of the kind is heavy, or there is no rival.
    """
    best, summary = at_best(rows), summarise(rows, networks)
    found: list[dict[str, Any]] = []
    for name, group in best.groupby("set", sort=False):
        levels = summary[(summary["set"] == name) & summary["heavy"]].drop_duplicates("level").set_index("level")
        kinds = dict.fromkeys(LEVELS[str(level)].kind for level in group["level"] if level != CLEAN)
        for method in networks:
            for kind in (*kinds, ALL_KINDS):
                chosen = levels[(levels["kind"] == kind) | (kind == ALL_KINDS)]
                what = {"set": name, "method": method, "kind": kind, "levels": ", ".join(map(str, chosen.index))}
                found.append(what | _gain(group, method, chosen["rival"]) | _harm(group, method))
    return pd.DataFrame(found)


def _gain(group: pd.DataFrame, method: str, rivals: pd.Series[Any]) -> dict[str, Any]:
    """The first two bars, at some levels of one set. rivals: level -> the best one there, or None."""
    own, degraded, other = (
        pd.DataFrame({level: _of(group, level, one) for level, one in named.items() if one})
        for named in (dict.fromkeys(rivals.index, method), dict.fromkeys(rivals.index, DEGRADED), dict(rivals))
    )
    if own.empty:
        nan = dict.fromkeys(("degraded", "restored", "ratio"), np.nan)
        return nan | {"gains": None} | _against(pd.Series(dtype=float), None) | {"wins": None}
    restored, before = own.mean(axis=None), degraded.mean(axis=None)
    ratio = _ratio(restored, before)
    compared = _against(own.mean(axis=1), other.mean(axis=1) if len(other.columns) == len(own.columns) else None)
    wins = None if np.isnan(compared["low"]) else compared["low"] > 0
    return {"degraded": before, "restored": restored, "ratio": ratio, "gains": ratio >= GAIN, **compared, "wins": wins}


def _harm(group: pd.DataFrame, method: str) -> dict[str, Any]:
    """The third bar."""
    clean, restored = _of(group, CLEAN, DEGRADED).mean(), _of(group, CLEAN, method).mean()
    return {"clean": clean, "clean_restored": restored, "spares": bool(clean - restored <= HARM + 1e-12)}


def _best_rival(group: pd.DataFrame, networks: Sequence[str]) -> str | None:
    """The method with the highest mean AP that is neither a network on trial nor doing nothing."""
    rivals = group[~group["method"].isin([*networks, DEGRADED])]
    return str(rivals.groupby("method", sort=False)[AP].mean().idxmax()) if len(rivals) else None


def _of(rows: pd.DataFrame, level: object, method: object) -> pd.Series[Any]:
    """AP by image."""
    chosen: pd.Series[Any] = rows[(rows["level"] == level) & (rows["method"] == method)].set_index("image")[AP]
    return chosen


def _against(own: pd.Series[Any], other: pd.Series[Any] | None) -> dict[str, float]:
    """Mean difference by image, and its bootstrap interval."""
    if other is None:
        return dict.fromkeys(("difference", "low", "high"), np.nan)
    differences = (own - other).to_numpy()
    low, high = interval(differences)
    return {"difference": float(differences.mean()), "low": low, "high": high}


def _ratio(restored: float, degraded: float) -> float:
    if degraded:
        return float(restored / degraded)
    return np.inf if restored else 1.0


def _check(rows: pd.DataFrame) -> None:
    faults = []
    for (name, level), group in rows.groupby(["set", "level"], sort=False):
        seen = group.groupby(["method", "setting"], sort=False)["image"].agg(lambda images: tuple(sorted(images)))
        if seen.nunique() > 1:
            counts = {method: len(images) for (method, _), images in seen.items()}
            faults.append(f"set {name}, {level}: methods saw different images ({counts})")
    for name, group in rows.groupby("set", sort=False):
        if not len(_of(group, CLEAN, DEGRADED)):
            faults.append(f"set {name}: no row tells of the clean images as they are")
    if faults:
        raise ValueError("\n  ".join(faults))
