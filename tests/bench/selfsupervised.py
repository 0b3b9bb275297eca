"""Noise2Void and Noise2Self, trained on each noisy image alone: rows for `wellpose evaluate-restoration --more`.

Noise2Void (Krull et al. 2019) is run as its authors' package `careamics` does it, in a Python of its own, by
`noise2void.py`: patches of 64 x 64, all of the image in each epoch, 100 epochs. Noise2Self (Batson & Royer 2019) is
written here as in its authors' example for single images: a small U-Net, every fourth row and column masked in turn and
filled with the mean of its neighbours, Adam at 0.001, 500 steps, each on 128 x 128 pixels of the image. What is told is
the image put together from the masked pixels of all 16 masks, so that no pixel has seen itself. Both take noise away
only, so they see the noise levels alone.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import conv2d, interpolate, max_pool2d, mse_loss, pad

from pipeline_lib.io.tables import write_csv
from pipeline_lib.proof.judging import judge
from pipeline_lib.proof.levels import LEVELS, damaged
from pipeline_lib.stages._bar import counted
from pipeline_lib.stages._judging import asked_sets
from pipeline_lib.stages._kept_rows import kept_rows
from pipeline_lib.stages.evaluate_restoration import IMAGES, load_segmenter, open_cases

Plane = NDArray[np.float32]

NOISE = [name for name, level in LEVELS.items() if level.kind == "noise"]
ASKED = ("seed", "segmentation", "careamics", "epochs", "steps")  # what rows depend on, beside image and level
EVERY = 4  # rows and columns from one masked pixel to the next
NEIGHBOURS = torch.tensor([[0.5, 1, 0.5], [1, 0, 1], [0.5, 1, 0.5]]) / 6
MULTIPLE = 4  # pixels: sides the U-Net takes
CROP = 128  # pixels: a whole image of 512 costs 16 times as much in each step


def main() -> None:
    """Damage, restore by both, segment, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="*", type=Path)
    parser.add_argument("--config", type=Path)
    parser.add_argument("--images", type=int, default=IMAGES)
    parser.add_argument("--levels", nargs="+", default=NOISE, choices=NOISE, metavar="LEVEL")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--segmentation", default="wellpose-1")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--careamics", default=".n2v/bin/python", help="Python that has it; empty: no Noise2Void")
    parser.add_argument("--epochs", type=int, default=100, help="of Noise2Void")
    parser.add_argument("--steps", type=int, default=500, help="of Noise2Self; 0: none")
    parser.add_argument("--out", type=Path, required=True, help="CSV file")
    asked = parser.parse_args()
    cases = open_cases(asked_sets(asked.folders, asked.config), asked.images)
    segmenter = load_segmenter(asked.segmentation, asked.device)
    pairs = {f"{case.set}/{case.image}/{level}": (case, level) for level in asked.levels for case in cases}

    def rows(name: str) -> Iterator[dict[str, Any]]:
        case, level = pairs[name]
        restored = restored_by_itself(damaged(case, level, asked.seed), asked)
        methods = {
            method: {setting: lambda *_, known=known: known for setting, known in settings.items()}
            for method, settings in restored.items()
        }
        return judge(case, level, methods, segmenter, asked.seed)

    question = {name: str(value) for name, value in vars(asked).items() if name in ASKED}
    kept = asked.out.with_suffix(".partial.jsonl")
    write_csv(pd.DataFrame(kept_rows(kept, question, counted("images", len(pairs), pairs), rows)), asked.out)
    kept.unlink()


def restored_by_itself(image: Plane, asked: argparse.Namespace) -> dict[str, dict[str, Plane]]:
    """Method -> setting -> an image (Y, X), restored by a network that has seen nothing else."""
    restored = {}
    if asked.careamics:
        restored["noise2void"] = {f"{asked.epochs} epochs": noise2void(image, asked.careamics, asked.epochs)}
    if asked.steps:
        by_self = noise2self(image, asked.steps, asked.seed, torch.device(asked.device))
        restored["noise2self"] = {f"{asked.steps} steps": by_self}
    return restored


def noise2void(image: Plane, python: str, epochs: int) -> Plane:
    """The image (Y, X) restored by a network trained on it alone, by careamics in another Python."""
    with tempfile.TemporaryDirectory() as name:
        np.save(Path(name) / "0000.npy", image)
        script = str(Path(__file__).with_name("noise2void.py"))
        subprocess.run([python, script, name, "--epochs", str(epochs)], check=True)
        restored: Plane = np.load(Path(name) / "0000.restored.npy")
        return restored


def noise2self(image: Plane, steps: int, seed: int, device: torch.device) -> Plane:
    """An image (Y, X) restored by a U-Net trained on it alone, without any pixel seeing itself."""
    torch.manual_seed(seed)
    net = UNet().to(device)
    optimiser = torch.optim.Adam(net.parameters(), lr=1e-3)
    height, width = image.shape
    noisy = pad(
        torch.from_numpy(image)[None, None].to(device), (0, -width % MULTIPLE, 0, -height % MULTIPLE), "reflect"
    )
    rng = np.random.default_rng(seed)
    for step in range(steps):
        top, left = (int(rng.integers(max(0, length - CROP) + 1)) for length in noisy.shape[-2:])
        crop = noisy[..., top : top + CROP, left : left + CROP]
        seen, mask = masked(crop, step)
        loss = mse_loss(net(seen)[mask], crop[mask])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    restored = torch.empty_like(noisy)
    with torch.inference_mode():
        for turn in range(EVERY**2):
            seen, mask = masked(noisy, turn)
            restored[mask] = net(seen)[mask]
    return restored[0, 0, :height, :width].cpu().numpy()


def masked(noisy: Tensor, turn: int) -> tuple[Tensor, Tensor]:
    """(1, 1, Y, X) with one pixel of each 4 x 4 filled from its neighbours, and which these are."""
    mask = torch.zeros_like(noisy, dtype=torch.bool)
    mask[..., turn // EVERY % EVERY :: EVERY, turn % EVERY :: EVERY] = True
    around = conv2d(pad(noisy, (1, 1, 1, 1), "reflect"), NEIGHBOURS.to(noisy)[None, None])
    return torch.where(mask, around, noisy), mask


class UNet(nn.Module):
    """(1, 1, Y, X) to the same, Y and X multiples of 4: two halvings, 32 to 128 maps."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.ModuleList([_block(1, 32), _block(32, 64), _block(64, 128)])
        self.up = nn.ModuleList([_block(128 + 64, 64), _block(64 + 32, 32)])
        self.end = nn.Conv2d(32, 1, 1)

    def forward(self, image: Tensor) -> Tensor:
        fine = self.down[0](image)
        middle = self.down[1](max_pool2d(fine, 2))
        maps = self.down[2](max_pool2d(middle, 2))
        for block, kept in zip(self.up, (middle, fine), strict=True):
            maps = block(torch.cat([interpolate(maps, scale_factor=2.0, mode="bilinear"), kept], 1))
        return self.end(maps)


def _block(maps_in: int, maps_out: int) -> nn.Sequential:
    layers = [(maps_in, maps_out), (maps_out, maps_out)]
    return nn.Sequential(
        *(part for a, b in layers for part in (nn.Conv2d(a, b, 3, padding=1), nn.BatchNorm2d(b), nn.ReLU()))
    )


if __name__ == "__main__":
    sys.exit(main())
