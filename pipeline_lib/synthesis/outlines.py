"""Smooth closed curves for nuclei, cell bodies and specks, and the distance field that fills them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

_TURNS = np.exp(1j * np.outer(np.arange(1, 9), np.linspace(0, 2 * math.pi, 64, endpoint=False)))  # row k - 1: e^(i k t)


@dataclass(frozen=True)
class Outline:
    """A star-shaped curve: an ellipse whose radius is multiplied by exp(Re(sum of c_k e^(i k t))), k = 1, 2, ...

    The exponential keeps the radius positive whatever the harmonics are. k = 1 shifts the curve away from its centre,
    k = 2 pulls it into a spindle, higher k (up to 8) give it corners. A bow then bends the whole like a banana.

    Attributes:
        radius: Radius in px of the circle with the area of the ellipse.
        stretch: Long axis over short axis, >= 1.
        angle: Direction of the long axis, radians from the x axis towards the y axis.
        harmonics: c_1, c_2, ...
        bow: How far the ends of the long axis are moved sideways, in units of the short half axis.
    """

    radius: float
    stretch: float = 1.0
    angle: float = 0.0
    harmonics: tuple[complex, ...] = ()
    bow: float = 0.0

    @cached_property
    def reach(self) -> int:
        """Half side in px of a square window around the centre pixel that holds the whole curve."""
        bend = np.asarray(self.harmonics) @ _TURNS[: len(self.harmonics)] if self.harmonics else np.zeros(1)
        long, short = self.axes
        star = np.exp(bend.real) * _TURNS[0]
        curve = (long * star.real + 1j * short * (star.imag + self.bow * star.real**2)) * np.exp(1j * self.angle)
        # The extreme may lie between two samples, by less than a hundredth of it.
        return math.ceil(1.01 * max(float(np.abs(curve.real).max()), float(np.abs(curve.imag).max()))) + 1

    @property
    def axes(self) -> tuple[float, float]:
        """Half lengths in px of the long and the short axis of the ellipse."""
        return self.radius * math.sqrt(self.stretch), self.radius / math.sqrt(self.stretch)


def distance(outline: Outline) -> NDArray[np.float32]:
    """Distance from the centre in units of the curve: 0 at the centre, 1 on the curve, more outside.

    Returns:
        (2 * reach + 1, 2 * reach + 1), the centre in the middle pixel.
    """
    steps = np.arange(-outline.reach, outline.reach + 1)
    long, short = outline.axes
    cos, sin = math.cos(outline.angle), math.sin(outline.angle)
    # Turning the ellipse to the unit circle is linear, so each axis contributes one complex vector.
    rows = (steps * complex(sin / long, cos / short)).astype(np.complex64)
    columns = (steps * complex(cos / long, -sin / short)).astype(np.complex64)
    place = np.add.outer(rows, columns)
    if outline.bow:
        place.imag -= np.float32(outline.bow) * place.real**2
    length = np.sqrt(place.real**2 + place.imag**2)
    turn = place / np.maximum(length, np.float32(1e-6))
    bend = np.zeros_like(turn)
    for harmonic in reversed(outline.harmonics):
        bend += np.complex64(harmonic)
        bend *= turn
    return np.asarray(length * np.exp(-bend.real), np.float32)
