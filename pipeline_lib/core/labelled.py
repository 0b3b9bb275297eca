"""Images with their truth: what a network is trained on and judged by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

CHANNELS = 2  # what to segment, then the nuclei of those cells or nothing


@dataclass(frozen=True, eq=False)
class Labelled:
    """One image and the objects in it.

    Attributes:
        name: Of the image, unique in its set.
        image: (2, Y, X) intensities of any real type: what to segment, then the nuclei; zeros where there is none.
        labels: (Y, X) 0 for the background, any other number for one object; gaps in the numbers are allowed.
        kind: Of image, such as "fluo" or "phase", by which scores are grouped; empty where the set has one kind.
    """

    name: str
    image: NDArray[Any]
    labels: NDArray[np.uint32]
    kind: str = ""
