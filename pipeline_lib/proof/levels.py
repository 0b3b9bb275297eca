"""Images with truth, and levels of damage to them: what restoration is tried on, the same for the same seed."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline_lib.arrays.normalise import NormaliseSettings, normalise_image
from pipeline_lib.core.labelled import Labelled
from pipeline_lib.core.labels import object_diameter, renumber
from pipeline_lib.core.middle import middle
from pipeline_lib.training.degrade import USUAL_DIAMETER, blur, rescaled, sample, shot_noise

Plane = NDArray[np.float32]

CLEAN = "clean"
SIDE = 512  # pixels of the middle part that is looked at, at most


class Level(NamedTuple):
    """What is done to an image, in this order, after which its 1st and 99th percentile become 0 and 1 again.

    Attributes:
        kind: Of damage; levels of one kind stand in `LEVELS` from gentle to heavy.
        sigma: Of the blur, in pixels of an image whose objects measure 30; 0: none.
        factor: Every how-manieth row and column is kept, then enlarged bilinearly; 1: all.
        photons: How many make the brightest percentile, on average; 0: no noise.
    """

    kind: str
    sigma: float = 0
    factor: int = 1
    photons: float = 0


# Blur and coarse sampling come with the mean photons of the presets that networks learn them with, and coarse sampling
# with their blur, 1 + 0.4 factor: who has little light, or coarse pixels, has both.
LEVELS = {
    CLEAN: Level("clean"),
    "noise 16": Level("noise", photons=16),
    "noise 4": Level("noise", photons=4),
    "noise 2": Level("noise", photons=2),
    "noise 1": Level("noise", photons=1),
    "blur 4": Level("blur", sigma=4, photons=40),
    "blur 8": Level("blur", sigma=8, photons=40),
    "sampling 3": Level("sampling", sigma=2.2, factor=3, photons=133),
    "sampling 6": Level("sampling", sigma=3.4, factor=6, photons=133),
}


@dataclass(frozen=True, eq=False)
class Case:
    """An image to be damaged and restored.

    Attributes:
        set: The name of its set.
        image: The name of the image in it.
        clean: (Y, X) its first channel, with the 1st and 99th percentile at 0 and 1.
        labels: (Y, X) its true objects.
        diameter: Median of the true objects of the whole image, in pixels, at least 5.
    """

    set: str
    image: str
    clean: Plane
    labels: NDArray[np.uint32]
    diameter: float


def case_of(name: str, labelled: Labelled, side: int = SIDE) -> Case | None:
    """The middle of an image of the set `name`, of at most `side` pixels a side; None where no object is in it."""
    place = middle(labelled.labels.shape, side)
    labels = renumber(labelled.labels[place])
    if not labels.any():
        return None
    (clean,) = normalise_image(labelled.image[:1, *place], NormaliseSettings())
    return Case(name, labelled.name, clean, labels, object_diameter(renumber(labelled.labels)))


def damaged(case: Case, level: str, seed: int) -> Plane:
    """The case's image at a level, (Y, X), percentiles at 0 and 1; its clean image as it is.

    What chance does depends on seed, set, image and level, and on nothing else: neither on order nor on company.
    """
    what = LEVELS[level]
    if level == CLEAN:
        return case.clean
    rng = np.random.default_rng([seed, *(zlib.crc32(word.encode()) for word in (case.set, case.image, level))])
    batch = torch.from_numpy(case.clean).clamp(min=0)[None, None]
    sigma = what.sigma * case.diameter / USUAL_DIAMETER
    seen = sample(blur(batch, np.array([sigma]))[0], what.factor)[None]
    noisy: Plane = rescaled(shot_noise(seen, np.array([float(what.photons)]), rng))[0, 0].numpy()
    return noisy
