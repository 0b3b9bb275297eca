"""The GPUs that torch sees, and the memory that a batch of tiles takes on one."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from pipeline_lib.tiling.predict import Precision, pick_device, pick_precision

# MB that the maps of one tile of 224 x 224 take at their most. Measured on a processor, where the starter network takes
# 61 to 75 MB per tile in float32 (1, 4 and 8 tiles); a third is added for the workspaces of convolutions on a GPU.
MB_PER_TILE = {torch.float32: 100, torch.bfloat16: 50}
FIXED_MB = 1500  # CUDA's own, the network, and the flows of one field of a few megapixels


@dataclass(frozen=True)
class Gpu:
    """One GPU. memory and free: MB."""

    name: str
    memory: int
    free: int


def gpu_of(device: str) -> Gpu | None:
    """The GPU that work on `device` (auto, cpu, cuda, cuda:N) would use; None if it would use the processor.

    Raises:
        ValueError: No such device.
    """
    chosen = pick_device(device)
    if chosen.type != "cuda":
        return None
    free, memory = torch.cuda.mem_get_info(chosen)
    return Gpu(torch.cuda.get_device_name(chosen), memory // 10**6, free // 10**6)


def memory_for(tiles: int, precision: Precision, device: str = "auto") -> int:
    """MB a GPU should have for batches of `tiles` tiles, roughly."""
    chosen = pick_device(device)
    kind = torch.float32 if precision == "auto" and chosen.type == "cpu" else pick_precision(precision, chosen)
    return FIXED_MB + tiles * MB_PER_TILE[kind]
