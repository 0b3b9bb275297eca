"""The course of a training: load, learn, keep, try, finish."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor

from pipeline_lib.core.labelled import Labelled
from pipeline_lib.evaluation import column, compare, summarise
from pipeline_lib.io.weights import find_weights, load_weights
from pipeline_lib.nets.flownet import DEFAULT_DIAMETER, FlowNet
from pipeline_lib.segmentation import prepare_network
from pipeline_lib.settings import TrainSettings
from pipeline_lib.stages._bar import bar, counted
from pipeline_lib.stages._contender import contender
from pipeline_lib.stages._sets import count_sets, open_set, open_some
from pipeline_lib.stages.train.files import ModelFiles
from pipeline_lib.stages.train.finish import finish
from pipeline_lib.tiling.placing import RunSettings
from pipeline_lib.tiling.predict import pick_device, pick_precision
from pipeline_lib.training.crops import Crops
from pipeline_lib.training.examples import TrainingImages, prepare
from pipeline_lib.training.learning import Learner, learning_rate, mean_of, start_from

TOLD_EVERY = 20  # steps whose losses are told as one mean; checkpoints lie between two such rounds
KEEP_EVERY = 300.0  # seconds between two checkpoints
TRIED_AT = (0.5, 0.75, 0.9)  # overlaps at which the validation counts

log = logging.getLogger("wellpose")


@dataclass
class Progress:
    """How far a training is. seconds: spent learning. losses, scores: the rows of the two tables."""

    seconds: float = 0.0
    losses: list[dict[str, Any]] = field(default_factory=list)
    scores: list[dict[str, Any]] = field(default_factory=list)

    def done(self, steps: int, settings: TrainSettings) -> float:
        """Which share of the training is over, 0..1."""
        by_time = self.seconds / (60 * settings.minutes) if settings.minutes else 0.0
        by_steps = steps / settings.steps if settings.steps else 1.0
        return min(1.0, max(by_steps, by_time))


@contextmanager
def _without_denormals() -> Iterator[None]:
    """Gradients run out into denormal numbers, on which a processor is slow: meanwhile they are zero."""
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


@_without_denormals()
def train(settings: TrainSettings, files: ModelFiles) -> None:
    """Train from where the folder's checkpoint is, or from the beginning, to the end."""
    checkpoint = files.checkpoint(settings)
    device = pick_device(settings.device)
    sets = _training_images(settings, device)
    tried = {one.name: list(open_some(one, settings.validation_images)) for one in settings.validation}
    learner = Learner(_network(settings, sets), settings, device, pick_precision(settings.precision, device))
    progress = Progress()
    if checkpoint is not None:
        learner.resume(checkpoint["learner"])
        progress = Progress(**checkpoint["progress"])
        log.info("train: going on after step %d of %s", learner.steps, files.folder)

    def keep() -> None:
        files.keep({"learner": learner.state(), "progress": asdict(progress)}, settings)
        files.write_tables(progress.losses, progress.scores)
        files.draw_curve(progress.losses, progress.scores)

    def score() -> None:
        if progress.scores and progress.scores[-1]["step"] == learner.steps:
            return  # a training that was over already
        progress.scores.append({"step": learner.steps, **_score(learner.weights(), tried, settings)})

    crops = Crops(sets, float(learner.net.diam_mean), settings.seed, settings.augment)
    _learn(learner, crops, progress, settings, [(KEEP_EVERY, keep), (60 * settings.validate_every, score)])
    score()
    keep()
    finish(learner.weights(), sets, progress.scores[-1], settings, files)


def _learn(
    learner: Learner,
    crops: Crops,
    progress: Progress,
    settings: TrainSettings,
    every: Sequence[tuple[float, Callable[[], None]]],
) -> None:
    """Learn round by round to the end of the training; between rounds do what is due, by seconds."""
    due = [progress.seconds + seconds for seconds, _ in every]
    with bar("train", 100, "{l_bar}{bar}| {elapsed}<{remaining}{postfix}") as shown:
        while progress.done(learner.steps, settings) < 1:
            progress.losses.append(_round(learner, crops, progress, settings))
            told = {key: progress.losses[-1][key] for key in ("step", "loss", "images_per_second")}
            shown.set_postfix(told, refresh=False)
            shown.update(100 * progress.done(learner.steps, settings) - shown.n)
            for number, (seconds, act) in enumerate(every):
                if progress.seconds >= due[number]:
                    due[number] += seconds
                    act()


def _round(learner: Learner, crops: Crops, progress: Progress, settings: TrainSettings) -> dict[str, Any]:
    """Some steps, told as one row of the table of losses."""
    begun, rate = time.monotonic(), 0.0
    losses: list[Tensor] = []
    while not losses or learner.steps % TOLD_EVERY:
        done = progress.done(learner.steps, settings)
        if done >= 1:
            break
        rate = learning_rate(settings, done)
        losses.append(learner.learn(crops.batch(learner.steps, settings.batch_size, settings.crop), rate))
    loss = float(torch.stack(losses).mean())  # waits for the device
    if not math.isfinite(loss):
        raise ValueError(
            f"train: the loss is {loss} at step {learner.steps}; lower learning_rate ({settings.learning_rate})"
        )
    seconds = time.monotonic() - begun
    progress.seconds += seconds
    return {
        "step": learner.steps,
        "minutes": round(progress.seconds / 60, 2),
        "learning_rate": rate,
        "loss": round(loss, 5),
        "images_per_second": round(len(losses) * settings.batch_size / seconds, 2),
    }


def _training_images(settings: TrainSettings, device: torch.device) -> list[TrainingImages]:
    """All sets, read and prepared."""
    if not settings.sets:
        raise ValueError(
            "train: no set of images to learn from; name a folder, or `sets` in the config section `train`"
        )
    counts = count_sets(settings.sets + settings.validation)
    made = []
    for one in settings.sets:
        examples = [prepare(labelled, device) for labelled in counted(one.name, counts[one.name], open_set(one))]
        made.append(TrainingImages(one.name, examples, one.weight, one.diameter))
    if not any(example.inside.any() for one in made for example in one.examples):
        raise ValueError("train: no object in any image of any set; there is nothing to learn from")
    return made


def _network(settings: TrainSettings, sets: Sequence[TrainingImages]) -> FlowNet:
    """The network at its start, with the diameters it is to be trained at."""
    torch.manual_seed(settings.seed)
    net = FlowNet()
    diameter = DEFAULT_DIAMETER
    if settings.starts:
        weights = [load_weights(find_weights(name)) for name in settings.starts]
        start_from(net, mean_of([one.state for one in weights]))
        diameter = weights[0].diam_mean
    known = [e.diameter for one in sets for e in one.examples if not math.isnan(e.diameter)]
    net.diam_mean.fill_(settings.diam_mean or diameter)
    net.diam_labels.fill_(sum(known) / len(known))
    return net


def _score(
    state: Mapping[str, Tensor], tried: Mapping[str, Sequence[Labelled]], settings: TrainSettings
) -> dict[str, float]:
    """Set and kind, overlap -> mean average precision of the weights, the true diameter given."""
    if not tried:
        return {}
    network = contender(prepare_network(state, RunSettings(settings.device, settings.precision)))
    summary = summarise(compare(tried.items(), {settings.name: network}, "true"))
    return {
        f"{row['set']} {row['kind']}".strip() + f" AP@{at}": round(float(row[column("ap", at)]), 4)
        for _, row in summary.iterrows()
        for at in TRIED_AT
    }
