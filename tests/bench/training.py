"""One optimiser step on crops of 224 x 224 against cellpose 3.1.1.2's own, taking turns. `make bench-training`.

A step is everything between two updates of the weights: drawing and augmenting the crops, the network forth and back,
the update. The peer is a black box: its step is the difference between trainings of several epochs and of one, each
epoch one step. Writes `tests/bench/results/training-<cpu|cuda>.json`.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
os.environ["CELLPOSE_LOCAL_MODELS_PATH"] = tempfile.mkdtemp()  # the peer makes a folder where it is imported

from bench.machine import write

from pipeline_lib.core.labelled import Labelled
from pipeline_lib.nets.flownet import FlowNet
from pipeline_lib.settings import TrainSettings
from pipeline_lib.synthesis import draw_varied_field
from pipeline_lib.tiling.predict import pick_device
from pipeline_lib.training.crops import Batch, Crops
from pipeline_lib.training.examples import TrainingImages, prepare
from pipeline_lib.training.learning import Learner, Place, flow_loss

SIDE = 320


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=3, help="steps per turn")
    parser.add_argument("--batch", type=int, default=8, help="crops per step, each of an image of its own")
    arguments = parser.parse_args()
    torch.set_flush_denormal(True)
    device = pick_device("auto")
    images = [_labelled(number) for number in range(arguments.batch)]
    ours = Ours(images, device)
    ours.step()
    _theirs(images, device, 2)
    rounds = []
    for number in range(arguments.rounds):
        mine = ours.seconds(arguments.steps)
        theirs = (_theirs(images, device, 1 + arguments.steps) - _theirs(images, device, 1)) / arguments.steps
        rounds.append({"ours": mine, "theirs": theirs, "ratio": theirs / mine})
        sys.stderr.write(f"round {number + 1}: ours {mine:.2f} s, cellpose {theirs:.2f} s\n")
    found: dict[str, Any] = {
        "step": f"{arguments.batch} crops of 224 x 224, drawing and augmentation included",
        "precision": str(ours.precision),
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "rounds": rounds,
        "ratio": statistics.median(one["ratio"] for one in rounds),
        "images_per_second": arguments.batch / statistics.median(one["ours"] for one in rounds),
        "share_of_waiting": ours.share_of_waiting(arguments.steps),
    }
    write(f"training-{device.type}", found)


class Ours:
    """This library's step, with its defaults."""

    def __init__(self, images: list[Labelled], device: torch.device) -> None:
        settings = TrainSettings(device=str(device))
        place = Place.chosen(settings)
        self.device, self.precision = place.device, place.precision
        sets = [TrainingImages("drawn", [prepare(image, device) for image in images])]
        self.crops, self.images = Crops(sets, 30.0, 0, settings.augment), len(images)
        self.learner = Learner(FlowNet(), settings, place, flow_loss)

    def step(self) -> None:
        self.learner.learn(self._batch(), 1e-3)

    def seconds(self, steps: int) -> float:
        """Per step."""
        return _timed(self.device, lambda: [self.step() for _ in range(steps)]) / steps

    def share_of_waiting(self, steps: int) -> float:
        """Which share of a step would be saved if the crops were there already."""
        batch = self._batch()
        alone = _timed(self.device, lambda: [self.learner.learn(batch, 1e-3) for _ in range(steps)]) / steps
        return 1 - alone / self.seconds(steps)

    def _batch(self) -> Batch:
        return self.crops.batch(self.learner.steps, self.images, 224)


def _theirs(images: list[Labelled], device: torch.device, epochs: int) -> float:
    """Seconds for a whole training of cellpose; one epoch is one step."""
    from cellpose import models, train

    warnings.filterwarnings("ignore")
    model = models.CellposeModel(pretrained_model=False, device=device, gpu=device.type == "cuda")
    data, labels = [np.moveaxis(one.image, 0, -1) for one in images], [one.labels.astype(np.int32) for one in images]
    with tempfile.TemporaryDirectory() as folder:
        options = {
            "channels": [1, 2],
            "n_epochs": epochs,
            "batch_size": len(images),
            "SGD": False,
            "learning_rate": 1e-3,
        }
        return _timed(
            device, lambda: train.train_seg(model.net, data, labels, save_path=folder, min_train_masks=0, **options)
        )


def _timed(device: torch.device, work: Any) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize()
    begun = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - begun


def _labelled(seed: int) -> Labelled:
    field = draw_varied_field((SIDE, SIDE), seed)
    return Labelled(str(seed), field.image[::-1].copy(), field.cells)


if __name__ == "__main__":
    main()
