"""Smoothing and sharpening: against the written rule with full kernels, and what no such filter may change."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline_lib.arrays.filters import smooth_and_sharpen

SHAPES = [(16, 16), (15, 15), (12, 31), (31, 12), (1, 7), (2, 2)]
RADII = [(1.5, 0), (0, 4), (1.5, 4)]


def picture(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).gamma(2, 300, shape).astype(np.float32)


def gaussian(height: int, width: int, radius: float) -> np.ndarray:
    """The kernel as written: both axes sampled by the height."""
    y, x = (np.linspace(-height / 2, height / 2 + 1, length) for length in (height, width))
    kernel = np.exp(-(y[:, None] ** 2 + x**2) / (2 * radius**2))
    return kernel / kernel.sum()


def filtered_as_written(plane: np.ndarray, smooth: float, sharpen: float) -> np.ndarray:
    """Circular correlation with one kernel, in float64."""
    kernel = gaussian(*plane.shape, smooth) if smooth else np.zeros(plane.shape)
    if sharpen:
        kernel = kernel - gaussian(*plane.shape, sharpen)
    if not smooth:
        kernel[plane.shape[0] // 2, plane.shape[1] // 2] = 1
    spectrum = np.fft.fft2(plane.astype(np.float64)) * np.conj(np.fft.fft2(kernel))
    return np.fft.fftshift(np.fft.ifft2(spectrum).real)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("smooth", "sharpen"), RADII)
def test_filters_follow_their_rule(shape: tuple[int, int], smooth: float, sharpen: float) -> None:
    plane = picture(*shape)
    found = smooth_and_sharpen(plane, smooth, sharpen)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, filtered_as_written(plane, smooth, sharpen), rtol=0, atol=1e-6 * plane.max())


def test_without_radii_nothing_happens() -> None:
    plane = picture(5, 6)
    assert smooth_and_sharpen(plane, 0, 0) is plane


@pytest.mark.parametrize(("smooth", "sharpen"), RADII)
def test_planes_are_filtered_one_by_one(smooth: float, sharpen: float) -> None:
    planes = picture(2, 3, 14, 18)
    before = planes.copy()
    found = smooth_and_sharpen(planes, smooth, sharpen)
    np.testing.assert_array_equal(planes, before)
    np.testing.assert_allclose(found[1, 2], smooth_and_sharpen(planes[1, 2], smooth, sharpen), rtol=1e-5, atol=1e-3)


def test_smoothing_keeps_the_mean_and_takes_the_noise() -> None:
    plane = picture(64, 64)
    smoothed = smooth_and_sharpen(plane, 4, 0)
    assert smoothed.mean() == pytest.approx(plane.mean(), rel=1e-5)
    assert smoothed.std() < 0.1 * plane.std()


def test_sharpening_takes_shades_and_keeps_detail() -> None:
    x = np.arange(64) * 2 * np.pi / 64
    shade, detail = 100 * np.sin(x) * np.ones((64, 1)), 10 * np.sin(16 * x) * np.ones((64, 1))
    sharpened = smooth_and_sharpen((shade + detail).astype(np.float32), 0, 3)
    waves = np.abs(np.fft.rfft(sharpened[0])) / 32
    assert waves[1] < 0.15 * 100
    assert waves[16] == pytest.approx(10, rel=0.05)
