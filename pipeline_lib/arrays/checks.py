"""Is this array an image the library can work on?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

_LARGEST = np.finfo(np.float32).max


def check_image(image: NDArray[Any], channels: int, axes: str = "CYX") -> None:
    """Refuse an array that is no image of 1 to `channels` channels; `axes` is "CYX", or "CZYX" for a stack of planes.

    Constant images pass. Integers cost no look at the pixels, floating-point numbers one.

    Raises:
        ValueError: All faults at once: axes, channels, number type, and values that are no finite 32-bit float.
    """
    if faults := [*_shape_faults(image, channels, axes), *_value_faults(image)]:
        raise ValueError(f"not an image that can be used: {'; '.join(faults)}")


def _shape_faults(image: NDArray[Any], channels: int, axes: str) -> Iterator[str]:
    wanted = f"({', '.join(axes)})"
    if image.ndim != len(axes):
        yield f"shape {image.shape} has {image.ndim} axes, expected {wanted}: add or take away axes of length 1"
        return
    if empty := [axis for axis, length in zip(axes, image.shape, strict=True) if length == 0]:
        yield f"shape {image.shape} is empty along {', '.join(empty)}, expected at least one pixel on each of {wanted}"
    if len(image) > channels:
        found = f"shape {image.shape} means {len(image)} channels, which come first"
        yield f"{found}; allowed are 1 to {channels}: choose among them"


def _value_faults(image: NDArray[Any]) -> Iterator[str]:
    kind = image.dtype.kind
    if kind == "c":
        yield f"{image.dtype} pixels are complex numbers: give their magnitude, numpy.abs(image)"
    elif kind not in "biuf":
        yield f"{image.dtype} pixels are no numbers: convert them to integers or 32-bit floats"
    elif kind == "f":
        yield from _unfit_values(image)


def _unfit_values(image: NDArray[np.floating[Any]]) -> Iterator[str]:
    for number, channel in enumerate(np.atleast_1d(image)):
        fit = np.count_nonzero((channel >= -_LARGEST) & (channel <= _LARGEST))
        if fit < channel.size:
            yield (
                f"channel {number} (from 0): {channel.size - fit} of {channel.size} values are NaN, infinite or beyond "
                "32-bit floats: replace them, for example with numpy.nan_to_num(image, posinf=0, neginf=0)"
            )
