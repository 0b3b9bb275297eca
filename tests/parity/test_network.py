"""Network, scaling, tiling and resizing against cellpose 3.1.1.2, run as a black box on the same weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from pipeline_lib.arrays.normalise import normalise, percentile_range
from pipeline_lib.arrays.resample import resize, resize_labels
from pipeline_lib.io.weights import load_weights
from pipeline_lib.nets.flownet import FlowNet, build
from pipeline_lib.segmentation import flows_of_fields, prepare_network
from pipeline_lib.tiling.placing import RunSettings
from pipeline_lib.tiling.predict import PredictSettings, run_tiled, whole_images
from pipeline_lib.tiling.sources import Pixels

CPU = torch.device("cpu")
EXACT = PredictSettings(batch_size=4, device=CPU, precision=torch.float32)

pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("ignore")]  # the peer's warnings are not ours


@pytest.fixture(scope="module", params=["seed 1", "seed 2", "starter"])
def weights_file(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights with random running statistics, or the starter weights."""
    if request.param == "starter":
        return Path(request.getfixturevalue("starter"))
    torch.manual_seed(int(request.param.split()[1]))
    net = FlowNet()
    for key, entry in net.state_dict().items():
        if key.endswith("running_var"):
            entry.uniform_(0.5, 2.0)
        elif key.endswith(("running_mean", "0.weight", "0.bias")):
            entry.add_(0.2 * torch.randn_like(entry))
    path = tmp_path_factory.mktemp("weights") / "random.pth"
    torch.save(net.state_dict(), path)
    return path


@pytest.fixture(scope="module")
def field(shared: Path) -> np.ndarray:
    """A fluorescence image (Y, X) of the validation set, float32."""
    return np.asarray(Image.open(shared / "data" / "dsb2018" / "val" / "001_img.png").convert("L"), np.float32)


def peer_net(peer: Any, weights_file: Path) -> torch.nn.Module:
    net = peer.resnet_torch.CPnet([2, 32, 64, 128, 256], 3, 3, mkldnn=False).eval()
    net.load_state_dict(load_weights(weights_file).state)
    return net


def random_image(*shape: int) -> np.ndarray:
    """Noise in the first channel; the second is zero, as it was when the starter weights were trained."""
    image = np.random.default_rng(0).normal(0.5, 0.5, shape).astype(np.float32)
    image[..., 1, :, :] = 0
    return image


def test_network_output_and_style(peer: Any, weights_file: Path) -> None:
    x = torch.from_numpy(random_image(2, 2, 96, 128))
    with torch.no_grad():
        wanted, wanted_style = peer_net(peer, weights_file)(x)[:2]
        found, style = build(load_weights(weights_file).state)(x)
    assert (found - wanted).abs().max() < 1e-5
    assert (style - wanted_style).abs().max() < 1e-5
    assert wanted.std() > 1e-3


@pytest.mark.parametrize("shape", [(90, 110), (300, 250), (1, 700)])
def test_tiled_output_and_style(peer: Any, weights_file: Path, shape: tuple[int, int]) -> None:
    image = random_image(2, *shape)
    wanted, wanted_style = peer.core.run_net(peer_net(peer, weights_file), image.transpose(1, 2, 0)[None], batch_size=4)
    ((found, style),) = whole_images(run_tiled(build(load_weights(weights_file).state), [Pixels(image, 2, CPU)], EXACT))
    np.testing.assert_allclose(found, wanted[0].transpose(2, 0, 1), rtol=0, atol=1e-5)
    np.testing.assert_allclose(style, wanted_style[0], rtol=0, atol=1e-5)


@pytest.mark.parametrize("shape", [(60, 80), (3353, 3400)])
def test_normalisation_is_equal_to_the_bit(peer: Any, shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    image = np.stack([rng.gamma(2, 300, shape), rng.normal(0, 1e-2, shape)]).astype(np.float32)
    wanted = peer.transforms.normalize_img(image.transpose(1, 2, 0).copy()).transpose(2, 0, 1)  # scales in place
    found = normalise(image, [percentile_range(channel, (1.0, 99.0)) for channel in image])
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize(
    ("old", "new"), [((97, 131), (200, 55)), ((64, 64), (54, 54)), ((54, 54), (64, 64)), ((5, 3), (1, 9))]
)
def test_resizing(peer: Any, old: tuple[int, int], new: tuple[int, int]) -> None:
    """One channel at a time: for two, OpenCV rounds coordinates to float32, which costs it up to 2e-4."""
    image = random_image(2, *old)[0]
    wanted = peer.transforms.resize_image(image, *new, no_channels=True)
    np.testing.assert_allclose(resize(image[None], new)[0], wanted, rtol=0, atol=2e-6)
    labels = np.arange(old[0] * old[1], dtype=np.float32).reshape(old)
    wanted_labels = peer.transforms.resize_image(labels, *new, interpolation=0, no_channels=True)
    np.testing.assert_array_equal(resize_labels(labels, new), wanted_labels)


@pytest.mark.parametrize(("diameter", "tolerance"), [(17.0, 2e-5), (25.0, 2e-4)])
def test_flows_of_a_field_from_array_to_array(
    peer: Any, field: np.ndarray, starter: Path, diameter: float, tolerance: float
) -> None:
    """At 17 pixels nothing is resized. At 25 the peer resizes two channels at once, whose coordinates OpenCV rounds.

    With that very resize in place of ours, the difference at 25 pixels falls from 8e-5 to 3e-5 (flows up to 5).
    """
    model = peer.models.CellposeModel(gpu=False, pretrained_model=str(starter))
    _, (_, wanted_flow, wanted_logit, *_), wanted_style = model.eval(
        field, diameter=diameter, channels=[0, 0], compute_masks=False
    )
    network = prepare_network(load_weights(starter).state, RunSettings("cpu", "float32"))
    image = normalise(field[None], [percentile_range(field, (1.0, 99.0))])
    ((flow, logit),) = flows_of_fields(network, [image], diameter)
    np.testing.assert_allclose(5 * flow, wanted_flow, rtol=0, atol=tolerance)
    np.testing.assert_allclose(logit, wanted_logit, rtol=0, atol=tolerance)
    if diameter == network.diam_mean:
        ((_, style),) = whole_images(run_tiled(network.net, [network.pixels(image)], EXACT))
        np.testing.assert_allclose(style, wanted_style, rtol=0, atol=1e-5)
