"""The training of a network that finds objects."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch

from pipeline_lib.nets.flownet import DEFAULT_DIAMETER, FlowNet
from pipeline_lib.segmentation import prepare_network
from pipeline_lib.settings import TrainSettings
from pipeline_lib.stages._contender import contender
from pipeline_lib.stages.train.course import Course, Weights, follow
from pipeline_lib.stages.train.files import ModelFiles
from pipeline_lib.stages.train.finish import finish
from pipeline_lib.stages.train.load import (
    mean_diameter,
    precisions,
    starting_weights,
    training_images,
    validation_images,
)
from pipeline_lib.tiling.placing import RunSettings
from pipeline_lib.training.crops import Batch, Crops
from pipeline_lib.training.examples import TrainingImages
from pipeline_lib.training.learning import Learner, Place, flow_loss, start_from


def train(settings: TrainSettings, files: ModelFiles) -> None:
    """Train from where the folder's checkpoint is, or from the beginning, to the end."""
    checkpoint = files.checkpoint(settings)
    place = Place.chosen(settings)
    sets = training_images(settings, place.device)
    tried = validation_images(settings)
    learner = Learner(_network(settings, sets), settings, place, flow_loss)
    crops = Crops(sets, float(learner.net.diam_mean), settings.seed, settings.augment)

    def batch(step: int) -> Batch:
        return crops.batch(step, settings.batch_size, settings.crop)

    def score(weights: Weights) -> dict[str, float]:
        network = prepare_network(weights, RunSettings(settings.device, settings.precision))
        return precisions(contender(network), tried, settings.name)

    end = partial(finish, sets=sets, settings=settings, files=files)
    follow(Course(settings, files, learner, batch, score, end), checkpoint)


def _network(settings: TrainSettings, sets: Sequence[TrainingImages]) -> FlowNet:
    """The network at its start, with the diameters it is to be trained at."""
    torch.manual_seed(settings.seed)
    net, diameter = FlowNet(), DEFAULT_DIAMETER
    if start := starting_weights(settings):
        state, diameter = start
        start_from(net, state)
    net.diam_mean.fill_(settings.diam_mean or diameter)
    net.diam_labels.fill_(mean_diameter(sets))
    return net
