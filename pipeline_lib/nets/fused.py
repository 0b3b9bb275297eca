"""The network of `flownet` for processors: the same sums in fewer passes and products.

What lies between two convolutions (sum, style, batch norm, ReLU) is one multiply-add and one maximum per value, done in
float32 while a map goes through the processor once. Convolutions of enlarged maps work on the small ones; in float32
those of many channels are Winograd's. Everything else is torch's. Maps are bfloat16 or float32, (N, C, H, W), channels
last. What comes out for an image depends neither on its neighbours in the batch nor on the number of threads, bit by
bit.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, cast

import numpy as np
import torch
from numba import prange, types
from numba.extending import overload
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from pipeline_lib.core.compiled import compiled, compiled_parallel
from pipeline_lib.nets import flownet
from pipeline_lib.nets.flownet import FlowNet, StyledConv, style_of
from pipeline_lib.nets.winograd import FEWEST, WinogradConv

Map = NDArray[np.uint16] | NDArray[np.float32]  # as numba sees it: (N, H, W, C); bfloat16 by its bits
Floats = NDArray[np.float32]
Convolve = Callable[[Tensor], Tensor]
MakeConv = Callable[[Tensor, Tensor, torch.dtype], Convolve]


def fused(net: FlowNet, precision: torch.dtype) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    """What `net` does in evaluation mode, for inference on a processor; it keeps its own copy of the weights.

    precision: of maps and products, bfloat16 or float32. Takes (N, C, H, W), H and W multiples of 8. Returns the output
    (N, C_out, H, W) and the styles (N, 256) in float32.
    """
    down = [EncoderLevel(level, precision) for level in _children(net.downsample.down)]
    *enlarging, deepest = _children(net.upsample.up)
    enlarged = partial(DecoderLevel, precision=precision, first=EnlargingConv)
    up = [DecoderLevel(deepest, precision), *map(enlarged, reversed(enlarging))]
    head = ActivatedConv(net.output, precision)

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

    def __init__(self, level: flownet.EncoderLevel, precision: torch.dtype) -> None:
        self.conv = [ActivatedConv(layer, precision) for layer in _children(level.conv)]
        self.proj = _projection(level.proj, precision)

    def __call__(self, x: Tensor) -> Tensor:
        """x: (N, C_in, H, W). Returns (N, C_out, H, W)."""
        conv = self.conv
        x, y = conv[2].of_sum(conv[1](conv[0](x)), self.proj(x))
        return x + conv[3](y)


class DecoderLevel:
    """As in `flownet`, with the enlargement before it; `first` tells whether there is one."""

    def __init__(self, level: flownet.DecoderLevel, precision: torch.dtype, first: MakeConv | None = None) -> None:
        begin, *layers = _children(level.conv)
        self.conv = [ActivatedConv(begin, precision, first), *(ActivatedConv(layer, precision) for layer in layers)]
        self.proj = _projection(level.proj, precision)

    def __call__(self, x: Tensor, skip: Tensor, style: Tensor) -> Tensor:
        """x: (N, C_in, H, W) or half as high and wide. skip: (N, C_out, H, W). Returns (N, C_out, H, W)."""
        conv = self.conv
        _, y = conv[1].of_sum(conv[0](x), skip, style)
        x, y = conv[2].of_sum(y, self.proj(x), style)
        return x + conv[3](y, style)


class Conv:
    """A convolution that keeps height and width."""

    def __init__(self, weight: Tensor, bias: Tensor, precision: torch.dtype) -> None:
        self.padding = weight.shape[-1] // 2
        self.weight = weight.to(precision, memory_format=torch.channels_last)
        self.bias = bias.to(precision)

    def __call__(self, x: Tensor) -> Tensor:
        """x: (N, C_in, H, W), rounded if need be. Returns (N, C_out, H, W)."""
        return torch.conv2d(x.to(self.weight.dtype), self.weight, self.bias, padding=self.padding)


class EnlargingConv(Conv):
    """A 3 x 3 convolution of a map enlarged twofold, by 16 instead of 36 products per pixel of the small map.

    Three neighbours in the enlarged map show two pixels of the small one: around an even row the upper pixel and twice
    the lower one, around an odd row twice the upper one and the lower one; columns alike. So each of the four kinds of
    pixel is a 2 x 2 convolution of the small map.
    """

    SEEN = torch.tensor([[[1.0, 0.0, 0.0], [0.0, 1.0, 1.0]], [[1.0, 1.0, 0.0], [0.0, 0.0, 1.0]]])

    def __init__(self, weight: Tensor, bias: Tensor, precision: torch.dtype) -> None:
        kinds = torch.einsum("pak, qbl, oikl -> pqoiab", self.SEEN, self.SEEN, weight)
        super().__init__(kinds.flatten(0, 2), bias.repeat(4), precision)

    def __call__(self, x: Tensor) -> Tensor:
        """x: (N, C_in, H, W). Returns (N, C_out, 2 H, 2 W)."""
        height, width = x.shape[2:]
        kinds = super().__call__(x).reshape(len(x), 2, 2, -1, height + 1, width + 1)  # (N, 2, 2, C_out, H + 1, W + 1)
        large = x.new_empty(len(x), 2 * height, 2 * width, kinds.shape[3]).permute(0, 3, 1, 2)
        for p, q in np.ndindex(2, 2):
            large[:, :, p::2, q::2] = kinds[:, p, q, :, p : p + height, q : q + width]
        return large


class PixelConv:
    """A 1 x 1 convolution in float32 as a matrix product, whose bits do not depend on the number of threads."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        self.weight, self.bias = weight[:, :, 0, 0].contiguous(), bias

    def __call__(self, x: Tensor) -> Tensor:
        """x: (N, C_in, H, W), float32. Returns (N, C_out, H, W)."""
        return functional.linear(x.permute(0, 2, 3, 1), self.weight, self.bias).permute(0, 3, 1, 2)


