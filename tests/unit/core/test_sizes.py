"""Diameters from style vectors: values computed by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pipeline_lib.core.sizes import SMALLEST_DIAMETER, SizeModel

MEAN_STYLE = np.linspace(-1, 1, 256)
SLOPE = np.zeros(256)
SLOPE[[3, 200]] = [math.log(2), -math.log(3)]
MODEL = SizeModel(A=SLOPE, smean=MEAN_STYLE, diam_mean=30.0, ymean=math.log(1.1))


def style(at_3: float, at_200: float) -> np.ndarray:
    """The mean style, moved along the two features the model looks at, and along one it does not."""
    moved = MEAN_STYLE.copy()
    moved[[3, 200, 77]] += [at_3, at_200, 5]
    return moved


@pytest.mark.parametrize(("at_3", "at_200", "ratio"), [(0, 0, 1), (1, 0, 2), (2, 0, 4), (0, 1, 1 / 3), (1, -1, 6)])
def test_features_multiply_the_mean_diameter(at_3: float, at_200: float, ratio: float) -> None:
    assert MODEL.diameter(style(at_3, at_200)) == pytest.approx(30 * 1.1 * ratio)


def test_no_guess_is_below_the_smallest_diameter() -> None:
    assert MODEL.diameter(style(0, 5)) == SMALLEST_DIAMETER == 5.0
    assert MODEL.diameter(style(0, 5000)) == SMALLEST_DIAMETER


@pytest.mark.parametrize("strange", [np.full(256, np.nan), style(5000, 0)])
def test_a_style_that_tells_nothing_gives_the_mean_diameter(strange: np.ndarray) -> None:
    assert MODEL.diameter(strange) == 30.0


def test_styles_come_in_32_bits() -> None:
    found = MODEL.diameter(style(1, 1).astype(np.float32))
    assert found == pytest.approx(MODEL.diameter(style(1, 1)), rel=1e-5)
