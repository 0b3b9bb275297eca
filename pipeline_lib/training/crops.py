"""Random crops of training images: turned, mirrored, scaled, and made to look as other microscopes would show them.

Everything is computed on the device that holds the images. What a step draws depends on the seed and on the number of
the step alone, so a training that was killed goes on as if nothing had happened.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import affine_grid, conv2d, grid_sample, pad

from pipeline_lib.settings import AugmentSettings
from pipeline_lib.training.examples import Example, TrainingImages, draw_shares, to_device

LARGEST_BLUR = 1.5  # px, sigma
LARGEST_NOISE = 0.25  # standard deviation, where 1 is the distance between the 1st and 99th percentile
_BLUR_REACH = 4  # px


class Batch(NamedTuple):
    """images: (N, 2, S, S) float32. flows: (N, 2, S, S) float32, y first. inside: (N, S, S) float32, 0 or 1."""

    images: Tensor
    flows: Tensor
    inside: Tensor


class Placement(NamedTuple):
    """Where a crop lies in its image: the middle (y, x) in pixels and the (2, 2) matrix from crop to image offsets."""

    middle: tuple[float, float]
    matrix: NDArray[np.float64]


class Draws:
    """Images drawn at random: sets by their shares, within a set every image alike."""

    def __init__(self, sets: Sequence[TrainingImages], diam_mean: float) -> None:
        shares = draw_shares(sets)
        self._examples = [example for one in sets for example in one.examples]
        self._diameters = [_known(e.diameter, one.expected(), diam_mean) for one in sets for e in one.examples]
        self._odds = np.concatenate([np.full(len(s.examples), shares[s.name] / len(s.examples)) for s in sets])

    def draw(self, count: int, rng: np.random.Generator) -> list[tuple[Example, float]]:
        """So many images, each with the diameter, in pixels, that its objects have or are taken to have."""
        chosen = rng.choice(len(self._examples), count, p=self._odds)
        return [(self._examples[index], self._diameters[index]) for index in chosen]


class Crops:
    """The endless stream of batches of one training."""

    def __init__(self, sets: Sequence[TrainingImages], diam_mean: float, seed: int, augment: AugmentSettings) -> None:
        self._draws = Draws(sets, diam_mean)
        self._diam_mean, self._seed, self._augment = diam_mean, seed, augment

    def batch(self, step: int, count: int, size: int) -> Batch:
        """The `count` crops of `size` x `size` pixels that the training sees in a step."""
        rng = np.random.default_rng([self._seed, step])
        drawn = [self._varied(*drawn, size, rng) for drawn in self._draws.draw(count, rng)]
        cut = cut_out([example for example, _ in drawn], [placed for _, placed in drawn], size)
        return cut._replace(images=_other_microscope(cut.images, self._augment, rng))

    def _varied(
        self, example: Example, diameter: float, size: int, rng: np.random.Generator
    ) -> tuple[Example, Placement]:
        """An image as it may be shown, and which part of it."""
        spread = self._augment.scale_range
        scale = (1 - spread / 2 + spread * rng.random()) * self._diam_mean / diameter
        placed = place(tuple(example.inside.shape), size, scale, rng)
        image = example.image
        if rng.random() < self._augment.inversion:
            image = torch.stack([1 - image[0].float(), image[1].float()])  # dark objects on bright ground
        if rng.random() < self._augment.drop_nuclei:
            image = torch.stack([image[0], torch.zeros_like(image[1])])
        return replace(example, image=image), placed


def place(shape: tuple[int, ...], size: int, scale: float, rng: np.random.Generator, *, turn: bool = True) -> Placement:
    """Draw where a crop of `size` x `size` pixels lies in an image (Y, X) that is enlarged by `scale`.

    It is turned by any angle, or with turn=False by none, mirrored every other time, and within the image as far as
    there is room.
    """
    mirror = -1.0 if rng.random() < 0.5 else 1.0
    angle = rng.uniform(0, 2 * math.pi) if turn else 0.0
    sine, cosine = math.sin(angle), math.cos(angle)
    turned = np.array([[cosine, -sine * mirror], [sine, cosine * mirror]])
    y, x = ((n - 1) / 2 + (rng.random() - 0.5) * max(0.0, n - size / scale) for n in shape)
    return Placement((y, x), turned / scale)


def cut_out(examples: Sequence[Example], placed: Sequence[Placement], size: int) -> Batch:
    """One crop of each image: bilinear for image and flow, nearest for what is inside, zero beyond the image.

    Flows turn with the picture and keep their length. On a GPU all are cut at once; elsewhere one by one, since there
    calls cost less than room for the largest image.
    """
    if examples[0].inside.device.type == "cuda":
        return _cut_out(examples, placed, size)
    alone = [_cut_out([example], [one], size) for example, one in zip(examples, placed, strict=True)]
    return Batch(*(torch.cat(parts) for parts in zip(*alone, strict=True)))


def _cut_out(examples: Sequence[Example], placed: Sequence[Placement], size: int) -> Batch:
    windows = [_window(one, size, tuple(example.inside.shape)) for example, one in zip(examples, placed, strict=True)]
    values, inside = _stacked(examples, windows)
    where = np.stack([_theta(*one, size, inside.shape[2:]) for one in zip(placed, windows, strict=True)])
    grid = affine_grid(to_device(where, inside.device), [len(where), 1, size, size], align_corners=True)
    smooth = grid_sample(values, grid, mode="bilinear", align_corners=True)
    nearest = grid_sample(inside, grid, mode="nearest", align_corners=True)
    back = np.stack([one.matrix.T / math.sqrt(abs(np.linalg.det(one.matrix))) for one in placed])
    flows = torch.einsum("nij,njyx->niyx", to_device(back, inside.device), smooth[:, 2:])
    return Batch(smooth[:, :2], flows, nearest[:, 0])


def _window(placed: Placement, size: int, shape: tuple[int, ...]) -> tuple[slice, slice]:
    """The rows and columns of an image (Y, X) that a crop shows something of."""
    reaches = np.abs(placed.matrix).sum(axis=1) * (size - 1) / 2
    window = []
    for middle, reach, length in zip(placed.middle, reaches, shape, strict=True):
        first = int(np.clip(math.floor(middle - reach), 0, max(0, length - 2)))
        window.append(slice(first, int(np.clip(math.ceil(middle + reach) + 1, first + 1, length))))
    return window[0], window[1]


def _stacked(examples: Sequence[Example], windows: Sequence[tuple[slice, slice]]) -> tuple[Tensor, Tensor]:
    """Windows of images side by side, as large as the largest: image and flow (N, 4, H, W), inside (N, 1, H, W)."""
    height, width = (max(2, *(window[axis].stop - window[axis].start for window in windows)) for axis in (0, 1))
    values = torch.zeros(len(windows), 4, height, width, device=examples[0].inside.device)
    inside = torch.zeros_like(values[:, :1])
    for number, (example, (rows, columns)) in enumerate(zip(examples, windows, strict=True)):
        corner = np.s_[: rows.stop - rows.start, : columns.stop - columns.start]
        values[number, :2, *corner] = example.image[:, rows, columns]
        values[number, 2:, *corner] = example.flow[:, rows, columns]
        inside[number, 0, *corner] = example.inside[rows, columns]
    return values, inside


def _theta(placed: Placement, window: tuple[slice, slice], size: int, shape: Sequence[int]) -> NDArray[np.float64]:
    """From a crop to a window of this shape, (2, 3), both as `affine_grid` has it: x first, corners at -1 and 1."""
    last = np.array([length - 1 for length in shape])
    matrix = placed.matrix * (size - 1) / last[:, None]
    shift = 2 * (np.array(placed.middle) - [part.start for part in window]) / last - 1
    return np.column_stack([matrix[::-1, ::-1], shift[::-1]])


def _known(*diameters: float) -> float:
    """The first that is a number."""
    return next(diameter for diameter in diameters if not math.isnan(diameter))


def _other_microscope(images: Tensor, augment: AugmentSettings, rng: np.random.Generator) -> Tensor:
    """Blur, contrast and noise (N, 2, S, S) of each image, each with its own chance; empty channels stay empty."""
    count = len(images)
    signal = images.abs().amax(dim=(2, 3), keepdim=True) > 0
    seen = _blurred(images, np.where(rng.random(count) < augment.blur, rng.uniform(0.3, LARGEST_BLUR, count), 0))
    seen = _contrasted(seen, rng.random(count) < augment.contrast, rng)
    deviation = np.where(rng.random(count) < augment.noise, LARGEST_NOISE * rng.random(count) ** 2, 0)
    generator = torch.Generator(images.device).manual_seed(int(rng.integers(2**62)))
    noise = torch.randn(seen.shape, generator=generator, device=seen.device)
    return torch.where(signal, seen + noise * _column(deviation, seen), 0.0)


def _contrasted(images: Tensor, chosen: NDArray[np.bool_], rng: np.random.Generator) -> Tensor:
    """Another exponent, gain and offset for the chosen images; values below 0 keep their sign."""
    count = len(images)
    exponent = np.where(chosen, np.exp(rng.uniform(-0.4, 0.4, count)), 1)
    gain = np.where(chosen, np.exp(rng.uniform(-0.5, 0.3, count)), 1)
    offset = np.where(chosen, rng.uniform(-0.1, 0.1, count), 0)
    curved = images.sign() * images.abs().clamp(min=1e-6) ** _column(exponent, images)
    return curved * _column(gain, images) + _column(offset, images)


def _blurred(images: Tensor, sigmas: NDArray[np.float64]) -> Tensor:
    """Each image (2, S, S) convolved with a Gaussian of its own sigma in pixels; 0 leaves it as it is."""
    if not sigmas.any():
        return images
    offsets = np.arange(-_BLUR_REACH, _BLUR_REACH + 1)
    kernels = np.exp(-(offsets**2) / (2 * np.maximum(sigmas, 1e-3)[:, None] ** 2))
    kernels /= kernels.sum(axis=1, keepdims=True)
    count, channels, height, width = images.shape
    weight = to_device(kernels, images.device).repeat_interleave(channels, 0)
    flat = pad(images.reshape(1, count * channels, height, width), [_BLUR_REACH] * 4, mode="replicate")
    rows = conv2d(flat, weight[:, None, :, None], groups=count * channels)
    return conv2d(rows, weight[:, None, None, :], groups=count * channels).reshape(images.shape)


def _column(values: NDArray[np.float64], like: Tensor) -> Tensor:
    """One number per image, to be multiplied with (N, 2, S, S)."""
    return to_device(values, like.device)[:, None, None, None]
