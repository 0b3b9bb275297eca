"""The size model: ridge regression recovers what made the numbers, and a network's styles tell diameters."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pipeline_lib.core.labelled import Labelled
from pipeline_lib.nets.flownet import FlowNet
from pipeline_lib.training.examples import Example, TrainingImages, prepare
from pipeline_lib.training.sizes import fit_size_model, ridge, usual_draws


def test_ridge_regression_recovers_the_slope() -> None:
    rng = np.random.default_rng(0)
    styles, slope = rng.normal(size=(20_000, 256)), rng.normal(size=256) / 50
    model = ridge(styles, 17 * np.exp(styles @ slope + 0.3), 17.0)
    np.testing.assert_allclose(model.A, slope, atol=1e-3)
    style = rng.normal(size=256)
    np.testing.assert_allclose(model.diameter(style), 17 * np.exp(style @ slope + 0.3), rtol=0.01)


def test_ridge_is_the_solution_of_its_normal_equations() -> None:
    rng = np.random.default_rng(1)
    styles, diameters = rng.normal(size=(40, 256)), rng.uniform(5, 90, 40)
    model = ridge(styles, diameters, 30.0)
    x, y = styles - styles.mean(0), np.log(diameters / 30)
    gradient = x.T @ (x @ model.A - (y - y.mean())) + model.A
    np.testing.assert_allclose(gradient, 0, atol=1e-9)


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
