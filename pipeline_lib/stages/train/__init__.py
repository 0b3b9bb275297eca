"""train: images with truth to weights, a size model and a model card."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from pipeline_lib.settings import LearningSettings, TrainSettings
from pipeline_lib.settings.faults import fault_words
from pipeline_lib.stages._config import read_config_file
from pipeline_lib.stages._sets import folder_set
from pipeline_lib.stages.train.files import ModelFiles

Chosen = TypeVar("Chosen", bound=LearningSettings)
OVERRULING = ("start", "steps", "minutes", "device")


def add_arguments(parser: argparse.ArgumentParser, section: str = TrainSettings.section) -> None:
    """The command's flags; each but FOLDER overrules the config file. section: of the config."""
    parser.add_argument("folders", nargs="*", type=Path, metavar="FOLDER", help="pairs NNN_img, NNN_masks, or a plate")
    parser.add_argument("--out", type=Path, required=True, help="folder for the weights; its last part is their name")
    parser.add_argument("--config", type=Path, help=f"YAML file with a section `{section}`")
    parser.add_argument("--settings", help="the section as JSON, as the rule gives it")
    parser.add_argument(
        "--validation", nargs="*", type=Path, default=[], metavar="FOLDER", help="images to be tried on"
    )
    parser.add_argument("--start", help="weights to start from: a model name or path")
    parser.add_argument("--steps", type=int, help="optimiser steps")
    parser.add_argument("--minutes", type=float, help="time to train for")
    parser.add_argument("--device", help="auto, cpu, cuda or cuda:N")


def run(parsed: argparse.Namespace) -> None:
    """Train, or go on with a training that was ended."""
    from pipeline_lib.stages.train.segmenter import train

    train(chosen_settings(parsed, TrainSettings, OVERRULING), ModelFiles(parsed.out))


def chosen_settings(parsed: argparse.Namespace, kind: type[Chosen], overruling: Sequence[str]) -> Chosen:
    """The settings of a training from the config file and the flags, of which those named overrule its keys.

    Raises ValueError: the file is not YAML, or settings are wrong; the message names all that are.
    """
    if parsed.settings:
        return kind.model_validate_json(parsed.settings)
    found: dict[str, Any] = {}
    if parsed.config:
        found = read_config_file(parsed.config).get(kind.section) or {}
    chosen = {name: getattr(parsed, name) for name in overruling}
    found |= {name: value for name, value in chosen.items() if value is not None}
    if parsed.folders:
        found["sets"] = [folder_set(folder.resolve().name, folder) for folder in parsed.folders]
    if parsed.validation:
        found["validation"] = [folder_set(folder.resolve().name, folder) for folder in parsed.validation]
    try:
        return kind.model_validate(found)
    except ValidationError as error:
        source = str(parsed.config or "command line")
        told = [{**fault, "loc": (kind.section, *fault["loc"])} for fault in error.errors()]
        raise ValueError("\n".join(fault_words(fault, source) for fault in told)) from error
