"""Images made worse on purpose: blurred, coarsely sampled and noisy, as in the training of Cellpose 3's restoration.

Stringer & Pachitariu 2025. Batches are (N, 1, Y, X) float32, scaled so that the 1st and 99th percentile are 0 and 1, on
any device. Every chance comes from a numpy generator, so that a seed says what is done, on whatever device.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import conv2d, interpolate, pad

from pipeline_lib.training.examples import to_device

Kind = Literal["denoise", "deblur", "upsample", "oneclick", "aniso"]
Numbers = NDArray[np.float64]

USUAL_DIAMETER = 30.0  # px; blur is told for objects of this size, and grows with theirs
FACTORS = (2, 7)  # smallest and largest factor of coarse sampling
SHAPE = 4.0  # of the gamma distribution of photons
NARROW = 10.0  # times as sharp along x as along y: uneven blur
_FLAT = 1e-3  # a smaller range holds no signal
_SHORTEST = 8  # px; kernels end one pixel before


class Preset(NamedTuple):
    """How often an image is made worse, and how much.

    noise, blur, sampling: probabilities. rate: of the gamma distribution of photons: a smaller one is less noise.
    reach: largest sigma, as a multiple of the smallest. even: the same along y and x; else along y almost alone.
    """

    noise: float
    blur: float
    sampling: float
    rate: float
    reach: float
    even: bool = True


DENOISE = Preset(0.8, 0, 0, 0.7, 1)
DEBLUR = Preset(0.8, 0.8, 0, 0.1, 10)
UPSAMPLE = Preset(0.8, 0.8, 0.8, 0.03, 5)
PRESETS: dict[Kind, tuple[Preset, ...]] = {
    "denoise": (DENOISE,),
    "deblur": (DEBLUR,),
    "upsample": (UPSAMPLE,),
    "oneclick": (DENOISE, DEBLUR, UPSAMPLE),
    "aniso": (Preset(0.8, 0.8, 0.8, 0.1, 10.5, even=False),),
}


class Damage(NamedTuple):
    """What is done to each of N images, in this order.

    sigma_y, sigma_x: of the blur, px; 0: none. factor: every how-manieth pixel is kept; 1: all. photons: how many
    make the value 1; 0: no noise. even: whether rows and columns are sampled alike; else rows alone.
    """

    sigma_y: Numbers
    sigma_x: Numbers
    factor: NDArray[np.int64]
    photons: Numbers
    even: NDArray[np.bool_]


def degrade(clean: Tensor, diameters: Sequence[float], kind: Kind, rng: np.random.Generator) -> Tensor:
    """A batch (N, 1, Y, X) made worse as networks of this kind learn to restore, scaled anew.

    diameters: of the objects, in pixels, in each image. The presets of a kind share a batch evenly, in random order.
    """
    damage = draw(diameters, kind, rng)
    seen = blur(clean.clamp(min=0), damage.sigma_y, damage.sigma_x)
    seen = torch.stack([sample(*one) for one in zip(seen, damage.factor, damage.even, strict=True)])
    return rescaled(shot_noise(seen, damage.photons, rng))


def draw(diameters: Sequence[float], kind: Kind, rng: np.random.Generator) -> Damage:
    """Chance for a batch: what is done to images whose objects have these diameters, in pixels."""
    presets = PRESETS[kind]
    turns = rng.permutation(np.arange(len(diameters)) + rng.integers(len(presets))) % len(presets)
    drawn = [_draw(diameter, presets[turn], rng) for diameter, turn in zip(diameters, turns, strict=True)]
    return Damage(*(np.array(column) for column in zip(*drawn, strict=True)))


def blur(images: Tensor, sigma_y: Numbers, sigma_x: Numbers | None = None) -> Tensor:
    """Each image of a batch (N, 1, Y, X) under a Gaussian of its own, zero beyond the image; sigma in px, 0: as it is.

    The kernels of a batch are as long as its largest sigma asks: cut near twice that.
    """
    chosen = np.flatnonzero(sigma_y > 0)
    if not chosen.size:
        return images
    reach = max(_SHORTEST, 2 * math.floor(float(sigma_y.max()))) - 1
    result, numbers = images.clone(), to_device(chosen, images.device)
    flat = images[numbers, 0][None]
    count = flat.shape[1]
    rows, columns = (
        to_device(_kernels(sigma[chosen], reach), images.device)
        for sigma in (sigma_y, sigma_y if sigma_x is None else sigma_x)
    )
    flat = conv2d(pad(flat, [reach] * 4), rows[:, None, :, None], groups=count)
    flat = conv2d(flat, columns[:, None, None, :], groups=count)
    result[numbers, 0] = flat[0]
    return result


def sample(image: Tensor, factor: int, even: bool = True) -> Tensor:  # noqa: FBT001, FBT002
    """An image (1, Y, X) of which every `factor`-th row and column is kept, enlarged again to its size.

    even: rows and columns, else rows alone. Enlarged bilinearly, with pixels as areas.
    """
    if factor == 1:
        return image
    kept = image[:, ::factor, :: factor if even else 1]
    return interpolate(kept[None], size=image.shape[-2:], mode="bilinear", align_corners=False)[0]


def shot_noise(images: Tensor, photons: Numbers, rng: np.random.Generator) -> Tensor:
    """Numbers of photons in place of the values of a batch (N, 1, Y, X), for `photons` > 0 where the value is 1."""
    generator = torch.Generator(images.device).manual_seed(int(rng.integers(2**62)))
    given = to_device(photons, images.device)[:, None, None, None]
    noisy = given > 0
    expected = images * given.clamp(min=1)
    return torch.where(noisy, torch.poisson(expected, generator), images)


def rescaled(images: Tensor) -> Tensor:
    """A batch (N, 1, Y, X) with the 1st and 99th percentile of each image at 0 and 1; without signal as it is."""
    ends = torch.quantile(images.flatten(1), images.new_tensor([0.01, 0.99]), dim=1)
    low, span = ends[0], ends[1] - ends[0]
    flat = span <= _FLAT
    low, span = (torch.where(flat, usual, value)[:, None, None, None] for value, usual in ((low, 0.0), (span, 1.0)))
    return (images - low) / span


def _draw(diameter: float, preset: Preset, rng: np.random.Generator) -> tuple[float, float, int, float, bool]:
    """One image's `Damage`."""
    sampled, blurred, noisy = rng.random(3) < (preset.sampling, preset.blur, preset.noise)
    factor = int(rng.integers(FACTORS[0], FACTORS[1] + 1)) if sampled else 1
    strength, photons = rng.random(), max(1.0, rng.gamma(SHAPE, 1 / preset.rate))
    unit, sigma_y = diameter / USUAL_DIAMETER, 0.0
    if preset.even:
        if sampled:
            strength = factor / (2 * preset.reach)
        sigma_y = unit * (1 + (preset.reach - 1) * strength)
    else:
        if sampled:
            strength = float(np.clip(factor / preset.reach + 0.7 * strength - 0.35, 0.05, 1.5))
        sigma_y = unit * preset.reach * strength
    sigma_y = sigma_y if sampled or blurred else 0.0
    return sigma_y, sigma_y if preset.even else sigma_y / NARROW, factor, photons if noisy else 0.0, preset.even


def _kernels(sigmas: Numbers, reach: int) -> NDArray[np.float32]:
    """Gaussians (N, 2 reach + 1) whose values add up to 1."""
    offsets = np.arange(-reach, reach + 1)
    kernels = np.exp(-(offsets**2) / (2 * np.maximum(sigmas, 1e-3)[:, None] ** 2))
    return np.asarray(kernels / kernels.sum(axis=1, keepdims=True), np.float32)
