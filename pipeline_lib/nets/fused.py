"""The network of `flownet` for processors that multiply in bfloat16: the same sums in fewer passes and products.

What lies between two convolutions (sum, style, batch norm, ReLU) is one multiply-add and one maximum per value, done in
float32 while a map goes through the processor once. Convolutions of enlarged maps work on the small ones. Everything
else is torch's. Maps are bfloat16, (N, C, H, W), channels last. What comes out for an image depends neither on its
neighbours in the batch nor on the number of threads, bit by bit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numpy as np
import torch
from numba import prange
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from pipeline_lib.core.compiled import compiled, compiled_parallel
from pipeline_lib.nets import flownet
from pipeline_lib.nets.flownet import FlowNet, StyledConv, style_of

Bits = NDArray[np.uint16]  # a map as numba sees it: (N, H, W, C), the bits of bfloat16
Floats = NDArray[np.float32]


def fused(net: FlowNet) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    """What `net` does in evaluation mode, for inference on a processor; it keeps its own copy of the weights.

    Takes (N, C, H, W), H and W multiples of 8. Returns the output (N, C_out, H, W) and the styles (N, 256) in float32.
    """
    down = [EncoderLevel(level) for level in _children(net.downsample.down)]
    *enlarging, deepest = _children(net.upsample.up)
    up = [DecoderLevel(deepest, Conv), *(DecoderLevel(level, EnlargingConv) for level in reversed(enlarging))]
    head = ActivatedConv(net.output)

    def forward(x: Tensor) -> tuple[Tensor, Tensor]:
        x = x.contiguous(memory_format=torch.channels_last)
        maps: list[Tensor] = []
        for encode in down:
            maps.append(encode(functional.max_pool2d(maps[-1], 2) if maps else x))
        style = style_of(maps[-1])
        x = maps[-1]
        for decode, skip in zip(up, reversed(maps), strict=True):
            x = decode(x, skip, style)
        return head(x).float(), style

    return forward


class EncoderLevel:
    """As in `flownet`."""

    def __init__(self, level: flownet.EncoderLevel) -> None:
        self.conv = [ActivatedConv(layer) for layer in _children(level.conv)]
        self.proj = _projection(*_children(level.proj))

    def __call__(self, x: Tensor) -> Tensor:
        """x: (N, C_in, H, W). Returns (N, C_out, H, W)."""
        conv = self.conv
        x, y = conv[2].of_sum(conv[1](conv[0](x)), self.proj(x))
        return x + conv[3](y)


class DecoderLevel:
    """As in `flownet`, with the enlargement before it; `first` tells whether there is one."""

    def __init__(self, level: flownet.DecoderLevel, first: type[Conv]) -> None:
        layers = _children(level.conv)
        self.conv = [ActivatedConv(layers[0], first), *(ActivatedConv(layer) for layer in layers[1:])]
        self.proj = _projection(*_children(level.proj))

    def __call__(self, x: Tensor, skip: Tensor, style: Tensor) -> Tensor:
        """x: (N, C_in, H, W) or half as high and wide. skip: (N, C_out, H, W). Returns (N, C_out, H, W)."""
        conv = self.conv
        _, y = conv[1].of_sum(conv[0](x), skip, style)
        x, y = conv[2].of_sum(y, self.proj(x), style)
        return x + conv[3](y, style)


class Conv:
    """A convolution that keeps height and width."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        self.padding = weight.shape[-1] // 2
        self.weight = weight.to(torch.bfloat16, memory_format=torch.channels_last)
        self.bias = bias.to(torch.bfloat16)

    def __call__(self, x: Tensor) -> Tensor:
        """x: (N, C_in, H, W), rounded if need be. Returns (N, C_out, H, W)."""
        return torch.conv2d(x.to(torch.bfloat16), self.weight, self.bias, padding=self.padding)


class EnlargingConv(Conv):
    """A 3 x 3 convolution of a map enlarged twofold, by 16 instead of 36 products per pixel of the small map.

    Three neighbours in the enlarged map show two pixels of the small one: around an even row the upper pixel and twice
    the lower one, around an odd row twice the upper one and the lower one; columns alike. So each of the four kinds of
    pixel is a 2 x 2 convolution of the small map.
    """

    SEEN = torch.tensor([[[1.0, 0.0, 0.0], [0.0, 1.0, 1.0]], [[1.0, 1.0, 0.0], [0.0, 0.0, 1.0]]])

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        kinds = torch.einsum("pak, qbl, oikl -> pqoiab", self.SEEN, self.SEEN, weight)
        super().__init__(kinds.flatten(0, 2), bias.repeat(4))

    def __call__(self, x: Tensor) -> Tensor:
        """x: (N, C_in, H, W). Returns (N, C_out, 2 H, 2 W)."""
        height, width = x.shape[2:]
        kinds = super().__call__(x).reshape(len(x), 2, 2, -1, height + 1, width + 1)  # (N, 2, 2, C_out, H + 1, W + 1)
        large = x.new_empty(len(x), 2 * height, 2 * width, kinds.shape[3]).permute(0, 3, 1, 2)
        for p, q in np.ndindex(2, 2):
            large[:, :, p::2, q::2] = kinds[:, p, q, :, p : p + height, q : q + width]
        return large


