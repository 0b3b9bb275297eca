"""Five images of a new type and five minutes: what fine-tuning brings. `make bench-finetune`.

`starter_nuclei` has seen fluorescent nuclei only; here it meets whole cells in phase contrast (Usiigaci, MIT). It is
fine-tuned on five training images and tried on the five validation images, before and after, the true diameter given.
Writes `tests/bench/results/finetune.json`. Needs the shared data.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pandas as pd

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.machine import write

SHARED = Path(os.environ.get("WELLPOSE_SHARED", Path(__file__).parents[3] / "shared"))
START, IMAGES = "starter_nuclei", 5


def main() -> None:
    """Fine-tune, evaluate, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=5.0)
    arguments = parser.parse_args()
    data = SHARED / "data" / "usiigaci_phase"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        images = _chosen(data / "train", folder / "five")
        config = folder / "config.yaml"
        config.write_text("train: {batch_size: 8, crop: 128, average: 0.98, size_draws: 0, learning_rate: 0.001}\n")
        model = folder / "tuned"
        _wellpose("train", images, "--start", START, "--minutes", arguments.minutes, "--config", config, "--out", model)
        weights = [START, model / "tuned.safetensors"]
        out = folder / "evaluation"
        _wellpose("evaluate", data / "val", "--weights", *weights, "--diameter", "true", "--out", out)
        summary = pd.read_csv(out / "summary.csv").set_index("weights")
        losses = pd.read_csv(model / "losses.csv")
    precision = {f"AP at {at}": summary[f"ap_{at}"].round(4).to_dict() for at in ("0.50", "0.75")}
    rise = summary["ap_0.50"]["tuned"] - summary["ap_0.50"][START]
    steps = {"minutes": arguments.minutes, "steps": int(losses["step"].iloc[-1])}
    write("finetune", {"images": IMAGES, **steps, **precision, "rise of AP at 0.50": round(rise, 4)})


def _chosen(source: Path, target: Path) -> Path:
    """Copies of five pairs, spread over the folder."""
    target.mkdir()
    masks = sorted(source.glob("*_masks.png"))
    for path in masks[:: len(masks) // IMAGES][:IMAGES]:
        for each in (path, path.with_name(path.name.replace("_masks", "_img"))):
            shutil.copy(each, target)
    return target


def _wellpose(*words: object) -> None:
    subprocess.run([sys.executable, "-m", "pipeline_lib", *map(str, words)], check=True)


if __name__ == "__main__":
    main()
