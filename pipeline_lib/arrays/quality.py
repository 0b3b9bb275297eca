"""How good is a picture? Focus, saturation and background of one channel of one field."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pipeline_lib.core.histograms import Histogram, percentiles

FULL_SCALES = tuple(2**bits - 1 for bits in (8, 10, 12, 14, 16))
BACKGROUND_PERCENTILE = 5.0


@dataclass(frozen=True)
class Quality:
    """focus: higher is sharper, no unit. saturation: share of pixels at full scale, 0..1. background: intensity."""

    focus: float
    saturation: float
    background: float


def quality(channel: NDArray[np.generic], counted: Histogram) -> Quality:
    """Quality of one channel (Y, X), whose histogram is at hand."""
    return Quality(focus(channel), saturation(channel), percentiles(counted, [BACKGROUND_PERCENTILE])[0])


def focus(channel: NDArray[np.generic]) -> float:
    """Variance of the Laplacian over the variance of the picture, both after a Gaussian of 1 pixel against noise.

    Unlike the plain variance of the Laplacian (Pech-Pacheco et al. 2000) it changes neither with exposure nor with
    offset. 0 for a constant picture.
    """
    smooth = ndimage.gaussian_filter(channel.astype(np.float32), 1.0)
    spread = float(smooth.var(dtype=np.float64))
    if spread == 0.0:
        return 0.0
    return float(ndimage.laplace(smooth).var(dtype=np.float64)) / spread


def saturation(channel: NDArray[np.generic]) -> float:
    """Share of pixels at full scale: the largest value, where that is the full scale of a camera; 0 for floats."""
    brightest = channel.max()
    if channel.dtype.kind not in "ui" or int(brightest) not in FULL_SCALES:
        return 0.0
    return float(np.count_nonzero(channel == brightest)) / channel.size
