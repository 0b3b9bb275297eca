"""Fields that overlap, put together: how far each must be moved to fit its neighbours, and how they are blended.

Neighbours are compared by phase correlation on what they share; the moves of all fields together are the weighted least
squares solution of all comparisons (as in Preibisch et al. 2009, doi:10.1093/bioinformatics/btp184), robust against
comparisons that went wrong.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray
from skimage.registration import phase_cross_correlation

from pipeline_lib.arrays.normalise import to_dtype
from pipeline_lib.core.compiled import compiled
from pipeline_lib.core.layout import Place, Places

Plane = NDArray[np.float32]
Window = tuple[slice, slice]

NARROWEST = 16  # px: what two fields share must be so wide to be compared
FINENESS = 20  # parts of a pixel in which shifts are told
LEAST_LIKENESS = 0.3  # correlation of the shared parts, below which a comparison does not count
TRUST = 1e-3  # weight of the stage against a comparison of likeness 1
OUTLIER = 1.0  # px that a comparison may be off before it counts less
ROUNDS = 10


@dataclass(frozen=True)
class Comparison:
    """Field `second` should lie at `offset` (y, x) from field `first`. likeness: correlation of what they share."""

    first: int
    second: int
    offset: Place
    likeness: float


def neighbours(places: Places, field: tuple[int, int]) -> Iterator[tuple[int, int]]:
    """Pairs of fields that share at least 16 pixels in both directions."""
    for first, second in combinations(sorted(places), 2):
        shared = [field[axis] - abs(places[first][axis] - places[second][axis]) for axis in (0, 1)]
        if min(shared) >= NARROWEST:
            yield first, second


def shared_windows(first: Place, second: Place, field: tuple[int, int]) -> tuple[Window, Window]:
    """The part of each of two fields that lies on the other one, to the nearest pixel."""
    steps = [round(second[axis] - first[axis]) for axis in (0, 1)]
    own = [slice(max(0, step), min(length, length + step)) for step, length in zip(steps, field, strict=True)]
    other = [slice(part.start - step, part.stop - step) for part, step in zip(own, steps, strict=True)]
    return (own[0], own[1]), (other[0], other[1])


def compare(first: Plane, second: Plane, largest: float) -> tuple[Place, float]:
    """How far `second` must be moved, (y, x), to fit `first`, both the shared part (Y, X); and their likeness then.

    A move of more than `largest` pixels in one direction does not count: its likeness is 0.
    """
    if not first.std() or not second.std():
        return (0.0, 0.0), 0.0
    move, _, _ = phase_cross_correlation(  # type: ignore[no-untyped-call]
        _faded(first), _faded(second), upsample_factor=FINENESS
    )
    y, x = (float(part) for part in move)
    if max(abs(y), abs(x)) > largest:
        return (y, x), 0.0
    return (y, x), _likeness(first, second, (round(y), round(x)))


def settle(places: Places, comparisons: Iterable[Comparison]) -> Places:
    """The places at which all comparisons hold as well as they can; fields without any stay near where they were."""
    there = list(places)
    index = {number: row for row, number in enumerate(there)}
    start = np.array([places[number] for number in there], np.float64)
    trusted = [one for one in comparisons if one.likeness >= LEAST_LIKENESS]
    if not trusted:
        return dict(places)
    links = np.zeros((len(trusted), len(there)))
    for row, one in enumerate(trusted):
        links[row, [index[one.first], index[one.second]]] = -1, 1
    wanted = np.array([one.offset for one in trusted])
    likeness = np.array([one.likeness for one in trusted])
    settled = _least_squares(start, links, wanted, likeness)
    return {number: (float(y), float(x)) for number, (y, x) in zip(there, settled, strict=True)}


def blended(
    band: tuple[int, int, int],
    fields: Mapping[int, NDArray[Any]],
    corners: Mapping[int, tuple[int, int]],
    fill: float = 0.0,
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Rows of the image of a well, put together from its fields, which are blended linearly where they overlap.

    A pixel counts by how far it lies from the nearest edge of its field.

    Args:
        band: First row, number of rows, and width of the image.
        fields: Field -> (Z, Y, X); at least one.
        corners: Field -> (y, x) of its upper left pixel in the image; what lies outside is left out.
        fill: What stands where no field is.

    Returns:
        (Z, rows, width) in the number type of the fields, integers rounded; and where a field is, (rows, width).
    """
    top, rows, width = band
    some = next(iter(fields.values()))
    total = np.zeros((len(some), rows, width), np.float32)
    weight = np.zeros((rows, width), np.float32)
    for number, image in fields.items():
        y, x = corners[number]
        _lay(image, y - top, x, total, weight)
    _divide(total, weight, fill)
    return to_dtype(total, some.dtype), weight > 0


@compiled
def _lay(image: NDArray[Any], y: int, x: int, total: NDArray[np.float32], weight: NDArray[np.float32]) -> None:
    """Add a field (Z, Y, X) whose upper left pixel lies at (y, x) to weighted totals and to weights."""
    depth, height, width = image.shape
    left, right = max(0, -x), min(width, weight.shape[1] - x)
    share = np.empty(width, np.float32)
    for line in range(max(0, -y), min(height, weight.shape[0] - y)):
        for column in range(width):
            share[column] = min(line + 1, height - line, column + 1, width - column)
        weights = weight[y + line, x + left : x + right]
        for column in range(right - left):
            weights[column] += share[left + column]
        for z in range(depth):
            pixels, totals = image[z, line, left:], total[z, y + line, x + left : x + right]
            for column in range(right - left):
                totals[column] += share[left + column] * pixels[column]


@compiled
def _divide(total: NDArray[np.float32], weight: NDArray[np.float32], fill: float) -> None:
    """Turn weighted totals (Z, rows, width) into means; `fill` where nothing weighs."""
    depth, rows, width = total.shape
    for z in range(depth):
        for y in range(rows):
            for x in range(width):
                total[z, y, x] = total[z, y, x] / weight[y, x] if weight[y, x] > 0 else fill


def _least_squares(
    start: NDArray[np.float64], links: NDArray[np.float64], wanted: NDArray[np.float64], likeness: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Places (n, 2) by iterated weights: comparisons that do not agree with the others lose theirs (Huber)."""
    places = start
    weights: NDArray[Any] = likeness**2
    for _ in range(ROUNDS):
        matrix = links.T @ (links * weights[:, None]) + TRUST * np.eye(len(start))
        places = np.linalg.solve(matrix, links.T @ (weights[:, None] * wanted) + TRUST * start)
        off = np.linalg.norm(links @ places - wanted, axis=1)
        weights = likeness**2 * np.minimum(1, OUTLIER / np.maximum(off, 1e-9)) ** 2
    return places


def _faded(part: Plane) -> Plane:
    """The part less its mean, darker towards its edges, which would otherwise correlate with themselves."""
    height, width = (np.hanning(n + 2)[1:-1] for n in part.shape)
    return np.asarray((part - part.mean()) * np.outer(height, width), np.float32)


def _likeness(first: Plane, second: Plane, move: tuple[int, int]) -> float:
    """Pearson's correlation of two parts, one of them moved, where both are; 0 where one of them is constant."""
    windows = shared_windows((0, 0), (float(move[0]), float(move[1])), (first.shape[0], first.shape[1]))
    own, other = first[windows[0]], second[windows[1]]
    if min(own.shape) < NARROWEST // 2 or not own.std() or not other.std():
        return 0.0
    return float(np.corrcoef(own.ravel(), other.ravel())[0, 1])
