"""What counts as an image, and what the refusal of others says."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline_lib.arrays.checks import check_image


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int16", "uint16", "int64", "float16", "float32", "float64"])
def test_constant_images_of_real_numbers_pass(dtype: str) -> None:
    check_image(np.ones((2, 1, 1), dtype), channels=2)
    check_image(np.zeros((1, 3, 4), dtype), channels=2)


def test_the_largest_numbers_pass() -> None:
    extremes = np.float32([[[np.finfo(np.float32).min, np.finfo(np.float32).max]]])
    check_image(extremes, channels=1)
    check_image(extremes.astype(np.float64), channels=1)


def test_stacks_pass_as_stacks_only() -> None:
    stack = np.zeros((2, 5, 4, 3), np.uint8)
    check_image(stack, channels=2, axes="CZYX")
    with pytest.raises(ValueError, match=r"shape \(2, 5, 4, 3\) has 4 axes, expected \(C, Y, X\)"):
        check_image(stack, channels=2)
    with pytest.raises(ValueError, match=r"has 3 axes, expected \(C, Z, Y, X\)"):
        check_image(stack[0], channels=2, axes="CZYX")


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((1, 0, 5), np.uint8), r"shape \(1, 0, 5\) is empty along Y,"),
        (np.zeros((0, 4, 0), np.float32), r"is empty along C, X,"),
        (np.zeros((3, 4, 5), np.uint8), r"means 3 channels, which come first; allowed are 1 to 2"),
        (np.zeros((1, 4, 5), np.complex64), r"complex64 pixels are complex numbers: .*numpy.abs"),
        (np.full((1, 2, 2), "a"), r"<U1 pixels are no numbers"),
        (np.zeros((), np.float32), r"shape \(\) has 0 axes"),
    ],
)
def test_other_arrays_are_refused(image: NDArray[np.generic], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_image(image, channels=2)


@pytest.mark.parametrize("strange", [np.nan, np.inf, -np.inf, 1e39])
def test_unfit_values_are_counted_per_channel(strange: float) -> None:
    image = np.ones((3, 4, 5))
    image[1, 0, :2] = strange
    image[2, 3, 4] = strange
    with pytest.raises(
        ValueError, match=r"channel 1 \(from 0\): 2 of 20 values are NaN.*channel 2 \(from 0\): 1 of 20"
    ):
        check_image(image, channels=3)


def test_all_faults_come_at_once() -> None:
    image = np.full((3, 2, 2), np.nan, np.float32)
    with pytest.raises(ValueError, match=r"3 channels, which .*channel 0 .*channel 1 .*channel 2 "):
        check_image(image, channels=2)
