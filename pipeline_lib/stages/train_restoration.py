"""train-restoration: images with truth to the weights of a network that restores images, and a model card."""

from __future__ import annotations

import argparse

from pipeline_lib.settings import RestorationTrainSettings
from pipeline_lib.stages import train
from pipeline_lib.stages.train.files import ModelFiles

OVERRULING = (*train.OVERRULING, "kind", "frozen", "losses")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's flags: those of `train`, and what is restored for whom."""
    train.add_arguments(parser, RestorationTrainSettings.section)
    parser.add_argument("--kind", help="denoise, deblur, upsample, oneclick or aniso")
    parser.add_argument("--frozen", help="the segmentation network to restore for: a model name or path")
    parser.add_argument("--losses", help="per_seg, per, seg or rec")


def run(parsed: argparse.Namespace) -> None:
    """Train, or go on with a training that was ended."""
    from pipeline_lib.stages.train.restorer import train_restorer

    settings = train.chosen_settings(parsed, RestorationTrainSettings, OVERRULING)
    train_restorer(settings, ModelFiles(parsed.out))
