"""summary: a finished plate in a few lines; with the truth at hand also how well its objects were found."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline_lib.io.plate import fields_of, read_labels
from pipeline_lib.io.tables import read_csv, read_table
from pipeline_lib.metrics import average_precision
from pipeline_lib.paths import PlatePaths
from pipeline_lib.stages._plate import Outcome, plate_outcomes

THRESHOLDS = (0.5, 0.75)
SHOWN_SCORES = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's flags."""
    parser.add_argument("plate", type=Path, help="the plate's results folder, such as results/plate1")
    parser.add_argument("--analysis", default="", help="a named analysis (default: the plain one)")
    parser.add_argument("--truth", type=Path, help="truth.ome.zarr of a synthetic plate")


def run(parsed: argparse.Namespace) -> None:
    """Write the summary to the terminal."""
    plate = PlatePaths(parsed.plate, parsed.analysis)
    if not plate.manifest.exists():
        raise FileNotFoundError(f"{plate.folder} is not a plate's results folder: it has no {plate.manifest.name}")
    if not plate.report.exists():
        raise FileNotFoundError(f"{plate.report} does not exist: the plate is not finished; run snakemake")
    wells = read_table(plate.wells_parquet)
    outcomes = plate_outcomes(plate, wells["Metadata_Well"].unique())
    accuracy = _accuracy(plate, outcomes, parsed.truth) if parsed.truth else []
    lines = [*_counts(wells, outcomes), *accuracy, *_scores(plate)]
    width = max(len(name) for name, _ in lines)
    table = "\n".join(f"  {name:<{width}}  {value}" for name, value in lines)
    sys.stdout.write(f"\n{table}\n\nReport: {plate.report}\n")


def _counts(wells: pd.DataFrame, outcomes: Mapping[str, Outcome]) -> list[tuple[str, str]]:
    holes = [f"{well}: {outcome.reason}" for well, outcome in outcomes.items() if not outcome.done]
    counted = [
        (name.removeprefix("Count_").lower(), f"{int(wells[name].sum()):,}")
        for name in map(str, wells)
        if name.startswith("Count_")
    ]
    return [
        ("wells", f"{len(outcomes) - len(holes)} of {len(outcomes)}"),
        *(("quarantined", hole) for hole in holes),
        *counted,
    ]


def _accuracy(plate: PlatePaths, outcomes: Mapping[str, Outcome], truth: Path) -> list[tuple[str, str]]:
    """Mean average precision over fields, per label image the truth has too."""
    found: dict[str, list[np.ndarray[tuple[int], np.dtype[np.float64]]]] = {}
    for well in (well for well, outcome in outcomes.items() if outcome.done):
        for field in fields_of(plate.raw, well):
            true, ours = read_labels(truth, well, field), read_labels(plate.raw, well, field, analysis=plate.analysis)
            for name in true.keys() & ours.keys():
                found.setdefault(name, []).append(average_precision(true[name], ours[name], THRESHOLDS))
    return [
        (
            f"{name} AP",
            " / ".join(f"{value:.3f}" for value in np.mean(scores, axis=0))
            + f" at IoU {' / '.join(map(str, THRESHOLDS))}",
        )
        for name, scores in sorted(found.items(), reverse=True)
    ]


def _scores(plate: PlatePaths) -> list[tuple[str, str]]:
    scores = read_csv(plate.z_prime).dropna(subset="ZPrime")
    if scores.empty:
        return [("Z'", "none: fewer than two wells of positive or of negative controls")]
    return [
        ("Z'", f"{score:.3f}  {feature}")
        for feature, score in scores[["Feature", "ZPrime"]].head(SHOWN_SCORES).to_numpy()
    ]
