"""Intensity scaling that follows the place: percentiles of overlapping tiles, smoothed into a map of ranges.

As Cellpose 3 does it, except that ranges are smoothed among neighbours along x too, and that planes without any signal
have no say in the map of their stack.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from pipeline_lib.arrays.resample import resize

_OVERLAP = 0.1
_FLAT = 1e-3

Maps = NDArray[np.float32]


def normalise_tiles(
    channel: NDArray[np.float32], tile_size: int, percentiles: tuple[float, float]
) -> NDArray[np.float32]:
    """Scale a channel so that, around each pixel, the two percentiles become 0 and 1; values are not clipped.

    channel: (Y, X), or (Z, Y, X), whose planes share one map of ranges. Where a tile has no signal (a range below
    1e-3), the nearest tile's range holds; without signal anywhere, the result is zero.
    """
    planes = channel.reshape(-1, *channel.shape[-2:])
    maps = [found for plane in planes if (found := _tile_ranges(plane, tile_size, percentiles)) is not None]
    if not maps:
        return np.zeros_like(channel)
    smoothed = gaussian_filter(np.mean(maps, axis=0), sigma=1, axes=(1, 2))
    low, high = resize(smoothed, planes.shape[1:])
    scaled: NDArray[np.float32] = (channel - low) / (high - low)
    return scaled


def _tile_ranges(plane: NDArray[np.float32], tile_size: int, percentiles: tuple[float, float]) -> Maps | None:
    """Low and high (2, tiles along y, tiles along x) of a (Y, X) plane; None if no tile has a signal."""
    sides = [min(tile_size, length) for length in plane.shape]
    rows, columns = (_starts(length, side) for length, side in zip(plane.shape, sides, strict=True))
    tiles = sliding_window_view(plane, sides)[np.ix_(rows, columns)]
    ranges = np.stack([np.percentile(tiles, percent, axis=(2, 3)) for percent in percentiles])
    return _filled(ranges, ranges[1] - ranges[0] >= _FLAT)


def _starts(length: int, side: int) -> NDArray[np.intp]:
    """First pixels of tiles that cover an axis evenly."""
    count = math.ceil((1 + 2 * _OVERLAP) * length / side) if length > side else 1
    return np.linspace(0, length - side, count).astype(np.intp)


def _filled(ranges: Maps, valid: NDArray[np.bool_]) -> Maps | None:
    """The ranges, where invalid those of the nearest valid tile, the first in raster order among equals."""
    places = np.argwhere(valid)
    if not len(places):
        return None
    filled = ranges.copy()
    for y, x in np.argwhere(~valid):
        nearest = places[np.argmin(((places - (y, x)) ** 2).sum(axis=1))]
        filled[:, y, x] = ranges[:, *nearest]
    return filled
