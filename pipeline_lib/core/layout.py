"""Where the fields of a well lie in the one image that they make together."""

from __future__ import annotations

import cmath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from statistics import median
from typing import Any

Place = tuple[float, float]
"""(y, x) of the upper left corner of a field, in pixels of the well's image."""
Places = Mapping[int, Place]


@dataclass(frozen=True)
class Layout:
    """The plate's own layout: every well has an image of this size, and its fields lie near these places.

    field: (Y, X) of a field; canvas: (Y, X) of the image of a well.
    """

    field: tuple[int, int]
    canvas: tuple[int, int]
    places: Places

    @staticmethod
    def of(field: tuple[int, int], places: Places) -> Layout:
        """The smallest canvas that holds fields at these places, whose upper left corner becomes (0, 0)."""
        top, left = (min(place[axis] for place in places.values()) for axis in (0, 1))
        moved = {number: (y - top, x - left) for number, (y, x) in places.items()}
        height, width = (max(place[axis] for place in moved.values()) + field[axis] for axis in (0, 1))
        return Layout(field, (ceil(height), ceil(width)), moved)

    def to_json(self) -> dict[str, Any]:
        places = {str(number): list(place) for number, place in self.places.items()}
        return {"field": list(self.field), "canvas": list(self.canvas), "places": places}

    @staticmethod
    def from_json(content: Mapping[str, Any]) -> Layout:
        places = {int(number): (y, x) for number, (y, x) in content["places"].items()}
        (height, width), (canvas_height, canvas_width) = content["field"], content["canvas"]
        return Layout((height, width), (canvas_height, canvas_width), places)


def grid_places(fields: Sequence[int], field: tuple[int, int], columns: int, overlap: float, *, snake: bool) -> Places:
    """Fields in rows of `columns`, in their order, neighbours sharing `overlap` of a side.

    snake: every second row runs from right to left.
    """
    steps = [length * (1 - overlap) for length in field]
    places = {}
    for index, number in enumerate(sorted(fields)):
        row, column = divmod(index, columns)
        places[number] = (row * steps[0], (columns - 1 - column if snake and row % 2 else column) * steps[1])
    return places


def usual_places(wells: Sequence[Places]) -> Places:
    """The median place of each field over wells, each moved onto the one with most fields, if it has any of them."""
    most = max(wells, key=len)
    moved = [_moved_onto(most, places) if most.keys() & places.keys() else places for places in wells]
    numbers = sorted({number for places in moved for number in places})
    return {
        number: (
            median(places[number][0] for places in moved if number in places),
            median(places[number][1] for places in moved if number in places),
        )
        for number in numbers
    }


def fitted(places: Places, layout: Layout) -> Places:
    """A well's own places, moved as a whole so that they lie on the plate's layout as well as they can."""
    return _moved_onto(layout.places, places)


def corners(places: Places) -> dict[int, tuple[int, int]]:
    """The pixel at which each field begins. All are moved alike by less than one, so that rounding changes them least.

    What all places have in common after their decimal point, their circular mean, says nothing of how they fit.
    """
    common = [_common_fraction([place[axis] for place in places.values()]) for axis in (0, 1)]
    return {number: (round(y - common[0]), round(x - common[1])) for number, (y, x) in places.items()}


def _common_fraction(values: Sequence[float]) -> float:
    """In -0.5..0.5."""
    turns = sum(cmath.exp(2j * cmath.pi * value) for value in values)
    return cmath.phase(turns) / (2 * cmath.pi)


def _moved_onto(others: Places, places: Places) -> Places:
    """Places moved as a whole by the median distance of the fields that both have, of which there must be one."""
    shared = [number for number in places if number in others]
    y, x = (median(others[number][axis] - places[number][axis] for number in shared) for axis in (0, 1))
    return {number: (place[0] + y, place[1] + x) for number, place in places.items()}
