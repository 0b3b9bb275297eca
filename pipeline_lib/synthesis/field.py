"""One field of view with known truth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline_lib.synthesis.layout import arrange, paint
from pipeline_lib.synthesis.optics import Optics, expose, photograph
from pipeline_lib.synthesis.outlines import Outline
from pipeline_lib.synthesis.population import Population, draw_shapes, draw_stains
from pipeline_lib.synthesis.staining import Staining, stain_dna, stain_marker

CHANNELS = ("DNA", "GFP")


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


@dataclass(frozen=True)
class Scene:
    """What a field is drawn from.

    Attributes:
        population: The cells.
        optics: The microscope.
        staining: Where the stains are in a cell.
        clutter: Mean number of specks and out-of-focus blobs in each channel; they carry no label.
    """

    population: Population
    optics: Optics
    staining: Staining
    clutter: float = 0.0


def draw_field(
    shape: tuple[int, int], population: Population, optics: Optics, response: float, rng: np.random.Generator
) -> Field:
    """Draw one field of evenly stained cells.

    Args:
        shape: (Y, X) of the image.
        population: The cells.
        optics: The microscope.
        response: 0 for a marker in the cytoplasm, 1 for a marker in the nucleus; cells vary around it.
        rng: Source of chance; the same state draws the same field.

    Raises:
        ValueError: The response is out of its range.
    """
    return draw_scene(shape, Scene(population, optics, Staining(response)), rng)


def draw_scene(shape: tuple[int, int], scene: Scene, rng: np.random.Generator) -> Field:
    """Draw one field (Y, X) of a scene; the same state of `rng` draws the same field."""
    population, staining = scene.population, scene.staining
    shapes = draw_shapes(population, rng)
    layout = arrange(shape, shapes, population, rng)
    stains = draw_stains(shapes, layout.kept, staining.response, population, rng)
    dna = stain_dna(layout, stains, staining, population.nucleus_px, rng)
    dna += _specks(shape, population.debris * len(layout.kept), population.nucleus_px, rng)
    marker = stain_marker(layout, stains, staining, population.nucleus_px, rng)
    stained = np.stack([dna, marker])
    if scene.clutter:
        stained += _clutter(shape, scene.clutter, population.nucleus_px, rng)
    clean = expose(stained, scene.optics)
    return Field(photograph(clean, scene.optics, rng), clean, layout.nuclei.labels, layout.cells.labels)


def _specks(shape: tuple[int, int], mean: float, nucleus_px: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """Brightness (Y, X) of a Poisson number of bright DNA fragments."""
    count = int(rng.poisson(mean))
    radii = nucleus_px * rng.uniform(0.05, 0.15, count)
    return _discs(shape, radii, (1, 4), rng)


def _clutter(shape: tuple[int, int], mean: float, nucleus_px: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """Brightness (2, Y, X) of dirt in focus, small and bright, and out of focus, large and dim."""
    planes = []
    for _ in CHANNELS:
        dirt = _specks(shape, mean, nucleus_px, rng)
        blobs = _discs(shape, nucleus_px * rng.uniform(0.5, 2, int(rng.poisson(mean / 2))), (0.05, 1), rng)
        planes.append(dirt + blobs**2)
    return np.stack(planes)


def _discs(
    shape: tuple[int, int], radii: NDArray[np.float64], levels: tuple[float, float], rng: np.random.Generator
) -> NDArray[np.float32]:
    """Brightness (Y, X) of discs anywhere, each `levels` (lowest, highest) in its centre and 0 on its edge."""
    count = len(radii)
    places = zip(rng.integers(shape[0], size=count).tolist(), rng.integers(shape[1], size=count).tolist(), strict=True)
    painted = paint(shape, [Outline(radius) for radius in radii.tolist()], places)
    level = np.append(0, rng.uniform(*levels, count)).astype(np.float32)
    return level[painted.labels] * (1 - painted.depth**2)
