"""The noisiest channel images of real plates, raw beside restored, with the objects found in each: a picture, no truth.

Of each plate in the shared data, the image with the least signal for its noise is shown, so that nobody chose it.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray

from pipeline_lib.api import ImageSettings, find_diameter, load_network, segment_image
from pipeline_lib.arrays.normalise import NormaliseSettings, normalise_image
from pipeline_lib.proof.filters import noise_of
from pipeline_lib.reporting.curves import beside
from pipeline_lib.reporting.panels import panel
from pipeline_lib.stages.evaluate_restoration import load_restorer

SHARED = Path(os.environ.get("WELLPOSE_SHARED", Path(__file__).parents[3] / "shared"))
PLATES = ("bbbc013", "imagexpress", "operetta_sonata")  # those whose images hold something
LOOKED_AT, SIDE = 24, 320  # images of each plate, spread over it; pixels of their middle

Plane = NDArray[np.float32]


def main() -> None:
    """Choose, restore, segment, draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", default="wellpose-denoise-1")
    parser.add_argument("--segmentation", default="wellpose-1")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--out", type=Path, default=Path("docs/restoration/real.png"))
    asked = parser.parse_args()
    network, restore = load_network(asked.segmentation), load_restorer(asked.weights, asked.device)
    panels = []
    for plate in PLATES:
        name, raw = noisiest(SHARED / "data" / "plates" / plate)
        both = np.stack([raw, np.zeros_like(raw)])[: network.channels_in]
        diameter = find_diameter(network, both)
        for what, image in {f"{plate}, {name}": raw, f"restored, {diameter:.0f} px": restore(raw, diameter)}.items():
            channels = np.stack([image, np.zeros_like(image)])[: network.channels_in]
            labels = segment_image(network, channels, ImageSettings(diameter=diameter))
            panels += [panel(image, what), panel(image, f"{labels.max()} objects", labels)]
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    beside(panels, 4).save(asked.out)


def noisiest(folder: Path) -> tuple[str, Plane]:
    """Short name and middle, percentiles at 0 and 1, of the image whose noise is largest in that scale."""
    return max(_middles(folder), key=lambda named: noise_of(named[1]))


def _middles(folder: Path) -> Iterator[tuple[str, Plane]]:
    paths = sorted(p for p in folder.rglob("*.tif*") if "thumb" not in p.name)
    for path in paths[:: max(1, len(paths) // LOOKED_AT)]:
        image = np.squeeze(tifffile.imread(path))
        image = image if image.ndim == 2 else image[len(image) // 2]
        middle = tuple(slice(max(0, (n - SIDE) // 2), max(0, (n - SIDE) // 2) + SIDE) for n in image.shape)
        (scaled,) = normalise_image(image[None, *middle], NormaliseSettings())
        if scaled.any():
            yield path.stem[:24], scaled


if __name__ == "__main__":
    main()