class ActivatedConv:
    """Style if there is one, batch norm and ReLU in one pass, then the convolution."""

    def __init__(self, layer: nn.Module, precision: torch.dtype, make: MakeConv | None = None) -> None:
        norm, _, inner = _children(layer.conv if isinstance(layer, StyledConv) else layer)
        scale, shift = _scale_and_shift(norm)
        if isinstance(layer, StyledConv):
            shift = shift + scale * layer.full.bias.detach()
            self.by_style = scale[:, None] * layer.full.weight.detach()
        self.scale, self.shift = scale, shift
        self.precision = precision
        self.conv = (make or _conv)(*_weights(inner), precision)

    def __call__(self, x: Tensor, style: Tensor | None = None) -> Tensor:
        """The convolution of the activated `x`. An image in float32 is rounded after the norm only: it loses less."""
        if x.dtype != self.precision:
            return self.conv(functional.relu(self.scale[:, None, None] * x + self.shift[:, None, None]))
        active = torch.empty_like(x)
        _activate(_seen(x), self.scale.numpy(), self._shifts(len(x), style), _seen(active))
        return self.conv(active)

    def of_sum(self, x: Tensor, other: Tensor, style: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The sum of two maps, and the convolution of that, activated. `other` may be half as high and wide as `x`."""
        total, active = torch.empty_like(x), torch.empty_like(x)
        shifts = self._shifts(len(x), style)
        _add_and_activate(_seen(x), _seen(other), self.scale.numpy(), shifts, (_seen(total), _seen(active)))
        return total, self.conv(active)

    def _shifts(self, images: int, style: Tensor | None) -> Floats:
        """What is added to each channel of each image, (N, C)."""
        if style is None:
            return self.shift.repeat(images, 1).numpy()
        # Not a matrix product: how that adds up depends on the number of images.
        return (self.shift + (self.by_style * style[:, None]).sum(dim=2)).numpy()


def _conv(weight: Tensor, bias: Tensor, precision: torch.dtype) -> Convolve:
    """The form of a convolution that is fastest."""
    if precision == torch.float32:
        if weight.shape[-1] == 1:
            return PixelConv(weight, bias)
        if min(weight.shape[:2]) >= FEWEST:
            return WinogradConv(weight, bias)
    return Conv(weight, bias, precision)


def _projection(shortcut: nn.Module, precision: torch.dtype) -> Convolve:
    """Norm and convolution are linear, so they are one. Of an enlarged map it is the enlarged one of the small map."""
    norm, conv = _children(shortcut)
    scale, shift = _scale_and_shift(norm)
    weight, bias = _weights(conv)
    return _conv(weight * scale[:, None, None], bias + weight[:, :, 0, 0] @ shift, precision)


def _children(module: nn.Module) -> list[Any]:
    return list(module.children())


def _weights(conv: nn.Conv2d) -> tuple[Tensor, Tensor]:
    return conv.weight.detach(), cast("Tensor", conv.bias).detach()


def _scale_and_shift(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Two numbers per channel: the norm of x is scale * x + shift."""
    mean, variance = cast("Tensor", norm.running_mean), cast("Tensor", norm.running_var)
    scale = norm.weight.detach() / (variance + norm.eps).sqrt()
    return scale, norm.bias.detach() - mean * scale


def _seen(x: Tensor) -> Map:
    """The memory of a map (N, C, H, W), as (N, H, W, C)."""
    x = x.view(torch.uint16) if x.dtype == torch.bfloat16 else x
    return cast("Map", x.permute(0, 2, 3, 1).numpy())


@compiled_parallel
def _activate(x: Map, scale: Floats, shift: Floats, active: Map) -> None:
    """Write into `active` the larger of scale * x + shift and 0."""
    images, height, width, channels = x.shape
    for row in prange(images * height):
        n, i = row // height, row % height
        for j in range(width):
            a, t = x[n, i, j], active[n, i, j]
            for c in range(channels):
                _put(t, c, max(scale[c] * _value(a[c]) + shift[n, c], np.float32(0)))


@compiled_parallel
def _add_and_activate(x: Map, other: Map, scale: Floats, shift: Floats, out: tuple[Map, Map]) -> None:
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
                value = _value(a[c]) + _value(b[c])
                _put(s, c, value)
                _put(t, c, max(scale[c] * value + shift[n, c], np.float32(0)))


def _value(stored: np.uint16 | np.float32) -> np.float32:
    """A value of a map, whose kind the compiler knows."""
    raise NotImplementedError


def _put(pixel: Map, channel: int, value: np.float32) -> None:
    """Write a value into a pixel (C,) of a map."""
    raise NotImplementedError


def _compiled_value(stored: Any) -> Callable[..., Any]:
    def widened(stored: Any) -> Any:
        return _wide(stored)

    def itself(stored: Any) -> Any:
        return stored

    return widened if isinstance(stored, types.Integer) else itself


def _compiled_put(pixel: Any, channel: Any, value: Any) -> Callable[..., Any]:  # noqa: ARG001
    def rounded(pixel: Any, channel: Any, value: Any) -> None:
        pixel[channel] = _narrow(value)

    def whole(pixel: Any, channel: Any, value: Any) -> None:
        pixel[channel] = value

    return rounded if isinstance(pixel.dtype, types.Integer) else whole


overload(_value)(_compiled_value)
overload(_put)(_compiled_put)


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
