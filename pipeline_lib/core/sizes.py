"""The size model: from the style of an image to the diameter of its objects, as plain numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

STYLE = 256
SMALLEST_DIAMETER = 5.0  # pixels


@dataclass(frozen=True, eq=False)
class SizeModel:
    """A linear model of log diameter: ln d = A . (style - smean) + ln(diam_mean) + ymean.

    A, smean: (256,) float64, slope and mean style. diam_mean: pixels, positive. ymean: mean of ln(d / diam_mean).
    """

    A: NDArray[np.float64]
    smean: NDArray[np.float64]
    diam_mean: float
    ymean: float

    def __post_init__(self) -> None:
        """Refuse other shapes and numbers that are not finite, all at once."""
        vectors = {"A": self.A, "smean": self.smean}
        faults = [
            f"{name} has shape {v.shape} instead of ({STYLE},)" for name, v in vectors.items() if v.shape != (STYLE,)
        ]
        faults += [f"{name} holds NaN or infinity" for name, vector in vectors.items() if not np.isfinite(vector).all()]
        if not (math.isfinite(self.diam_mean) and self.diam_mean > 0):
            faults.append(f"diam_mean is {self.diam_mean}; a positive number of pixels is allowed")
        if not math.isfinite(self.ymean):
            faults.append(f"ymean is {self.ymean}; a finite number is allowed")
        if faults:
            raise ValueError(f"not a size model: {'; '.join(faults)}")

    def diameter(self, style: NDArray[np.floating]) -> float:
        """The first guess at the object diameter, in pixels of the image: at least 5.

        style: (256,), of a pass in which the network took objects to be as large as those it was trained on. A style
        that tells no finite diameter (an image that excites nothing has NaN) gives `diam_mean`.
        """
        log_ratio = self.A @ (style.astype(np.float64) - self.smean) + self.ymean
        with np.errstate(over="ignore"):
            diameter = float(self.diam_mean * np.exp(log_ratio))
        return max(SMALLEST_DIAMETER, diameter) if math.isfinite(diameter) else self.diam_mean
