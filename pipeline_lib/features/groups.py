"""Groups of features of single objects: CellProfiler's measurements, most of them as cp_measure computes them.

Features are named as in CellProfiler, without object and channel: ``AreaShape_Area``,
``RadialDistribution_MeanFrac_1of4``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np
from cp_measure.core.measuregranularity import get_granularity
from cp_measure.core.measureobjectintensity import get_intensity
from cp_measure.core.measureobjectsizeshape import get_feret, get_sizeshape
from cp_measure.core.measuretexture import get_texture
from numpy.typing import NDArray

from pipeline_lib.features.correlation import correlation
from pipeline_lib.features.radial import radial_distribution

LabelImage = NDArray[np.int32]
Pixels = NDArray[np.float64]
Features = dict[str, NDArray[np.float64]]


@dataclass(frozen=True)
class FeatureGroup:
    """Features that are computed together.

    Attributes:
        compute: Labels 1..n (n > 0, no gaps) and the pixels of as many channels as it looks at, all (Y, X), to one (n,)
            array per feature.
        channels: How many it looks at: every channel, or every pair of them, has its features; 0: none.
    """

    compute: Callable[..., Mapping[str, NDArray[np.float64]]]
    channels: int = 1


def _location(labels: LabelImage) -> Features:
    y, x = np.nonzero(labels)
    numbers = labels[y, x]
    area = np.bincount(numbers)[1:]
    return {f"Location_Center_{axis}": np.bincount(numbers, at)[1:] / area for axis, at in (("X", x), ("Y", y))}


def _shape(labels: LabelImage) -> Features:
    sizes = get_sizeshape(labels, None, calculate_advanced=False, new_features=False)
    return _prefixed("AreaShape_", sizes | get_feret(labels, None))


def _intensity(labels: LabelImage, pixels: Pixels) -> Features:
    features = get_intensity(labels, pixels)
    return {name: values for name, values in features.items() if not name.endswith("_Z")}


def _texture(labels: LabelImage, pixels: Pixels) -> Features:
    return _prefixed("Texture_", get_texture(labels, np.clip(pixels, 0.0, 1.0)))


def _prefixed(prefix: str, features: Features) -> Features:
    return {prefix + name: values for name, values in features.items()}


LOCATION = FeatureGroup(_location, channels=0)
"""Where an object is. Every table has it."""

FEATURE_GROUPS: Mapping[str, FeatureGroup] = {
    "shape": FeatureGroup(_shape, channels=0),
    "intensity": FeatureGroup(_intensity),
    "radial": FeatureGroup(radial_distribution),
    "texture": FeatureGroup(_texture),
    "granularity": FeatureGroup(get_granularity),
    "correlation": FeatureGroup(correlation, channels=2),
}
"""The groups a user chooses from.

* shape: size, axes, outline and Feret diameters; no moments and Zernike polynomials.
* intensity: sum, mean, quantiles and edge of the intensities, and where they lie.
* radial: share, density and evenness of the intensity in 4 rings between an object's innermost point and its edge.
* texture: Haralick's features, of 256 grey levels over 0..1 (pixels beyond are clipped), 3 pixels apart, in 4
  directions. Slow, some 50 ms, for each object with pixels above 0.4.
* granularity: percentage of the intensity that each of 16 growing openings takes away.
* correlation: of every two channels over the pixels of an object, and the slope of the second on the first.
"""


@cache
def feature_names(group: FeatureGroup) -> tuple[str, ...]:
    """Names of a group's features. They do not depend on the objects, so a single small one tells them."""
    labels = np.pad(np.ones((8, 8), dtype=np.int32), 4)
    return tuple(measure(group, labels, *[labels / 2] * group.channels))


def measure(group: FeatureGroup, labels: LabelImage, *pixels: Pixels) -> Features:
    """Features of objects 1..n in the channels of the group, where n may be 0.

    What an object does not define (a texture of one pixel) is NaN.
    """
    if not labels.any():
        return {name: np.empty(0) for name in feature_names(group)}
    with np.errstate(divide="ignore", invalid="ignore"):
        features = group.compute(labels, *pixels)
    return {name: np.where(np.isfinite(values), values, np.nan) for name, values in features.items()}
