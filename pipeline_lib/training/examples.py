"""Images with truth, made ready for training: scaled intensities, flow targets, object diameters, shares of draws."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline_lib.arrays.normalise import NormaliseSettings, normalise_image
from pipeline_lib.core.labelled import Labelled
from pipeline_lib.core.labels import object_diameter, renumber
from pipeline_lib.flows.targets import flows_from_labels

SHARES = {"cyto2": 0.59}
"""Share of the draws that a set of this name has by default, as in the training of cyto3; the others divide the rest by
the square roots of their sizes, so that the largest, most uniform ones do not dominate."""


@dataclass(frozen=True, eq=False)
class Example:
    """One training image, on the device that trains.

    Attributes:
        image: (2, Y, X) float16, each channel with its 1st and 99th percentile at 0 and 1.
        flow: (2, Y, X) float16, y first, unit length, zero on the background.
        inside: (Y, X) uint8, 1 where there is an object.
        diameter: Median over the objects of the diameter of the disc of equal area, px, at least 5; NaN without any.
    """

    image: Tensor
    flow: Tensor
    inside: Tensor
    diameter: float


@dataclass(frozen=True, eq=False)
class TrainingImages:
    """The images of one set. weight: its share of the draws, relative to the others'; all sets have one, or none.

    diameter: expected of objects, in pixels, for images that have none; None: the median over the set's images.
    """

    name: str
    examples: Sequence[Example] = field(repr=False)
    weight: float | None = None
    diameter: float | None = None

    def expected(self) -> float:
        """The diameter of objects in images of this set; NaN if nothing tells."""
        found = [example.diameter for example in self.examples if not math.isnan(example.diameter)]
        return self.diameter or (float(np.median(found)) if found else math.nan)


def prepare(labelled: Labelled, device: torch.device) -> Example:
    """Scale the image, compute its flow targets and place everything on the device."""
    labels = renumber(labelled.labels)
    image = normalise_image(labelled.image, NormaliseSettings())
    return Example(
        image=_on(device, np.clip(image, -100, 100).astype(np.float16)),
        flow=_on(device, flows_from_labels(labels).astype(np.float16)),
        inside=_on(device, (labels > 0).astype(np.uint8)),
        diameter=object_diameter(labels),
    )


def draw_shares(sets: Sequence[TrainingImages]) -> dict[str, float]:
    """Set -> its share of the draws; they add up to 1. Within a set every image is equally likely."""
    weights = {one.name: one.weight for one in sets if one.weight is not None}
    if not weights:
        named = {one.name: SHARES[one.name] for one in sets if one.name in SHARES}
        roots = {one.name: math.sqrt(len(one.examples)) for one in sets if one.name not in SHARES}
        rest = (1 - sum(named.values())) / (sum(roots.values()) or 1)
        weights = named | {name: rest * root for name, root in roots.items()}
    total = sum(weights.values())
    return {name: weight / total for name, weight in weights.items()}


def to_device(values: NDArray[np.generic], device: torch.device) -> Tensor:
    """Numbers of a step, whole ones as int64 and others as float32, on their way to where the images are.

    Nobody waits for them to arrive: a GPU that had to finish its work first would stand still between two steps.
    """
    whole = np.issubdtype(values.dtype, np.integer)
    tensor = torch.from_numpy(np.ascontiguousarray(values, np.int64 if whole else np.float32))
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor


def _on(device: torch.device, values: NDArray[np.generic]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values)).to(device)
