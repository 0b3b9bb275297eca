"""The network for processors: its parts against those of `flownet`, its error against that of plain bfloat16."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import pipeline_lib
from pipeline_lib.io.weights import load_weights
from pipeline_lib.nets.flownet import FlowNet, StyledConv, activated_conv, build, projection
from pipeline_lib.nets.fused import ActivatedConv, Conv, EnlargingConv, PixelConv, _narrow, _projection, _wide, fused

STARTER = Path(pipeline_lib.__file__).parent / "weights" / "starter_nuclei.safetensors"
ROUNDING = {torch.bfloat16: {"rtol": 0.02, "atol": 0.05}, torch.float32: {"rtol": 1e-4, "atol": 1e-5}}  # of a few steps

each_precision = pytest.mark.parametrize("precision", [torch.bfloat16, torch.float32], ids=["bfloat16", "float32"])


@pytest.fixture(scope="module")
def net() -> FlowNet:
    return build(load_weights(STARTER).state)


@pytest.fixture(scope="module")
def images() -> Tensor:
    """Three images (3, 2, 64, 96) of bright discs on a dim, noisy ground."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:64, :96]
    pixels = rng.normal(0.1, 0.05, (3, 2, 64, 96))
    for image in pixels[:, 0]:
        for centre_y, centre_x, radius in rng.uniform((0, 0, 6), (64, 96, 14), (8, 3)):
            image[np.hypot(y - centre_y, x - centre_x) < radius] += rng.uniform(0.4, 0.9)
    return torch.from_numpy(pixels.astype(np.float32))


def trained(module: nn.Module) -> nn.Module:
    """As it might be after training: no norm is the identity."""
    torch.manual_seed(0)
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            for values, low, high in ((part.weight.data, 0.5, 1.5), (part.bias.data, -1, 1)):
                values.uniform_(low, high)
            part.running_mean = torch.empty(part.num_features).uniform_(-1, 1)
            part.running_var = torch.empty(part.num_features).uniform_(0.5, 2)
    return module.eval()


def a_map(*shape: int, precision: torch.dtype, seed: int = 0) -> Tensor:
    values = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    return values.to(precision).contiguous(memory_format=torch.channels_last)


def test_rounding_is_that_of_torch_ties_included() -> None:
    ties = torch.arange(0x3F80, 0x3F90, dtype=torch.int32) << 16 | 0x8000
    values = torch.cat([torch.randn(500) * 100, ties.view(torch.float32), torch.tensor([0.0, -0.0, torch.inf, 1e-40])])
    rounded = values.to(torch.bfloat16)
    assert [int(_narrow(value)) for value in values.numpy()] == rounded.view(torch.uint16).tolist()
    assert [float(_wide(bits)) for bits in rounded.view(torch.uint16).numpy()] == rounded.tolist()


@each_precision
def test_a_convolution_of_the_enlarged_map_comes_from_the_small_one(precision: torch.dtype) -> None:
    """Whole numbers below 256, which bfloat16 holds exactly; odd sizes."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randint(-2, 3, (2, 3, 5, 7), generator=generator).float()
    weight = torch.randint(-2, 3, (4, 3, 3, 3), generator=generator).float()
    bias = torch.tensor([1.0, -2.0, 3.0, 0.0])
    expected = torch.conv2d(functional.interpolate(x, scale_factor=2.0), weight, bias, padding=1)
    torch.testing.assert_close(EnlargingConv(weight, bias, precision)(x).float(), expected, rtol=0, atol=0)


@torch.no_grad()
@each_precision
@pytest.mark.parametrize("channels", [8, 64])
def test_an_activated_convolution(precision: torch.dtype, channels: int) -> None:
    layer = trained(activated_conv(channels, 64))
    x = a_map(2, channels, 5, 6, precision=precision)
    expected = layer(x.float())
    torch.testing.assert_close(ActivatedConv(layer, precision)(x).float(), expected, **ROUNDING[precision])
    torch.testing.assert_close(ActivatedConv(layer, precision)(x.float()).float(), expected, **ROUNDING[precision])


@torch.no_grad()
@each_precision
@pytest.mark.parametrize("halved", [1, 2])
def test_sum_style_and_activation_in_one_pass(precision: torch.dtype, halved: int) -> None:
    layer = trained(StyledConv(8))
    x = a_map(2, 8, 4, 6, precision=precision)
    other = a_map(2, 8, 4 // halved, 6 // halved, precision=precision, seed=1)
    style = torch.randn(2, 256)
    total, y = ActivatedConv(layer, precision).of_sum(x, other, style)
    expected = x.float() + functional.interpolate(other.float(), scale_factor=float(halved))
    assert torch.equal(total, expected.to(precision))
    torch.testing.assert_close(y.float(), layer(expected, style), **ROUNDING[precision])


@torch.no_grad()
@each_precision
def test_a_norm_and_a_projection_are_one_convolution(precision: torch.dtype) -> None:
    layer = trained(projection(8, 16))
    x = a_map(2, 8, 5, 6, precision=precision)
    folded = _projection(layer, precision)
    assert isinstance(folded, Conv if precision == torch.bfloat16 else PixelConv)
    torch.testing.assert_close(folded(x).float(), layer(x.float()), **ROUNDING[precision])


@torch.inference_mode()
def test_the_error_is_that_of_bfloat16(net: FlowNet, images: Tensor) -> None:
    exact, style = net(images)
    with torch.autocast("cpu", torch.bfloat16):
        rounded, rounded_style = net(images)
    output, fused_style = fused(net, torch.bfloat16)(images)
    assert output.dtype == fused_style.dtype == torch.float32
    error, usual = ((result - exact).abs().mean(dim=(0, 2, 3)) for result in (output, rounded))
    assert (error < 1.2 * usual).all(), (error, usual)
    assert (fused_style - style).abs().max() < 1.5 * (rounded_style - style).abs().max()


@torch.inference_mode()
def test_float32_is_nearly_as_exact_as_the_plain_network(net: FlowNet, images: Tensor) -> None:
    """Values reach 60: that is rounding at the sixth digit."""
    plain, plain_style = net(images)
    output, style = fused(net, torch.float32)(images)
    torch.testing.assert_close(output, plain, rtol=0, atol=1e-4)
    torch.testing.assert_close(style, plain_style, rtol=0, atol=1e-6)


@torch.inference_mode()
@each_precision
def test_an_image_gives_the_same_bits_in_any_company_and_with_any_threads(
    net: FlowNet, images: Tensor, precision: torch.dtype
) -> None:
    run = fused(net, precision)
    together, styles = run(images)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        for i in range(3):
            output, style = run(images[i : i + 1])
            assert torch.equal(output[0], together[i])
            assert torch.equal(style[0], styles[i])
    finally:
        torch.set_num_threads(threads)


@torch.inference_mode()
def test_autocast_around_it_changes_nothing(net: FlowNet, images: Tensor) -> None:
    run = fused(net, torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16):
        inside = run(images)
    assert all(torch.equal(a, b) for a, b in zip(inside, run(images), strict=True))


@torch.inference_mode()
@each_precision
def test_the_smallest_image_is_8_by_8(net: FlowNet, images: Tensor, precision: torch.dtype) -> None:
    small = images[:1, :, :8, :8]
    torch.testing.assert_close(fused(net, precision)(small)[1], net(small)[1], rtol=0, atol=0.02)
