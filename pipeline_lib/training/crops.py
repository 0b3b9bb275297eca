"""Random crops of training images: turned, mirrored, scaled, and made to look as other microscopes would show them.

Everything is computed on the device that holds the images. What a step draws depends on the seed and on the number of
the step alone, so a training that was killed goes on as if nothing had happened.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import conv2d, grid_sample, pad

from pipeline_lib.settings import AugmentSettings
from pipeline_lib.training.examples import Example, TrainingImages, draw_shares

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
        crops = [self._crop(*drawn, size, rng) for drawn in self._draws.draw(count, rng)]
        whole = Batch(*(torch.stack(parts) for parts in zip(*crops, strict=True)))
        return whole._replace(images=_other_microscope(whole.images, self._augment, rng))

    def _crop(self, example: Example, diameter: float, size: int, rng: np.random.Generator) -> Batch:
        spread = self._augment.scale_range
        scale = (1 - spread / 2 + spread * rng.random()) * self._diam_mean / diameter
        placed = place(tuple(example.inside.shape), size, scale, rng)
        cut = cut_out(example, placed, size)
        if rng.random() < self._augment.inversion:
            cut = cut._replace(images=_inverted(cut.images, example, placed, size))
        if rng.random() < self._augment.drop_nuclei:
            cut = cut._replace(images=torch.stack([cut.images[0], torch.zeros_like(cut.images[1])]))
        return cut


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


def cut_out(example: Example, placed: Placement, size: int) -> Batch:
    """The crop of one image: bilinear for image and flow, nearest for what is inside, zero beyond the image.

    Flows turn with the picture and keep their length. Shapes are those of `Batch` without N.
    """
    points, window = _points(placed, size, tuple(example.inside.shape))
    device = example.image.device
    grid = torch.from_numpy(points).to(device)[None]
    rows, columns = window
    values = torch.cat([example.image[:, rows, columns], example.flow[:, rows, columns]])[None].float()
    inside = example.inside[None, None, rows, columns].float()
    smooth = grid_sample(values, grid, mode="bilinear", align_corners=True)[0]
    nearest = grid_sample(inside, grid, mode="nearest", align_corners=True)[0, 0]
    direction = placed.matrix / np.sqrt(abs(np.linalg.det(placed.matrix)))
    back = torch.from_numpy(direction.T.astype(np.float32)).to(device)
    flow = torch.einsum("ij,jyx->iyx", back, smooth[2:])
    return Batch(smooth[:2], flow, nearest)


def _points(placed: Placement, size: int, shape: tuple[int, ...]) -> tuple[NDArray[np.float32], tuple[slice, slice]]:
    """Where in the image the pixels of a crop lie: (S, S, 2) x and y in -1..1 of a window, and that window."""
    steps = np.arange(size) - (size - 1) / 2
    y, x = np.meshgrid(steps, steps, indexing="ij")
    where = np.stack([placed.matrix[i, 0] * y + placed.matrix[i, 1] * x + placed.middle[i] for i in (0, 1)])
    window, grid = [], []
    for positions, length in zip(where, shape, strict=True):
        first = int(np.clip(math.floor(positions.min()), 0, length - 2)) if length > 1 else 0
        last = int(np.clip(math.ceil(positions.max()) + 1, first + 2, length)) if length > 1 else 1
        window.append(slice(first, last))
        grid.append(2 * (positions - first) / max(1, last - first - 1) - 1)
    return np.stack(grid[::-1], axis=-1).astype(np.float32), (window[0], window[1])


def _inverted(images: Tensor, example: Example, placed: Placement, size: int) -> Tensor:
    """Dark objects on bright ground: v becomes 1 - v in the first channel, but zero stays beyond the image."""
    points, _ = _points(placed, size, tuple(example.inside.shape))
    within = torch.from_numpy((np.abs(points) <= 1).all(axis=-1)).to(images.device)
    return torch.stack([torch.where(within, 1 - images[0], 0.0), images[1]])


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
    weight = torch.from_numpy(kernels.astype(np.float32)).to(images.device).repeat_interleave(channels, 0)
    flat = pad(images.reshape(1, count * channels, height, width), [_BLUR_REACH] * 4, mode="replicate")
    rows = conv2d(flat, weight[:, None, :, None], groups=count * channels)
    return conv2d(rows, weight[:, None, None, :], groups=count * channels).reshape(images.shape)


def _column(values: NDArray[np.float64], like: Tensor) -> Tensor:
    """One number per image, to be multiplied with (N, 2, S, S)."""
    return torch.from_numpy(values.astype(np.float32)).to(like.device)[:, None, None, None]
