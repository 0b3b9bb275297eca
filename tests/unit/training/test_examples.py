"""What is learnt from: scaled images, flow targets, diameters, and who is drawn how often."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from pipeline_lib.core.labelled import Labelled
from pipeline_lib.core.labels import object_diameter
from pipeline_lib.flows.targets import flows_from_labels
from pipeline_lib.training.examples import Example, TrainingImages, draw_shares, prepare

CPU = torch.device("cpu")


def squares(*sides: int) -> np.ndarray:
    """Squares in one row, numbered with gaps."""
    labels = np.zeros((32, 32 * len(sides)), np.uint32)
    for number, side in enumerate(sides):
        labels[2 : 2 + side, 32 * number + 2 : 32 * number + 2 + side] = 3 * number + 2
    return labels


def test_an_example_holds_scaled_pixels_and_the_flows_of_its_labels() -> None:
    labels = squares(10, 20)
    image = np.stack([np.arange(labels.size).reshape(labels.shape), np.zeros(labels.shape)])
    example = prepare(Labelled("a", image, labels), CPU)
    low, high = np.percentile(example.image[0].float().numpy(), [1, 99])
    assert (low, high) == (pytest.approx(0, abs=1e-3), pytest.approx(1, abs=1e-3))
    assert not example.image[1].any()
    np.testing.assert_allclose(example.flow.float().numpy(), flows_from_labels(labels), atol=1e-3)
    np.testing.assert_array_equal(example.inside.numpy(), labels > 0)


def test_the_diameter_is_the_median_of_discs_of_equal_area() -> None:
    assert object_diameter(np.asarray(squares(10, 12, 20) > 0, np.uint32)) == pytest.approx(
        2 * math.sqrt((100 + 144 + 400) / math.pi)
    )
    numbered = np.zeros((40, 90), np.uint32)
    for number, side in enumerate((10, 12, 20), 1):
        numbered[:side, 30 * number - 30 : 30 * number - 30 + side] = number
    assert object_diameter(numbered) == pytest.approx(2 * 12 / math.sqrt(math.pi))
    assert object_diameter(np.eye(3, dtype=np.uint32)) == 5.0
    assert math.isnan(object_diameter(np.zeros((4, 4), np.uint32)))


def images(name: str, count: int, weight: float | None = None) -> TrainingImages:
    return TrainingImages(
        name, [prepare(Labelled("", np.zeros((2, 4, 4)), np.zeros((4, 4), np.uint32)), CPU)] * count, weight
    )


def test_shares_follow_the_weights_or_the_roots_of_the_sizes() -> None:
    assert draw_shares([images("a", 5, 3.0), images("b", 500, 1.0)]) == {"a": 0.75, "b": 0.25}
    assert draw_shares([images("a", 4), images("b", 16)]) == pytest.approx({"a": 1 / 3, "b": 2 / 3})


def test_cyto2_has_the_share_of_cyto3s_training() -> None:
    shares = draw_shares([images("livecell", 100), images("cyto2", 25), images("nuclei", 36)])
    assert shares == pytest.approx({"cyto2": 0.59, "livecell": 0.41 * 10 / 16, "nuclei": 0.41 * 6 / 16})
    assert draw_shares([images("cyto2", 3)]) == {"cyto2": 1.0}


def test_a_set_expects_what_it_is_told_or_what_its_images_show() -> None:
    labels = squares(10)
    shown: Example = prepare(Labelled("a", np.stack([labels, labels]), labels), CPU)
    nothing = images("n", 1).examples[0]
    assert TrainingImages("a", [shown, nothing]).expected() == pytest.approx(shown.diameter)
    assert TrainingImages("a", [shown, nothing], diameter=44.0).expected() == 44.0
    assert math.isnan(TrainingImages("a", [nothing]).expected())
