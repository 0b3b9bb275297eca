"""How good is a picture? Focus, saturation and background of one channel of one field."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pipeline_lib.core.compiled import compiled, inlined
from pipeline_lib.core.histograms import Histogram, percentiles

FULL_SCALES = tuple(2**bits - 1 for bits in (8, 10, 12, 14, 16))
BACKGROUND_PERCENTILE = 5.0
NOISE_MASK_ENERGY = 36.0  # sum of the squares of 1 -2 1, -2 4 -2, 1 -2 1: blind to planes and edges, not to noise


def _impulse(size: int = 15) -> NDArray[np.float64]:
    """A single bright pixel after the Gaussian of `focus`."""
    picture = np.zeros((size, size))
    picture[size // 2, size // 2] = 1.0
    return np.asarray(ndimage.gaussian_filter(picture, 1.0))


TAPS = _impulse()[7, 3:12].astype(np.float32)
TAPS /= TAPS.sum()
SMOOTH_GAIN = float(np.square(_impulse()).sum())  # variance of white noise after the Gaussian
LAPLACE_GAIN = float(np.square(ndimage.laplace(_impulse())).sum())  # and after the Laplacian


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
    picture = np.ascontiguousarray(channel)
    smooth = _smoothed(picture, TAPS)
    noise = _mean_square_of_noise(picture) / NOISE_MASK_ENERGY
    variance, edge_variance = _variances(smooth)
    spread = variance - noise * SMOOTH_GAIN
    if spread <= noise * SMOOTH_GAIN:
        return float("nan")
    return max(edge_variance - noise * LAPLACE_GAIN, 0.0) / spread


def saturation(channel: NDArray[np.generic]) -> float:
    """Share of pixels at full scale: the largest value, where that is the full scale of a camera; 0 for floats."""
    brightest = channel.max()
    if channel.dtype.kind not in "ui" or int(brightest) not in FULL_SCALES:
        return 0.0
    return float(np.count_nonzero(channel == brightest)) / channel.size


# What `scipy.ndimage` does with its default border (pictures are mirrored at their edges), in one pass each: a fifth of
# the time. Sums are kept per column, so that loops over columns use vector instructions.


@inlined
def _mirrored(index: int, length: int) -> int:
    """Where an index beyond a mirrored edge leads."""
    turn = index % (2 * length)
    return turn if turn < length else 2 * length - 1 - turn


@compiled
def _smoothed(picture: NDArray[Any], taps: NDArray[np.float32]) -> NDArray[np.float32]:
    """The picture (Y, X) after a symmetric filter along both axes. taps: its nine weights.

    Nine rows at a time are kept as floats, so that each is converted once.
    """
    height, width = picture.shape
    middle, one, two, three, four = taps[4], taps[5], taps[6], taps[7], taps[8]
    rows = np.empty((9, width), np.float32)
    down = np.empty(width + 8, np.float32)
    smooth = np.empty(picture.shape, np.float32)
    for y in range(-8, height):
        rows[(y + 4) % 9] = picture[_mirrored(y + 4, height)]
        if y < 0:
            continue
        a, b, c, d, e = rows[(y - 4) % 9], rows[(y - 3) % 9], rows[(y - 2) % 9], rows[(y - 1) % 9], rows[y % 9]
        f, g, h, i = rows[(y + 1) % 9], rows[(y + 2) % 9], rows[(y + 3) % 9], rows[(y + 4) % 9]
        for x in range(width):
            near = middle * e[x] + one * (d[x] + f[x]) + two * (c[x] + g[x])
            down[x + 4] = near + three * (b[x] + h[x]) + four * (a[x] + i[x])
        for x in range(4):
            down[x] = down[4 + _mirrored(x - 4, width)]
            down[4 + width + x] = down[4 + _mirrored(width + x, width)]
        for x in range(width):
            near = middle * down[x + 4] + one * (down[x + 3] + down[x + 5]) + two * (down[x + 2] + down[x + 6])
            smooth[y, x] = near + three * (down[x + 1] + down[x + 7]) + four * (down[x] + down[x + 8])
    return smooth


@compiled
def _mean_square_of_noise(picture: NDArray[Any]) -> float:
    """Mean square of the picture (Y, X) under the mask 1 -2 1, -2 4 -2, 1 -2 1."""
    height, width = picture.shape
    down = np.empty(width + 2, np.float32)
    squares = np.zeros(width, np.float64)
    for y in range(height):
        above, here, below = picture[max(y - 1, 0)], picture[y], picture[min(y + 1, height - 1)]
        for x in range(width):
            down[x + 1] = np.float32(above[x]) - np.float32(2) * np.float32(here[x]) + np.float32(below[x])
        down[0], down[width + 1] = down[1], down[width]
        for x in range(width):
            masked = down[x] - np.float32(2) * down[x + 1] + down[x + 2]
            squares[x] += masked * masked
    return float(squares.sum() / picture.size)


@compiled
def _variances(smooth: NDArray[np.float32]) -> tuple[float, float]:
    """Variance of a picture (Y, X) and of its Laplacian."""
    height, width = smooth.shape
    first = smooth[0, 0]
    row = np.empty(width + 2, np.float32)
    sums, squares = np.zeros(width, np.float64), np.zeros(width, np.float64)
    edges, edge_squares = np.zeros(width, np.float64), np.zeros(width, np.float64)
    for y in range(height):
        above, below = smooth[max(y - 1, 0)], smooth[min(y + 1, height - 1)]
        row[1 : width + 1] = smooth[y]
        row[0], row[width + 1] = row[1], row[width]
        for x in range(width):
            value = row[x + 1] - first
            edge = above[x] + below[x] + row[x] + row[x + 2] - np.float32(4) * row[x + 1]
            sums[x] += value
            squares[x] += value * value
            edges[x] += edge
            edge_squares[x] += edge * edge
    size = smooth.size
    variance = squares.sum() / size - (sums.sum() / size) ** 2
    return variance, edge_squares.sum() / size - (edges.sum() / size) ** 2
