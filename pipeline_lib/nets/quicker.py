"""Networks that learn on a processor in float32: convolutions of many channels by fewer products, gradients too."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from pipeline_lib.nets.winograd import FEWEST, gather_weight, put_together, seen, spread_weight, taken_apart


def quicken(net: nn.Module) -> None:
    """Have a network, whose weights stay where they are, do its 3 x 3 convolutions of many channels as Winograd's."""
    for parent in list(net.modules()):
        for name, child in parent.named_children():
            if isinstance(child, nn.Conv2d) and child.kernel_size == (3, 3) and min(child.weight.shape[:2]) >= FEWEST:
                setattr(parent, name, QuickConv2d(child))


class QuickConv2d(nn.Module):
    """A convolution of 3 x 3 that keeps height and width, with the parameters of another."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.weight, self.bias = conv.weight, conv.bias

    def forward(self, x: Tensor) -> Tensor:
        """x: (N, C_in, H, W), float32, on the processor. Returns (N, C_out, H, W)."""
        result: Tensor = _Convolution.apply(x, self.weight, self.bias)  # type: ignore[no-untyped-call]
        return result


class _Convolution(torch.autograd.Function):
    """Windows are transformed again for the gradient: keeping them would take more than twice the memory of maps."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return put_together(torch.bmm(seen(x), spread_weight(weight)), bias, x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        of_x = of_weight = of_bias = None
        if ctx.needs_input_grad[0]:
            turned = spread_weight(weight.flip(2, 3).transpose(0, 1))
            of_x = put_together(torch.bmm(seen(gradient), turned), weight.new_zeros(weight.shape[1]), x)
        if ctx.needs_input_grad[1]:
            of_weight = gather_weight(torch.bmm(seen(x).mT, taken_apart(gradient)))
        if ctx.needs_input_grad[2]:
            of_bias = gradient.sum((0, 2, 3))
        return of_x, of_weight, of_bias
