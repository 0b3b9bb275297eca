"""The Cellpose 3 network (Stringer & Pachitariu 2025): a residual U-Net that predicts flows, with a style vector.

Blocks first, whole network last. Attribute names and container types are those that give the official checkpoints'
313 state-dict keys; `nn.Sequential` numbers its members, and a ReLU has no parameters, hence keys ending in .0 and .2.
Shapes in comments: N images, widths C of a level, height H and width W of that level (halved from level to level).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

WIDTHS = (32, 64, 128, 256)
STYLE = WIDTHS[-1]
DEFAULT_DIAMETER = 30.0


def activated_conv(channels_in: int, channels_out: int, kernel: int = 3) -> nn.Sequential:
    """Batch norm and ReLU before the convolution: pre-activation order."""
    return nn.Sequential(
        _batch_norm(channels_in),
        nn.ReLU(inplace=True),
        nn.Conv2d(channels_in, channels_out, kernel, padding=kernel // 2),
    )


def projection(channels_in: int, channels_out: int) -> nn.Sequential:
    """The linear shortcut of a residual block."""
    return nn.Sequential(_batch_norm(channels_in), nn.Conv2d(channels_in, channels_out, 1))


def _batch_norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-5, momentum=0.05)


class StyledConv(nn.Module):
    """A convolution whose input is shifted, channel by channel, by what the style says."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = activated_conv(channels, channels)
        self.full = nn.Linear(STYLE, channels)

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        """x: (N, C, H, W). style: (N, 256)."""
        shift = self.full(style)  # (N, C)
        return cast("Tensor", self.conv(x + shift[:, :, None, None]))


class EncoderLevel(nn.Module):
    """Two residual pairs of convolutions, (N, C_in, H, W) to (N, C_out, H, W)."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        first = {"conv_0": activated_conv(channels_in, channels_out)}
        others = {f"conv_{i}": activated_conv(channels_out, channels_out) for i in (1, 2, 3)}
        self.conv = nn.ModuleDict(first | others)
        self.proj = projection(channels_in, channels_out)

    def forward(self, x: Tensor) -> Tensor:
        """x: (N, C_in, H, W). Returns (N, C_out, H, W)."""
        conv = self.conv
        x = self.proj(x) + conv["conv_1"](conv["conv_0"](x))
        return cast("Tensor", x + conv["conv_3"](conv["conv_2"](x)))


class DecoderLevel(nn.Module):
    """As `EncoderLevel`, but styled, and with the encoder's map of the same level added in."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        first: dict[str, nn.Module] = {"conv_0": activated_conv(channels_in, channels_out)}
        others = {f"conv_{i}": StyledConv(channels_out) for i in (1, 2, 3)}
        self.conv = nn.ModuleDict(first | others)
        self.proj = projection(channels_in, channels_out)

    def forward(self, x: Tensor, skip: Tensor, style: Tensor) -> Tensor:
        """x: (N, C_in, H, W). skip: (N, C_out, H, W). Returns (N, C_out, H, W)."""
        conv = self.conv
        x = self.proj(x) + conv["conv_1"](conv["conv_0"](x) + skip, style)
        return cast("Tensor", x + conv["conv_3"](conv["conv_2"](x, style), style))


class Encoder(nn.Module):
    """From the image to one map per level; each level but the first starts by halving height and width."""

    def __init__(self, channels_in: int) -> None:
        super().__init__()
        inputs = (channels_in, *WIDTHS[:-1])
        levels = (EncoderLevel(*ends) for ends in zip(inputs, WIDTHS, strict=True))
        self.down = nn.ModuleDict({f"res_down_{k}": level for k, level in enumerate(levels)})

    def forward(self, x: Tensor) -> list[Tensor]:
        """x: (N, C_in, H, W). Returns the maps of the four levels, finest first."""
        maps: list[Tensor] = []
        for level in self.down.values():
            maps.append(level(functional.max_pool2d(maps[-1], 2) if maps else x))
        return maps  # (N, 32, H, W), (N, 64, H/2, W/2), (N, 128, H/4, W/4), (N, 256, H/8, W/8)


class Decoder(nn.Module):
    """From the encoder's maps back to full resolution, deepest level first."""

    def __init__(self) -> None:
        super().__init__()
        inputs = (*WIDTHS[1:], WIDTHS[-1])
        levels = (DecoderLevel(*ends) for ends in zip(inputs, WIDTHS, strict=True))
        self.up = nn.ModuleDict({f"res_up_{k}": level for k, level in enumerate(levels)})

    def forward(self, maps: list[Tensor], style: Tensor) -> Tensor:
        """maps: the encoder's. style: (N, 256). Returns (N, 32, H, W)."""
        deepest = len(maps) - 1
        x = maps[deepest]  # the deepest level takes the same map as input and as skip
        for k in range(deepest, -1, -1):
            if k < deepest:
                x = functional.interpolate(x, scale_factor=2.0, mode="nearest")
            x = self.up[f"res_up_{k}"](x, maps[k], style)
        return x


class FlowNet(nn.Module):
    """Encoder, style, decoder, head.

    With 3 output channels they are flow y, flow x (both times 5) and the cell logit. `diam_mean` is the object diameter
    in pixels that images are brought to, `diam_labels` the mean diameter of the training objects.
    """

    diam_mean: Tensor
    diam_labels: Tensor

    def __init__(self, channels_in: int = 2, channels_out: int = 3) -> None:
        super().__init__()
        self.channels_in, self.channels_out = channels_in, channels_out
        self.downsample = Encoder(channels_in)
        self.upsample = Decoder()
        self.output = activated_conv(WIDTHS[0], channels_out, kernel=1)
        self.register_buffer("diam_mean", torch.tensor([DEFAULT_DIAMETER]))
        self.register_buffer("diam_labels", torch.tensor([DEFAULT_DIAMETER]))

    def encode(self, x: Tensor) -> list[Tensor]:
        """The encoder's four maps, finest first."""
        return cast("list[Tensor]", self.downsample(x))

    def decode(self, maps: list[Tensor], style: Tensor) -> Tensor:
        """From the encoder's maps and a style (N, 256) to the output (N, C_out, H, W)."""
        return cast("Tensor", self.output(self.upsample(maps, style)))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x: (N, C, H, W), H and W multiples of 8. Returns the output (N, C_out, H, W) and the styles (N, 256)."""
        maps = self.encode(x)
        style = style_of(maps[-1])
        return self.decode(maps, style), style


def style_of(deepest: Tensor) -> Tensor:
    """The spatial mean of the deepest map (N, 256, H/8, W/8), scaled to length 1; an all-zero map has style 0."""
    return functional.normalize(deepest.mean(dim=(2, 3), dtype=torch.float32), dim=1)


def build(state: Mapping[str, Tensor]) -> FlowNet:
    """The network that a state dict describes, in evaluation mode. Raises RuntimeError where keys or shapes differ."""
    channels_in = state["downsample.down.res_down_0.conv.conv_0.2.weight"].shape[1]
    channels_out = state["output.2.weight"].shape[0]
    net = FlowNet(channels_in, channels_out)
    net.load_state_dict(dict(state))
    return net.eval()
