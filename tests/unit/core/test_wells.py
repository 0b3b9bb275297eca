"""Well names: round trips over all 1,536 wells, hand-written anchors, refusals."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_lib.core.wells import PLATE_FORMATS, parse_well, plate_shape, row_column, well_name

places = st.tuples(st.integers(0, 31), st.integers(0, 47))


@given(places)
def test_name_and_place_are_inverse(place: tuple[int, int]) -> None:
    assert row_column(well_name(*place)) == place


@given(places, st.sampled_from([str.lower, str.upper]), st.text(" \t", max_size=2), st.integers(0, 3))
def test_every_spelling_of_a_well_has_one_canonical_name(
    place: tuple[int, int], case: Callable[[str], str], space: str, zeros: int
) -> None:
    name = well_name(*place)
    letters = name.rstrip("0123456789")
    spelling = f"{space}{case(letters)}{'0' * zeros}{place[1] + 1}{space}"
    assert parse_well(spelling) == name


@given(st.lists(places, min_size=2, unique=True))
def test_row_column_sorts_row_by_row(some: list[tuple[int, int]]) -> None:
    names = [well_name(*place) for place in some]
    assert [row_column(name) for name in sorted(names, key=row_column)] == sorted(some)


@pytest.mark.parametrize(
    ("name", "place"),
    [("A01", (0, 0)), ("B03", (1, 2)), ("H12", (7, 11)), ("P24", (15, 23)), ("Z48", (25, 47)), ("AA01", (26, 0)),
     ("AF48", (31, 47))],
)  # fmt: skip
def test_anchors(name: str, place: tuple[int, int]) -> None:
    assert well_name(*place) == name
    assert row_column(name) == place


@pytest.mark.parametrize(
    "text", ["", "B", "3", "B00", "B49", "AG01", "BA01", "AAA1", "B3x", "B-3", "\u039203", "B\u0663"]
)
def test_what_is_not_a_well_is_refused_by_name(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not a well.*for example B03") as caught:
        parse_well(text)
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize("place", [(-1, 0), (0, -1), (32, 0), (0, 48)])
def test_places_outside_every_plate_are_refused(place: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="no plate has a well at"):
        well_name(*place)


@pytest.mark.parametrize(
    ("wells", "shape"),
    [(["A01"], (2, 3)), (["C04"], (3, 4)), (["D06"], (4, 6)), (["F01"], (6, 8)), (["A12"], (8, 12)),
     (["A01", "H12"], (8, 12)), (["I01"], (16, 24)), (["A13"], (16, 24)), (["Q01"], (32, 48)), (["A25"], (32, 48))],
)  # fmt: skip
def test_the_smallest_plate_that_holds_the_wells(wells: list[str], shape: tuple[int, int]) -> None:
    assert plate_shape(wells) == shape


def test_formats_multiply_to_their_name() -> None:
    assert all(rows * columns == wells for wells, (rows, columns) in PLATE_FORMATS.items())
