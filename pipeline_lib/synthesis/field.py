"""One field of view with known truth."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from pipeline_lib.synthesis.layout import Layout, arrange, paint
from pipeline_lib.synthesis.optics import Optics, expose, photograph
from pipeline_lib.synthesis.outlines import Outline
from pipeline_lib.synthesis.population import Population, Stains, draw_shapes, draw_stains

CHANNELS = ("DNA", "GFP")

_CHROMATIN = 0.22  # relative depth of the textures
_GRANULES = 0.15
_DNA_IN_CYTOPLASM = 0.03


@dataclass(frozen=True)
class Field:
    """A drawn field of view; labels are 1..n, the same for a nucleus and its cell.

    Attributes:
        image: (2, Y, X) camera counts; channel 0 is DNA, channel 1 the marker, GFP.
        clean: (2, Y, X) the expected counts: blur and uneven light, but no noise.
        nuclei: (Y, X) labels of the nuclei.
        cells: (Y, X) labels of the whole cells, nuclei included.
    """

    image: NDArray[np.uint16]
    clean: NDArray[np.float32]
    nuclei: NDArray[np.uint32]
    cells: NDArray[np.uint32]


def draw_field(
    shape: tuple[int, int], population: Population, optics: Optics, response: float, rng: np.random.Generator
) -> Field:
    """Draw one field.

    Args:
        shape: (Y, X) of the image.
        population: The cells.
        optics: The microscope.
        response: 0 for a marker in the cytoplasm, 1 for a marker in the nucleus; cells vary around it.
        rng: Source of chance; the same state draws the same field.

    Raises:
        ValueError: The response is out of its range.
    """
    if not 0 <= response <= 1:
        raise ValueError(f"response is {response}, allowed: 0 (marker in the cytoplasm) to 1 (marker in the nucleus)")
    shapes = draw_shapes(population, rng)
    layout = arrange(shape, shapes, population.clustering, rng)
    stains = draw_stains(shapes.dna[layout.kept], response, population.staining_cv, rng)
    dna = _stain_dna(layout, stains, population.nucleus_px, rng)
    dna += _specks(shape, population.debris * len(layout.kept), population.nucleus_px, rng)
    marker = _stain_marker(layout, stains, population.nucleus_px, rng)
    clean = expose(np.stack([dna, marker]), optics)
    return Field(photograph(clean, optics, rng), clean, layout.nuclei.labels, layout.cells.labels)


def _stain_dna(layout: Layout, stains: Stains, nucleus_px: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """Brightness (Y, X) of the DNA: nuclei with chromatin, and a trace in the cytoplasm."""
    level = np.append(np.float32(0), stains.dna)[layout.nuclei.labels]
    nuclei = level * _dome(layout.nuclei.depth, 0.7) * texture(level.shape, 0.06 * nucleus_px, _CHROMATIN, rng)
    return np.where(layout.cells.labels > 0, nuclei + np.float32(_DNA_IN_CYTOPLASM), nuclei)


def _stain_marker(layout: Layout, stains: Stains, nucleus_px: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """Brightness (Y, X) of the marker: cytoplasm that thins out towards the edge of the cell, and nuclei."""
    nuclei, cells = layout.nuclei.labels, layout.cells.labels
    outside = np.append(np.float32(0), stains.outside)[cells] * _dome(layout.cells.depth, 0.3)
    inside = np.append(np.float32(0), stains.inside)[nuclei] * _dome(layout.nuclei.depth, 0.8)
    return np.where(nuclei > 0, inside, outside) * texture(cells.shape, 0.08 * nucleus_px, _GRANULES, rng)


def _dome(depth: NDArray[np.float32], edge: float) -> NDArray[np.float32]:
    """Thickness of a structure: 1 in the middle, flat, then falling to `edge` where depth is 1."""
    return 1 - np.float32(1 - edge) * (depth * depth) ** 2


def texture(shape: tuple[int, ...], sigma: float, depth: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """Draw a positive texture (Y, X) around 1 with grains of `sigma` px and standard deviation `depth`."""
    grains = gaussian_filter(rng.standard_normal(shape, dtype=np.float32), sigma, truncate=2.5)
    # Filtering white noise with a Gaussian leaves a standard deviation of 1 / (2 sqrt(pi) sigma).
    grains *= depth * 2 * math.sqrt(math.pi) * sigma
    return np.asarray(np.maximum(grains + 1, 0.1), np.float32)


def _specks(shape: tuple[int, int], mean: float, nucleus_px: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """Brightness (Y, X) of a Poisson number of bright DNA fragments."""
    count = int(rng.poisson(mean))
    radii = nucleus_px * rng.uniform(0.05, 0.15, count)
    places = zip(rng.integers(shape[0], size=count).tolist(), rng.integers(shape[1], size=count).tolist(), strict=True)
    painted = paint(shape, [Outline(radius) for radius in radii.tolist()], places)
    level = np.append(0, rng.uniform(1, 4, count)).astype(np.float32)
    return level[painted.labels] * (1 - painted.depth**2)
