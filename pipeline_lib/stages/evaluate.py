"""evaluate: networks side by side on sets of images with their truth; tables, a page and a picture."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline_lib.core.ahead import ahead
from pipeline_lib.core.catalogue import DEFAULT_MODEL
from pipeline_lib.evaluation import (
    ERROR_THRESHOLDS,
    Contender,
    Diameter,
    column,
    compare,
    summarise,
)
from pipeline_lib.io.commit import committed
from pipeline_lib.io.records import write_json
from pipeline_lib.io.tables import write_csv
from pipeline_lib.metrics import THRESHOLDS
from pipeline_lib.provenance import software
from pipeline_lib.reporting.comparison import Comparison, Curves, render_comparison
from pipeline_lib.reporting.curves import beside, draw_curves
from pipeline_lib.settings import TrainingSet
from pipeline_lib.stages._bar import counted
from pipeline_lib.stages._judging import aligned, asked_sets, asked_weights, keep_results, weights_file
from pipeline_lib.stages._noted import all_of, noted
from pipeline_lib.stages._sets import count_sets, open_set

FILES = ("images.csv", "summary.csv", "summary.json", "evaluation.html", "evaluation.png")
SETTINGS = ("diameter", "flow_threshold", "cellprob_threshold", "augment", "device")
AXES = ("overlap with the true object (IoU)", "average precision")
HEADS = {
    "set": "Set",
    "kind": "Kind",
    "weights": "Weights",
    "images": "Images",
    "n_true": "Objects",
    "n_pred": "Found",
    "diameter": "Diameter",
    **{column("ap", threshold): f"AP {threshold:g}" for threshold in ERROR_THRESHOLDS},
    "ap_mean": "AP mean",
    **{column("pooled_error", threshold): f"Errors {threshold:g}" for threshold in ERROR_THRESHOLDS},
    "aji": "AJI",
    "boundary_f": "Outline F",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's flags."""
    parser.add_argument(
        "folders",
        nargs="*",
        type=Path,
        metavar="FOLDER",
        help="images with truth: pairs NNN_img, NNN_masks, or a plate",
    )
    parser.add_argument(
        "--config", type=Path, help="YAML file with `sets`, or a training's: then its validation sets are meant"
    )
    parser.add_argument(
        "--weights",
        nargs="+",
        default=[DEFAULT_MODEL],
        metavar="NAME_OR_FILE",
        help=f"of the networks to compare ({DEFAULT_MODEL})",
    )
    parser.add_argument("--out", type=Path, default=Path("evaluation"), help="folder for the results (evaluation)")
    parser.add_argument("--overwrite", action="store_true", help="replace results that are there")
    parser.add_argument(
        "--diameter",
        type=_diameter,
        default="estimate",
        metavar="VALUE",
        help="pixels; estimate: found in each image; true: the median of each image's true objects (estimate)",
    )
    parser.add_argument(
        "--flow-threshold", type=float, default=0.4, help="higher: more objects of doubtful shape (0.4)"
    )
    parser.add_argument("--cellprob-threshold", type=float, default=0.0, help="lower: larger and more objects (0)")
    parser.add_argument("--augment", action="store_true", help="average over mirrored tiles, at 2.5 times the cost")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (auto)")


def run(parsed: argparse.Namespace) -> None:
    """Compare, write the files, and show the table. Raises ValueError with everything that is wrong beforehand."""
    sets, counts, weights = _checked(parsed)
    contenders = {name: _contender(word, parsed) for name, word in weights.items()}
    made = {
        "sets": [one.model_dump(mode="json", exclude_defaults=True) for one in sets],
        "weights": {name: weights_file(word) for name, word in weights.items()},
        "settings": {name: getattr(parsed, name) for name in SETTINGS},
        "software": software(),
    }
    opened = ((one.name, counted(one.name, counts[one.name], ahead(open_set(one)))) for one in sets)
    images = compare(opened, contenders, parsed.diameter)
    summary = summarise(images)
    _write(parsed.out, images, summary, made)
    sys.stdout.write(f"{aligned(_shown(summary))}\n\nTables, page and picture: {parsed.out}\n")


def _checked(parsed: argparse.Namespace) -> tuple[tuple[TrainingSet, ...], dict[str, int], dict[str, str]]:
    """The sets, how many images they have, and the weights by their names. Raises ValueError with all faults."""
    faults: list[str] = []
    sets = noted(faults, lambda: asked_sets(parsed.folders, parsed.config)) or ()
    counts = noted(faults, lambda: count_sets(sets)) or {}
    weights = asked_weights(parsed.weights, faults)
    noted(faults, lambda: keep_results(parsed.out, FILES, overwrite=parsed.overwrite))
    if faults:
        raise all_of(faults)
    return sets, counts, weights


def _contender(weights: str, parsed: argparse.Namespace) -> Contender:
    """A network, loaded, that segments as the flags say."""
    from pipeline_lib.api import MaskSettings, RunSettings, load_network
    from pipeline_lib.stages._contender import contender

    network = load_network(weights, RunSettings(device=parsed.device, augment=parsed.augment))
    masks = MaskSettings(flow_threshold=parsed.flow_threshold, cellprob_threshold=parsed.cellprob_threshold)
    return contender(network, masks)


def _write(folder: Path, images: pd.DataFrame, summary: pd.DataFrame, made: Mapping[str, Any]) -> None:
    """Write the five files, each whole or not at all."""
    write_csv(images, folder / "images.csv")
    write_csv(summary, folder / "summary.csv")
    write_json(folder / "summary.json", {"thresholds": THRESHOLDS, "summary": summary.to_dict("records"), **made})
    plots = {title: _curves(rows) for title, rows in _plots(summary)}
    page = Comparison(", ".join(summary["set"].unique()), plots, *AXES, table=_shown(summary), provenance=made)
    with committed(folder / "evaluation.html") as temporary:
        temporary.write_text(render_comparison(page), encoding="utf-8")
    of_set = summary["kind"] == summary.groupby("set")["kind"].transform("first")  # all kinds, or the only one
    pictures = [draw_curves(_curves(rows), title, *AXES, y_range=(0, 1)) for title, rows in _plots(summary[of_set])]
    with committed(folder / "evaluation.png") as temporary:
        beside(pictures).save(temporary, format="PNG")


def _plots(summary: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Title and rows of each set and kind."""
    for (name, kind), rows in summary.groupby(["set", "kind"], sort=False):
        yield f"{name} {kind}".strip(), rows


def _curves(rows: pd.DataFrame) -> Curves:
    """Average precision over thresholds, of each network."""
    names = [column("ap", threshold) for threshold in THRESHOLDS]
    return {str(row["weights"]): (THRESHOLDS, row[names].tolist()) for _, row in rows.iterrows()}


def _shown(summary: pd.DataFrame) -> pd.DataFrame:
    """What people look at first, with its heads."""
    heads = {name: head for name, head in HEADS.items() if name != "kind" or summary["kind"].any()}
    return summary[list(heads)].rename(columns=heads)


def _diameter(word: str) -> Diameter:
    """`true`, `estimate` or pixels."""
    match word:
        case "true" | "estimate":
            return word
    try:
        pixels = float(word)
    except ValueError:
        pixels = math.nan
    if not 0 < pixels < math.inf:
        raise argparse.ArgumentTypeError(f"{word!r}; allowed: true, estimate, or a positive number of pixels")
    return pixels
