"""Degradations: kernels, sampling and noise by hand and by their published figures; the same seed does the same."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline_lib.training import degrade as module
from pipeline_lib.training.degrade import PRESETS, Kind, blur, degrade, draw, rescaled, sample, shot_noise

KINDS = st.sampled_from(sorted(PRESETS))


def point(side: int = 61) -> torch.Tensor:
    image = torch.zeros(1, 1, side, side)
    image[0, 0, side // 2, side // 2] = 1
    return image


def gaussian(sigma: float, reach: int) -> NDArray[np.float64]:
    offsets = np.arange(-reach, reach + 1)
    kernel = np.exp(-(offsets**2) / (2 * sigma**2))
    return np.asarray(kernel / kernel.sum())


def test_a_blur_of_5_pixels_reaches_over_19() -> None:
    spread = blur(point(), np.array([5.0]))[0, 0].numpy()
    rows, columns = np.nonzero(spread)
    assert np.ptp(rows) + 1 == np.ptp(columns) + 1 == 19
    np.testing.assert_allclose(spread[21:40, 21:40], np.outer(gaussian(5, 9), gaussian(5, 9)), rtol=1e-5)


def test_narrow_blurs_reach_over_15_and_0_is_none() -> None:
    both = blur(point().repeat(2, 1, 1, 1), np.array([1.0, 0.0]))
    np.testing.assert_allclose(both[0, 0, 30, 23:38], gaussian(1, 7)[7] * gaussian(1, 7), rtol=1e-5)
    assert torch.equal(both[1], point()[0])
    assert torch.equal(blur(point(), np.array([0.0])), point())


def test_uneven_blur_has_a_sigma_for_each_axis() -> None:
    spread = blur(point(), np.array([5.0]), np.array([0.5]))[0, 0].numpy()
    np.testing.assert_allclose(spread.sum(1)[21:40], gaussian(5, 9), rtol=1e-5)
    np.testing.assert_allclose(spread.sum(0)[21:40], gaussian(0.5, 9), rtol=1e-5, atol=1e-30)


def test_what_is_beyond_the_image_is_dark() -> None:
    level = blur(torch.ones(1, 1, 40, 40), np.array([2.0]))
    assert float(level[0, 0, 20, 20]) == pytest.approx(1, abs=1e-6)
    assert float(level[0, 0, 0, 20]) == pytest.approx(gaussian(2, 7)[7:].sum(), rel=1e-5)


def test_every_second_pixel_by_hand() -> None:
    row = torch.tensor([0.0, 9.0, 4.0, 9.0, 8.0, 9.0]).repeat(1, 6, 1)
    np.testing.assert_allclose(sample(row, 2)[0, 3], [0, 1, 3, 5, 7, 8])  # 0, 4, 8 in the middle of two pixels each
    assert torch.equal(sample(row, 1), row)


def test_uneven_sampling_leaves_out_rows_alone() -> None:
    image = torch.arange(36.0).reshape(1, 6, 6)
    sampled = sample(image, 3, even=False)
    np.testing.assert_allclose(sampled[0, :, 2], 2 + np.array([0, 0, 6, 12, 18, 18]), atol=1e-5)
    np.testing.assert_allclose(sampled[0, 1], image[0, 0], atol=1e-5)


def test_photons_are_counted() -> None:
    images = torch.stack([torch.full((1, 200, 200), 0.5), torch.full((1, 200, 200), 0.5)])
    noisy = shot_noise(images, np.array([20.0, 0.0]), np.random.default_rng(0))
    assert float(noisy[0].mean()) == pytest.approx(10, rel=0.01)
    assert float(noisy[0].var()) == pytest.approx(10, rel=0.03)
    assert torch.equal(noisy[1], images[1])


@pytest.mark.parametrize(("rate", "mean"), [(0.7, 5.7), (0.1, 40), (0.03, 133)])
def test_mean_numbers_of_photons_are_those_published(rate: float, mean: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PRESETS, "denoise", (module.DENOISE._replace(noise=1.0, rate=rate),))
    photons = draw([30.0] * 8000, "denoise", np.random.default_rng(1)).photons
    assert photons.mean() == pytest.approx(mean, rel=0.03)
    assert photons.min() >= 1


def shares(kind: Kind) -> tuple[float, float, float]:
    """Of images with noise, blur and coarse sampling."""
    drawn = draw([30.0] * 6000, kind, np.random.default_rng(2))
    return tuple(float((chosen > least).mean()) for chosen, least in
                 ((drawn.photons, 0), (drawn.sigma_y, 0), (drawn.factor, 1)))  # type: ignore[return-value]  # fmt: skip


def test_presets_are_as_often_as_they_say() -> None:
    assert shares("denoise") == pytest.approx((0.8, 0, 0), abs=0.02)
    assert shares("deblur") == pytest.approx((0.8, 0.8, 0), abs=0.02)
    assert shares("upsample") == pytest.approx((0.8, 0.8 + 0.2 * 0.8, 0.8), abs=0.02)  # what is sampled is blurred too
    assert shares("oneclick") == pytest.approx((0.8, (0.8 + 0.96) / 3, 0.8 / 3), abs=0.02)


def test_blur_grows_with_objects_and_stays_in_its_range() -> None:
    for diameter in (15.0, 30.0):
        deblur = draw([diameter] * 2000, "deblur", np.random.default_rng(3))
        blurred = deblur.sigma_y[deblur.sigma_y > 0] * 30 / diameter
        assert 1 <= blurred.min() < 1.1 and 9.9 < blurred.max() <= 10
        upsample = draw([diameter] * 2000, "upsample", np.random.default_rng(3))
        sampled = upsample.factor > 1
        np.testing.assert_allclose(
            upsample.sigma_y[sampled], diameter / 30 * (1 + 0.4 * upsample.factor[sampled]), rtol=1e-6
        )
        assert set(upsample.factor[sampled]) == {2, 3, 4, 5, 6, 7}


def test_oneclick_gives_every_kind_a_third_of_a_batch() -> None:
    for seed in range(20):
        drawn = draw([30.0] * 24, "oneclick", np.random.default_rng(seed))
        assert (drawn.factor > 1).sum() <= 8
        assert (drawn.sigma_y == 0).sum() >= 8


def test_uneven_blur_is_ten_times_as_wide_along_y() -> None:
    drawn = draw([30.0] * 500, "aniso", np.random.default_rng(4))
    np.testing.assert_allclose(drawn.sigma_x, drawn.sigma_y / 10)
    assert not drawn.even.any()


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    kind=KINDS,
    count=st.integers(1, 5),
    shape=st.tuples(st.integers(8, 40), st.integers(8, 40)),
    diameter=st.floats(5, 60),
)
def test_a_seed_says_what_is_done_and_the_result_is_scaled(
    seed: int, kind: Kind, count: int, shape: tuple[int, int], diameter: float
) -> None:
    clean = torch.rand(count, 1, *shape, generator=torch.Generator().manual_seed(seed)) * 1.2 - 0.1
    before = clean.clone()
    worse, again = (degrade(clean, [diameter] * count, kind, np.random.default_rng(seed)) for _ in range(2))
    assert torch.equal(worse, again) and torch.equal(clean, before)
    assert worse.shape == clean.shape and bool(torch.isfinite(worse).all())
    ends = np.percentile(worse.flatten(1).numpy(), [1, 99], axis=1)
    spread = np.ptp(worse.flatten(1).numpy(), axis=1) > 0.1
    np.testing.assert_allclose(ends[:, spread], np.array([[0], [1]]) + np.zeros((2, int(spread.sum()))), atol=1e-3)


def test_an_image_without_signal_stays_as_it_is() -> None:
    both = torch.stack([torch.full((1, 16, 16), 0.3), torch.rand(1, 16, 16) * 5])
    scaled = rescaled(both)
    assert torch.equal(scaled[0], both[0])
    assert float(torch.quantile(scaled[1], 0.99)) == pytest.approx(1, abs=1e-5)
    assert not degrade(torch.zeros(1, 1, 32, 32), [20.0], "upsample", np.random.default_rng(0)).any()
