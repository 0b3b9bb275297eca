"""Layouts of fields: by hand, as JSON, and the same wherever 0 is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_lib.core.layout import Layout, corners, fitted, grid_places, usual_places

numbers = st.floats(-1e4, 1e4)
places = st.dictionaries(st.integers(0, 30), st.tuples(numbers, numbers), min_size=1, max_size=9)


@given(places, st.integers(1, 500), st.integers(1, 500))
def test_a_canvas_just_holds_all_fields(of_well: dict[int, tuple[float, float]], height: int, width: int) -> None:
    layout = Layout.of((height, width), of_well)
    assert Layout.from_json(layout.to_json()) == layout
    for axis, length in enumerate((height, width)):
        starts = [place[axis] for place in layout.places.values()]
        assert min(starts) == 0
        assert max(starts) + length <= layout.canvas[axis] < max(starts) + length + 1


def test_a_grid_by_hand() -> None:
    assert grid_places(range(5), (100, 200), 2, 0.1, snake=True) == {
        0: (0, 0), 1: (0, 180), 2: (90, 180), 3: (90, 0), 4: (180, 0),
    }  # fmt: skip
    assert grid_places([7, 9, 12], (10, 10), 3, 0, snake=False) == {7: (0, 0), 9: (0, 10), 12: (0, 20)}


@given(places, numbers, numbers)
def test_where_zero_is_does_not_matter(of_well: dict[int, tuple[float, float]], y: float, x: float) -> None:
    layout = Layout.of((10, 10), of_well)
    moved = {number: (place[0] + y, place[1] + x) for number, place in of_well.items()}
    found = fitted(moved, layout)
    for number, place in layout.places.items():
        assert found[number] == pytest.approx(place, abs=1e-6)


def test_rounding_keeps_what_lies_whole_pixels_apart() -> None:
    assert corners({0: (0.4, 1.6), 1: (10.39, 21.6), 2: (20.41, 41.6)}) == {0: (0, 2), 1: (10, 22), 2: (20, 42)}


@given(places)
def test_rounding_moves_no_field_by_a_pixel_against_all(of_well: dict[int, tuple[float, float]]) -> None:
    found = corners(of_well)
    for axis in (0, 1):
        moved = [found[number][axis] - place[axis] for number, place in of_well.items()]
        assert max(moved) - min(moved) <= 1.0001


def test_a_well_without_some_fields_does_not_move_the_others() -> None:
    """Two wells of a 2 x 2 grid, one without its first row; a third has one field that no other has."""
    grid = {0: (0.0, 0.0), 1: (0.0, 10.0), 2: (10.0, 0.0), 3: (10.0, 10.0)}
    assert usual_places([{2: (17.0, 7.0), 3: (17.0, 17.0)}, grid]) == grid
    assert usual_places([grid, {4: (20.0, 0.0)}]) == {**grid, 4: (20.0, 0.0)}


def test_the_usual_places_are_medians_over_wells() -> None:
    wells = [{0: (0.0, 0.0), 1: (0.0, 10.0)}, {0: (5.0, 5.0), 1: (5.0, 15.0)}, {0: (0.0, 0.0), 1: (2.0, 14.0)}]
    found = usual_places(wells)
    assert found[1][0] - found[0][0] == 0
    assert found[1][1] - found[0][1] == 10
