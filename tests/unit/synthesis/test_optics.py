"""Light and noise against closed forms."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline_lib.synthesis.optics import Optics, expose, illumination, photograph

EVEN = Optics(vignetting=0.0, tilt=(0.0, 0.0), background=0.0, offset=0.0)


def point() -> NDArray[np.float32]:
    stained = np.zeros((1, 256, 256), np.float32)
    stained[0, 130, 121] = 50.0
    return stained


@pytest.mark.parametrize("haze", [0.0, 0.3])
def test_even_optics_keep_the_light(haze: float) -> None:
    optics = replace(EVEN, haze=haze, haze_px=16, gain=2, photons=100, offset=150)
    light = expose(point(), optics).astype(float) - 150
    assert light.sum() == pytest.approx(50 * 100 * 2, rel=1e-3)


def test_a_point_spreads_by_the_blur() -> None:
    optics = replace(EVEN, haze=0, blur_px=2)
    light = expose(point(), optics)[0].astype(float)
    y, x = np.indices(light.shape)
    assert (light * (y - 130) ** 2).sum() / light.sum() == pytest.approx(4.0, rel=0.05)
    assert (light * (x - 121) ** 2).sum() / light.sum() == pytest.approx(4.0, rel=0.05)


def test_haze_is_its_share_of_the_light_far_from_the_point() -> None:
    optics = replace(EVEN, haze=0.2, haze_px=16, gain=1, photons=1)
    light = expose(point(), optics)[0].astype(float)
    far = np.hypot(*(np.indices(light.shape) - np.array([130, 121])[:, None, None])) > 8
    # A Gaussian of sigma 16 holds exp(-r^2 / (2 sigma^2)) of its light outside the radius r.
    assert light[far].sum() == pytest.approx(0.2 * 50 * np.exp(-(8**2) / (2 * 16**2)), rel=0.03)


def test_illumination_anchors() -> None:
    light = illumination((101, 201), Optics(vignetting=0.3, tilt=(0.06, -0.04)))
    assert light[50, 100] == pytest.approx(1)
    assert light[100, 200] == pytest.approx(1 - 0.3 + 0.06 - 0.04)
    assert light[0, 0] == pytest.approx(1 - 0.3 - 0.06 + 0.04)
    assert light[50, 200] == pytest.approx(1 - 0.15 - 0.04)


@pytest.mark.parametrize(("counts", "variance"), [(150.0, 16.0), (550.0, 2 * 400 + 16.0), (4150.0, 2 * 4000 + 16.0)])
def test_noise_grows_with_the_light(counts: float, variance: float) -> None:
    optics = Optics(gain=2.0, offset=150.0, read_noise=4.0)
    image = photograph(np.full((400, 400), counts, np.float32), optics, np.random.default_rng(0)).astype(float)
    # Over 160,000 pixels the sample variance is within 2 % of its expectation at more than 5 sigma.
    assert image.var() == pytest.approx(variance + 1 / 12, rel=0.02)
    assert image.mean() == pytest.approx(counts, abs=5 * np.sqrt(variance) / 400)


def test_counts_stay_in_sixteen_bits() -> None:
    clean = np.array([[-500.0, 1e6]], np.float32)
    image = photograph(clean, EVEN, np.random.default_rng(0))
    np.testing.assert_array_equal(image, np.array([[0, 65535]], np.uint16))


def test_a_camera_saturates_at_its_ceiling() -> None:
    optics = replace(EVEN, ceiling=4095)
    image = photograph(np.linspace(0, 9000, 64, dtype=np.float32)[None], optics, np.random.default_rng(0))
    assert image.max() == 4095
    assert (image == 4095).sum() > 30


def test_every_fault_is_named() -> None:
    with pytest.raises(ValueError, match=r"Optics: .*blur_px is -1, allowed: 0 to 20.*gain is 0"):
        Optics(blur_px=-1, gain=0)
