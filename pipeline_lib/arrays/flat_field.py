"""How unevenly a channel is lit: flat and dark field, estimated from a sample of fields.

Cells lie anywhere, so the light at every pixel of a sample of fields is drawn from one distribution. Two estimates rest
on that:

* The dark field, one number, the counts of the camera without light. Sorted over the fields, the counts of a pixel less
  this number are multiples of its flat field, whatever their rank. So it is searched for on a line: where the order
  statistics, seen as images, are most nearly a matrix of rank one, which is what BaSiC decomposes them for.
* The flat field, a polynomial. It is the one that makes all counts together most alike, that is, most likely under
  their own histogram (least entropy, as bias fields are found in magnetic resonance: Likar et al. 2001,
  doi:10.1109/42.974934). Unlike means, histograms do not mind that there are more cells here than there.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any

import numpy as np
from numpy.polynomial import legendre
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d
from scipy.optimize import minimize, minimize_scalar
from skimage.transform import resize_local_mean

from pipeline_lib.arrays.illumination import LEAST, Float, Illumination

SIDE = 128  # pixels a sampled image is shrunk to: less than a nucleus, so that cells and background stay apart
DEGREE = 4  # of the polynomials, as vendors have it

GROUPS = 12  # order statistics are averaged in so many groups of neighbours
BRIGHTEST = 0.02  # share of the sorted values at either end that are left out: debris, dead pixels
STIFFNESS = 0.1  # of the flat field against bending while the dark field is searched for
ROUNDS = 12
TUNING = 2.0  # scatters beyond which a value counts less (Huber)

BINS = 256
SMOOTHING = 2.0  # bins: sigma of the histogram's smoothing
SOFT = 0.01  # of the 99th percentile: intensities far below are binned linearly, those above by their logarithm


def shrunk(image: NDArray[Any]) -> Float:
    """A field (Y, X) as the estimate wants it: means over the squares of a 128 x 128 grid."""
    height, width = image.shape
    size = (min(SIDE, height), min(SIDE, width))
    made: Float = resize_local_mean(image.astype(np.float64), size)  # type: ignore[no-untyped-call]
    return made


def estimate(fields: Iterable[Float], shape: tuple[int, int], dark: float | None = None) -> Illumination:
    """Flat and dark field of the given shape (Y, X), from `shrunk` fields of one channel.

    dark: the counts without light, where they are known.

    Raises:
        ValueError: Fewer than three fields, or no light in them.
    """
    stack = np.stack(list(fields))
    if len(stack) < 3:
        raise ValueError(f"{len(stack)} fields cannot tell how a channel is lit; 3 or more are needed, better 60")
    if not np.ptp(stack) > 0:
        raise ValueError("all sampled fields are of one grey value, which tells nothing of the light")
    black = _counts_without_light(stack) if dark is None else dark
    bending = _most_alike(stack - black)
    flat = np.exp(_basis(shape)[:, 1:] @ bending).reshape(shape)
    even = np.maximum(flat / flat.mean(), LEAST)
    return Illumination(even.astype(np.float32), np.full(shape, black, np.float32))


def _counts_without_light(stack: Float) -> float:
    """Where order statistics, less these counts, are multiples of one flat field as nearly as they can be."""
    coarse = stack[:, ::2, ::2]
    statistics, basis = _order_statistics(coarse), _basis(coarse.shape[1:])
    found = minimize_scalar(
        lambda dark: _scatter(statistics - dark, basis),
        bounds=(min(0.0, statistics.min()), statistics.min()),
        method="bounded",
        options={"xatol": 1e-3 * np.ptp(statistics)},
    )
    return float(found.x)


def _order_statistics(stack: Float) -> Float:
    """(K, pixels): the values of each pixel over the fields, sorted, in groups of neighbours, from dark to bright."""
    count = len(stack)
    left_out = int(np.ceil(BRIGHTEST * count)) if count > 2 * GROUPS else 0
    ranked = np.sort(stack.reshape(count, -1), axis=0)[left_out : count - left_out]
    return np.stack([group.mean(axis=0) for group in np.array_split(ranked, min(GROUPS, len(ranked)))])


def _scatter(statistics: Float, basis: Float) -> float:
    """How far order statistics are from multiples of one flat field: mean log scatter.

    The field is found by robust regression, by turns with the light of each statistic.
    """
    flat = np.eye(basis.shape[1])[0]
    weights = np.ones_like(statistics)
    for _ in range(ROUNDS):
        lit = basis @ flat
        light = (weights * lit * statistics).sum(axis=1) / (weights * lit**2).sum(axis=1)
        flat = _field(statistics, basis, light, weights)
        residual = statistics - light[:, None] * (basis @ flat)
        scatter = 1.4826 * np.median(np.abs(residual), axis=1, keepdims=True) + 1e-6 * np.ptp(statistics)
        weights = np.minimum(1, TUNING * scatter / np.maximum(np.abs(residual), 1e-12)) / scatter**2
    return float(np.log(scatter).mean())


def _field(statistics: Float, basis: Float, light: Float, weights: Float) -> Float:
    """The flat field that fits best for given lights: ridge regression, its first coefficient 1."""
    information = (weights * light[:, None] ** 2).sum(axis=0)
    matrix = basis.T @ (basis * information[:, None])
    bend = np.array([float((i + j) ** 2) for i, j in _degrees()])  # what bends more is likelier to be noise
    stiff = STIFFNESS * np.trace(matrix) / len(matrix) * bend
    solved = np.linalg.solve(matrix + np.diag(stiff), basis.T @ (weights * light[:, None] * statistics).sum(axis=0))
    return np.asarray(solved / solved[0])


def _most_alike(light: Float) -> Float:
    """Coefficients, without the constant one, of the logarithm of the flat field under which `light` is most alike.

    light: (fields, Y, X), without the dark counts.
    """
    basis = _basis(light.shape[1:])[:, 1:]
    basis = basis - basis.mean(axis=0)
    counts = np.maximum(light.reshape(len(light), -1), 0)
    soft = SOFT * float(np.percentile(counts, 99)) or 1.0

    def unlikeliness(bending: Float) -> tuple[float, Float]:
        even = counts * np.exp(-(basis @ bending))
        value, slope = _entropy(even, soft)
        return value, -(slope * even).sum(axis=0) @ basis

    found = minimize(unlikeliness, np.zeros(basis.shape[1]), jac=True, method="L-BFGS-B")
    return np.asarray(found.x)


def _entropy(values: Float, soft: float) -> tuple[float, Float]:
    """Minus the mean log density of values under their own smoothed histogram, and its derivative by each of them.

    The histogram is over log(value + soft), which gives dim and bright values bins of their own width.
    """
    logs = np.log(values + soft)
    lowest, per_unit = np.log(soft), (BINS - 9) / (logs.max() - np.log(soft) + 1e-9)
    places = (logs - lowest) * per_unit + 4
    bins = places.astype(np.intp)
    beyond = places - bins
    counted = np.bincount(bins.ravel(), (1 - beyond).ravel(), BINS)
    counted += np.bincount((bins + 1).ravel(), beyond.ravel(), BINS)
    density = np.log((gaussian_filter1d(counted, SMOOTHING) + 1e-3) * per_unit / values.size)
    rise = np.diff(density)
    likelihood = density[bins] + beyond * rise[bins] - logs
    slope = (1 - rise[bins] * per_unit) / (values + soft) / values.size
    return -float(likelihood.mean()), slope


@cache
def _basis(shape: tuple[int, ...]) -> Float:
    """(pixels, terms): products of Legendre polynomials of y and x, up to `DEGREE` together; the first is 1."""
    y, x = (legendre.legvander((np.arange(n) + 0.5) / n * 2 - 1, DEGREE) for n in shape)
    return np.stack([np.outer(y[:, i], x[:, j]).ravel() for i, j in _degrees()], axis=1)


def _degrees() -> list[tuple[int, int]]:
    return [(n - k, k) for n in range(DEGREE + 1) for k in range(n + 1)]