class ActivatedConv:
    """Style if there is one, batch norm and ReLU in one pass, then the convolution."""

    def __init__(self, layer: nn.Module, conv: type[Conv] = Conv) -> None:
        norm, _, inner = _children(layer.conv if isinstance(layer, StyledConv) else layer)
        scale, shift = _scale_and_shift(norm)
        if isinstance(layer, StyledConv):
            shift = shift + scale * layer.full.bias.detach()
            self.by_style = scale[:, None] * layer.full.weight.detach()
        self.scale, self.shift = scale, shift
        self.conv = conv(*_weights(inner))

    def __call__(self, x: Tensor, style: Tensor | None = None) -> Tensor:
        """The convolution of the activated `x`. An image in float32 is rounded after the norm only: it loses less."""
        if x.dtype == torch.float32:
            return self.conv(functional.relu(self.scale[:, None, None] * x + self.shift[:, None, None]))
        active = torch.empty_like(x)
        _activate(_bits(x), self.scale.numpy(), self._shifts(len(x), style), _bits(active))
        return self.conv(active)

    def of_sum(self, x: Tensor, other: Tensor, style: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The sum of two maps, and the convolution of that, activated. `other` may be half as high and wide as `x`."""
        total, active = torch.empty_like(x), torch.empty_like(x)
        shifts = self._shifts(len(x), style)
        _add_and_activate(_bits(x), _bits(other), self.scale.numpy(), shifts, (_bits(total), _bits(active)))
        return total, self.conv(active)

    def _shifts(self, images: int, style: Tensor | None) -> Floats:
        """What is added to each channel of each image, (N, C)."""
        if style is None:
            return self.shift.repeat(images, 1).numpy()
        # Not a matrix product: how that adds up depends on the number of images.
        return (self.shift + (self.by_style * style[:, None]).sum(dim=2)).numpy()


def _projection(norm: nn.BatchNorm2d, conv: nn.Conv2d) -> Conv:
    """Both are linear, so they are one convolution. Of an enlarged map it is the enlarged one of the small map."""
    scale, shift = _scale_and_shift(norm)
    weight, bias = _weights(conv)
    return Conv(weight * scale[:, None, None], bias + weight[:, :, 0, 0] @ shift)


def _children(module: nn.Module) -> list[Any]:
    return list(module.children())


def _weights(conv: nn.Conv2d) -> tuple[Tensor, Tensor]:
    return conv.weight.detach(), cast("Tensor", conv.bias).detach()


def _scale_and_shift(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Two numbers per channel: the norm of x is scale * x + shift."""
    mean, variance = cast("Tensor", norm.running_mean), cast("Tensor", norm.running_var)
    scale = norm.weight.detach() / (variance + norm.eps).sqrt()
    return scale, norm.bias.detach() - mean * scale


def _bits(x: Tensor) -> Bits:
    """The memory of a map (N, C, H, W), as (N, H, W, C)."""
    return cast("Bits", x.view(torch.uint16).permute(0, 2, 3, 1).numpy())


@compiled_parallel
def _activate(x: Bits, scale: Floats, shift: Floats, active: Bits) -> None:
    """Write into `active` the larger of scale * x + shift and 0."""
    images, height, width, channels = x.shape
    for row in prange(images * height):
        n, i = row // height, row % height
        for j in range(width):
            for c in range(channels):
                active[n, i, j, c] = _narrow(max(scale[c] * _wide(x[n, i, j, c]) + shift[n, c], np.float32(0)))


@compiled_parallel
def _add_and_activate(x: Bits, other: Bits, scale: Floats, shift: Floats, out: tuple[Bits, Bits]) -> None:
    """Write x + other, `other` enlarged to the size of x; and activate it, before it is rounded."""
    total, active = out
    images, height, width, channels = x.shape
    step = height // other.shape[1]
    for row in prange(images * height):
        n, i = row // height, row % height
        for j in range(width):
            # Without these views the compiler does not see that channels are neighbours in memory.
            a, b, s, t = x[n, i, j], other[n, i // step, j // step], total[n, i, j], active[n, i, j]
            for c in range(channels):
                value = _wide(a[c]) + _wide(b[c])
                s[c] = _narrow(value)
                t[c] = _narrow(max(scale[c] * value + shift[n, c], np.float32(0)))


@compiled
def _wide(bits: np.uint16) -> np.float32:
    """From bfloat16, the upper half of a float32."""
    return np.uint32(np.uint32(bits) << np.uint32(16)).view(np.float32)


@compiled
def _narrow(value: np.float32) -> np.uint16:
    """To bfloat16, the nearest, and of two the even one."""
    bits = np.float32(value).view(np.uint32)
    half = np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))
    return np.uint16((bits + half) >> np.uint32(16))
