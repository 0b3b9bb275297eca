"""A GPU gives what the processor gives. Skipped where there is none: `make gpu-test` runs it where there is."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pipeline_lib.api import ImageSettings, RunSettings, load_network, segment_image, segment_large
from pipeline_lib.metrics import average_precision
from pipeline_lib.synthesis import Optics, Population, draw_field

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU is visible")

SETTINGS = ImageSettings(diameter=17.0)


def nuclei(shape: tuple[int, int] = (700, 640)) -> np.ndarray:
    """A drawn field (1, Y, X)."""
    population = Population(cells=shape[0] * shape[1] / 3000, nucleus_px=17)
    return draw_field(shape, population, Optics(), 0.0, np.random.default_rng(0)).image[:1]


def labels_on(device: str, precision: str) -> np.ndarray:
    run = RunSettings(device=device, precision=precision)  # type: ignore[arg-type]
    return segment_image(load_network(run=run), nuclei(), SETTINGS)


@pytest.mark.parametrize(("precision", "least"), [("float32", 0.99), ("bfloat16", 0.97)])
def test_objects_are_those_of_the_processor(precision: str, least: float) -> None:
    exact = labels_on("cpu", "float32")
    found = labels_on("cuda", precision)
    assert exact.max() > 50
    assert average_precision(exact, found, (0.9,))[0] >= least


def test_the_same_image_has_the_same_labels_twice() -> None:
    np.testing.assert_array_equal(labels_on("cuda", "bfloat16"), labels_on("cuda", "bfloat16"))


def test_blocks_do_not_show() -> None:
    network = load_network(run=RunSettings(device="cuda"))
    target = np.zeros((700, 640), np.uint32)
    segment_large(network, nuclei(), target, SETTINGS)
    np.testing.assert_array_equal(target, segment_image(network, nuclei(), SETTINGS))
