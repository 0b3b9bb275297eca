"""How a channel is lit, and an image as it would be with the same light everywhere.

The model is that of BaSiC (Peng et al. 2017, doi:10.1038/ncomms14836): what a camera counts is flat * light + dark, and
flat and dark are the same in all fields. `pipeline_lib.arrays.flat_field` estimates them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline_lib.core.manifest import Profile

Float = NDArray[np.float64]

LEAST = 0.05  # of the mean; where a flat field would be darker nothing can be said of an image


@dataclass(frozen=True)
class Illumination:
    """Of one channel. flat: (Y, X), mean 1; dark: (Y, X), in counts."""

    flat: NDArray[np.float32]
    dark: NDArray[np.float32]


def correct(image: NDArray[Any], light: Illumination) -> NDArray[Any]:
    """(..., Y, X) as the camera would have counted with the mean light everywhere, in its own number type.

    The camera's counts without light are in the result as they are in the image, their mean everywhere.
    """
    even = (image.astype(np.float32) - light.dark) / light.flat + light.dark.mean()
    if not np.issubdtype(image.dtype, np.integer):
        return np.asarray(even.astype(image.dtype))
    limits = np.iinfo(image.dtype)
    return np.asarray(np.clip(np.rint(even), limits.min, limits.max).astype(image.dtype))


def flattened(bright: NDArray[Any], dark: NDArray[Any] | None = None) -> Illumination:
    """A microscope's own profile (Y, X), in whatever unit, with or without its dark image."""
    lit = np.maximum(bright / np.mean(bright), LEAST)
    black = np.zeros(bright.shape) if dark is None else dark
    return Illumination(lit.astype(np.float32), black.astype(np.float32))


def polynomial(profile: Profile, shape: tuple[int, int]) -> Float:
    """A microscope's own polynomial at every pixel of an image (Y, X)."""
    sides = zip(shape, profile.origin, profile.scale, strict=True)
    v, u = ((np.arange(length) - middle) * step for length, middle, step in sides)
    values = np.zeros(shape)
    for degree, row in enumerate(profile.coefficients):
        for k, coefficient in enumerate(row):
            values += coefficient * np.outer(v**k, u ** (degree - k))
    return values
