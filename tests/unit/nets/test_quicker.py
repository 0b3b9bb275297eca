"""Networks that learn by fewer products: values and gradients are those of torch's convolutions."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from pipeline_lib.nets.flownet import FlowNet
from pipeline_lib.nets.quicker import QuickConv2d, quicken


@pytest.mark.parametrize("shape", [(2, 64, 13, 18), (1, 64, 4, 4), (3, 64, 1, 2)])
def test_gradients_are_those_of_a_plain_convolution(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    plain, x = nn.Conv2d(64, 96, 3, padding=1), torch.randn(shape, requires_grad=True)
    quick, shown = QuickConv2d(plain), torch.randn(shape[0], 96, *shape[2:])
    y = plain(x)
    wanted = torch.autograd.grad(y, (x, *plain.parameters()), shown)
    made = quick(x)
    found = torch.autograd.grad(made, (x, quick.weight, quick.bias), shown)
    for a, b in zip((made, *found), (y, *wanted), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=2e-5 * float(b.detach().abs().max()))


def test_only_what_is_asked_for_is_worked_out() -> None:
    plain = nn.Conv2d(64, 64, 3, padding=1).requires_grad_(requires_grad=False)
    x = torch.randn(1, 64, 8, 8, requires_grad=True)
    QuickConv2d(plain)(x).sum().backward()
    assert x.grad is not None
    assert plain.weight.grad is None


def test_a_network_keeps_its_weights_and_their_names() -> None:
    torch.manual_seed(0)
    net = FlowNet(1, 3).train()
    before = {key: value.clone() for key, value in net.state_dict().items()}
    image = torch.rand(1, 1, 32, 32)
    output, _ = net(image)
    net.load_state_dict(before)  # norms have learnt from the image
    quicken(net)
    found, _ = net(image)
    torch.testing.assert_close(found, output, rtol=0, atol=1e-4)
    assert net.state_dict().keys() == before.keys()
    assert sum(isinstance(module, QuickConv2d) for module in net.modules()) == 23
    assert len({id(weight) for weight in net.parameters()}) == len(list(net.parameters()))
