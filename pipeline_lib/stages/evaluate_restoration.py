"""evaluate-restoration: does restoring damaged images help segmentation? Tables, verdicts, a plot and pictures."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from PIL import Image

from pipeline_lib.core.catalogue import DEFAULT_MODEL
from pipeline_lib.io.commit import committed
from pipeline_lib.io.records import write_json
from pipeline_lib.io.tables import write_csv
from pipeline_lib.io.weights import find_weights, load_weights
from pipeline_lib.provenance import code_digest, software
from pipeline_lib.reporting.comparison import Curves
from pipeline_lib.reporting.curves import beside, draw_curves
from pipeline_lib.reporting.page import plain
from pipeline_lib.reporting.panels import panel
from pipeline_lib.settings import TrainingSet
from pipeline_lib.stages._bar import counted
from pipeline_lib.stages._judging import aligned, asked_sets, asked_weights, keep_results, weights_file
from pipeline_lib.stages._kept_rows import kept_rows
from pipeline_lib.stages._noted import all_of, noted
from pipeline_lib.stages._sets import count_sets, open_some

if TYPE_CHECKING:
    from pipeline_lib.evaluation import Contender
    from pipeline_lib.proof.filters import Restore
    from pipeline_lib.proof.judging import Methods
    from pipeline_lib.proof.levels import Case

FILES = ("images.csv", "summary.csv", "verdicts.csv", "summary.json", "curves.png", "pictures.png")
KEPT = "rows.partial.jsonl"
SETTINGS = ("images", "seed", "levels", "device")
ALONE = "-"  # the setting of a method that has none
IMAGES = 20
COLUMNS = 4  # of the sheet of pictures


@dataclass(frozen=True)
class Trial:
    """What is tried: the images, how they are damaged, restored and segmented. networks: the methods on trial."""

    cases: Sequence[Case]
    levels: Sequence[str]
    methods: Methods
    networks: Sequence[str]
    segmenter: Contender
    seed: int


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's flags."""
    parser.add_argument("folders", nargs="*", type=Path, metavar="FOLDER", help="images with truth, as for evaluate")
    parser.add_argument("--config", type=Path, help="YAML file with `sets`, or a training's, as for evaluate")
    parser.add_argument(
        "--weights",
        nargs="+",
        required=True,
        metavar="NAME_OR_FILE",
        help="of the restoration networks on trial",
    )
    parser.add_argument("--segmentation", default=DEFAULT_MODEL, metavar="NAME_OR_FILE", help=f"({DEFAULT_MODEL})")
    parser.add_argument("--images", type=int, default=IMAGES, help=f"of each set at most, spread over it ({IMAGES})")
    parser.add_argument(
        "--levels", nargs="+", default=[], metavar="LEVEL", help="of damage; clean is always seen (all)"
    )
    parser.add_argument("--seed", type=int, default=1, help="of the damage (1)")
    parser.add_argument(
        "--more",
        nargs="+",
        type=Path,
        default=[],
        metavar="CSV",
        help="rows of other methods on the same images, levels and seed, with the columns of images.csv",
    )
    parser.add_argument("--out", type=Path, default=Path("restoration"), help="folder for the results (restoration)")
    parser.add_argument("--overwrite", action="store_true", help="replace results that are there")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (auto)")


def run(parsed: argparse.Namespace) -> None:
    """Try, write the files, and show the verdicts. Raises ValueError with everything that is wrong beforehand."""
    from pipeline_lib.proof.verdicts import summarise, verdicts

    sets, weights, more = _checked(parsed)
    trial = _trial(parsed, sets, weights)
    made = {
        "sets": [one.model_dump(mode="json", exclude_defaults=True) for one in sets],
        "weights": {name: weights_file(word) for name, word in weights.items()},
        "segmentation": weights_file(parsed.segmentation),
        "settings": {name: getattr(parsed, name) for name in SETTINGS},
        "software": software(),
    }
    rows = pd.concat([_own_rows(trial, parsed.out / KEPT, made), *more], ignore_index=True)
    summary, found = summarise(rows, trial.networks), verdicts(rows, trial.networks)
    write_csv(rows, parsed.out / "images.csv")
    write_csv(summary, parsed.out / "summary.csv")
    write_csv(found, parsed.out / "verdicts.csv")
    told = {"verdicts": found.to_dict("records"), "summary": summary.to_dict("records")}
    write_json(parsed.out / "summary.json", {name: plain(rows) for name, rows in told.items()} | made)
    _save(beside(list(_plots(summary))), parsed.out / "curves.png")
    _save(beside(list(_pictures(trial, rows, summary)), COLUMNS), parsed.out / "pictures.png")
    (parsed.out / KEPT).unlink()
    sys.stdout.write(f"{aligned(found)}\n\nTables and pictures: {parsed.out}\n")


