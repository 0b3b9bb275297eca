"""How good is a picture? Focus, saturation and background of one channel of one field."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline_lib.core.compiled import compiled, inlined
from pipeline_lib.core.histograms import Histogram, percentiles

FULL_SCALES = tuple(2**bits - 1 for bits in (8, 10, 12, 14, 16))
BACKGROUND_PERCENTILE = 5.0
EXACT = 16  # rows after which sums of 32 bits are added to those of 64
NOISE_MASK_ENERGY = 36.0  # sum of the squares of 1 -2 1, -2 4 -2, 1 -2 1: blind to planes and edges, not to noise


def _gaussian(sigma: float = 1.0, radius: int = 4) -> NDArray[np.float64]:
    """The weights along one axis that `scipy.ndimage.gaussian_filter` uses."""
    weights = np.exp(-0.5 * np.square(np.arange(-radius, radius + 1) / sigma))
    return np.asarray(weights / weights.sum())


def _energy(picture: NDArray[np.float64]) -> float:
    """By what a filter that answers to one bright pixel with this picture multiplies the variance of white noise."""
    return float(np.square(picture).sum())


_ALONG = np.pad(_gaussian(), 1)
_BENT = np.convolve(_ALONG, [1, -2, 1], "same")
TAPS = _gaussian().astype(np.float32)
SMOOTH_GAIN = _energy(np.outer(_ALONG, _ALONG))  # of the Gaussian
LAPLACE_GAIN = _energy(np.outer(_BENT, _ALONG) + np.outer(_ALONG, _BENT))  # and of the Laplacian after it


@dataclass(frozen=True)
class Quality:
    """What a channel of a field looks like.

    focus: higher is sharper, no unit, NaN without structure. saturation: share of pixels at full scale, 0..1.
    background: intensity.
    """

    focus: float
    saturation: float
    background: float


def quality(channel: NDArray[np.generic], counted: Histogram) -> Quality:
    """Quality of one channel (Y, X), whose histogram is at hand."""
    return Quality(focus(channel), saturation(channel), percentiles(counted, [BACKGROUND_PERCENTILE])[0])


def focus(channel: NDArray[np.generic]) -> float:
    """Variance of the Laplacian over the variance of the picture, after a Gaussian of 1 pixel, noise taken out of both.

    Unlike the plain variance of the Laplacian (Pech-Pacheco et al. 2000) it changes neither with exposure nor with
    offset, and noise does not pass for sharpness. NaN where the picture shows nothing but noise. The noise is that of
    Immerkaer (1996).
    """
    bent, total, squares, edges = _sums(np.ascontiguousarray(channel), TAPS) / channel.size
    noise = bent / NOISE_MASK_ENERGY
    spread = squares - total**2 - noise * SMOOTH_GAIN
    if spread <= noise * SMOOTH_GAIN:
        return float("nan")
    return float(max(edges - noise * LAPLACE_GAIN, 0.0) / spread)


def saturation(channel: NDArray[np.generic]) -> float:
    """Share of pixels at full scale: the largest value, where that is the full scale of a camera; 0 for floats."""
    brightest = channel.max()
    if channel.dtype.kind not in "ui" or int(brightest) not in FULL_SCALES:
        return 0.0
    return float(np.count_nonzero(channel == brightest)) / channel.size


# What `scipy.ndimage` does with its default border (pictures are mirrored at their edges), row by row, so that a row
# stays in the processor's cache until it is done with: a tenth of the time. Loops over columns use vector instructions.


@compiled
def _sums(picture: NDArray[Any], taps: NDArray[np.float32]) -> NDArray[np.float64]:
    """Four sums over a picture (Y, X), of what `focus` needs.

    Of the squares under the mask of noise; and, after the Gaussian, of the values less the first of them, of the
    squares of these, and of the squares of the Laplacian, whose own sum is 0.
    """
    height, width = picture.shape
    rows = np.empty((9, width), np.float32)  # of the picture, around the one that is filtered
    smooth = np.empty((3, width + 2), np.float32)  # the last rows after the Gaussian, with a pixel more on both sides
    down = np.empty(width + 8, np.float32)
    bent = np.empty(width + 2, np.float32)
    recent, sums = np.zeros((4, width), np.float32), np.zeros((4, width), np.float64)
    first = np.float32(0)
    for y in range(-4, 4):
        _load(rows[y % 9], picture[_mirrored(y, height)])
    for y in range(height + 1):
        newest = smooth[y % 3]
        if y < height:
            _load(rows[(y + 4) % 9], picture[_mirrored(y + 4, height)])
            _filter_down(rows, y, taps, down, bent)
            _filter_along(down, taps, newest)
            _add_noise(bent, recent[0])
        else:
            newest[:] = smooth[(y - 1) % 3]
        if y == 0:
            smooth[2] = newest
            first = newest[1]
        else:
            _add(smooth[(y - 2) % 3], smooth[(y - 1) % 3], newest, first, recent[1:])
        if y % EXACT == 0 or y == height:
            sums += recent
            recent[:] = 0
    return np.asarray(sums.sum(axis=1))


@inlined
def _mirrored(index: int, length: int) -> int:
    """Where an index beyond a mirrored edge leads."""
    turn = index % (2 * length)
    return turn if turn < length else 2 * length - 1 - turn


@compiled
def _load(target: NDArray[np.float32], row: NDArray[Any]) -> None:
    for x in range(row.size):
        target[x] = row[x]


@compiled
def _filter_down(
    rows: NDArray[np.float32], y: int, taps: NDArray[np.float32], down: NDArray[np.float32], bent: NDArray[np.float32]
) -> None:
    """Row `y` after the vertical part of the Gaussian, and of the mask of noise; with mirrored edges."""
    a, b, c, d, e = rows[(y - 4) % 9], rows[(y - 3) % 9], rows[(y - 2) % 9], rows[(y - 1) % 9], rows[y % 9]
    f, g, h, i = rows[(y + 1) % 9], rows[(y + 2) % 9], rows[(y + 3) % 9], rows[(y + 4) % 9]
    middle, one, two, three, four = taps[4], taps[5], taps[6], taps[7], taps[8]
    width = e.size
    for x in range(width):
        near = middle * e[x] + one * (d[x] + f[x]) + two * (c[x] + g[x])
        down[x + 4] = near + three * (b[x] + h[x]) + four * (a[x] + i[x])
    for x in range(width):
        bent[x + 1] = d[x] + f[x] - np.float32(2) * e[x]
    for x in range(4):
        down[x] = down[4 + _mirrored(x - 4, width)]
        down[4 + width + x] = down[4 + _mirrored(width + x, width)]
    bent[0], bent[width + 1] = bent[1], bent[width]


@compiled
def _filter_along(down: NDArray[np.float32], taps: NDArray[np.float32], smooth: NDArray[np.float32]) -> None:
    """The horizontal part of the Gaussian."""
    middle, one, two, three, four = taps[4], taps[5], taps[6], taps[7], taps[8]
    width = smooth.size - 2
    for x in range(width):
        near = middle * down[x + 4] + one * (down[x + 3] + down[x + 5]) + two * (down[x + 2] + down[x + 6])
        smooth[x + 1] = near + three * (down[x + 1] + down[x + 7]) + four * (down[x] + down[x + 8])
    smooth[0], smooth[width + 1] = smooth[1], smooth[width]


@compiled
def _add_noise(bent: NDArray[np.float32], squares: NDArray[np.float32]) -> None:
    """The horizontal part of the mask of noise."""
    for x in range(squares.size):
        masked = bent[x] - np.float32(2) * bent[x + 1] + bent[x + 2]
        squares[x] += masked * masked


@compiled
def _add(
    above: NDArray[np.float32],
    here: NDArray[np.float32],
    below: NDArray[np.float32],
    first: np.float32,
    sums: NDArray[np.float32],
) -> None:
    """Add a row's values, their squares, and the squares of its Laplacian."""
    values, squares, edges = sums[0], sums[1], sums[2]
    for x in range(values.size):
        value = here[x + 1] - first
        edge = above[x + 1] + below[x + 1] + here[x] + here[x + 2] - np.float32(4) * here[x + 1]
        values[x] += value
        squares[x] += value * value
        edges[x] += edge * edge
