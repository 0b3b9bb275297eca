"""A network on its device, in the form that runs best there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch

from pipeline_lib.nets.flownet import FlowNet
from pipeline_lib.nets.fused import fused
from pipeline_lib.tiling.predict import Net, Precision, PredictSettings, pick_device, pick_precision

BATCH = {"cpu": 2, "cuda": 32}  # tiles at once


@dataclass(frozen=True)
class RunSettings:
    """Where and how a network runs.

    device: auto (a GPU where there is one), cpu, cuda or cuda:N. precision: auto (bfloat16 where the hardware
    multiplies in it), float32 or bfloat16. batch_size: tiles at once; None: 2 on a processor, 32 on a GPU. augment:
    average over mirrored tiles, at 2.5 times the cost; for networks that segment.
    """

    device: str = "auto"
    precision: Precision = "auto"
    batch_size: int | None = None
    augment: bool = False


def place(net: FlowNet, run: RunSettings) -> tuple[Net, PredictSettings]:
    """The network ready to run, and how its tiles go through it. Raises ValueError for a device that is not there."""
    device = pick_device(run.device)
    precision = pick_precision(run.precision, device)
    settings = PredictSettings(run.batch_size or BATCH[device.type], device, precision, run.augment)
    return _fastest(net.to(device), device, precision), settings


def _fastest(net: FlowNet, device: torch.device, precision: torch.dtype) -> Net:
    """The form of the network that runs best there."""
    if device.type == "cpu":
        return fused(net, precision)
    return cast("Net", net.to(memory_format=torch.channels_last))  # type: ignore[call-overload]  # not in torch's stubs
