"""How good is a picture? Focus, saturation and background of one channel of one field."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pipeline_lib.core.histograms import Histogram, percentiles

FULL_SCALES = tuple(2**bits - 1 for bits in (8, 10, 12, 14, 16))
BACKGROUND_PERCENTILE = 5.0
NOISE_MASK = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)  # blind to planes and edges, not to noise


def _impulse(size: int = 15) -> NDArray[np.float64]:
    """A single bright pixel after the Gaussian of `focus`."""
    picture = np.zeros((size, size))
    picture[size // 2, size // 2] = 1.0
    return np.asarray(ndimage.gaussian_filter(picture, 1.0))


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
    picture = channel.astype(np.float32)
    masked = ndimage.convolve(picture, NOISE_MASK)
    noise = float(np.square(masked).mean(dtype=np.float64) / np.square(NOISE_MASK).sum())
    smooth = ndimage.gaussian_filter(picture, 1.0)
    spread = float(smooth.var(dtype=np.float64)) - noise * SMOOTH_GAIN
    if spread <= noise * SMOOTH_GAIN:
        return float("nan")
    edges = float(ndimage.laplace(smooth).var(dtype=np.float64)) - noise * LAPLACE_GAIN
    return max(edges, 0.0) / spread


def saturation(channel: NDArray[np.generic]) -> float:
    """Share of pixels at full scale: the largest value, where that is the full scale of a camera; 0 for floats."""
    brightest = channel.max()
    if channel.dtype.kind not in "ui" or int(brightest) not in FULL_SCALES:
        return 0.0
    return float(np.count_nonzero(channel == brightest)) / channel.size
