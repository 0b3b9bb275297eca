"""From the cells of a field to the brightness of its structures: where the stains are inside a cell."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from pipeline_lib.synthesis.layout import Layout
from pipeline_lib.synthesis.population import Stains
from pipeline_lib.synthesis.ranges import require

# From grains of standard deviation 1 to what the cytoplasm is multiplied by; the means are about 1.
PATTERNS: Mapping[str, Callable[[NDArray[np.float32]], NDArray[Any]]] = MappingProxyType(
    {
        "vesicles": lambda grains: np.exp(1.3 * grains - 0.85),
        "vacuoles": lambda grains: 1.25 / (1 + np.exp(3 * grains - 4)),
        "filaments": lambda grains: 4 * np.exp(-9 * grains**2),  # the level lines of noise are a net
        "fibres": lambda grains: 0.4 + 1.5 * np.maximum(grains, 0),
    }
)
# Size of the grains across and along the axis of the cell, over that of others.
_STRETCHED: Mapping[str, tuple[float, float]] = MappingProxyType({"filaments": (1.0, 3.0), "fibres": (0.5, 8.0)})

_NUCLEOLUS = 0.14  # sigma of the grains whose peaks are nucleoli, in nucleus diameters
_UNEVEN = 0.7  # the same of slow variations of the marker
_FINEST = 0.7  # px, sigma of the finest grains of a pattern


@dataclass(frozen=True)
class Staining:
    """Where the two stains are in a cell. Lengths are in mean nucleus diameters.

    Attributes:
        response: 0 for a marker in the cytoplasm, 1 for a marker in the nucleus; cells vary around it.
        level: Factor on the brightness of the marker.
        edge: Thickness of a cell at its outline, relative to its middle.
        rim: Brightness added at the outline, relative to the cytoplasm.
        rim_width: Width of that rim as a share of the way from the centre to the outline.
        perinuclear: Brightness added around the nucleus, relative to the cytoplasm.
        polar: Share by which one end of a cell is brighter, the other darker.
        uneven: Standard deviation of slow variations.
        granules: Standard deviation of fine grains.
        pattern: Name of one of `PATTERNS`.
        pattern_depth: 0 for a smooth cytoplasm, 1 for nothing but the pattern.
        pattern_size: Size of its grains.
        dna_level: Factor on the brightness of the DNA.
        dna_outside: Brightness of the DNA stain in the cytoplasm.
        chromatin: Standard deviation of the grains in nuclei.
        nucleoli: How dark the nucleoli are, 0..1.
    """

    response: float
    level: float = 1.0
    edge: float = 0.3
    rim: float = 0.0
    rim_width: float = 0.1
    perinuclear: float = 0.0
    polar: float = 0.0
    uneven: float = 0.0
    granules: float = 0.15
    pattern: str = "vesicles"
    pattern_depth: float = 0.0
    pattern_size: float = 0.08
    dna_level: float = 1.0
    dna_outside: float = 0.03
    chromatin: float = 0.22
    nucleoli: float = 0.0

    def __post_init__(self) -> None:
        if self.pattern not in PATTERNS:
            raise ValueError(f"Staining: pattern is {self.pattern}, allowed: {', '.join(PATTERNS)}")
        shares = dict.fromkeys(("response", "edge", "polar", "pattern_depth", "dna_outside", "nucleoli"), (0, 1))
        depths = dict.fromkeys(("uneven", "granules", "chromatin"), (0, 2))
        require(
            self,
            {
                **shares,
                **depths,
                "level": (0, 100),
                "rim": (0, 10),
                "rim_width": (0.01, 1),
                "perinuclear": (0, 10),
                "pattern_size": (0.01, 2),
                "dna_level": (0, 100),
            },
        )


def stain_dna(
    layout: Layout, stains: Stains, how: Staining, nucleus_px: float, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Brightness (Y, X) of the DNA: nuclei with chromatin, and a trace in the cytoplasm."""
    level = np.append(np.float32(0), stains.dna)[layout.nuclei.labels]
    nuclei = level * _dome(layout.nuclei.depth, 0.7) * texture(level.shape, 0.06 * nucleus_px, how.chromatin, rng)
    if how.nucleoli:
        peaks = grains(level.shape, (_NUCLEOLUS * nucleus_px,) * 2, rng)
        nuclei *= 1 - np.float32(how.nucleoli) / (1 + np.exp(6 - 6 * peaks))
    stained = np.where(layout.cells.labels > 0, nuclei + np.float32(how.dna_outside), nuclei)
    return np.asarray(np.float32(how.dna_level) * stained)


