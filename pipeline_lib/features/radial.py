"""How intensity is distributed between the middle of an object and its edge.

CellProfiler's MeasureObjectIntensityDistribution, with centres inside the objects and 4 scaled rings; the numbers are
those of `cp_measure.core.measureobjectintensitydistribution.get_radial_distribution`, which needs ten times as long:
here all objects grow at once, in compiled sweeps over the image.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pipeline_lib.core.compiled import compiled

RINGS = 4
WEDGES = 8
_NEVER_ZERO = 0.001  # CellProfiler's constant: keeps 0 / 0 away, and the radius below 1

Floats = NDArray[np.float64]


def radial_distribution(labels: NDArray[np.int32], pixels: Floats) -> dict[str, Floats]:
    """Measure the rings of objects 1..n.

    A pixel's radius is its way to the object's centre, inside the object, as a share of the ways to centre and edge
    together. Pixels without such a way (other fragments of the object) do not count. The rim of the image is no edge.

    Args:
        labels: (Y, X), without gaps.
        pixels: (Y, X).

    Returns:
        (n,) per feature and ring, innermost first: ``FracAtD``, the share of the object's intensity; ``MeanFrac``,
        that share by the ring's share of the area; ``RadialCV``, the coefficient of variation among the mean
        intensities of 8 wedges. A ring without pixels has 0 in each. A black object has no shares: NaN.
    """
    y, x, place = _segments(labels)
    area, intensity = _sums(place, np.ones(len(place))), _sums(place, pixels[y, x])
    filled = area.any(axis=2)
    with np.errstate(divide="ignore", invalid="ignore"):
        share = _shares(intensity)
        features = {
            "FracAtD": share,
            "MeanFrac": np.where(filled, share / _shares(area), 0.0),
            "RadialCV": np.where(filled, _variation(area, intensity), 0.0),
        }
    return {
        f"RadialDistribution_{name}_{ring + 1}of{RINGS}": values[:, ring]
        for ring in range(RINGS)
        for name, values in features.items()
    }


def _segments(labels: NDArray[np.int32]) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
    """Pixels that count, y and x, and where each belongs: (object * RINGS + ring) * WEDGES + wedge, from 0."""
    depth, centers = _depth(labels)
    way = _ways(labels, centers)
    y, x = np.nonzero(np.isfinite(way))
    owner = labels[y, x] - 1
    ring = (way[y, x] / (way[y, x] + depth[y, x] + _NEVER_ZERO) * RINGS).astype(np.intp)
    down, right = y - centers[owner, 0], x - centers[owner, 1]
    wedge = 4 * (abs(down) > abs(right)) + 2 * (down > 0) + (right > 0)
    return y, x, (owner * RINGS + ring) * WEDGES + wedge


def _sums(place: NDArray[np.intp], weights: Floats) -> Floats:
    """Sum weights by place; (n, rings, wedges). The last object has its centre, so none is cut off."""
    size = RINGS * WEDGES
    count = -(-(int(place.max()) + 1) // size)
    return np.bincount(place, weights, minlength=count * size).astype(np.float64).reshape(count, RINGS, WEDGES)


def _shares(amounts: Floats) -> Floats:
    """What each ring holds of its object; (n, rings, wedges) to (n, rings)."""
    share: Floats = amounts.sum(axis=2) / amounts.sum(axis=(1, 2))[:, np.newaxis]
    return share


def _variation(area: Floats, intensity: Floats) -> Floats:
    """Standard deviation by mean of the wedges that have pixels; (n, rings), 0 where the mean is."""
    means = np.ma.masked_array(intensity, area == 0) / np.where(area > 0, area, 1)
    return np.asarray((means.std(axis=2) / means.mean(axis=2)).filled(0.0), dtype=np.float64)


def _depth(labels: NDArray[np.int32]) -> tuple[Floats, NDArray[np.intp]]:
    """Distance of each pixel to the nearest one outside its object, and the first deepest pixel of each, (n, 2)."""
    depth = np.zeros(labels.shape)
    boxes = ndimage.find_objects(labels)
    centers = np.empty((len(boxes), 2), dtype=np.intp)
    for index, box in enumerate(boxes):
        around = tuple(slice(max(side.start - 1, 0), side.stop + 1) for side in box)
        inside = labels[around] == index + 1
        own = ndimage.distance_transform_edt(inside)
        depth[around][inside] = own[inside]
        deepest = np.unravel_index(own.argmax(), own.shape)
        centers[index] = [at + side.start for at, side in zip(deepest, around, strict=True)]
    return depth, centers


@compiled
def _ways(labels: NDArray[np.int32], centers: NDArray[np.intp]) -> Floats:
    """Length of the shortest 8-connected way to the centre, inside the object; infinite where there is none."""
    way = np.full(labels.shape, np.inf)
    for y, x in centers:
        way[y, x] = 0.0
    shorter = True
    while shorter:
        shorter = _sweep(labels, way, 1) | _sweep(labels, way, -1)
    return way


@compiled
def _sweep(labels: NDArray[np.int32], way: Floats, step: int) -> bool:
    """Shorten ways in place by the neighbours already passed, from the top left (step 1) or the bottom right (-1)."""
    height, width = labels.shape
    first_y, first_x = (0, 0) if step == 1 else (height - 1, width - 1)
    shorter = False
    for i in range(height):
        y = first_y + step * i
        for j in range(width):
            x = first_x + step * j
            if labels[y, x] == 0:
                continue
            best = way[y, x]
            for dy, dx, length in ((0, -step, 1.0), (-step, 0, 1.0), (-step, -step, 2**0.5), (-step, step, 2**0.5)):
                v, u = y + dy, x + dx
                if 0 <= v < height and 0 <= u < width and labels[v, u] == labels[y, x]:
                    best = min(best, way[v, u] + length)
            if best < way[y, x]:
                way[y, x] = best
                shorter = True
    return shorter
