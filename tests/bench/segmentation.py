"""Image to labels against cellpose 3.1.1.2: same weights, same image, same run, taking turns. `make bench`.

Writes `tests/bench/results/segmentation-<device>-<number type>.json` and the table in `docs/benchmarks.md`. On a
machine that others share only ratios within one run mean something; each is the median over the rounds.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import warnings
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parents[1]))
os.environ["CELLPOSE_LOCAL_MODELS_PATH"] = tempfile.mkdtemp()  # the peer makes a folder where it is imported

from bench.document import update_document
from bench.machine import number_type, write
from bench.turns import take_turns

from pipeline_lib.arrays.normalise import NormaliseSettings, normalise_image
from pipeline_lib.flows.masks import MaskSettings
from pipeline_lib.io.weights import find_weights, load_weights
from pipeline_lib.metrics import average_precision
from pipeline_lib.segmentation import Network, flow_bands, labels_of, prepare_network, segment_fields
from pipeline_lib.synthesis import Optics, Population, draw_field
from pipeline_lib.tiling.placing import RunSettings

SIDE = 2048
NUCLEI = 1500
MASKS = MaskSettings()
WEIGHTS = "starter_nuclei"
CASES = {"nuclei of 17 px, network at full size": 17.0, "nuclei of 28 px, network at 0.61 of the size": 28.0}


@dataclass(frozen=True)
class Ours:
    """This library, with its defaults."""

    network: Network
    diameter: float

    def image_to_labels(self, image: NDArray[np.float32]) -> NDArray[Any]:
        scaled = normalise_image(image, NormaliseSettings())
        return next(segment_fields(self.network, [scaled], self.diameter, MASKS))

    def image_to_flows(self, image: NDArray[np.float32]) -> torch.Tensor:
        """(3, Y, X) on the device: flow y, flow x, cell logit."""
        scaled = normalise_image(image, NormaliseSettings())
        bands = flow_bands(self.network, [self.network.pixels(scaled)], self.diameter)
        return torch.cat([band for _, band in bands], dim=1)

    def flows_to_labels(self, flows: torch.Tensor) -> NDArray[Any]:
        return labels_of(flows, MASKS, self.network.steps(self.diameter))


@dataclass(frozen=True)
class Theirs:
    """cellpose 3.1.1.2, run as a black box."""

    weights: Path
    diameter: float
    device: torch.device

    @cached_property
    def model(self) -> Any:
        from cellpose import models

        return models.CellposeModel(pretrained_model=str(self.weights), device=self.device)

    def image_to_labels(self, image: NDArray[np.float32]) -> NDArray[Any]:
        return np.asarray(self._eval(image)[0])

    def image_to_flows(self, image: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        _, (_, flow, logit, *_), _ = self._eval(image, compute_masks=False)
        return flow, logit

    def flows_to_labels(self, flows: tuple[NDArray[np.float32], NDArray[np.float32]]) -> NDArray[Any]:
        from cellpose import dynamics

        steps = int(200 * self.diameter / self.model.diam_mean)
        found = dynamics.resize_and_compute_masks(*flows, niter=steps, min_size=15, device=self.device)
        return np.asarray(found[0] if isinstance(found, tuple) else found)

    def _eval(self, image: NDArray[np.float32], **more: Any) -> Any:
        return self.model.eval(image, channels=[1, 2], channel_axis=0, diameter=self.diameter, **more)


def main() -> None:
    """Measure every case, write the figures, bring the document up to date."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    warnings.filterwarnings("ignore")  # the peer warns of today's numpy and torch
    torch.set_num_threads(os.cpu_count() or 1)
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Path(folder) / f"{WEIGHTS}.pth"
        torch.save(load_weights(find_weights(WEIGHTS)).state, checkpoint)
        cases = {name: _case(checkpoint, diameter, rounds) for name, diameter in CASES.items()}
    used = prepare_network(load_weights(find_weights(WEIGHTS)).state).predict
    figures = {"shape": [2, SIDE, SIDE], "rounds": rounds, "device": used.device.type, "cases": cases}
    write(f"segmentation-{used.device.type}-{number_type(used.precision)}", figures)
    update_document()


def _case(checkpoint: Path, diameter: float, rounds: int) -> dict[str, Any]:
    """One image: ratios of times per stage, and how well labels agree."""
    image, state = draw_nuclei(diameter), load_weights(checkpoint).state
    ours = Ours(prepare_network(state), diameter)
    theirs = Theirs(checkpoint, diameter, ours.network.predict.device)
    exact = Ours(prepare_network(state, RunSettings(precision="float32")), diameter)
    their_flows = theirs.image_to_flows(image)
    same_flows = torch.from_numpy(np.concatenate([their_flows[0] / 5, their_flows[1][None]])).to(theirs.device)
    fast, slow, peer = (program.image_to_labels(image) for program in (ours, exact, theirs))
    return {
        "objects": int(fast.max()),
        "precision": number_type(ours.network.predict.precision),
        "image to labels": take_turns(
            lambda: ours.image_to_labels(image), lambda: theirs.image_to_labels(image), rounds
        ),
        "image to flows": take_turns(lambda: ours.image_to_flows(image), lambda: theirs.image_to_flows(image), rounds),
        "flows to labels": take_turns(
            lambda: ours.flows_to_labels(same_flows), lambda: theirs.flows_to_labels(their_flows), rounds
        ),
        "average precision at IoU 0.9": {
            "fast against float32": _agreement(slow, fast),
            "float32 against cellpose": _agreement(peer, slow),
        },
    }


def draw_nuclei(diameter: float) -> NDArray[np.float32]:
    """A (2, Y, X) image: about 1,500 nuclei as a microscope shows them, and an empty second channel."""
    population = Population(cells=NUCLEI * 1.05, nucleus_px=diameter, clustering=0.1)
    field = draw_field((SIDE, SIDE), population, Optics(), 0.0, np.random.default_rng(0))
    nuclei = field.image[0].astype(np.float32)
    return np.stack([nuclei, np.zeros_like(nuclei)])


def _agreement(truth: NDArray[Any], found: NDArray[Any]) -> float:
    return round(float(average_precision(truth.astype(np.uint32), found.astype(np.uint32), (0.9,))[0]), 4)


if __name__ == "__main__":
    main()
