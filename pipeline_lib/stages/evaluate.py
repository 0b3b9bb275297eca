"""evaluate: networks side by side on sets of images with their truth; tables, a page and a picture."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from pydantic import TypeAdapter

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
from pipeline_lib.io.checksums import checksum
from pipeline_lib.io.commit import committed
from pipeline_lib.io.records import write_json
from pipeline_lib.io.tables import write_csv
from pipeline_lib.io.weights import find_weights
from pipeline_lib.metrics import THRESHOLDS
from pipeline_lib.provenance import software
from pipeline_lib.reporting.comparison import Comparison, Curves, render_comparison
from pipeline_lib.reporting.curves import beside, draw_curves
from pipeline_lib.settings import TrainingSet
from pipeline_lib.stages._bar import counted
from pipeline_lib.stages._noted import all_of, noted
from pipeline_lib.stages._sets import count_sets, folder_set, open_set

FILES = ("images.csv", "summary.csv", "summary.json", "evaluation.html", "evaluation.png")
SETTINGS = ("diameter", "flow_threshold", "cellprob_threshold", "augment", "device")
ENDINGS = (".safetensors", ".pth", ".pt")
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
        "weights": {name: _file(word) for name, word in weights.items()},
        "settings": {name: getattr(parsed, name) for name in SETTINGS},
        "software": software(),
    }
    opened = ((one.name, counted(one.name, counts[one.name], ahead(open_set(one)))) for one in sets)
    images = compare(opened, contenders, parsed.diameter)
    summary = summarise(images)
    _write(parsed.out, images, summary, made)
    sys.stdout.write(f"{_aligned(_shown(summary))}\n\nTables, page and picture: {parsed.out}\n")


def _checked(parsed: argparse.Namespace) -> tuple[tuple[TrainingSet, ...], dict[str, int], dict[str, str]]:
    """The sets, how many images they have, and the weights by their names. Raises ValueError with all faults."""
    faults: list[str] = []
    sets = noted(faults, lambda: _sets(parsed)) or ()
    counts = noted(faults, lambda: count_sets(sets)) or {}
    words = list(dict.fromkeys(parsed.weights))
    for word in words:
        noted(faults, lambda word=word: find_weights(word))  # type: ignore[misc]  # mypy: cannot infer type of lambda
    there = [name for name in FILES if (parsed.out / name).exists()]
    if there and not parsed.overwrite:
        faults.append(f"{parsed.out} holds {', '.join(there)}; give another --out, or --overwrite")
    if faults:
        raise all_of(faults)
    return sets, counts, dict(zip(_names(words), words, strict=True))


def _sets(parsed: argparse.Namespace) -> tuple[TrainingSet, ...]:
    """The sets of the folders, then those of the config file."""
    named = zip(_names([str(folder) for folder in parsed.folders]), parsed.folders, strict=True)
    found: list[Any] = [folder_set(name, folder) for name, folder in named]
    if parsed.config:
        content = yaml.safe_load(parsed.config.read_text(encoding="utf-8")) or {}
        found += content.get("sets") or content.get("train", {}).get("validation") or []
    sets = TypeAdapter(tuple[TrainingSet, ...]).validate_python(found)
    names = [one.name for one in sets]
    if not sets:
        raise ValueError("no images: give a FOLDER, or a --config with `sets`, or with validation sets in `train`")
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"two sets are called {', '.join(twice)}")
    return sets


def _names(words: Sequence[str]) -> list[str]:
    """Files and folders by the last part of their path, files without ending; by all of it where several share that."""
    short = [Path(word).stem if Path(word).suffix in ENDINGS else Path(word).resolve().name for word in words]
    return [name if short.count(name) == 1 else word for name, word in zip(short, words, strict=True)]


def _file(weights: str) -> dict[str, str]:
    path = find_weights(weights)
    return {"file": str(path), "sha256": checksum(path)}


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


def _aligned(table: pd.DataFrame) -> str:
    """Lines of a terminal: texts to the left, numbers to the right."""
    columns = []
    for head, values in table.items():
        cells = [str(head), *(f"{value:.3f}" if isinstance(value, float) else str(value) for value in values)]
        width = max(map(len, cells))
        is_number = pd.api.types.is_numeric_dtype(values)
        columns.append([cell.rjust(width) if is_number else cell.ljust(width) for cell in cells])
    return "\n".join("  ".join(cells).rstrip() for cells in zip(*columns, strict=True))


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
