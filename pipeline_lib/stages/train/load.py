"""What a training starts with: its images, prepared, and the weights it starts from."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import torch
from torch import Tensor

from pipeline_lib.core.labelled import Labelled
from pipeline_lib.evaluation import Contender, column, compare, summarise
from pipeline_lib.io.weights import find_weights, load_weights
from pipeline_lib.settings import LearningSettings
from pipeline_lib.stages._bar import counted
from pipeline_lib.stages._sets import count_sets, open_set, open_some
from pipeline_lib.training.examples import TrainingImages, prepare
from pipeline_lib.training.learning import mean_of

TRIED_AT = (0.5, 0.75, 0.9)  # overlaps at which the validation counts


def training_images(settings: LearningSettings, device: torch.device) -> list[TrainingImages]:
    """All sets, read and prepared. Raises ValueError where there is nothing to learn from."""
    if not settings.sets:
        raise ValueError(
            "train: no set of images to learn from; name a folder, or `sets` in the config section `train`"
        )
    counts = count_sets(settings.sets + settings.validation)
    made = []
    with ThreadPoolExecutor() as threads:
        for one in settings.sets:
            ready = threads.map(partial(prepare, device=device), open_set(one))
            examples = [*counted(one.name, counts[one.name], ready)]
            made.append(TrainingImages(one.name, examples, one.weight, one.diameter))
    if not any(example.inside.any() for one in made for example in one.examples):
        raise ValueError("train: no object in any image of any set; there is nothing to learn from")
    return made


def validation_images(settings: LearningSettings) -> dict[str, list[Labelled]]:
    """Set -> those of its images that weights are tried on."""
    return {one.name: list(open_some(one, settings.validation_images)) for one in settings.validation}


def mean_diameter(sets: Sequence[TrainingImages]) -> float:
    """The mean diameter, in pixels, of the objects of all images that have any."""
    known = [e.diameter for one in sets for e in one.examples if not math.isnan(e.diameter)]
    return sum(known) / len(known)


def starting_weights(settings: LearningSettings) -> tuple[dict[str, Tensor], float] | None:
    """The mean of the weights to start from, and the diameter in pixels they work at; None: start from chance."""
    weights = [load_weights(find_weights(name)) for name in settings.starts]
    return (mean_of([one.state for one in weights]), weights[0].diam_mean) if weights else None


def precisions(network: Contender, tried: Mapping[str, Sequence[Labelled]], name: str) -> dict[str, float]:
    """Set and kind, overlap -> mean average precision of a network called `name`, the true diameter given."""
    if not tried:
        return {}
    summary = summarise(compare(tried.items(), {name: network}, "true"))
    return {
        f"{row['set']} {row['kind']}".strip() + f" AP@{at}": round(float(row[column("ap", at)]), 4)
        for _, row in summary.iterrows()
        for at in TRIED_AT
    }
