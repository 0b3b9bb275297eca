"""From rows of `judging` to what they prove: means at each level, and three bars that a network passes or not.

A rival (classical filter, network trained on the one image) is taken at its best setting: the one with the highest mean
AP over the images, for each set and level. That needs the truth, so it flatters rivals; networks have no settings.
Bars are for heavily degraded images: those in which the damage of a level hides half of the objects or more.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from pipeline_lib.evaluation import ALL_KINDS, ERROR_THRESHOLDS, column
from pipeline_lib.proof.judging import DEGRADED
from pipeline_lib.proof.levels import CLEAN, LEVELS

AP = column("ap", ERROR_THRESHOLDS[0])
PRECISIONS = [column("ap", at) for at in ERROR_THRESHOLDS]
HEAVY = 0.5  # an image is heavily degraded at a level where its AP is at most this part of what it is clean
GAIN = 1.6  # times the AP of heavily degraded images, which restored ones reach
HARM = 0.02  # AP that restored clean images lose at most
RESAMPLED = 2000
INTERVAL = (2.5, 97.5)  # percentiles
_KEY = ["set", "level", "method"]

Precisions: TypeAlias = "dict[tuple[str, str], pd.Series[float]]"  # level and method -> AP by image


def interval(differences: ArrayLike, seed: int = 0) -> tuple[float, float]:
    """The 95 % bootstrap interval of the mean of differences, one per image; images are drawn with replacement."""
    values = np.asarray(differences, np.float64)
    drawn = np.random.default_rng(seed).integers(len(values), size=(RESAMPLED, len(values)))
    low, high = np.percentile(values[drawn].mean(axis=1), INTERVAL)
    return float(low), float(high)


def at_best(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of each method at its best setting, for each set and level; of equals, the first."""
    means = rows.groupby([*_KEY, "setting"], sort=False)[AP].mean().reset_index()
    best = means.loc[means.groupby(_KEY, sort=False)[AP].idxmax(), [*_KEY, "setting"]]
    return rows.merge(best, on=[*_KEY, "setting"])


def summarise(rows: pd.DataFrame, networks: Sequence[str]) -> pd.DataFrame:
    """One row for each set, level and method, in the order of the rows.

    Args:
        rows: Of `judge`, at least those of `degraded` at each level and at `clean`, for every set.
        networks: The methods on trial; all others but `degraded` are their rivals.

    Returns:
        Columns: `set`, `level`, `kind`, `method`, `setting` (the best), `images`, mean `ap_0.50`, `ap_0.75`, `ap_0.90`,
        `heavy` (how many of the images are heavily degraded), `ratio` (of `ap_0.50` to that of degraded images;
        infinite where that is 0), `rival` (the best one), `difference` of `ap_0.50` to it, `low` and `high` (95 % of
        its bootstrap over images), all NaN or None where there is no rival.

    Raises:
        ValueError: Methods have not seen the same images at a level: their means could not be compared.
    """
    _check(rows)
    summary: list[dict[str, Any]] = []
    for name, group in _grouped(at_best(rows), "set"):
        precisions, heavy = _precisions(group), group[_heavy(group)]
        for (level, method), own in _grouped(group, ["level", "method"]):
            rival = _best_rival(precisions, level, networks)
            precision, degraded = precisions[level, method], precisions[level, DEGRADED]
            summary.append(
                {"set": name, "level": level, "kind": LEVELS[level].kind, "method": method}
                | {"setting": own["setting"].iloc[0], "images": len(own)}
                | {score: own[score].mean() for score in PRECISIONS}
                | {"heavy": ((heavy["level"] == level) & (heavy["method"] == method)).sum()}
                | {"ratio": _ratio(precision.mean(), degraded.mean())}
                | {"rival": rival, **_against(precision, precisions[level, rival] if rival else None)}
            )
    return pd.DataFrame(summary)


def verdicts(rows: pd.DataFrame, networks: Sequence[str]) -> pd.DataFrame:
    """Whether each network passes, for each set and kind of damage, and for all kinds together.

    Rivals and their settings are the best ones for the very images that are heavily degraded.

    Returns:
        Columns: `set`, `method`, `kind`, `levels` (at which some images are heavily degraded, from gentle to heavy,
        joined by commas), `images` (how many are at any), `degraded` and `restored` (mean over these of AP at 0.5, of
        each the mean over levels), `ratio`, `gains` (it reaches 1.6), `difference` to the best rival of each level,
        `low`, `high`, `wins`
        (`low` is above 0), `clean` and `clean_restored` (AP of all clean images before and after), `spares` (0.02 are
        not exceeded). Numbers are NaN and bars None where no image is heavily degraded, or there is no rival.

    Raises:
        ValueError: As `summarise`.
    """
    _check(rows)
    found: list[dict[str, Any]] = []
    for name, group in _grouped(rows, "set"):
        clean = _precisions(at_best(group[group["level"] == CLEAN]))
        heavy = group[_heavy(group)]
        there = [level for level in LEVELS if (heavy["level"] == level).any()]
        precisions = _precisions(at_best(heavy)) if len(heavy) else {}
        kinds = dict.fromkeys(LEVELS[level].kind for level in group["level"] if level != CLEAN)
        for method in networks:
            for kind in (*kinds, ALL_KINDS):
                levels = [level for level in there if kind in (LEVELS[level].kind, ALL_KINDS)]
                rivals = {level: _best_rival(precisions, level, networks) for level in levels}
                images = heavy.loc[heavy["level"].isin(levels), "image"].nunique()
                found.append(
                    {"set": name, "method": method, "kind": kind, "levels": ", ".join(levels), "images": images}
                    | _gain(precisions, method, levels)
                    | _lead(precisions, method, rivals)
                    | _harm(clean, method)
                )
    return pd.DataFrame(found)


