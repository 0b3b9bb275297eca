"""The network: its parts do what they say, every weight counts, and its keys are those of the checkpoints."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from pipeline_lib.io.weights import layout
from pipeline_lib.nets.flownet import Encoder, EncoderLevel, FlowNet, StyledConv, build, style_of


@pytest.fixture(scope="module")
def net() -> FlowNet:
    torch.manual_seed(0)
    return FlowNet().eval()


def silence(part: nn.Module) -> None:
    """Make every convolution and matrix of a part give zero."""
    for module in part.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.zeros_(module.weight)
            nn.init.zeros_(module.bias)


@pytest.mark.parametrize(("channels", "count"), [((2, 3), 6_600_845), ((1, 1), 6_600_455)])
def test_keys_and_shapes_are_those_of_the_checkpoints(channels: tuple[int, int], count: int) -> None:
    net = FlowNet(*channels)
    assert {key: tuple(entry.shape) for key, entry in net.state_dict().items()} == layout(*channels)
    diameters = net.diam_mean.numel() + net.diam_labels.numel()
    assert sum(weight.numel() for weight in net.parameters()) + diameters == count
    assert len(net.state_dict()) == 313


def test_a_level_without_convolutions_is_its_shortcut() -> None:
    level = EncoderLevel(2, 4).eval()
    silence(level.conv)
    x = torch.randn(1, 2, 6, 6)
    torch.testing.assert_close(level(x), level.proj(x))


def test_the_style_shifts_whole_channels_before_the_norm() -> None:
    block = StyledConv(3).eval()
    x, style = torch.randn(2, 3, 5, 5), torch.randn(2, 256)
    shifted = x + block.full(style).reshape(2, 3, 1, 1).expand(2, 3, 5, 5)
    torch.testing.assert_close(block(x, style), block.conv(shifted))


def test_encoder_maps_halve_and_widen() -> None:
    maps = Encoder(2).eval()(torch.randn(1, 2, 32, 48))
    assert [tuple(m.shape[1:]) for m in maps] == [(32, 32, 48), (64, 16, 24), (128, 8, 12), (256, 4, 6)]


def test_styles_are_directions_of_the_mean_map() -> None:
    deepest = torch.zeros(2, 256, 2, 2)
    deepest[0, 0], deepest[0, 1] = 3.0, 4.0
    styles = style_of(deepest)
    torch.testing.assert_close(styles[0, :2], torch.tensor([0.6, 0.8]))
    assert not styles[1].any()


def test_a_silent_network_gives_the_bias_of_its_head() -> None:
    net = FlowNet().eval()
    silence(net)
    with torch.no_grad():
        net.output[2].bias.copy_(torch.tensor([1.0, -2.0, 3.0]))
        output, _ = net(torch.randn(1, 2, 16, 16))
    torch.testing.assert_close(output, torch.tensor([1.0, -2.0, 3.0]).reshape(1, 3, 1, 1).expand(1, 3, 16, 16))


def test_images_of_a_batch_do_not_mix(net: FlowNet) -> None:
    x = torch.randn(3, 2, 24, 32)
    with torch.no_grad():
        together, styles = net(x)
        alone, style = net(x[1:2])
    torch.testing.assert_close(together[1:2], alone)
    torch.testing.assert_close(styles[1:2], style)


def test_each_map_of_the_encoder_reaches_the_output(net: FlowNet) -> None:
    maps = net.encode(torch.randn(1, 2, 16, 16))
    style = style_of(maps[-1])
    with torch.no_grad():
        plain = net.upsample(maps, style)
        for k, level in enumerate(maps):
            changed = [*maps[:k], level + 1, *maps[k + 1 :]]
            assert not torch.allclose(net.upsample(changed, style), plain, atol=1e-3)


def test_every_weight_takes_part() -> None:
    net = FlowNet()
    output, style = net(torch.randn(2, 2, 16, 16))
    (output.square().sum() + style[:, 0].sum()).backward()
    untouched = [name for name, weight in net.named_parameters() if weight.grad is None or not weight.grad.any()]
    # a bias right before a batch norm's mean is taken away again in training; none of ours is, thanks to the shortcuts
    assert untouched == []


@pytest.mark.parametrize("channels", [(2, 3), (1, 1)])
def test_build_reads_the_channels_and_diameters_off_the_state(channels: tuple[int, int]) -> None:
    original = FlowNet(*channels)
    original.diam_mean.fill_(17.0)
    rebuilt = build(original.state_dict())
    assert not rebuilt.training
    assert rebuilt.channels_in == channels[0]
    assert float(rebuilt.diam_mean) == 17.0
    x = torch.randn(1, channels[0], 16, 16)
    with torch.no_grad():
        torch.testing.assert_close(rebuilt(x), original.eval()(x))


def test_build_refuses_a_state_of_another_network() -> None:
    state = FlowNet().state_dict()
    del state["output.2.bias"]
    with pytest.raises(RuntimeError, match=r"output\.2\.bias"):
        build(state)
