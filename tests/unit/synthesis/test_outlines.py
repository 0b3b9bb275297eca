"""The distance field of an outline: anchors on circles and ellipses, and windows that hold every curve."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline_lib.synthesis.outlines import Outline, distance

bends = st.lists(st.complex_numbers(max_magnitude=0.2), max_size=6).map(tuple)


def test_on_a_circle_it_is_the_radius_in_units_of_the_circle() -> None:
    circle = Outline(8.0)
    drawn = distance(circle)
    y, x = np.indices(drawn.shape) - circle.reach
    np.testing.assert_allclose(drawn, np.hypot(y, x) / 8, rtol=1e-5)


def test_ellipse_points_where_its_angle_says() -> None:
    # Axes 20 and 5 px; 90 degrees turn the long axis onto y.
    upright = Outline(10.0, stretch=4.0, angle=math.pi / 2)
    drawn = distance(upright)
    middle = upright.reach
    assert drawn[middle + 10, middle] == pytest.approx(0.5, rel=1e-4)
    assert drawn[middle, middle + 5] == pytest.approx(1.0, rel=1e-4)


def test_angle_turns_from_x_towards_y() -> None:
    slanted = Outline(10.0, stretch=4.0, angle=math.pi / 4)
    drawn = distance(slanted)
    middle = slanted.reach
    assert drawn[middle + 10, middle + 10] == pytest.approx(math.hypot(10, 10) / 20, rel=1e-4)
    assert drawn[middle + 3, middle - 3] == pytest.approx(math.hypot(3, 3) / 5, rel=1e-4)


def test_first_harmonic_shifts_the_curve() -> None:
    # Radius 10 exp(0.2 cos t): 10 exp(0.2) on the right, 10 exp(-0.2) on the left.
    shifted = Outline(10.0, harmonics=(0.2 + 0j,))
    drawn = distance(shifted)
    middle = shifted.reach
    assert drawn[middle, middle + 10] == pytest.approx(math.exp(-0.2), rel=1e-4)
    assert drawn[middle, middle - 10] == pytest.approx(math.exp(0.2), rel=1e-4)


def test_area_is_that_of_the_circle() -> None:
    inside = distance(Outline(40.0, stretch=1.7, angle=0.4)) < 1
    assert inside.sum() == pytest.approx(math.pi * 40**2, rel=0.005)


def test_a_bow_moves_the_ends_sideways_and_keeps_the_area() -> None:
    # Half axes 40 and 10 px: the tips of the long one lie 0.5 * 10 px below the centre.
    bent = Outline(20.0, stretch=4.0, bow=0.5)
    drawn = distance(bent)
    middle = bent.reach
    assert drawn[middle + 5, middle + 40] == drawn[middle + 5, middle - 40] == pytest.approx(1, rel=1e-4)
    assert drawn[middle + 10, middle] == drawn[middle - 10, middle] == pytest.approx(1, rel=1e-4)
    assert (drawn < 1).sum() == pytest.approx(math.pi * 20**2, rel=0.03)


@settings(max_examples=60, deadline=None)
@given(st.floats(1, 40), st.floats(1, 4), st.floats(0, math.pi), bends, st.floats(-1.5, 1.5))
def test_window_holds_the_whole_curve(
    radius: float, stretch: float, angle: float, harmonics: tuple[complex, ...], bow: float
) -> None:
    drawn = distance(Outline(radius, stretch, angle, harmonics, bow))
    edge = np.concatenate([drawn[0], drawn[-1], drawn[:, 0], drawn[:, -1]])
    assert edge.min() >= 1
    assert drawn[len(drawn) // 2, len(drawn) // 2] == 0
