"""Cells before they have a place: their fates, shapes and stains."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pipeline_lib.synthesis.population import Population, Shapes, Stains, draw_shapes, draw_stains


def shapes_of(population: Population) -> Shapes:
    return draw_shapes(population, np.random.default_rng(5))


def stains_of(population: Population, response: float = 0.2) -> Stains:
    rng = np.random.default_rng(6)
    shapes = draw_shapes(population, rng)
    return draw_stains(shapes, np.arange(len(shapes.dna)), response, population, rng)


def test_dead_cells_are_small_round_and_bright() -> None:
    shapes = shapes_of(Population(cells=400, elongation=2, dead=0.25, mitotic=0.1))
    dead = shapes.marker > 1
    assert dead.mean() == pytest.approx(0.25, abs=0.09)  # 4 sigma of 400 draws
    assert (shapes.dna[dead] > 2).all()
    bodies = [body for body, gone in zip(shapes.bodies, dead, strict=True) if gone]
    assert {body.stretch for body in bodies} == {1.0}
    others = [body.radius for body, gone in zip(shapes.bodies, dead, strict=True) if not gone]
    assert np.mean([body.radius for body in bodies]) < 0.65 * np.mean(others)


def test_unstained_cells_have_hardly_any_marker() -> None:
    stained, some = (stains_of(Population(cells=600, staining_cv=0.1, unstained=share)) for share in (0, 0.3))
    assert (stained.outside > 0.3).all()
    assert (some.outside < 0.15).mean() == pytest.approx(0.3, abs=0.08)
    np.testing.assert_array_equal(stained.dna, some.dna)


def test_bodies_are_as_long_as_the_exponent_says() -> None:
    shapes = shapes_of(Population(cells=50, elongation=1.8, body_stretch=3, mitotic=0))
    for nucleus, body in zip(shapes.nuclei, shapes.bodies, strict=True):
        assert body.stretch == pytest.approx(nucleus.stretch**3)


def test_without_lobes_bodies_are_ellipses_and_taper_pulls_their_ends() -> None:
    plain = shapes_of(Population(cells=20, lobes=0, mitotic=0))
    assert not any(any(body.harmonics) for body in plain.bodies)
    pulled = shapes_of(Population(cells=20, lobes=0, taper=0.4, mitotic=0))
    assert {body.harmonics for body in pulled.bodies} == {(0, 0.4, 0, 0, 0, 0)}


def test_aligned_cells_differ_by_the_rest_of_a_half_turn() -> None:
    bodies = shapes_of(Population(cells=200, direction=1.0, alignment=0.75)).bodies
    angles = np.array([body.angle for body in bodies])
    assert 1 <= angles.min() < angles.max() <= 1 + math.pi / 4


def test_bows_reach_to_either_side() -> None:
    bows = np.array([body.bow for body in shapes_of(Population(cells=300, bow=1.2, mitotic=0)).bodies])
    assert -1.2 <= bows.min() < -1
    assert 1 < bows.max() <= 1.2
