"""Picture quality: what it must not depend on, what it must depend on, and values counted by hand."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from pipeline_lib.arrays.quality import LAPLACE_GAIN, SMOOTH_GAIN, focus, quality, saturation
from pipeline_lib.core.histograms import histogram


def blobs(blur: float = 1.5) -> NDArray[np.float32]:
    """200 x 220 pixels with bright disks on a dark ground, seen through a Gaussian of `blur` pixels; values 0..1000."""
    rng = np.random.default_rng(1)
    yy, xx = np.mgrid[:200, :220]
    picture = np.zeros(yy.shape)
    for y, x in rng.uniform(10, 190, (25, 2)):
        picture[np.hypot(yy - y, xx - x) < 7] = 1000
    return np.asarray(ndimage.gaussian_filter(picture, blur), np.float32)


def noisy(picture: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    return picture + np.random.default_rng(2).normal(0, sigma, picture.shape).astype(np.float32)


@pytest.mark.parametrize("gain", [0.05, 1, 40])
@pytest.mark.parametrize("offset", [0, 300])
def test_focus_depends_neither_on_exposure_nor_on_offset(gain: float, offset: float) -> None:
    picture = noisy(blobs(), 5)
    assert focus(gain * picture + offset) == pytest.approx(focus(picture), rel=2e-3)


def test_focus_does_not_depend_on_orientation() -> None:
    picture = noisy(blobs(), 5)
    assert focus(picture.T[::-1]) == pytest.approx(focus(picture), rel=1e-4)


@pytest.mark.parametrize("sigma", [0, 10])
def test_every_step_of_blur_lowers_focus(sigma: float) -> None:
    values = [focus(noisy(blobs(blur), sigma)) for blur in (1, 1.5, 2.5, 4, 6)]
    assert all(sharper > 1.2 * blurred for sharper, blurred in itertools.pairwise(values))


@pytest.mark.parametrize("blur", [1.5, 4.0])
@pytest.mark.parametrize("sigma", [3, 10, 30])
def test_noise_does_not_pass_for_sharpness(blur: float, sigma: float) -> None:
    assert focus(noisy(blobs(blur), sigma)) == pytest.approx(focus(blobs(blur)), rel=0.1)


def test_even_strong_noise_does_not_make_a_blurred_picture_sharp() -> None:
    assert focus(noisy(blobs(4.0), 100)) < 0.5 * focus(blobs(1.5))  # a tenth of the whole contrast, in every pixel


@pytest.mark.parametrize("sigma", [1, 30])
def test_a_picture_of_nothing_but_noise_has_no_focus(sigma: float) -> None:
    for seed in range(5):
        picture = np.random.default_rng(seed).normal(500, sigma, (200, 200)).astype(np.float32)
        assert math.isnan(focus(picture))


@pytest.mark.parametrize("shape", [(61, 47), (3, 200), (1, 9), (120, 2)])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_focus_is_what_scipy_says(shape: tuple[int, int], dtype: str) -> None:
    mask = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
    rng = np.random.default_rng(3)
    picture = (ndimage.gaussian_filter(rng.uniform(0, 2000, shape), 1.2) % 250).astype(dtype)
    noise = np.square(ndimage.convolve(picture.astype(np.float32), mask)).mean() / np.square(mask).sum()
    smooth = ndimage.gaussian_filter(picture.astype(np.float64), 1.0)
    spread = smooth.var() - noise * SMOOTH_GAIN
    wanted = max(ndimage.laplace(smooth).var() - noise * LAPLACE_GAIN, 0) / spread
    if spread > 1.01 * noise * SMOOTH_GAIN:
        assert focus(picture) == pytest.approx(wanted, rel=1e-4, abs=1e-6)
    else:
        assert math.isnan(focus(picture))


def test_a_constant_picture_has_no_focus() -> None:
    assert math.isnan(focus(np.full((50, 50), 7, np.uint16)))


def test_focus_reads_every_number_type_alike() -> None:
    picture = np.rint(blobs() / 4)
    assert focus(picture.astype(np.uint8)) == focus(picture.astype(np.uint16)) == focus(picture.astype(np.float32))


@pytest.mark.parametrize(
    ("values", "dtype", "share"),
    [
        ([0, 255, 255, 3], "uint8", 0.5),
        ([0, 254, 254, 3], "uint8", 0.0),  # bright, but not the end of any scale
        ([0, 4095, 9, 3], "uint16", 0.25),  # a camera of 12 bits
        ([65535] * 4, "uint16", 1.0),
        ([0, 0, 0, 0], "uint16", 0.0),
        ([0, 255, 255, 1], "float32", 0.0),
    ],
)
def test_saturation_is_the_share_at_full_scale(values: list[int], dtype: str, share: float) -> None:
    assert saturation(np.array(values, dtype).reshape(2, 2)) == share


def test_background_is_the_fifth_percentile() -> None:
    channel = np.arange(101, dtype=np.uint16).reshape(1, -1) + 100
    told = quality(channel, histogram(channel))
    assert told.background == pytest.approx(105.0)
    assert told.saturation == 0.0
    assert told.focus == focus(channel) or math.isnan(told.focus)
