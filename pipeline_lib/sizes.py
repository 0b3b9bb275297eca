"""How large are the objects of an image? What its style vector tells, by the size model that comes with a network."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from pipeline_lib.core.sizes import SizeModel

SMALLEST_DIAMETER = 5.0  # pixels


def diameter_from_style(style: NDArray[np.floating], model: SizeModel) -> float:
    """The first guess at the object diameter, in pixels of the image: at least 5.

    style: (256,), of a pass in which the network took objects to be as large as those it was trained on. A style that
    tells no finite diameter (an image that excites nothing has NaN) gives `model.diam_mean`.
    """
    log_ratio = model.A @ (style.astype(np.float64) - model.smean) + model.ymean
    with np.errstate(over="ignore"):
        diameter = float(model.diam_mean * np.exp(log_ratio))
    return max(SMALLEST_DIAMETER, diameter) if math.isfinite(diameter) else model.diam_mean
