"""The cells of one field before they have a place: their shapes and how strongly they stain."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline_lib.synthesis.outlines import Outline
from pipeline_lib.synthesis.ranges import require

# Spread of each Fourier harmonic (k = 1, 2, ...). Nuclei are nearly elliptic; bodies are off-centre, pointed, angular.
_NUCLEUS_BENDS = (0.0, 0.03, 0.03, 0.02)
_BODY_BENDS = (0.08, 0.12, 0.11, 0.07, 0.05, 0.03)

_G2_SHARE = 0.3
_G2_AREA, _G2_BRIGHTNESS = 1.3, 1.5  # twice the DNA in 1.3 times the area
_MITOTIC_AREA, _MITOTIC_STRETCH, _MITOTIC_BRIGHTNESS = 0.4, 2.0, 3.0
_DEAD_AREA, _DEAD_BRIGHTNESS, _DEAD_MARKER = 0.35, 2.5, 2.5
_UNSTAINED = 0.12  # marker brightness that remains
_RESPONSE_PRECISION = 12.0  # of the beta distribution that spreads the response over cells


@dataclass(frozen=True)
class Population:
    """What the cells of a field look like on average.

    Attributes:
        cells: Mean count in a field; the count is Poisson. Cells that find no room for their nucleus are left out.
        nucleus_px: Mean nucleus diameter, px.
        nucleus_cv: Coefficient of variation of the nucleus diameter.
        cell_ratio: Diameter of an uncrowded cell over that of its nucleus.
        elongation: Median ratio of long to short axis of the nuclei.
        clustering: 0 for cells anywhere, 1 for one colony grown from one cell.
        staining_cv: Cell-to-cell variation (sigma of the logarithm) of marker expression; DNA varies a third of it.
        mitotic: Share of cells with a small, bright, condensed nucleus.
        dead: Share of cells that are small, round and bright in both channels.
        unstained: Share of cells with hardly any marker.
        debris: Bright DNA specks per cell; they carry no label.
        body_stretch: Exponent that turns the axis ratio of a nucleus into that of its cell.
        lobes: Factor on the irregularity of the cells: 0 for ellipses, 1 for corners, more for protrusions.
        taper: Pull on both ends of a cell; 0 for ellipses, 0.4 for spindles with long tips.
        bow: Greatest bend of a cell: its ends move sideways by this many short half axes.
        direction: Direction of aligned cells, radians from the x axis towards the y axis.
        alignment: 0 for cells in any direction, 1 for all in one.
        spacing: Diameter of the disc that a nucleus keeps free of others, over its own.
    """

    cells: float = 300.0
    nucleus_px: float = 28.0
    nucleus_cv: float = 0.12
    cell_ratio: float = 2.2
    elongation: float = 1.3
    clustering: float = 0.5
    staining_cv: float = 0.4
    mitotic: float = 0.02
    dead: float = 0.0
    unstained: float = 0.0
    debris: float = 0.03
    body_stretch: float = 1.5
    lobes: float = 1.0
    taper: float = 0.0
    bow: float = 0.0
    direction: float = 0.0
    alignment: float = 0.0
    spacing: float = 1.0

    def __post_init__(self) -> None:
        require(
            self,
            {
                "cells": (0, 1e6),
                "nucleus_px": (4, 500),
                "nucleus_cv": (0, 0.5),
                "cell_ratio": (1.2, 6),
                "elongation": (1, 4),
                "clustering": (0, 1),
                "staining_cv": (0, 1.5),
                "mitotic": (0, 1),
                "dead": (0, 1),
                "unstained": (0, 1),
                "debris": (0, 10),
                "body_stretch": (0, 6),
                "lobes": (0, 3),
                "taper": (0, 1),
                "bow": (0, 3),
                "alignment": (0, 1),
                "spacing": (1, 4),
            },
        )


@dataclass(frozen=True)
class Stains:
    """Brightness of each cell, arrays (n,); 1 is a typical bright structure.

    Attributes:
        dna: Nucleus in the DNA channel.
        inside: Marker in the nucleus.
        outside: Marker in the thick part of the cytoplasm.
    """

    dna: NDArray[np.float32]
    inside: NDArray[np.float32]
    outside: NDArray[np.float32]


@dataclass(frozen=True)
class Shapes:
    """Nucleus and body of each cell, and the brightness that goes with the shape of its nucleus.

    Attributes:
        nuclei: One outline per cell.
        bodies: One outline per cell, around the same centre.
        dna: (n,) mean brightness of the nucleus, by phase of the cell cycle.
        marker: (n,) mean brightness of the marker, higher in dead cells.
    """

    nuclei: tuple[Outline, ...]
    bodies: tuple[Outline, ...]
    dna: NDArray[np.float64]
    marker: NDArray[np.float64]


def draw_shapes(population: Population, rng: np.random.Generator) -> Shapes:
    """Draw a Poisson number of cells, each in G1, G2, mitosis or dead."""
    count = int(rng.poisson(population.cells))
    fate = rng.random(count)
    mitotic = fate < population.mitotic
    dead = (fate > 1 - population.dead) & ~mitotic
    g2 = (rng.random(count) < _G2_SHARE) & ~mitotic & ~dead
    spread = np.clip(1 + population.nucleus_cv * rng.standard_normal(count), 0.5, 1.8)
    full = population.nucleus_px / 2 * spread
    radius = full * np.sqrt(np.select([mitotic, dead, g2], [_MITOTIC_AREA, _DEAD_AREA, _G2_AREA], 1.0))
    stretch = 1 + (population.elongation - 1) * rng.lognormal(0, 0.4, count)
    angle = population.direction + (1 - population.alignment) * rng.uniform(0, math.pi, count)
    bends = _harmonics(count, _NUCLEUS_BENDS, rng)
    nuclei = _outlines(radius, np.select([mitotic, dead], [_MITOTIC_STRETCH, 1.0], stretch), angle, bends)
    round_ = mitotic | dead
    size = population.cell_ratio * full * np.select([mitotic, dead], [0.7, 0.5], rng.lognormal(0, 0.12, count))
    bends = np.where(round_[:, None], 0.2, population.lobes) * _harmonics(count, _BODY_BENDS, rng)
    bends[:, 1] += np.where(round_, 0.0, population.taper)
    bow = population.bow * rng.uniform(-1, 1, count) * ~round_ if population.bow else np.zeros(count)
    bodies = _outlines(size, np.where(round_, 1.0, stretch**population.body_stretch), angle, bends, bow)
    dna = np.select([mitotic, dead, g2], [_MITOTIC_BRIGHTNESS, _DEAD_BRIGHTNESS, _G2_BRIGHTNESS], 1.0)
    return Shapes(nuclei, bodies, dna, np.where(dead, _DEAD_MARKER, 1.0))


def draw_stains(
    shapes: Shapes, kept: NDArray[np.intp], response: float, population: Population, rng: np.random.Generator
) -> Stains:
    """Draw how the cells stain.

    Args:
        shapes: All cells drawn.
        kept: (n,) indices of those to stain.
        response: 0 for a marker in the cytoplasm, 1 for a marker in the nucleus; cells spread around it.
        population: How much their staining varies, and how many are unstained.
        rng: Source of chance.
    """
    count, spread = len(kept), population.staining_cv
    staining = rng.lognormal(0, spread / 3, count)
    expression = rng.lognormal(-(spread**2) / 2, spread, count) * shapes.marker[kept]
    mean = 0.04 + 0.92 * response  # a beta distribution needs both its parameters above 0
    own = rng.beta(mean * _RESPONSE_PRECISION, (1 - mean) * _RESPONSE_PRECISION, count)
    if population.unstained:
        expression *= np.where(rng.random(count) < population.unstained, _UNSTAINED, 1)
    return Stains(
        dna=(shapes.dna[kept] * staining).astype(np.float32),
        inside=(expression * (0.2 + 1.3 * own)).astype(np.float32),
        outside=(expression * (0.75 - 0.6 * own)).astype(np.float32),
    )


def _harmonics(count: int, spread: tuple[float, ...], rng: np.random.Generator) -> NDArray[np.complex128]:
    """Random phases, magnitudes uniform up to twice the spread: (count, len(spread))."""
    size = (count, len(spread))
    magnitude = rng.uniform(0, 2, size) * np.asarray(spread)
    return np.asarray(magnitude * np.exp(1j * rng.uniform(0, 2 * math.pi, size)))


def _outlines(
    radius: NDArray[np.float64],
    stretch: NDArray[np.float64],
    angle: NDArray[np.float64],
    harmonics: NDArray[np.complex128],
    bow: NDArray[np.float64] | None = None,
) -> tuple[Outline, ...]:
    bow = np.zeros(len(radius)) if bow is None else bow
    rows = zip(radius.tolist(), stretch.tolist(), angle.tolist(), harmonics.tolist(), bow.tolist(), strict=True)
    return tuple(Outline(r, s, a, tuple(h), b) for r, s, a, h, b in rows)
