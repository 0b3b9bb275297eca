"""Curves as pixels: where the ink is, in which colour, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from pipeline_lib.reporting.curves import COLOURS, SIZE, _log_ticks, _ticks, beside, draw_curves


def ink(picture: Image.Image, colour: str) -> NDArray[np.bool_]:
    """Pixels (Y, X) of a colour, edges that were smoothed left out."""
    return np.abs(np.asarray(picture).astype(int) - list(bytes.fromhex(colour[1:]))).sum(axis=2) < 30


def test_a_rising_line_goes_from_corner_to_corner() -> None:
    rows, columns = np.nonzero(ink(draw_curves({"a": ([0, 1], [0, 1])}, "", "", "", y_range=(0, 1)), COLOURS[0]))
    order = np.argsort(columns)
    assert rows[order][0] - rows[order][-1] > 350
    assert np.corrcoef(rows, columns)[0, 1] < -0.99


def test_each_series_has_its_colour_and_a_place_in_the_legend() -> None:
    names = [f"network number {n}" for n in range(6)]
    picture = draw_curves({name: ([0, 1], [n, n]) for n, name in enumerate(names)}, "t", "x", "y")
    assert picture.width == SIZE[0]
    assert picture.height > SIZE[1] + 40, "two rows of names"
    for colour in COLOURS[:6]:
        rows = np.nonzero(ink(picture, colour))[0]
        assert rows.min() < SIZE[1] < rows.max()


def test_one_series_needs_no_legend() -> None:
    assert draw_curves({"a": ([0, 1], [0, 1])}, "", "", "").size == SIZE


def test_lines_break_where_nothing_is_known_and_single_points_are_dots() -> None:
    """Three flat pieces of one line: a dot, a gap, and a line."""
    picture = draw_curves({"a": ([0, 1, 2, 3, 4], [1, np.nan, np.nan, 1, 1])}, "", "", "")
    columns = np.nonzero(ink(picture, COLOURS[0]).any(axis=0))[0]
    gaps = np.diff(columns)
    assert (gaps > 1).sum() == 1
    assert gaps.max() > 400


def test_logarithms() -> None:
    """Equal factors are equal steps, and what has no logarithm is left out."""
    picture = draw_curves({"a": ([0, 1, 2, 3, 4], [1, 10, 0, 1000, 10000])}, "", "", "", log_y=True)
    rows, columns = np.nonzero(ink(picture, COLOURS[0]))
    assert np.corrcoef(rows, columns)[0, 1] < -0.99
    assert np.diff(np.unique(columns)).max() > 300


def test_curves_beyond_the_range_are_cut_off() -> None:
    picture = draw_curves({"a": ([0, 1], [-5, 5])}, "", "", "", y_range=(0, 1))
    rows = np.nonzero(ink(picture, COLOURS[0]))[0]
    assert rows.min() >= 50
    assert rows.max() <= SIZE[1] - 55


@pytest.mark.parametrize("values", [[], [3.0], [0.0, 0.0], [np.nan, np.inf], [1e-7, 2e-7], [1e12, 3e12]])
@pytest.mark.parametrize("log_y", [False, True])
def test_whatever_there_is_can_be_drawn(values: list[float], log_y: bool) -> None:
    assert draw_curves({"a": (range(len(values)), values)}, "t", "x", "y", log_y=log_y).size == SIZE


def test_ticks_are_round() -> None:
    assert list(_ticks(0, 1).values()) == ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]
    assert list(_ticks(-3, 12).values()) == ["0", "5", "10"]
    assert list(_ticks(0, 20000).values()) == ["0", "5,000", "10,000", "15,000", "20,000"]
    assert list(_ticks(1e-7, 4e-7).values()) == ["1e-07", "1.5e-07", "2e-07", "2.5e-07", "3e-07", "3.5e-07", "4e-07"]
    assert list(_log_ticks(-1.1, 1.1).values()) == ["0.1", "0.2", "0.5", "1", "2", "5", "10"]
    assert list(_log_ticks(-4, 1).values()) == ["0.0001", "0.001", "0.01", "0.1", "1", "10"]
    assert len(_log_ticks(0.01, 0.02)) > 1, "between two round numbers"


def test_what_cannot_be_drawn_is_refused() -> None:
    with pytest.raises(ValueError, match="series a: 2 values of x and 1 of y"):
        draw_curves({"a": ([0, 1], [0])}, "", "", "")
    with pytest.raises(ValueError, match="range of y"):
        draw_curves({}, "", "", "", y_range=(1, 1))
    with pytest.raises(ValueError, match="above 0"):
        draw_curves({}, "", "", "", y_range=(0, 1), log_y=True)


def test_pictures_beside_each_other() -> None:
    red, blue, green = (Image.new("RGB", size, c) for size, c in (((3, 2), "red"), ((4, 5), "blue"), ((1, 1), "lime")))
    sheet = beside([red, blue, green])
    assert sheet.size == (7, 6)
    assert sheet.getpixel((0, 0)) == (255, 0, 0)
    assert sheet.getpixel((3, 4)) == (0, 0, 255)
    assert sheet.getpixel((0, 5)) == (0, 255, 0)
    assert sheet.getpixel((6, 5)) == (255, 255, 255)
