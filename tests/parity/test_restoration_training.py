"""Damage and losses that restoration is trained with, against the functions of cellpose 3.1.1.2."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from pipeline_lib.nets.flownet import FlowNet
from pipeline_lib.training.degrade import blur, rescaled, sample, shot_noise
from pipeline_lib.training.learning import Place
from pipeline_lib.training.restoration import RestorationBatch, RestorationLoss

pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("ignore")]  # the peer's warnings are not ours

DIAMETERS = torch.tensor([30.0, 45.0, 60.0])
CPU = Place(torch.device("cpu"))


@pytest.fixture(scope="module")
def denoise(peer: Any) -> Any:
    from cellpose import denoise

    return denoise


@pytest.fixture(scope="module")
def frozen() -> FlowNet:
    torch.manual_seed(0)
    return FlowNet(1, 3).eval()


def clean(count: int, size: int) -> Tensor:
    return torch.rand(count, 1, size, size, generator=torch.Generator().manual_seed(1))


def theirs(denoise: Any, images: Tensor, **chosen: Any) -> Tensor:
    torch.manual_seed(2)
    np.random.seed(2)  # noqa: NPY002 - whichever of the two the peer draws from
    none = {"poisson": 0.0, "blur": 0.0, "downsample": 0.0}
    return torch.as_tensor(denoise.add_noise(images.clone(), **none | {"diams": DIAMETERS, **chosen}))


def test_blur(denoise: Any) -> None:
    """What the peer draws is read off the points it blurs; they are faint, since it scales what has any contrast."""
    points = torch.zeros(3, 1, 121, 121)
    points[..., 60, 60] = 0.05
    found = theirs(denoise, points, blur=1.0, gblur=10.0, uniform_blur=True)
    peaks = found[:, 0, 60, 60:62].double()
    sigma = (1 / (2 * torch.log(peaks[:, 0] / peaks[:, 1])).sqrt()).numpy()
    assert ((sigma > DIAMETERS.numpy() / 30) & (sigma < DIAMETERS.numpy() / 3)).all()
    torch.testing.assert_close(found, blur(points, sigma), rtol=1e-4, atol=1e-8)


def test_coarse_sampling(denoise: Any) -> None:
    """Factors are told, and say how much is blurred before."""
    factors, images = [2, 3, 5], clean(3, 90)
    found = theirs(denoise, images, downsample=1.0, gblur=5.0, uniform_blur=True, ds=torch.tensor(factors))
    sigma = np.array([d / 30 * (1 + 0.4 * f) for d, f in zip(DIAMETERS.tolist(), factors, strict=True)])
    ours = torch.stack([sample(one, factor) for one, factor in zip(blur(images, sigma), factors, strict=True)])
    torch.testing.assert_close(found, rescaled(ours), rtol=0, atol=1e-5)


def test_shot_noise(denoise: Any) -> None:
    """Of the same number of photons means and spreads are alike, brightness by brightness."""
    photons = [3.0, 8.0, 40.0]
    ramp = torch.linspace(0, 1, 200).repeat(3, 1, 2000, 1)
    found = theirs(denoise, ramp, poisson=1.0, pscale=torch.tensor(photons)[:, None, None, None])
    ours = rescaled(shot_noise(ramp, np.array(photons), np.random.default_rng(0)))
    for ends in (Tensor.mean, Tensor.std):
        torch.testing.assert_close(ends(found, dim=2), ends(ours, dim=2), rtol=0, atol=0.06)
        torch.testing.assert_close(ends(found, dim=(2, 3)), ends(ours, dim=(2, 3)), rtol=0.01, atol=0)


@pytest.mark.parametrize("losses", ["rec", "seg", "per"])
def test_losses(denoise: Any, frozen: FlowNet, losses: str) -> None:
    restored, wanted = clean(4, 64).split(2)
    labels = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(3)).sub(0.5)
    inside = (labels[:, 0] > 0).float()
    batch = RestorationBatch(restored, wanted, labels[:, 1:], inside)
    with torch.no_grad():
        ours = float(RestorationLoss(frozen.state_dict(), losses, CPU)(restored, batch))
        peers = {
            "rec": lambda: denoise.loss_fn_rec(wanted, restored),
            "seg": lambda: denoise.loss_fn_seg(torch.cat([inside[:, None], labels[:, 1:]], 1), frozen(restored)[0]),
            "per": lambda: denoise.loss_fn_per(wanted, peers_network(frozen), frozen.encode(restored)),
        }
        assert ours == pytest.approx(float(peers[losses]()), rel=1e-4)


def peers_network(net: FlowNet) -> Any:
    """The peer's network with the same weights."""
    from cellpose.resnet_torch import CPnet

    theirs = CPnet([1, 32, 64, 128, 256], 3, 3, mkldnn=False)
    theirs.load_state_dict(net.state_dict())
    return theirs.eval()