def _precisions(rows: pd.DataFrame) -> Precisions:
    """Those of one set, each method at its best setting."""
    return {key: own.set_index("image")[AP] for key, own in _grouped(rows, ["level", "method"])}


def _grouped(rows: pd.DataFrame, names: str | list[str]) -> Iterator[tuple[Any, pd.DataFrame]]:
    """The values of some columns, and the rows that have them, in the order of the rows."""
    yield from rows.groupby(names, sort=False)


def _heavy(rows: pd.DataFrame) -> NDArray[np.bool_]:
    """Which rows of one set tell of images in which the damage of their level hides half of what is found, or more."""
    degraded = rows[rows["method"] == DEGRADED].set_index(["image", "level"])[AP]
    pairs = pd.MultiIndex.from_frame(rows[["image", "level"]])
    before = degraded.reindex(pd.MultiIndex.from_arrays([rows["image"], [CLEAN] * len(rows)])).to_numpy()
    return (degraded.reindex(pairs).to_numpy() <= HEAVY * before) & (before > 0)


def _best_rival(precisions: Precisions, level: str, networks: Sequence[str]) -> str | None:
    """The method with the highest mean AP that is neither a network on trial nor doing nothing."""
    means = {method: own.mean() for (at, method), own in precisions.items() if at == level}
    rivals = [method for method in means if method not in (*networks, DEGRADED)]
    return max(rivals, key=means.__getitem__, default=None)


def _gain(precisions: Precisions, method: str, levels: Sequence[str]) -> dict[str, Any]:
    """The first bar: over degraded images."""
    if not levels:
        return {**dict.fromkeys(("degraded", "restored", "ratio"), np.nan), "gains": None}
    before, after = (float(_over(precisions, dict.fromkeys(levels, one)).mean()) for one in (DEGRADED, method))
    ratio = _ratio(after, before)
    return {"degraded": before, "restored": after, "ratio": ratio, "gains": ratio >= GAIN}


def _lead(precisions: Precisions, method: str, rivals: Mapping[str, str | None]) -> dict[str, Any]:
    """The second bar: over the best rival at each level."""
    known = {level: rival for level, rival in rivals.items() if rival}
    if not known or len(known) < len(rivals):
        return {**_against(pd.Series(dtype=float), None), "wins": None}
    compared = _against(_over(precisions, dict.fromkeys(known, method)), _over(precisions, known))
    return {**compared, "wins": compared["low"] > 0}


def _harm(precisions: Precisions, method: str) -> dict[str, Any]:
    """The third bar: on clean images."""
    before, after = (float(precisions[CLEAN, one].mean()) for one in (DEGRADED, method))
    return {"clean": before, "clean_restored": after, "spares": before - after <= HARM + 1e-12}


def _over(precisions: Precisions, methods: Mapping[str, str]) -> pd.Series[float]:
    """AP by image, the mean over levels, each with its method."""
    return pd.DataFrame({level: precisions[level, method] for level, method in methods.items()}).mean(axis=1)


def _against(own: pd.Series[float], other: pd.Series[float] | None) -> dict[str, float]:
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
    """Raise ValueError with all that is missing."""
    faults = []
    for (name, level), group in _grouped(rows, ["set", "level"]):
        seen = {method: frozenset(own["image"]) for (method, _), own in _grouped(group, ["method", "setting"])}
        if len(set(seen.values())) > 1:
            counts = ", ".join(f"{method} {len(images)}" for method, images in seen.items())
            faults.append(f"set {name}, {level}: methods saw different images (numbers: {counts})")
        if DEGRADED not in seen:
            faults.append(f"set {name}, {level}: no row tells of degraded images as they are")
    for name, group in _grouped(rows, "set"):
        if CLEAN not in set(group["level"]):
            faults.append(f"set {name}: no row tells of clean images")
    if faults:
        raise ValueError("\n  ".join(faults))
