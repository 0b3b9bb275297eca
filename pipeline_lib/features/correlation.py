"""How two channels go together inside an object."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def correlation(
    labels: NDArray[np.int32], first: NDArray[np.float64], second: NDArray[np.float64]
) -> dict[str, NDArray[np.float64]]:
    """Pearson's correlation of two channels over the pixels of each object, and the slope of the second on the first.

    As CellProfiler's MeasureColocalization: where one channel marks nuclei, the correlation tells whether the other is
    in them or around them, without a border having to be drawn.

    Args:
        labels: (Y, X), objects 1..n.
        first: (Y, X).
        second: (Y, X).

    Returns:
        ``Correlation_Correlation`` and ``Correlation_Slope``, each (n,); not finite where a channel does not vary.
    """
    inside = labels > 0
    owner = labels[inside]
    areas = np.maximum(np.bincount(owner), 1)  # number 0 has no pixel here
    x, y = (_centred(owner, areas, pixels[inside]) for pixels in (first, second))
    xx, yy, xy = (np.bincount(owner, product)[1:] for product in (x * x, y * y, x * y))
    return {"Correlation_Correlation": xy / np.sqrt(xx * yy), "Correlation_Slope": xy / xx}


def _centred(owner: NDArray[np.int32], areas: NDArray[np.intp], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Values without the mean of their object; exactly 0 in objects where all are equal."""
    lowest = np.full(len(areas), np.inf)
    np.minimum.at(lowest, owner, values)
    above = values - lowest[owner]
    means = np.bincount(owner, above) / areas
    return np.asarray(above - means[owner])
