"""Learning to restore images so that a segmentation network, which itself stays as it is, finds their objects.

Crops and losses of Cellpose 3's restoration networks (Stringer & Pachitariu 2025): an image is made worse where its
objects measure half to twice the network's diameter, and then turned and scaled together with its clean copy.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import mse_loss

from pipeline_lib.nets.flownet import build, style_of
from pipeline_lib.settings import RestorationTrainSettings
from pipeline_lib.training.crops import Batch, Draws, cut_out, place
from pipeline_lib.training.degrade import degrade
from pipeline_lib.training.examples import Example, TrainingImages
from pipeline_lib.training.learning import Place, flow_loss

WINDOW = 340 / 224  # side of what is made worse, in sides of the crop
SCALE_RANGE = 0.5  # width of the range of sizes around the network's own
PIXEL_WEIGHT = 80.0  # of the squared difference of pixels
WEIGHTS = {"per_seg": (1.0, 1.5, 0.0), "per": (1.0, 0.0, 0.0), "seg": (0.0, 1.0, 0.0), "rec": (0.0, 0.0, 1.0)}
"""Losses that are minimised -> weights of the perceptual, the segmentation and the pixel loss."""


class RestorationBatch(NamedTuple):
    """images: (N, 1, S, S) made worse. clean: (N, 1, S, S). flows: (N, 2, S, S), y first. inside: (N, S, S), 0 or 1."""

    images: Tensor
    clean: Tensor
    flows: Tensor
    inside: Tensor


class RestorationCrops:
    """The endless stream of batches of one training; what a step draws depends on the seed and its number alone."""

    def __init__(self, sets: Sequence[TrainingImages], diam_mean: float, settings: RestorationTrainSettings) -> None:
        self._draws = Draws(sets, diam_mean)
        self._diam_mean, self._settings = diam_mean, settings

    def batch(self, step: int) -> RestorationBatch:
        """The crops that the training sees in a step."""
        settings = self._settings
        rng = np.random.default_rng([settings.seed, step])
        chosen = self._draws.draw(settings.batch_size, rng)
        diameters = self._diam_mean * 2 ** rng.uniform(-1, 1, len(chosen))
        window = round(WINDOW * settings.crop)
        windows = self._windows(chosen, diameters, window, rng)
        worse = degrade(windows.images[:, :1], diameters.tolist(), settings.kind, rng)
        pairs = windows._replace(images=torch.cat([worse, windows.images[:, :1]], dim=1))
        images, flows, inside = self._crops(pairs, diameters, rng)
        return RestorationBatch(images[:, :1], images[:, 1:], flows, inside)

    @staticmethod
    def _windows(
        chosen: Sequence[tuple[Example, float]], diameters: NDArray[np.float64], size: int, rng: np.random.Generator
    ) -> Batch:
        """A part of each image, not turned, in which its objects measure so many pixels."""
        placed = [
            place(tuple(example.inside.shape), size, diameter / own, rng, turn=False)
            for (example, own), diameter in zip(chosen, diameters, strict=True)
        ]
        return cut_out([example for example, _ in chosen], placed, size)

    def _crops(self, pairs: Batch, diameters: NDArray[np.float64], rng: np.random.Generator) -> Batch:
        """Crops of windows, turned unless what is along y differs from what is along x."""
        size, turn = self._settings.crop, self._settings.kind != "aniso"
        scales = [self._diam_mean / d * (1 - SCALE_RANGE / 2 + SCALE_RANGE * rng.random()) for d in diameters]
        placed = [place(tuple(pairs.inside.shape[1:]), size, scale, rng, turn=turn) for scale in scales]
        examples = [Example(*one, math.nan) for one in zip(*pairs, strict=True)]
        return cut_out(examples, placed, size)


class RestorationLoss:
    """How far restored images are from what a segmentation network, whose weights stay, needs to see."""

    def __init__(self, state: Mapping[str, Tensor], losses: str, where: Place) -> None:
        self._frozen = where.settle(build(one_channel(state)).requires_grad_(requires_grad=False))
        self._place = where
        self._perceptual, self._segmentation, self._pixel = WEIGHTS[losses]

    def __call__(self, restored: Tensor, batch: RestorationBatch) -> Tensor:
        """restored: (N, 1, S, S)."""
        loss = restored.new_zeros(())
        if self._pixel:
            loss = loss + self._pixel * PIXEL_WEIGHT * mse_loss(restored, batch.clean)
        if not (self._perceptual or self._segmentation):
            return loss
        with self._place.computing():
            maps = self._frozen.encode(self._place.arranged(restored))
        if self._perceptual:
            with torch.no_grad(), self._place.computing():
                wanted = self._frozen.encode(self._place.arranged(batch.clean))
            loss = loss + self._perceptual * perceptual_loss(maps, wanted)
        if self._segmentation:
            with self._place.computing():
                output = self._frozen.decode(maps, style_of(maps[-1]))
            loss = loss + self._segmentation * flow_loss(output.float(), batch)
        return loss


def perceptual_loss(maps: Sequence[Tensor], wanted: Sequence[Tensor]) -> Tensor:
    """How differently the channels of two encoders' maps (N, C, H, W), level by level, go together.

    The squared differences of their correlations, in units of the wanted ones' variance: mean over pairs of channels,
    sum over levels, mean over images.
    """
    total = maps[0].new_zeros(len(maps[0]), dtype=torch.float32)
    for found, clean in zip(maps, wanted, strict=True):
        target = correlations(clean)
        spread = target.flatten(1).std(dim=1) + 1e-6
        total = total + (correlations(found) - target).square().mean(dim=(1, 2)) / spread.square()
    return total.mean()


def correlations(maps: Tensor) -> Tensor:
    """The correlation of every channel of (N, C, H, W) with every other over space, (N, C, C)."""
    flat = maps.float().flatten(2)
    spread = flat.std(dim=2, keepdim=True).clamp(min=1e-6)  # a map without any contrast correlates with nothing
    standard = (flat - flat.mean(dim=2, keepdim=True)) / spread
    return standard @ standard.mT / flat.shape[2]


def one_channel(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights of a network that sees the first channel alone; those of a one-channel network are as they were."""
    first = "downsample.down.res_down_0."
    changed = dict(state)
    for part, kernel in (("conv.conv_0", "2"), ("proj", "1")):
        for name in ("weight", "bias", "running_mean", "running_var"):
            key = f"{first}{part}.0.{name}"
            changed[key] = state[key][:1]
        key = f"{first}{part}.{kernel}.weight"
        changed[key] = state[key][:, :1]
    return changed
