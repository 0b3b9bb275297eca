"""Lists of wells: short, and complete as long as they are short."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_lib.core.spans import MOST, spans
from pipeline_lib.core.wells import well_name

PLATE = [well_name(row, column) for row, column in product(range(8), range(12))]


@pytest.mark.parametrize(
    ("wells", "told"),
    [
        (PLATE, "A01-H12"),
        ([], ""),
        (["B03"], "B03"),
        (["A12", "B01"], "A12-B01"),
        (["H12", "A01", "A03", "A02", "C05"], "A01-A03, C05, H12"),
        (["A01", "Z99"], "A01"),
        (PLATE[::2], "A01, A03, A05, A07, A09, A11, B01, B03 and 40 more"),
    ],
)
def test_neighbours_are_told_as_first_and_last(wells: list[str], told: str) -> None:
    assert spans(wells, PLATE) == told


def test_neighbours_are_those_of_the_plate() -> None:
    assert spans(["A01", "A03"], ["A01", "A03", "B01"]) == "A01-A03"


@given(st.sets(st.sampled_from(PLATE)))
def test_no_well_is_lost(wells: set[str]) -> None:
    told, _, more = spans(wells, PLATE).partition(" and ")
    found = set()
    for span in filter(None, told.split(", ")):
        first, _, last = span.partition("-")
        found |= set(PLATE[PLATE.index(first) : PLATE.index(last or first) + 1])
    assert found <= wells
    assert len(wells) - len(found) == (int(more.removesuffix(" more")) if more else 0)
    assert bool(more) <= (told.count(",") == MOST - 1)
