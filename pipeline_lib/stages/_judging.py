"""What commands that judge networks share: sets and weights by their words, results kept, tables on a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import TypeAdapter

from pipeline_lib.io.checksums import checksum
from pipeline_lib.io.weights import find_weights
from pipeline_lib.settings import TrainingSet
from pipeline_lib.stages._config import read_config_file
from pipeline_lib.stages._noted import noted
from pipeline_lib.stages._sets import folder_set

ENDINGS = (".safetensors", ".pth", ".pt")


def asked_sets(folders: Sequence[Path], config: Path | None) -> tuple[TrainingSet, ...]:
    """The sets of the folders, then those of the config file: its `sets`, or a training's validation sets."""
    named = zip(short_names([str(folder) for folder in folders]), folders, strict=True)
    found: list[Any] = [folder_set(name, folder) for name, folder in named]
    if config:
        content = read_config_file(config)
        found += content.get("sets") or content.get("train", {}).get("validation") or []
    sets = TypeAdapter(tuple[TrainingSet, ...]).validate_python(found)
    names = [one.name for one in sets]
    if not sets:
        raise ValueError("no images: give a FOLDER, or a --config with `sets`, or with validation sets in `train`")
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"two sets are called {', '.join(twice)}")
    return sets


def asked_weights(words: Sequence[str], faults: list[str]) -> dict[str, str]:
    """Name -> word of each of the weights; those that are not there are added to the faults."""
    once = list(dict.fromkeys(words))
    for word in once:
        noted(faults, lambda word=word: find_weights(word))  # type: ignore[misc]  # mypy: cannot infer type of lambda
    return dict(zip(short_names(once), once, strict=True))


def weights_file(weights: str) -> dict[str, str]:
    """Which file it was, for the record."""
    path = find_weights(weights)
    return {"file": str(path), "sha256": checksum(path)}


def keep_results(folder: Path, files: Sequence[str], *, overwrite: bool) -> None:
    """Raise ValueError where results would be replaced that nobody said to replace."""
    there = [name for name in files if (folder / name).exists()]
    if there and not overwrite:
        raise ValueError(f"{folder} holds {', '.join(there)}; give another --out, or --overwrite")


def short_names(words: Sequence[str]) -> list[str]:
    """Files and folders by the last part of their path, files without ending; by all of it where several share that."""
    short = [Path(word).stem if Path(word).suffix in ENDINGS else Path(word).resolve().name for word in words]
    return [name if short.count(name) == 1 else word for name, word in zip(short, words, strict=True)]


def aligned(table: pd.DataFrame) -> str:
    """Lines of a terminal: texts to the left, numbers to the right."""
    columns = []
    for head, values in table.items():
        cells = [str(head), *(f"{value:.3f}" if isinstance(value, float) else str(value) for value in values)]
        width = max(map(len, cells))
        is_number = pd.api.types.is_numeric_dtype(values)
        columns.append([cell.rjust(width) if is_number else cell.ljust(width) for cell in cells])
    return "\n".join("  ".join(cells).rstrip() for cells in zip(*columns, strict=True))
