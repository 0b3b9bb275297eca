"""Restored images against cellpose 3.1.1.2 with the same weights; and where we differ from it on purpose."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipeline_lib.api import RestoreSettings, RunSettings, load_restorer, restore_image
from pipeline_lib.arrays.normalise import NormaliseSettings, normalise_image
from pipeline_lib.arrays.resample import resize
from pipeline_lib.nets.flownet import FlowNet
from pipeline_lib.restoration import Restorer, restore_fields, restored_bands
from pipeline_lib.synthesis import Optics, Population, draw_field
from pipeline_lib.tiling.sources import Resized

EXACT = RunSettings(device="cpu", precision="float32")

pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("ignore")]  # the peer's warnings are not ours


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights in the official layout, with statistics that are not the defaults; objects of 30 pixels."""
    torch.manual_seed(0)
    net = FlowNet(1, 1)
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
    torch.nn.init.normal_(net.output[2].weight, 0, 0.5)
    path = tmp_path_factory.mktemp("weights") / "upsample_mine"  # the peer enlarges if it is called so
    torch.save(net.state_dict(), path)
    return path


@pytest.fixture(scope="module")
def restorer(checkpoint: Path) -> Restorer:
    return load_restorer(checkpoint, EXACT)


@pytest.fixture(scope="module")
def model(peer: Any, checkpoint: Path) -> Any:
    from cellpose import denoise

    plain = checkpoint.with_name("denoise_mine")
    plain.write_bytes(checkpoint.read_bytes())
    return denoise.DenoiseModel(gpu=False, pretrained_model=str(plain))


def cells(shape: tuple[int, int]) -> np.ndarray:
    """A drawn field (Y, X)."""
    population = Population(cells=shape[0] * shape[1] / 900, nucleus_px=17, clustering=0.2)
    return draw_field(shape, population, Optics(), 0.0, np.random.default_rng(1)).image[0].astype(np.float32)


def theirs(model: Any, image: np.ndarray, diameter: float) -> np.ndarray:
    return np.asarray(model.eval(image, channels=[0, 0], diameter=diameter)).squeeze()


@pytest.mark.parametrize(
    ("shape", "diameter"),
    [((190, 210), 30.0), ((190, 210), 21.5), ((190, 210), 47.0), ((300, 410), 30.0), ((230, 420), 20.0)],
)
def test_restored_images(restorer: Restorer, model: Any, shape: tuple[int, int], diameter: float) -> None:
    """One tile and many, objects of the network's size, smaller and larger."""
    image = cells(shape)
    found = restore_image(restorer, image, RestoreSettings(diameter))
    assert found.std() > 0.05
    np.testing.assert_allclose(found, theirs(model, image, diameter), rtol=0, atol=1e-4)


def test_enlarged_images(peer: Any, restorer: Restorer, checkpoint: Path) -> None:
    """Defect D2: the peer's network sees the image enlarged twice. The same of ours; and what we do instead."""
    from cellpose import denoise

    image, diameter = cells((90, 110)), 20.0
    model = denoise.DenoiseModel(gpu=False, pretrained_model=str(checkpoint))
    peers = theirs(model, image, diameter)
    larger = resize(image[None], restorer.seen(image.shape, diameter))
    assert peers.shape == larger.shape[1:]
    scaled = normalise_image(larger, NormaliseSettings())[0]
    (twice,) = restore_fields(restorer, [scaled], diameter)
    np.testing.assert_allclose(twice, peers, rtol=0, atol=1e-4)
    once = restore_image(restorer, image, RestoreSettings(diameter, enlarge=True))
    assert once.shape == peers.shape
    (at_scale_1,) = restore_fields(restorer, [scaled], restorer.diam_mean)
    assert np.abs(once - at_scale_1).max() < 0.1  # the peer scales intensities after it has enlarged
    assert np.abs(once - peers).max() > np.abs(once - at_scale_1).max()


def test_enlarging_is_seeing_a_larger_image(restorer: Restorer) -> None:
    scaled = normalise_image(cells((90, 110))[None], NormaliseSettings())
    source = restorer.pixels(scaled[0])
    larger = Resized(source, restorer.seen((90, 110), 20.0))
    enlarged, plain = (
        torch.cat(list(bands))
        for bands in (
            restored_bands(restorer, source, 20.0, enlarge=True),
            restored_bands(restorer, larger, restorer.diam_mean),
        )
    )
    torch.testing.assert_close(enlarged, plain, rtol=0, atol=1e-6)
