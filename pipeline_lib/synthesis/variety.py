"""Scenes as different as cell lines, stains and microscopes are: what a network has to learn from."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from pipeline_lib.synthesis.field import Field, Scene, draw_scene
from pipeline_lib.synthesis.optics import Optics
from pipeline_lib.synthesis.population import Population
from pipeline_lib.synthesis.staining import PATTERNS, Staining

Ranges = Mapping[str, tuple[float, float]]

# Every value is drawn between two ends, evenly or, if it is named here, evenly in its logarithm.
_LOGARITHMIC = {"nucleus_px", "photons", "background", "crowding", "level", "dna_level", "gain", "headroom"}
_DENSEST = 0.42  # share of the frame that nuclei with the room they keep free may fill; above, most find no place
_BLUREST = 0.12  # sigma of the blur over the nucleus diameter; above, small cells are no more than a glow

_CELLS: Ranges = {
    "crowding": (0.25, 2.5),  # area of the uncrowded cells over that of the frame
    "nucleus_px": (10, 40),
    "nucleus_cv": (0.05, 0.25),
    "cell_ratio": (1.5, 3),
    "elongation": (1.05, 1.5),
    "clustering": (0, 0.9),
    "staining_cv": (0.1, 1),
    "mitotic": (0, 0.06),
    "debris": (0, 0.2),
    "direction": (0, math.pi),
    "body_stretch": (0.5, 2),
    "lobes": (0.3, 1.2),
}

_RARE: Ranges = {"dead": (0, 0.15), "unstained": (0, 0.15)}  # in some scenes only

# What differs from the above, by the way cells grow.
HABITS: Mapping[str, Ranges] = MappingProxyType(
    {
        "spread": {"cell_ratio": (2, 3.5), "lobes": (0.8, 1.5), "bow": (0, 0.4)},
        "compact": {"cell_ratio": (1.4, 2.2), "spacing": (1, 1.3)},
        "sheet": {
            "crowding": (1.5, 3.5),
            "cell_ratio": (2.2, 3.4),
            "lobes": (0.1, 0.7),
            "spacing": (1.1, 1.4),
            "clustering": (0, 0.3),
        },
        "spindle": {
            "cell_ratio": (1.8, 3),
            "elongation": (1.4, 2.2),
            "body_stretch": (2, 3),
            "taper": (0, 0.3),
            "bow": (0, 1.5),
            "lobes": (0.2, 0.8),
            "alignment": (0, 0.9),
        },
        "stellate": {"crowding": (0.2, 1.2), "cell_ratio": (1.8, 3), "lobes": (1.5, 2.4), "bow": (0, 0.6)},
        "suspension": {
            "crowding": (0.1, 1.2),
            "cell_ratio": (1.3, 1.8),
            "lobes": (0, 0.3),
            "elongation": (1.0, 1.2),
            "body_stretch": (0, 1),
        },
        "giant": {"nucleus_px": (22, 40), "cell_ratio": (3, 5), "lobes": (0.6, 1.4), "bow": (0, 0.5)},
    }
)

_OPTICS: Ranges = {
    "blur_px": (0.5, 3),
    "haze": (0, 0.35),
    "haze_px": (8, 60),
    "photons": (10, 2000),
    "background": (0.005, 0.3),
    "vignetting": (0, 0.4),
    "gain": (0.3, 4),
    "offset": (0, 400),
    "read_noise": (0.5, 3),  # electrons here
    "headroom": (0.8, 20),  # brightness above the background at which the camera saturates
}
_TILT = 0.15

_STAINING: Ranges = {
    "response": (0, 0.45),
    "level": (0.4, 2),
    "edge": (0.1, 0.9),
    "polar": (0, 0.6),
    "uneven": (0, 0.35),
    "granules": (0, 0.3),
    "dna_level": (0.4, 2),
    "dna_outside": (0, 0.12),
    "chromatin": (0.05, 0.4),
    "nucleoli": (0, 0.7),
    "pattern_size": (0.04, 0.14),
}

# What differs from the above, by where the marker is.
MARKERS: Mapping[str, Ranges] = MappingProxyType(
    {
        "whole cell": {"response": (0.2, 0.45)},
        "cytoplasm": {"response": (0, 0.1)},
        "nucleus": {"response": (0.5, 0.85)},
        "membrane": {"rim": (0.5, 3), "rim_width": (0.06, 0.2), "edge": (0.2, 0.8)},
        "perinuclear": {"perinuclear": (0.7, 4), "response": (0, 0.3)},
        "patterned": {"pattern_depth": (0.3, 0.9)},
    }
)


def draw_varied_field(shape: tuple[int, int], source: int | np.random.Generator) -> Field:
    """Draw one field (Y, X) of a random scene.

    Args:
        shape: (Y, X) of the image.
        source: A seed, or a source of chance to go on with; the same seed or state draws the same field.
    """
    rng = np.random.default_rng(source)
    return draw_scene(shape, draw_variety(shape, rng), rng)


def draw_variety(shape: tuple[int, int], rng: np.random.Generator) -> Scene:
    """Draw a scene for a frame (Y, X): a habit of the cells, a marker and a microscope that need not fit each other."""
    population = _draw_population(shape, rng)
    staining = _draw({**_STAINING, **_one_of(MARKERS, rng)}, rng)
    pattern = list(PATTERNS)[rng.integers(len(PATTERNS))]
    return Scene(
        population,
        _draw_optics(population.nucleus_px, rng),
        Staining(pattern=pattern, **staining),
        clutter=rng.exponential(2) * (rng.random() < 0.6),
    )


def _draw_population(shape: tuple[int, int], rng: np.random.Generator) -> Population:
    values = {**_draw(_RARE, rng, share=0.3), **_draw({**_CELLS, **_one_of(HABITS, rng)}, rng)}
    crowding = values.pop("crowding")
    nucleus, ratio, spacing = values["nucleus_px"], values["cell_ratio"], values.get("spacing", 1.0)
    share = min(crowding / ratio**2, _DENSEST / spacing**2)  # of the frame that nuclei cover
    return Population(cells=share * math.prod(shape) / (math.pi / 4 * nucleus**2), **values)


def _draw_optics(nucleus_px: float, rng: np.random.Generator) -> Optics:
    values = _draw(_OPTICS, rng)
    values["blur_px"] = min(values["blur_px"], _BLUREST * nucleus_px)
    values["read_noise"] *= values["gain"]
    full = values["gain"] * values["photons"] * (values["background"] + values.pop("headroom"))
    tilt_y, tilt_x = rng.uniform(-_TILT, _TILT, 2).tolist()
    return Optics(tilt=(tilt_y, tilt_x), ceiling=min(values["offset"] + full, 65535.0), **values)


def _one_of(table: Mapping[str, Ranges], rng: np.random.Generator) -> Ranges:
    return list(table.values())[rng.integers(len(table))]


def _draw(ranges: Ranges, rng: np.random.Generator, share: float = 1.0) -> dict[str, float]:
    """One value from each of the ranges, or from a random `share` of them."""
    return {
        name: math.exp(rng.uniform(math.log(low), math.log(high))) if name in _LOGARITHMIC else rng.uniform(low, high)
        for name, (low, high) in ranges.items()
        if rng.random() < share
    }