def open_cases(sets: Sequence[TrainingSet], images: int) -> list[Case]:
    """At most so many images of each set, spread over it; those without objects in their middle are left out.

    Raises ValueError for a set of which nothing is left.
    """
    from pipeline_lib.proof.levels import case_of

    cases = [case_of(one.name, labelled) for one in sets for labelled in open_some(one, images)]
    there = [case for case in cases if case]
    if empty := [one.name for one in sets if one.name not in {case.set for case in there}]:
        raise ValueError(f"no objects in the middle of any image of {', '.join(empty)}")
    return there


def load_segmenter(weights: str, device: str) -> Contender:
    """The network by which restored images are judged, with the default settings of `segment_image`."""
    from pipeline_lib.api import RunSettings, load_network
    from pipeline_lib.stages._contender import contender

    return contender(load_network(weights, RunSettings(device=device)))


def load_restorer(weights: str, device: str) -> Restore:
    """A restoration network, as a method of `proof.judging`."""
    from pipeline_lib.api import RunSettings
    from pipeline_lib.restoration import prepare_restorer, restore_fields

    state = load_weights(find_weights(weights)).state
    restorer = prepare_restorer(state, RunSettings(device=device), weights)
    return lambda image, diameter: next(restore_fields(restorer, [image], diameter))


def _checked(parsed: argparse.Namespace) -> tuple[tuple[TrainingSet, ...], dict[str, str], list[pd.DataFrame]]:
    """The sets, the weights by their names, and the rows of other methods. Raises ValueError with all faults."""
    from pipeline_lib.proof.levels import LEVELS

    faults: list[str] = []
    sets = noted(faults, lambda: asked_sets(parsed.folders, parsed.config)) or ()
    noted(faults, lambda: count_sets(sets))
    weights = asked_weights(parsed.weights, faults)
    noted(faults, lambda: find_weights(parsed.segmentation))
    more = noted(faults, lambda: [_more(path) for path in parsed.more]) or []
    if unknown := [level for level in parsed.levels if level not in LEVELS]:
        faults.append(f"levels {', '.join(unknown)} found; allowed: {', '.join(LEVELS)}")
    if parsed.images < 1:
        faults.append(f"--images is {parsed.images}; 1 or more are needed")
    noted(faults, lambda: keep_results(parsed.out, FILES, overwrite=parsed.overwrite))
    if faults:
        raise all_of(faults)
    return sets, weights, more


def _more(path: Path) -> pd.DataFrame:
    """Rows that another program wrote. Raises ValueError for a file that is not there or lacks columns."""
    from pipeline_lib.proof.judging import COLUMNS as NEEDED

    if not path.is_file():
        raise ValueError(f"{path} does not exist")
    rows = pd.read_csv(path, dtype={"image": str, "setting": str})
    if missing := [name for name in NEEDED if name not in rows]:
        raise ValueError(f"{path} lacks the columns {', '.join(missing)}")
    return rows[list(NEEDED)]


def _trial(parsed: argparse.Namespace, sets: Sequence[TrainingSet], weights: Mapping[str, str]) -> Trial:
    from pipeline_lib.proof.filters import FILTERS
    from pipeline_lib.proof.judging import DEGRADED, nothing
    from pipeline_lib.proof.levels import CLEAN, LEVELS

    networks = {name: {ALONE: load_restorer(word, parsed.device)} for name, word in weights.items()}
    methods = {DEGRADED: {ALONE: nothing}, **FILTERS, **networks}
    levels = [level for level in LEVELS if level == CLEAN or level in (parsed.levels or LEVELS)]
    segmenter = load_segmenter(parsed.segmentation, parsed.device)
    return Trial(open_cases(sets, parsed.images), levels, methods, list(networks), segmenter, parsed.seed)


