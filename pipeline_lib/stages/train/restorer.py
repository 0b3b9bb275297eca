"""The training of a network that restores images for a segmentation network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import torch

from pipeline_lib.arrays.normalise import NormaliseSettings, normalise_image
from pipeline_lib.core.labelled import Labelled
from pipeline_lib.core.middle import middle
from pipeline_lib.evaluation import Contender, true_diameter
from pipeline_lib.io.weights import Weights as Frozen
from pipeline_lib.io.weights import find_weights, load_weights
from pipeline_lib.nets.flownet import FlowNet
from pipeline_lib.restoration import Restorer, prepare_restorer, restore_fields
from pipeline_lib.segmentation import prepare_network
from pipeline_lib.settings import RestorationTrainSettings
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
from pipeline_lib.training.degrade import Kind, degrade
from pipeline_lib.training.examples import TrainingImages
from pipeline_lib.training.learning import Learner, Place, start_from
from pipeline_lib.training.restoration import RestorationCrops, RestorationLoss, one_channel

LARGEST_TRIED = 320  # px, of the middle of an image that is restored to see how good the weights are
TRIED_SEED = 42

Sets = Mapping[str, Sequence[Labelled]]


def train_restorer(settings: RestorationTrainSettings, files: ModelFiles) -> None:
    """Train from where the folder's checkpoint is, or from the beginning, to the end."""
    checkpoint = files.checkpoint(settings)
    place = Place.chosen(settings)
    frozen = load_weights(find_weights(settings.frozen))
    run = RunSettings(settings.device, settings.precision)
    network = contender(prepare_network(frozen.state, run))
    sets = training_images(settings, place.device)
    clean = {name: [_middle(one) for one in images] for name, images in validation_images(settings).items()}
    worse = {name: _worse(images, settings.kind, network) for name, images in clean.items()}
    usual = {f"{name} degraded": images for name, images in worse.items()}
    usual |= {f"{name} clean": images for name, images in clean.items()}
    before = precisions(network, usual, settings.frozen)

    learner = Learner(
        _network(settings, sets, frozen), settings, place, RestorationLoss(frozen.state, settings.losses, place)
    )
    crops = RestorationCrops(sets, float(learner.net.diam_mean), settings)

    def score(weights: Weights) -> dict[str, float]:
        restorer = prepare_restorer(weights, run)
        restored = {name: [_restored(one, restorer, network) for one in images] for name, images in worse.items()}
        return precisions(network, restored, settings.frozen) | before

    end = partial(finish, sets=sets, settings=settings, files=files)
    follow(Course(settings, files, learner, crops.batch, score, end), checkpoint)


def _network(settings: RestorationTrainSettings, sets: Sequence[TrainingImages], frozen: Frozen) -> FlowNet:
    """The network at its start, with the diameters it is to be trained at."""
    torch.manual_seed(settings.seed)
    net = FlowNet(1, 1)
    if start := starting_weights(settings):
        start_from(net, one_channel(start[0]))
    net.diam_mean.fill_(settings.diam_mean or frozen.diam_mean)
    net.diam_labels.fill_(mean_diameter(sets))
    return net


def _middle(labelled: Labelled) -> Labelled:
    """The middle of an image, its first channel alone, scaled."""
    place = middle(labelled.labels.shape, LARGEST_TRIED)
    image = normalise_image(labelled.image[:1, *place], NormaliseSettings())
    return replace(labelled, image=image, labels=labelled.labels[place])


def _worse(images: Sequence[Labelled], kind: Kind, network: Contender) -> list[Labelled]:
    """The same images, degraded always alike."""
    rng = np.random.default_rng(TRIED_SEED)
    return [
        replace(
            one,
            image=degrade(torch.from_numpy(one.image)[None], [true_diameter(one, network)], kind, rng)[0].numpy(),
        )
        for one in images
    ]


def _restored(one: Labelled, restorer: Restorer, network: Contender) -> Labelled:
    (image,) = restore_fields(restorer, [one.image[0]], true_diameter(one, network))
    return replace(one, image=image[None])
