"""The course of any training: learn, keep, try, finish."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any, Generic

import torch
from torch import Tensor

from pipeline_lib.settings import LearningSettings
from pipeline_lib.stages._bar import bar
from pipeline_lib.stages.train.files import ModelFiles
from pipeline_lib.training.learning import B, Learner, learning_rate

TOLD_EVERY = 20  # steps whose losses are told as one mean; checkpoints lie between two such rounds
KEEP_EVERY = 300.0  # seconds between two checkpoints
THREADS = torch.get_num_threads()  # as the environment says: compiled code that shares OpenMP sets another number

Weights = Mapping[str, Tensor]

log = logging.getLogger("wellpose")


@dataclass
class Progress:
    """How far a training is. seconds: spent learning. losses, scores: the rows of the two tables."""

    seconds: float = 0.0
    losses: list[dict[str, Any]] = field(default_factory=list)
    scores: list[dict[str, Any]] = field(default_factory=list)

    def done(self, steps: int, settings: LearningSettings) -> float:
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


@dataclass(frozen=True)
class Course(Generic[B]):
    """What differs between trainings.

    Attributes:
        settings: Of the training.
        files: Where everything is written.
        learner: Who learns.
        batch: From the number of a step to what is shown in it.
        score: From weights to the numbers that tell how good they are.
        finish: Told the final weights and the last row of scores, writes everything a user of them needs.
    """

    settings: LearningSettings
    files: ModelFiles
    learner: Learner[B]
    batch: Callable[[int], B]
    score: Callable[[Weights], dict[str, float]]
    finish: Callable[[Weights, Mapping[str, Any]], None]


@_without_denormals()
def follow(course: Course[Any], checkpoint: Mapping[str, Any] | None) -> None:
    """Train from where a checkpoint is, or from the beginning, to the end."""
    learner, files, progress = course.learner, course.files, Progress()
    if checkpoint is not None:
        learner.resume(checkpoint["learner"])
        progress = Progress(**checkpoint["progress"])
        log.info("train: going on after step %d of %s", learner.steps, files.folder)

    def keep() -> None:
        files.keep({"learner": learner.state(), "progress": asdict(progress)}, course.settings)
        files.write_tables(progress.losses, progress.scores)
        files.draw_curve(progress.losses, progress.scores)

    def score() -> None:
        if progress.scores and progress.scores[-1]["step"] == learner.steps:
            return  # a training that was over already
        progress.scores.append({"step": learner.steps, **course.score(learner.weights())})

    _learn(course, progress, [(KEEP_EVERY, keep), (60 * course.settings.validate_every, score)])
    score()
    keep()
    course.finish(learner.weights(), progress.scores[-1])


def _learn(course: Course[Any], progress: Progress, every: Sequence[tuple[float, Callable[[], None]]]) -> None:
    """Learn round by round to the end of the training; between rounds do what is due, by seconds."""
    learner, settings = course.learner, course.settings
    due = [progress.seconds + seconds for seconds, _ in every]
    with bar("train", 100, "{l_bar}{bar}| {elapsed}<{remaining}{postfix}") as shown:
        while progress.done(learner.steps, settings) < 1:
            progress.losses.append(_round(course, progress))
            told = {key: progress.losses[-1][key] for key in ("step", "loss", "images_per_second")}
            shown.set_postfix(told, refresh=False)
            shown.update(100 * progress.done(learner.steps, settings) - shown.n)
            for number, (seconds, act) in enumerate(every):
                if progress.seconds >= due[number]:
                    due[number] += seconds
                    act()


def _round(course: Course[Any], progress: Progress) -> dict[str, Any]:
    """Some steps, told as one row of the table of losses."""
    learner, settings = course.learner, course.settings
    torch.set_num_threads(THREADS)
    begun, rate = time.monotonic(), 0.0
    losses: list[Tensor] = []
    while not losses or learner.steps % TOLD_EVERY:
        done = progress.done(learner.steps, settings)
        if done >= 1:
            break
        rate = learning_rate(settings, done)
        losses.append(learner.learn(course.batch(learner.steps), rate))
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
