"""The size model: ridge regression recovers what made the numbers, and a network's styles tell diameters."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from pipeline_lib.core.labelled import Labelled
from pipeline_lib.nets.flownet import FlowNet
from pipeline_lib.training.examples import Example, TrainingImages, prepare
from pipeline_lib.training.sizes import best_penalty, fit_size_model, ridge, usual_draws


def test_ridge_regression_recovers_the_slope() -> None:
    rng = np.random.default_rng(0)
    styles, slope = rng.normal(size=(20_000, 256)), rng.normal(size=256) / 50
    model = ridge(styles, 17 * np.exp(styles @ slope + 0.3), 17.0, 1.0)
    np.testing.assert_allclose(model.A, slope, atol=1e-3)
    style = rng.normal(size=256)
    np.testing.assert_allclose(model.diameter(style), 17 * np.exp(style @ slope + 0.3), rtol=0.01)


@pytest.mark.parametrize("penalty", [1.0, 1e-3])
def test_ridge_is_the_solution_of_its_normal_equations(penalty: float) -> None:
    rng = np.random.default_rng(1)
    styles, diameters = rng.normal(size=(40, 256)), rng.uniform(5, 90, 40)
    model = ridge(styles, diameters, 30.0, penalty)
    x, y = styles - styles.mean(0), np.log(diameters / 30)
    gradient = x.T @ (x @ model.A - (y - y.mean())) + penalty * model.A
    np.testing.assert_allclose(gradient, 0, atol=1e-9)


def _styles(rng: np.random.Generator, images: int, crops: int) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Vectors of length 1, as styles are, and the images they come from: crops of one image resemble each other."""
    image = np.repeat(np.arange(images), crops)
    styles = rng.normal(size=(images, 256))[image] + 0.3 * rng.normal(size=(images * crops, 256))
    return styles / np.linalg.norm(styles, axis=1, keepdims=True), image


def test_the_penalty_is_light_where_styles_tell_diameters_and_heavy_where_they_do_not() -> None:
    rng = np.random.default_rng(2)
    styles, image = _styles(rng, images=200, crops=10)
    truth, chance = np.exp(styles @ rng.normal(size=256) * 3), np.exp(rng.normal(size=200)[image])
    assert best_penalty(styles, truth, image, np.random.default_rng(0)) < 0.01
    assert best_penalty(styles, chance, image, np.random.default_rng(0)) == 1.0


def test_crops_of_one_image_are_left_out_together() -> None:
    """What only tells images apart must not count as knowledge: a diameter by image would be learnt by heart."""
    rng = np.random.default_rng(3)
    styles, image = _styles(rng, images=30, crops=20)
    by_image = np.exp(rng.normal(size=30)[image])
    assert best_penalty(styles, by_image, image, np.random.default_rng(0)) == 1.0
    assert best_penalty(styles, by_image, np.arange(len(image)), np.random.default_rng(0)) < 1.0


def test_one_image_gets_the_heaviest_penalty() -> None:
    styles, image = _styles(np.random.default_rng(4), images=1, crops=8)
    assert best_penalty(styles, np.arange(1.0, 9.0), image, np.random.default_rng(0)) == 1.0


def test_even_a_network_that_learnt_nothing_tells_large_from_small() -> None:
    """Its style sees texture, so the fit must beat the mean on the images it was made from."""
    torch.manual_seed(0)
    net = FlowNet().eval()
    examples = []
    for radius in (5, 8, 12):
        y, x = np.mgrid[:64, :64]
        step = 3 * radius
        labels = np.where(
            (y % step - radius) ** 2 + (x % step - radius) ** 2 < radius**2, y // step * 40 + x // step + 1, 0
        )
        examples.append(
            prepare(Labelled("", np.stack([labels > 0] * 2), labels.astype(np.uint32)), torch.device("cpu"))
        )
    drawn: list[int] = []
    model = fit_size_model(net, [TrainingImages("discs", examples)], 8, 0, lambda: drawn.append(1))
    assert len(drawn) == 8
    again = fit_size_model(net, [TrainingImages("discs", examples)], 8, seed=0)
    np.testing.assert_array_equal(model.A, again.A)
    assert np.linalg.norm(model.A) > 0.05


@pytest.mark.parametrize(("images", "draws"), [([1], 40), ([2, 3], 200), ([60], 2000)])
def test_a_size_model_sees_each_image_often(images: list[int], draws: int) -> None:
    nothing = torch.zeros(0)
    example = Example(nothing, nothing, nothing, 10.0)
    assert usual_draws([TrainingImages(f"{count}", [example] * count) for count in images]) == draws
