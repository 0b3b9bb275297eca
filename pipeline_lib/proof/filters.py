"""Classical filters that networks have to beat, each at several settings: method -> setting -> what it does.

A filter takes a (Y, X) float32 image and the diameter of its objects in pixels, and gives a filtered image. Widths grow
with the objects, as they do for a network: they are told in pixels of an image whose objects measure 30.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import convolve, gaussian_filter, median_filter
from skimage.restoration import denoise_nl_means

Plane = NDArray[np.float32]
Restore = Callable[[Plane, float], Plane]

_USUAL_DIAMETER = 30.0
_WIDEST = 7  # pixels; a median over more takes seconds, and its objects would be larger than 100 pixels
_PATCH, _DISTANCE = 5, 6  # pixels: of non-local means, as in scikit-image's example
_CHECKER = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)


def noise_of(image: Plane) -> float:
    """The standard deviation of white noise on an image (Y, X), by what is left of second differences.

    Immerkaer 1996, "Fast noise variance estimation".
    """
    left = np.abs(convolve(image, _CHECKER, mode="mirror")).mean()
    return float(np.sqrt(np.pi / 2) * left / 6)


def _gaussian(sigma: float, image: Plane, diameter: float) -> Plane:
    return np.asarray(gaussian_filter(image, sigma * diameter / _USUAL_DIAMETER), np.float32)


def _median(radius: float, image: Plane, diameter: float) -> Plane:
    pixels = int(np.clip(round(radius * diameter / _USUAL_DIAMETER), 1, _WIDEST))
    offsets = np.arange(-pixels, pixels + 1)
    disk = offsets[:, None] ** 2 + offsets**2 <= pixels**2
    return np.asarray(median_filter(image, footprint=disk), np.float32)


def _non_local(strength: float, image: Plane, _: float) -> Plane:
    """Patches are as alike as `strength` times the noise allows."""
    sigma = noise_of(image)
    options = {"patch_size": _PATCH, "patch_distance": _DISTANCE, "fast_mode": True}
    return np.asarray(denoise_nl_means(image, h=strength * sigma, sigma=sigma, **options), np.float32)


FILTERS: Mapping[str, Mapping[str, Restore]] = {
    "gaussian": {f"sigma {sigma:g}": partial(_gaussian, sigma) for sigma in (1, 2, 3, 5)},
    "median": {f"radius {radius:g}": partial(_median, radius) for radius in (2, 4, 6)},
    "non-local means": {f"h {strength:g}": partial(_non_local, strength) for strength in (0.6, 1, 2)},
}
