"""Textures have the depth they are asked for, and each property of a staining puts light where it says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline_lib.synthesis.layout import Layout, Painted, paint
from pipeline_lib.synthesis.outlines import Outline
from pipeline_lib.synthesis.population import Stains
from pipeline_lib.synthesis.staining import PATTERNS, Staining, grains, stain_dna, stain_marker, texture

NUCLEUS = 30.0
PLAIN = Staining(0.2, edge=1.0, granules=0.0, chromatin=0.0, dna_outside=0.0)


def one_cell(angle: float = 0.0) -> Layout:
    """A disc of 45 px with a nucleus of 15 px in the middle of 121 x 121 px."""
    nuclei, cells = (paint((121, 121), [Outline(radius)], [(60, 60)]) for radius in (15.0, 45.0))
    middle = np.array([[60, 60]], np.float32)
    return Layout(nuclei, cells, np.array([0], np.intp), middle, np.array([angle], np.float32))


STAINS = Stains(*(np.array([level], np.float32) for level in (1.0, 0.5, 0.8)))


def marker(how: Staining, layout: Layout | None = None) -> NDArray[np.float32]:
    return stain_marker(layout or one_cell(), STAINS, how, NUCLEUS, np.random.default_rng(0))


def cytoplasm(layout: Layout) -> NDArray[np.bool_]:
    return np.asarray((layout.cells.labels > 0) & (layout.nuclei.labels == 0))


@pytest.mark.parametrize(("sigma", "depth"), [(1.5, 0.1), (3.0, 0.2)])
def test_texture_has_the_depth_it_is_asked_for(sigma: float, depth: float) -> None:
    drawn = texture((400, 400), sigma, depth, np.random.default_rng(0))
    assert drawn.mean() == pytest.approx(1, abs=0.01)
    assert drawn.std() == pytest.approx(depth, rel=0.06)


@pytest.mark.parametrize("name", PATTERNS)
def test_patterns_keep_the_light_and_never_take_more_than_there_is(name: str) -> None:
    drawn = PATTERNS[name](grains((512, 512), (2.0, 2.0), np.random.default_rng(1)))
    assert drawn.mean() == pytest.approx(1, abs=0.12)
    assert drawn.min() >= 0
    assert drawn.std() > 0.2


def test_grains_are_as_long_as_they_are_asked_for() -> None:
    drawn = grains((256, 256), (1.5, 6.0), np.random.default_rng(2))
    steps = [float(np.abs(np.diff(drawn, axis=axis)).mean()) for axis in (0, 1)]
    assert steps[0] / steps[1] == pytest.approx(4, rel=0.1)


def test_a_plain_cell_has_two_levels() -> None:
    layout = one_cell()
    drawn = marker(PLAIN)
    np.testing.assert_allclose(drawn[cytoplasm(layout)], 0.8)
    assert drawn[60, 60] == 0.5
    assert not drawn[layout.cells.labels == 0].any()


def test_cells_thin_out_towards_their_edge() -> None:
    drawn = marker(replace(PLAIN, edge=0.25))
    assert drawn[60, 60 + 44] == pytest.approx(0.8 * (1 - 0.75 * (44 / 45) ** 4), rel=1e-4)


def test_a_rim_is_bright_at_the_outline_only() -> None:
    drawn = marker(replace(PLAIN, rim=2.0, rim_width=0.1))
    assert drawn[60, 60 + 44] == pytest.approx(0.8 * (1 + 2 * np.exp(-((10 / 45) ** 2))), rel=1e-4)
    assert drawn[60, 60 + 20] == pytest.approx(0.8, abs=1e-4)


def test_perinuclear_light_falls_towards_the_edge() -> None:
    profile = marker(replace(PLAIN, perinuclear=3.0))[60, 60 + 16 : 60 + 45]
    assert (np.diff(profile) < 0).all()
    assert profile[0] > 2 * profile[-1]


@pytest.mark.parametrize(("angle", "bright"), [(0.0, (60, 90)), (np.pi / 2, (90, 60)), (np.pi, (60, 30))])
def test_polar_light_follows_the_axis_of_the_cell(angle: float, bright: tuple[int, int]) -> None:
    drawn = marker(replace(PLAIN, polar=0.5), one_cell(angle))
    y, x = bright
    assert drawn[y, x] == pytest.approx(0.8 * (1 + 0.5 * np.tanh(1)), rel=1e-3)
    assert drawn[120 - y, 120 - x] == pytest.approx(0.8 * (1 - 0.5 * np.tanh(1)), rel=1e-3)


@pytest.mark.parametrize("upright", [False, True])
def test_fibres_run_along_the_cell(upright: bool) -> None:
    drawn = marker(replace(PLAIN, pattern="fibres", pattern_depth=1.0), one_cell(np.pi / 2 if upright else 0.0))
    inner = drawn[80:95, 40:80]  # cytoplasm only
    across, along = (float(np.abs(np.diff(inner, axis=axis)).mean()) for axis in ((1, 0) if upright else (0, 1)))
    assert across > 3 * along


def test_dna_is_where_the_nucleus_is() -> None:
    layout = one_cell()
    drawn = stain_dna(layout, STAINS, replace(PLAIN, dna_outside=0.1, dna_level=2), NUCLEUS, np.random.default_rng(0))
    np.testing.assert_allclose(drawn[cytoplasm(layout)], 0.2)
    assert drawn[60, 60] == pytest.approx(2.2)
    assert not drawn[layout.cells.labels == 0].any()


def test_nucleoli_are_dark_holes() -> None:
    layout, rng = one_cell(), np.random.default_rng(3)
    plain, holed = (stain_dna(layout, STAINS, replace(PLAIN, nucleoli=n), NUCLEUS, rng) for n in (0.0, 0.9))
    inside = layout.nuclei.labels > 0
    share = holed[inside] / plain[inside]
    assert share.min() < 0.6
    assert np.median(share) > 0.9


def test_empty_fields_can_be_stained() -> None:
    nothing = Painted(np.zeros((9, 9), np.uint32), np.ones((9, 9), np.float32))
    none = np.zeros(0, np.float32)
    layout = Layout(nothing, nothing, np.zeros(0, np.intp), none.reshape(0, 2), none)
    how = replace(PLAIN, rim=1, perinuclear=1, polar=0.5, pattern_depth=0.5, uneven=0.2)
    assert not stain_marker(layout, Stains(none, none, none), how, NUCLEUS, np.random.default_rng(0)).any()


def test_faults_are_named() -> None:
    with pytest.raises(ValueError, match="pattern is stripes, allowed: vesicles, vacuoles, filaments, fibres"):
        Staining(0.1, pattern="stripes")
    with pytest.raises(ValueError, match=r"response is 2, allowed: 0 to 1; edge is -1"):
        Staining(2, edge=-1)
