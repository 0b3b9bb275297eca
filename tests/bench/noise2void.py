"""Noise2Void by careamics on each `NNNN.npy` of a folder, (Y, X) float32: `NNNN.restored.npy` beside it.

Runs in the Python of envs/noise2void.txt and knows nothing of ours. Patches, and epochs that see all of the image, are
what the package advises; a network sees one image, which is also what it is validated on.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
import warnings
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

# torchvision is built for CUDA: beside torch for processors its operators do not load, and its import fails for want of
# these two, which nobody calls here.
OPERATORS = torch.library.Library("torchvision", "DEF")
for name in ("nms", "qnms"):
    OPERATORS.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

from careamics import CAREamist  # noqa: E402
from careamics.config.factories import create_n2v_config  # noqa: E402

PATCH, BATCH = 64, 16


def main() -> None:
    """Train and predict, image by image."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--epochs", type=int, default=100)
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    for path in sorted(asked.folder.glob("[0-9]" * 4 + ".npy")):
        np.save(path.with_suffix(".restored.npy"), restored(np.load(path), asked.epochs))


def restored(image: NDArray[np.float32], epochs: int) -> NDArray[np.float32]:
    """The image (Y, X) as a network says that has seen nothing else."""
    shape = {"axes": "YX", "patch_size": (PATCH, PATCH), "batch_size": BATCH, "num_epochs": epochs}
    config = create_n2v_config(experiment_name="one", data_type="array", **shape)
    padded = np.pad(image, [(0, max(0, PATCH - length)) for length in image.shape], mode="reflect")
    with tempfile.TemporaryDirectory() as name:
        careamist = CAREamist(config, work_dir=name, enable_progress_bar=False)
        careamist.train(train_data=padded, val_data=padded)
        found, _ = careamist.predict(padded, tile_size=(128, 128) if min(padded.shape) > 128 else None)
    height, width = image.shape
    return np.asarray(found[0], np.float32).squeeze()[:height, :width]


if __name__ == "__main__":
    main()
