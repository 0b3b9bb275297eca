"""train: images with truth to weights, a size model and a model card."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import yaml

from pipeline_lib.settings import TrainSettings
from pipeline_lib.stages._sets import folder_set
from pipeline_lib.stages.train.files import ModelFiles


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's flags; each but FOLDER overrules the config file."""
    parser.add_argument("folders", nargs="*", type=Path, metavar="FOLDER", help="pairs NNN_img, NNN_masks, or a plate")
    parser.add_argument("--out", type=Path, required=True, help="folder for the weights; its last part is their name")
    parser.add_argument("--config", type=Path, help="YAML file with a section `train`")
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
    from pipeline_lib.stages.train.course import train

    train(_settings(parsed), ModelFiles(parsed.out))


def _settings(parsed: argparse.Namespace) -> TrainSettings:
    found: dict[str, Any] = {}
    if parsed.config:
        found = (yaml.safe_load(parsed.config.read_text(encoding="utf-8")) or {}).get("train") or {}
    chosen = {name: getattr(parsed, name) for name in ("start", "steps", "minutes", "device")}
    found |= {name: value for name, value in chosen.items() if value is not None}
    if parsed.folders:
        found["sets"] = [folder_set(folder.resolve().name, folder) for folder in parsed.folders]
    if parsed.validation:
        found["validation"] = [folder_set(folder.resolve().name, folder) for folder in parsed.validation]
    if parsed.settings:
        return TrainSettings.model_validate_json(parsed.settings)
    return TrainSettings.model_validate(found)
