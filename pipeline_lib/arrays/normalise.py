"""Intensity scaling: bring two percentiles of a channel to 0 and 1.

The numbers equal Cellpose 3, bit for bit, so that its checkpoints see what they were trained on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

_EXACT_UP_TO = 224**3  # elements; percentiles of anything larger are taken on a grid of about 224 x 224 of them
_FLAT = np.float32(1e-3)


def percentile_range(channel: NDArray[Any], percentiles: tuple[float, float]) -> tuple[float, float]:
    """The intensities at two percentiles (0..100), interpolated linearly in float32.

    channel: (Y, X) of any number type. Channels of more than 224^3 pixels are read on a regular subsample.
    """
    if channel.size > _EXACT_UP_TO:
        steps = [max(1, length // 224) for length in channel.shape]
        channel = channel[:: steps[0], :: steps[1]]
    values = channel.astype(np.float32)
    low, high = (float(np.percentile(values, percent)) for percent in percentiles)  # two at once come as float64
    return low, high


def scale(channel: NDArray[Any], low: float, high: float) -> NDArray[np.float32]:
    """A new (Y, X) array in which `low` became 0 and `high` became 1; values beyond them are not clipped.

    A range of 1e-3 or less holds no signal: the result is zero everywhere.
    """
    span = np.float32(high) - np.float32(low)
    if span <= _FLAT:
        return np.zeros(channel.shape, np.float32)
    return (channel.astype(np.float32, copy=False) - np.float32(low)) / span


def normalise(image: NDArray[Any], ranges: Sequence[tuple[float, float]]) -> NDArray[np.float32]:
    """Scale each channel of a (C, Y, X) image by its own (low, high)."""
    return np.stack([scale(channel, low, high) for channel, (low, high) in zip(image, ranges, strict=True)])