def stain_marker(
    layout: Layout, stains: Stains, how: Staining, nucleus_px: float, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Brightness (Y, X) of the marker: cytoplasm that thins out towards the edge of the cell, and nuclei."""
    nuclei, cells, depth = layout.nuclei.labels, layout.cells.labels, layout.cells.depth
    outside = np.append(np.float32(0), stains.outside)[cells] * _dome(depth, how.edge)
    inside = np.append(np.float32(0), stains.inside)[nuclei] * _dome(layout.nuclei.depth, 0.8)
    if how.pattern_depth or how.polar:
        along, across = _axes(layout)
        outside *= 1 + np.float32(how.polar) * np.tanh(along / np.float32(nucleus_px))
        outside *= _pattern(along, across, how, nucleus_px, rng)
    if how.perinuclear:
        outside *= 1 + np.float32(how.perinuclear) * np.exp(-((depth / np.float32(0.45)) ** 2))
    if how.rim:
        outside += _rim(layout, stains, how)
    marker = np.where(nuclei > 0, inside, outside) * texture(cells.shape, 0.08 * nucleus_px, how.granules, rng)
    if how.uneven:
        marker *= texture(cells.shape, _UNEVEN * nucleus_px, how.uneven, rng)
    return np.asarray(np.float32(how.level) * marker)


def texture(shape: tuple[int, ...], sigma: float, depth: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """Draw a positive texture (Y, X) around 1 with grains of `sigma` px and standard deviation `depth`."""
    drawn = gaussian_filter(rng.standard_normal(shape, dtype=np.float32), sigma, truncate=2.5)
    # Filtering white noise with a Gaussian leaves a standard deviation of 1 / (2 sqrt(pi) sigma).
    drawn *= depth * 2 * math.sqrt(math.pi) * sigma
    return np.asarray(np.maximum(drawn + 1, 0.1), np.float32)


def grains(shape: tuple[int, ...], sigma: tuple[float, float], rng: np.random.Generator) -> NDArray[np.float32]:
    """Draw noise (Y, X) of mean 0 and standard deviation 1 with grains of `sigma` (y, x) px; opposite edges fit."""
    drawn = gaussian_filter(rng.standard_normal(shape, dtype=np.float32), sigma, mode="wrap", truncate=2.5)
    return np.asarray(drawn / max(float(drawn.std()), 1e-6), np.float32)


def _pattern(
    along: NDArray[np.float32],
    across: NDArray[np.float32],
    how: Staining,
    nucleus_px: float,
    rng: np.random.Generator,
) -> NDArray[np.float32]:
    """Factor (Y, X) on the cytoplasm: one tile of the pattern, turned into the direction of each cell."""
    size = how.pattern_size * nucleus_px
    across_size, along_size = (max(factor * size, _FINEST) for factor in _STRETCHED.get(how.pattern, (1.0, 1.0)))
    tile = PATTERNS[how.pattern](grains((256, 256), (across_size, along_size), rng))
    turned = tile[across.astype(np.int32) & 255, along.astype(np.int32) & 255]
    return np.asarray(1 + np.float32(how.pattern_depth) * (turned - 1), np.float32)


def _axes(layout: Layout) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Position (Y, X) of each pixel along and across its cell, px from the centre; 0 outside of cells."""
    owner = layout.cells.labels
    y, x = np.ogrid[: owner.shape[0], : owner.shape[1]]
    turn = np.append(np.complex64(0), np.exp(-1j * layout.angles))
    centre = np.append(np.complex64(0), layout.centres @ np.array([1j, 1]))
    place = (x + 1j * y - centre.astype(np.complex64)[owner]) * turn.astype(np.complex64)[owner]
    return place.real.astype(np.float32), place.imag.astype(np.float32)


def _rim(layout: Layout, stains: Stains, how: Staining) -> NDArray[np.float32]:
    """Brightness (Y, X) of membranes; those of touching cells lie side by side."""
    level = np.append(np.float32(0), np.float32(how.rim) * stains.outside)[layout.cells.labels]
    return np.asarray(level * np.exp(-(((1 - layout.cells.depth) / np.float32(how.rim_width)) ** 2)), np.float32)


def _dome(depth: NDArray[np.float32], edge: float) -> NDArray[np.float32]:
    """Thickness of a structure: 1 in the middle, flat, then falling to `edge` where depth is 1."""
    return 1 - np.float32(1 - edge) * (depth * depth) ** 2
