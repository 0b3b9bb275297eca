"""From a stack of planes to what is kept of it: (Z, Y, X) to (1, Y, X), or all of it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline_lib.arrays.quality import focus

Stack = NDArray[Any]

DETAIL = 2.0  # px: sigma of the window in which `stacked` looks for sharpness ...
AGREEMENT = 8.0  # ... and of that over which neighbouring pixels agree on a plane


def brightest(stack: Stack) -> Stack:
    """The highest value at each place."""
    return np.asarray(stack.max(axis=0, keepdims=True))


def mean(stack: Stack) -> Stack:
    """The mean at each place, in the stack's number type; integers are rounded."""
    average = stack.mean(axis=0, keepdims=True, dtype=np.float64)
    return np.asarray((np.rint(average) if stack.dtype.kind in "ui" else average).astype(stack.dtype))


def sharpest(stack: Stack) -> Stack:
    """The plane whose `focus` is highest; the middle one where no plane shows anything."""
    scores = [focus(plane) for plane in stack]
    there = [(score, -index) for index, score in enumerate(scores) if not math.isnan(score)]
    index = -max(there)[1] if there else len(stack) // 2
    return stack[index : index + 1]


def stacked(stack: Stack) -> Stack:
    """At each place the value of the plane that is sharpest around it (focus stacking).

    Sharpness is the energy of a Laplacian of Gaussian, smoothed so that neighbours agree on a plane. Values are those
    of the planes themselves, never mixtures.
    """
    from scipy import ndimage

    energies = np.empty(stack.shape, np.float32)
    for energy, plane in zip(energies, stack, strict=True):
        detail = ndimage.gaussian_laplace(plane.astype(np.float32), DETAIL)
        ndimage.gaussian_filter(np.square(detail), AGREEMENT, output=energy)
    return np.asarray(np.take_along_axis(stack, energies.argmax(axis=0)[None], axis=0))


def everything(stack: Stack) -> Stack:
    """All planes."""
    return stack


PROJECTIONS: dict[str, Callable[[Stack], Stack]] = {
    "max": brightest,
    "mean": mean,
    "focus": sharpest,
    "focus_stack": stacked,
    "keep": everything,
}
"""What the setting `ingest.projection` may be, beside the number of a plane."""


def projected(stack: Stack, how: str | int) -> Stack:
    """What is kept of a stack (Z, Y, X): a key of `PROJECTIONS`, or the number of a plane, counted from 1.

    A single plane is always kept. Raises ValueError for a plane that the stack does not have.
    """
    if len(stack) == 1:
        return stack
    if isinstance(how, str):
        return PROJECTIONS[how](stack)
    if how > len(stack):
        raise ValueError(f"plane {how} is asked for, and there are {len(stack)}")
    return stack[how - 1 : how]
