"""Who owns a pixel: nuclei are placed without overlap, bodies share the space around them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from skimage.measure import label

from pipeline_lib.synthesis.outlines import Outline, distance
from pipeline_lib.synthesis.population import Population, Shapes

Point = tuple[int, int]

_TRIES = 40
_COLONY_STEP = (1.6, 3.2)  # from a cell to its neighbour in a colony, in nucleus radii


@dataclass(frozen=True)
class Painted:
    """Outlines filled on one canvas.

    Attributes:
        labels: (Y, X), k for the k-th outline, counted from 1.
        depth: (Y, X), 0 at the centre of an outline, 1 on its edge, be it free or shared with a neighbour; 1 outside.
    """

    labels: NDArray[np.uint32]
    depth: NDArray[np.float32]


@dataclass(frozen=True)
class Layout:
    """The cells of a field; a nucleus and its cell have one label, and every label is in both images.

    Attributes:
        nuclei: The nuclei.
        cells: The whole cells, nuclei included, each in one piece.
        kept: (n,) indices of the cells that found room; label k is cell kept[k - 1].
        centres: (n, 2) y, x of their centres.
        angles: (n,) directions of their long axes, radians from the x axis towards the y axis.
    """

    nuclei: Painted
    cells: Painted
    kept: NDArray[np.intp]
    centres: NDArray[np.float32]
    angles: NDArray[np.float32]


def arrange(shape: tuple[int, int], shapes: Shapes, population: Population, rng: np.random.Generator) -> Layout:
    """Place the cells in a frame (Y, X); their centres lie inside it, their outlines may leave it."""
    room = [replace(outline, radius=population.spacing * outline.radius) for outline in shapes.nuclei]
    places = place_nuclei(shape, room, population.clustering, rng)
    nuclei = paint(shape, [shapes.nuclei[k] for k in places], places.values())
    bodies = paint(shape, [shapes.bodies[k] for k in places], places.values())
    cells = _one_piece(np.where(nuclei.labels > 0, nuclei.labels, bodies.labels), nuclei.labels)
    return Layout(
        nuclei,
        Painted(cells, bodies.depth),
        np.fromiter(places, np.intp),
        np.array(list(places.values()), np.float32).reshape(-1, 2),
        np.array([shapes.bodies[k].angle for k in places], np.float32),
    )


def place_nuclei(
    shape: tuple[int, int], nuclei: Sequence[Outline], clustering: float, rng: np.random.Generator
) -> dict[int, Point]:
    """Drop the nuclei one by one where no other lies.

    Returns:
        Index of the nucleus -> its centre (y, x), in rising order; those that found no room in 40 tries are missing.
    """
    margin = _margin(nuclei)
    taken = np.zeros((shape[0] + 2 * margin, shape[1] + 2 * margin), np.bool_)
    places: dict[int, Point] = {}
    for index, outline in enumerate(nuclei):
        inside = distance(outline) < 1
        for attempt in range(_TRIES):
            # A colony may be full, so the later tries are anywhere.
            beside = attempt < _TRIES // 2 and rng.random() < clustering
            place = _beside(places, outline.radius, rng) if beside and places else _anywhere(shape, rng)
            room = taken[_window(place, outline.reach, margin)]
            if _within(place, shape) and not (room & inside).any():
                room |= inside
                places[index] = place
                break
    return places


def paint(shape: tuple[int, int], outlines: Sequence[Outline], places: Iterable[Point]) -> Painted:
    """Fill the outlines; where they meet, a pixel goes to the one whose `distance` is smallest there."""
    margin = _margin(outlines)
    canvas = (shape[0] + 2 * margin, shape[1] + 2 * margin)
    labels = np.zeros(canvas, np.uint32)
    # The background is one more competitor, at distance 1 everywhere.
    first, second = np.ones(canvas, np.float32), np.ones(canvas, np.float32)
    for number, (outline, place) in enumerate(zip(outlines, places, strict=True), start=1):
        box = _window(place, outline.reach, margin)
        own = distance(outline)
        np.copyto(labels[box], np.uint32(number), where=own < first[box])
        np.minimum(second[box], np.maximum(first[box], own), out=second[box])
        np.minimum(first[box], own, out=first[box])
    frame = (slice(margin, margin + shape[0]), slice(margin, margin + shape[1]))
    # Two outlines may have one centre, where both distances are 0.
    depth = first[frame] / np.maximum(second[frame], np.float32(1e-6))
    return Painted(labels[frame].copy(), np.asarray(depth, np.float32))


def _one_piece(cells: NDArray[np.uint32], nuclei: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Clear the parts of cells that neighbours cut off from their nucleus."""
    pieces: NDArray[np.intp] = label(cells, connectivity=1)  # type: ignore[no-untyped-call]
    whole = np.zeros(pieces.max() + 1, np.bool_)
    whole[pieces[nuclei > 0]] = True
    return np.where(whole[pieces], cells, np.uint32(0))


def _anywhere(shape: tuple[int, int], rng: np.random.Generator) -> Point:
    return int(rng.integers(shape[0])), int(rng.integers(shape[1]))


def _beside(places: dict[int, Point], radius: float, rng: np.random.Generator) -> Point:
    """Pick a place beside a random cell; it may lie outside the frame."""
    keys = list(places)
    y, x = places[keys[rng.integers(len(keys))]]
    step, angle = radius * rng.uniform(*_COLONY_STEP), rng.uniform(0, 2 * math.pi)
    return round(y + step * math.sin(angle)), round(x + step * math.cos(angle))


def _within(place: Point, shape: tuple[int, int]) -> bool:
    return 0 <= place[0] < shape[0] and 0 <= place[1] < shape[1]


def _margin(outlines: Sequence[Outline]) -> int:
    """Border in px around the frame with which no window needs clipping."""
    return max((outline.reach for outline in outlines), default=0)


def _window(place: Point, reach: int, margin: int) -> tuple[slice, slice]:
    top, left = place[0] + margin - reach, place[1] + margin - reach
    return slice(top, top + 2 * reach + 1), slice(left, left + 2 * reach + 1)
