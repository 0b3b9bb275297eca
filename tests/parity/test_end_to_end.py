"""Array in, label image out, against cellpose 3.1.1.2 with the same weights; and where we differ from it on purpose."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipeline_lib.api import (
    ImageSettings,
    MaskSettings,
    Network,
    NormaliseSettings,
    RunSettings,
    load_network,
    segment_image,
)
from pipeline_lib.io.weights import load_weights
from pipeline_lib.nets.flownet import FlowNet, build
from pipeline_lib.synthesis import Optics, Population, draw_field
from pipeline_lib.tiling.placing import place
from pipeline_lib.tiling.predict import PredictSettings, run_tiled, whole_images
from pipeline_lib.tiling.sources import Pixels

CPU = torch.device("cpu")
EXACT = RunSettings(device="cpu", precision="float32")

pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("ignore")]  # the peer's warnings are not ours


@pytest.fixture(scope="module")
def network(starter: Path) -> Network:
    return load_network(starter, EXACT)


@pytest.fixture(scope="module")
def model(peer: Any, starter: Path) -> Any:
    return peer.models.CellposeModel(gpu=False, pretrained_model=str(starter))


def nuclei(shape: tuple[int, int], diameter: float, count: float) -> np.ndarray:
    """A drawn field of nuclei (Y, X)."""
    population = Population(cells=count, nucleus_px=diameter, clustering=0.2)
    return draw_field(shape, population, Optics(), 0.0, np.random.default_rng(1)).image[0].astype(np.float32)


def theirs(model: Any, image: np.ndarray, masks: MaskSettings, **more: Any) -> np.ndarray:
    return np.asarray(
        model.eval(
            image,
            channels=[0, 0],
            flow_threshold=masks.flow_threshold,
            cellprob_threshold=masks.cellprob_threshold,
            min_size=masks.min_size or -1,
            **more,
        )[0]
    )


def assert_same_objects(ours: np.ndarray, peers: np.ndarray) -> None:
    """The same number of objects, and under 0.1 % of pixels, those with chaotic paths, in another one."""
    assert ours.max() == len(np.unique(peers[peers > 0]))
    numbers = np.zeros(int(peers.max()) + 1, np.int64)
    numbers[peers[ours > 0]] = ours[ours > 0]
    assert np.mean(np.where(peers > 0, numbers[peers], 0) != ours) < 1e-3


# The check leaves gaps in the numbers, at which the peer's removal of small objects takes the wrong ones: not both.
MASKS = (MaskSettings(min_size=0), MaskSettings(flow_threshold=None), MaskSettings(min_size=0, cellprob_threshold=1.0))


@pytest.mark.parametrize(
    ("diameter", "masks"), [(17.0, MASKS[0]), (11.0, MASKS[0]), (28.0, MASKS[0]), (17.0, MASKS[1]), (28.0, MASKS[2])]
)
def test_labels_at_several_diameters(network: Network, model: Any, masks: MaskSettings, diameter: float) -> None:
    image = nuclei((190, 220), diameter, 14_000 / diameter**2)
    ours = segment_image(network, image, ImageSettings(diameter=diameter, masks=masks))
    assert ours.max() > 10
    assert_same_objects(ours, theirs(model, image, masks, diameter=diameter))


@pytest.mark.parametrize("shape", [(30, 4000), (700, 33), (17, 19), (224, 224)], ids=str)
def test_labels_of_several_shapes(network: Network, model: Any, shape: tuple[int, int]) -> None:
    image = nuclei(shape, 17.0, shape[0] * shape[1] / 1000)
    masks = MASKS[0]
    ours = segment_image(network, image, ImageSettings(diameter=17.0, masks=masks))
    assert_same_objects(ours, theirs(model, image, masks, diameter=17.0))


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (3, 2)], ids=str)
def test_output_for_the_smallest_images(peer: Any, starter: Path, network: Network, shape: tuple[int, int]) -> None:
    """The peer takes no such image from array to labels, but its network runs."""
    image = np.random.default_rng(0).random((2, *shape), np.float32)
    image[1] = 0  # as when the weights were trained
    net = peer.resnet_torch.CPnet([2, 32, 64, 128, 256], 3, 3, mkldnn=False).eval()
    net.load_state_dict(load_weights(starter).state)
    wanted, _ = peer.core.run_net(net, image.transpose(1, 2, 0)[None])
    ((found, _),) = whole_images(run_tiled(network.net, [Pixels(image, 2, CPU)], network.predict))
    np.testing.assert_allclose(found, wanted[0].transpose(2, 0, 1), rtol=0, atol=1e-5)
    assert segment_image(network, image).shape == shape


@pytest.mark.parametrize("shape", [(90, 110), (250, 200)], ids=str)
def test_output_averaged_over_mirrored_tiles(
    peer: Any, starter: Path, network: Network, shape: tuple[int, int]
) -> None:
    image = np.stack([nuclei(shape, 17.0, 60), np.zeros(shape, np.float32)])
    image /= image.max()
    net = peer.resnet_torch.CPnet([2, 32, 64, 128, 256], 3, 3, mkldnn=False).eval()
    net.load_state_dict(load_weights(starter).state)
    wanted, style = peer.core.run_net(net, image.transpose(1, 2, 0)[None], augment=True)
    how = PredictSettings(8, CPU, torch.float32, augment=True)
    ((found, found_style),) = whole_images(run_tiled(network.net, [Pixels(image, 2, CPU)], how))
    np.testing.assert_allclose(found, wanted[0].transpose(2, 0, 1), rtol=0, atol=2e-5)
    np.testing.assert_allclose(found_style, style[0], rtol=0, atol=1e-5)


def test_augmented_labels(starter: Path, model: Any) -> None:
    image, masks = nuclei((200, 210), 17.0, 60), MASKS[0]
    network = load_network(starter, RunSettings(device="cpu", precision="float32", augment=True))
    ours = segment_image(network, image, ImageSettings(diameter=17.0, masks=masks))
    assert_same_objects(ours, theirs(model, image, masks, diameter=17.0, augment=True))


def test_a_network_is_the_same_after_use(starter: Path, network: Network) -> None:
    """Defect D8: the peer rebuilds its network for the processor, after which it has lost 41 of 313 entries."""
    net = build(load_weights(starter).state)
    entries = {key: entry.clone() for key, entry in net.state_dict().items()}
    placed, settings = place(net, EXACT)
    list(run_tiled(placed, [Pixels(nuclei((60, 60), 17.0, 4)[None], 2, CPU)], settings))
    left = net.state_dict()
    assert len(left) == 313
    assert all(torch.equal(entries[key], entry) for key, entry in left.items())
    image = nuclei((60, 60), 17.0, 4)
    ((before, _),) = whole_images(run_tiled(network.net, [Pixels(image[None], 2, CPU)], network.predict))
    segment_image(network, nuclei((90, 80), 17.0, 6))
    ((after, _),) = whole_images(run_tiled(network.net, [Pixels(image[None], 2, CPU)], network.predict))
    np.testing.assert_array_equal(after, before)


def test_settings_do_not_leak_into_later_calls(network: Network) -> None:
    """Defect D4: the peer changes its own defaults when a call inverts an image or is given a stack."""
    image = nuclei((120, 120), 17.0, 20)
    first = segment_image(network, image, ImageSettings(diameter=17.0))
    segment_image(network, image, ImageSettings(diameter=17.0, normalise=NormaliseSettings(invert=True)))
    np.testing.assert_array_equal(segment_image(network, image, ImageSettings(diameter=17.0)), first)


def test_a_network_of_one_channel_takes_images_of_another_size(tmp_path: Path) -> None:
    """Defect D12: the peer loses the channel axis when it resizes, and fails."""
    torch.save(FlowNet(1, 3).state_dict(), tmp_path / "one.pth")
    network = load_network(tmp_path / "one.pth", EXACT)
    assert segment_image(network, nuclei((60, 70), 17.0, 6), ImageSettings(diameter=17.0)).shape == (60, 70)
