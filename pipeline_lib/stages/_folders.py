"""Plates on disk, as commands for people name them."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path

from pipeline_lib.io.plate import committed_wells
from pipeline_lib.io.records import read_json
from pipeline_lib.paths import ANALYSES, WHOLE_PLATE, PlatePaths, absent_stages


def add_plates(parser: argparse.ArgumentParser, analysis: str = "a named analysis (default: the plain one)") -> None:
    """The flags that name plates. analysis: what the flag `--analysis` is told to do."""
    parser.add_argument(
        "folders", type=Path, nargs="+", metavar="FOLDER", help="results/P0042, or results for all plates in it"
    )
    parser.add_argument("--analysis", default="", help=analysis)


def plates_in(folders: Iterable[Path], analysis: str) -> list[PlatePaths]:
    """The plates that the folders are, or hold.

    Raises:
        FileNotFoundError: One of them neither is nor holds a plate's results.
    """
    return [PlatePaths(plate, analysis) for folder in folders for plate in _plates(folder)]


def analyses_of(plate: PlatePaths) -> list[PlatePaths]:
    """All analyses of a plate, the plain one first."""
    named = sorted(path.name for path in (plate.folder / ANALYSES).glob("[!.]*"))
    return [PlatePaths(plate.folder, name) for name in ("", *named)]


def is_restored(plate: PlatePaths) -> bool:
    """Whether an analysis has, or had, restored images, as far as its files tell."""
    return plate.restored.exists() or plate.record("prepare", WHOLE_PLATE).exists()


def stages_there(plate: PlatePaths, stages: Iterable[str]) -> list[str]:
    """Those of some stages that an analysis has: no stage of restoration where nothing was ever restored, and so on."""
    absent = absent_stages(restored=is_restored(plate), lit=plate.illumination.exists())
    return [stage for stage in stages if stage not in absent]


def deleted_wells(plate: PlatePaths) -> set[str]:
    """Wells whose restored images were temporary and have been deleted."""
    try:
        deleted = set(read_json(plate.record("conclude", WHOLE_PLATE)).get("deleted", ()))
    except ValueError:  # a record that cannot be read says nothing
        return set()
    return deleted - set(committed_wells(plate.restored))


def _plates(folder: Path) -> list[Path]:
    if PlatePaths(folder).manifest.exists():
        return [folder]
    inside = sorted(path.parent for path in folder.glob(f"*/{PlatePaths(folder).manifest.name}"))
    if not inside:
        raise FileNotFoundError(
            f"{folder} neither is nor holds a plate's results folder: there is no {PlatePaths(folder).manifest.name}"
        )
    return inside
