"""Images and label images at other sizes. Pixel centres lie at half-integers, so nothing shifts."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline_lib.core.compiled import compiled


@dataclass(frozen=True)
class Interpolation:
    """Linear interpolation along an axis: each new pixel lies between two old ones; edges are replicated.

    before, after: their indices. share: the weight of the second, 0..1.
    """

    before: NDArray[np.intp]
    after: NDArray[np.intp]
    share: NDArray[np.float32]

    @classmethod
    def between(cls, old: int, new: int) -> Interpolation:
        """From `old` to `new` pixels; the ends of the axis stay where they are."""
        position = np.clip((np.arange(new) + 0.5) * (old / new) - 0.5, 0, old - 1)
        before = position.astype(np.intp)
        return cls(before, np.minimum(before + 1, old - 1), (position - before).astype(np.float32))

    def part(self, start: int, stop: int) -> tuple[slice, Interpolation]:
        """The old pixels that the new pixels start..stop need, and the interpolation from these alone."""
        needed = slice(int(self.before[start]), int(self.after[stop - 1]) + 1)
        of_part = slice(start, stop)
        return needed, Interpolation(
            self.before[of_part] - needed.start, self.after[of_part] - needed.start, self.share[of_part]
        )


def resize(image: NDArray[np.float32], shape: tuple[int, int]) -> NDArray[np.float32]:
    """Bilinear interpolation of a (C, Y, X) image to `shape` (Y, X), edges replicated, no antialiasing on reduction."""
    for axis, new in enumerate(shape, start=1):
        image = _interpolate(image, axis, Interpolation.between(image.shape[axis], new))
    return image


def resize_labels(labels: NDArray[Any], shape: tuple[int, int]) -> NDArray[Any]:
    """The nearest label for each pixel of `shape`: source index = floor(index * old length / new length), per axis."""
    rows, columns = (np.arange(new) * old // new for old, new in zip(labels.shape, shape, strict=True))
    return np.asarray(labels[np.ix_(rows, columns)])


def shrink(image: NDArray[Any], factor: int) -> NDArray[Any]:
    """Mean of each factor x factor block of a (..., Y, X) image, in the image's own number type.

    Blocks cut by the lower or right border average the pixels they have; integers are rounded.
    """
    planes = image.reshape(-1, *image.shape[-2:])
    short = image.dtype.kind in "ui" and image.dtype.itemsize <= 4
    small = _shrunk_integers(np.ascontiguousarray(planes), factor) if short else _shrunk(planes, factor)
    return small.reshape(*image.shape[:-2], *small.shape[-2:])


def _shrunk(image: NDArray[Any], factor: int) -> NDArray[Any]:
    """`shrink` for any number type, of planes (C, Y, X)."""
    channels, height, width = image.shape
    total = np.zeros((channels, -(-height // factor), -(-width // factor)), np.float64)
    for dy, dx in product(range(factor), repeat=2):
        part = image[:, dy::factor, dx::factor]
        total[:, : part.shape[1], : part.shape[2]] += part
    mean = total / np.outer(_block_lengths(height, factor), _block_lengths(width, factor))
    return np.asarray((np.rint(mean) if image.dtype.kind in "ui" else mean).astype(image.dtype))


@compiled
def _shrunk_integers(image: NDArray[Any], factor: int) -> NDArray[Any]:
    """The same for integers of at most 32 bits, in a fraction of the time."""
    channels, height, width = image.shape
    small = np.empty((channels, -(-height // factor), -(-width // factor)), image.dtype)
    totals = np.empty(width, np.int64)
    for channel in range(channels):
        for row in range(small.shape[1]):
            lines = image[channel, row * factor : (row + 1) * factor]
            totals[:] = 0
            for y in range(len(lines)):
                _add_line(totals, lines[y])
            _mean_of_blocks(totals, factor, len(lines), small[channel, row])
    return small


@compiled
def _add_line(totals: NDArray[np.int64], line: NDArray[Any]) -> None:
    for x in range(line.size):
        totals[x] += line[x]


@compiled
def _mean_of_blocks(totals: NDArray[np.int64], factor: int, lines: int, means: NDArray[Any]) -> None:
    """Means of `factor` columns each, of which the last may have fewer. totals: of so many lines."""
    whole = totals.size // factor
    blocks = totals[: whole * factor].reshape(whole, factor)
    for column in range(whole):
        total = 0
        for x in range(factor):
            total += blocks[column, x]
        means[column] = np.rint(total / (lines * factor))
    if whole < means.size:
        rest = totals[whole * factor :]
        means[whole] = np.rint(rest.sum() / (lines * rest.size))


def shrink_labels(labels: NDArray[Any], factor: int) -> NDArray[Any]:
    """The label just above and left of the centre of each factor x factor block of a (..., Y, X) label image."""
    rows, columns = (
        np.minimum(np.arange(0, length, factor) + (factor - 1) // 2, length - 1) for length in labels.shape[-2:]
    )
    return np.asarray(labels[..., rows[:, None], columns])


def _interpolate(image: NDArray[np.float32], axis: int, along: Interpolation) -> NDArray[np.float32]:
    first, second = np.take(image, along.before, axis), np.take(image, along.after, axis)
    share = np.expand_dims(along.share, tuple(range(1, image.ndim - axis)))
    return first + share * (second - first)


def _block_lengths(length: int, factor: int) -> NDArray[np.int64]:
    """How many of `length` pixels fall into each block of `factor`; only the last block can be shorter."""
    starts = np.arange(0, length, factor, dtype=np.int64)
    return np.minimum(factor, length - starts)