def _own_rows(trial: Trial, kept: Path, made: Mapping[str, Any]) -> pd.DataFrame:
    """The rows of all methods on trial; those that a killed command left, asked the same by the same code, count."""
    from pipeline_lib.proof.judging import judge

    pairs = {f"{case.set}/{case.image}/{level}": (case, level) for case in trial.cases for level in trial.levels}

    def rows(name: str) -> Iterator[dict[str, Any]]:
        return judge(*pairs[name], trial.methods, trial.segmenter, trial.seed)

    shown = counted("images times levels", len(pairs), pairs)
    asked = {**made, "code": code_digest("evaluate_restoration")}
    return pd.DataFrame(kept_rows(kept, asked, shown, rows))


def _plots(summary: pd.DataFrame) -> Iterator[Image.Image]:
    """AP over levels from clean to heavy: one plot for each set and kind of damage."""
    from pipeline_lib.proof.levels import CLEAN
    from pipeline_lib.proof.verdicts import AP

    for name, rows in summary.groupby("set", sort=False):
        for kind in rows.loc[rows["level"] != CLEAN, "kind"].unique():
            chosen = rows[rows["kind"].isin([kind, CLEAN])]
            levels = list(chosen["level"].unique())
            curves: Curves = {
                str(method): ([levels.index(level) for level in own["level"]], own[AP].tolist())
                for method, own in chosen.groupby("method", sort=False)
            }
            told = ", ".join(f"{number}: {level}" for number, level in enumerate(levels))
            yield draw_curves(curves, f"{name}, {kind}", told, "AP at IoU 0.5", y_range=(0, 1))


def _pictures(trial: Trial, rows: pd.DataFrame, summary: pd.DataFrame) -> Iterator[Image.Image]:
    """Clean, degraded, best filter, first network: for each set and kind of damage, at its heaviest level.

    Shown is the image on which the network's gain is the median one, so that nobody chose it.
    """
    from pipeline_lib.proof.judging import DEGRADED, found, nothing
    from pipeline_lib.proof.levels import CLEAN, damaged
    from pipeline_lib.proof.verdicts import AP

    network = trial.networks[0]
    for (name, _), group in summary[summary["level"] != CLEAN].groupby(["set", "kind"], sort=False):
        level = str(group["level"].iloc[-1])
        filters = group[(group["level"] == level) & group["method"].isin(_filters(trial))]
        method, setting = filters.sort_values(AP)[["method", "setting"]].iloc[-1]
        case = _typical(trial.cases, rows[(rows["set"] == name) & (rows["level"] == level)], network)
        image = damaged(case, level, trial.seed)
        shown = {
            "clean": (case.clean, nothing),
            f"{level}, {DEGRADED}": (image, nothing),
            f"{method}, {setting}": (image, trial.methods[method][setting]),
            network: (image, trial.methods[network][ALONE]),
        }
        for title, (seen, restore) in shown.items():
            restored = restore(seen, case.diameter)
            labels, (precision, *_) = found(case, restored, trial.segmenter)
            yield panel(restored, f"{title}: AP {precision:.2f}", labels)


def _filters(trial: Trial) -> list[str]:
    from pipeline_lib.proof.filters import FILTERS

    return [method for method in trial.methods if method in FILTERS]


def _typical(cases: Sequence[Case], rows: pd.DataFrame, network: str) -> Case:
    """The image with the median difference of AP between restored and degraded; of two, the lesser one."""
    from pipeline_lib.proof.judging import DEGRADED
    from pipeline_lib.proof.verdicts import AP

    own, before = (rows[rows["method"] == method].set_index("image")[AP] for method in (network, DEGRADED))
    gains = (own - before).sort_values(kind="stable")
    chosen = (rows["set"].iloc[0], gains.index[(len(gains) - 1) // 2])
    return next(case for case in cases if (case.set, case.image) == chosen)


def _save(picture: Image.Image, path: Path) -> None:
    with committed(path) as temporary:
        picture.save(temporary, format="PNG")
