"""Placing and painting: nuclei keep their whole shape, bodies meet half way, cells stay in one piece."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import label as components

from pipeline_lib.synthesis.layout import arrange, paint, place_nuclei
from pipeline_lib.synthesis.outlines import Outline, distance
from pipeline_lib.synthesis.population import Population, draw_shapes


def test_equal_circles_meet_half_way() -> None:
    painted = paint((60, 60), [Outline(15.0), Outline(15.0)], [(30, 20), (30, 40)])
    np.testing.assert_array_equal(painted.labels[30, 6:55], [1] * 25 + [2] * 24)  # column 30 is a draw: the first stays
    assert painted.depth[30, 30] == 1
    assert painted.depth[30, 20] == painted.depth[30, 40] == 0


def test_a_free_edge_and_the_outside_have_depth_one() -> None:
    painted = paint((41, 41), [Outline(10.0)], [(20, 20)])
    np.testing.assert_allclose(painted.depth[20, 20:32], [*np.arange(11) / 10, 1.0], rtol=1e-5)
    assert not painted.labels[painted.depth >= 1].any()


def test_an_outline_may_leave_the_frame() -> None:
    whole = paint((61, 61), [Outline(20.0, 1.5, 0.3)], [(30, 30)])
    corner = paint((31, 31), [Outline(20.0, 1.5, 0.3)], [(0, 0)])
    np.testing.assert_array_equal(corner.labels, whole.labels[30:, 30:])


def test_two_outlines_may_have_one_centre() -> None:
    painted = paint((9, 9), [Outline(3.0), Outline(2.0)], [(4, 4), (4, 4)])
    assert painted.depth[4, 4] == 0
    np.testing.assert_array_equal(painted.labels > 0, painted.depth < 1)


def test_nothing_to_paint() -> None:
    painted = paint((5, 7), [], [])
    assert painted.labels.shape == (5, 7)
    assert not painted.labels.any()


@pytest.mark.parametrize("clustering", [0.0, 0.9])
def test_nuclei_do_not_overlap(clustering: float) -> None:
    rng = np.random.default_rng(3)
    shape = (200, 300)
    nuclei = draw_shapes(Population(cells=150, nucleus_px=16), rng).nuclei
    places = place_nuclei(shape, nuclei, clustering, rng)
    outlines = [nuclei[k] for k in places]
    painted = paint(shape, outlines, places.values())
    areas = np.bincount(painted.labels.ravel(), minlength=len(places) + 1)[1:]
    alone = [(paint(shape, [one], [at]).labels > 0).sum() for one, at in zip(outlines, places.values(), strict=True)]
    np.testing.assert_array_equal(areas, alone)


def test_crowded_frames_leave_cells_out() -> None:
    disc = Outline(10.0)
    places = place_nuclei((50, 50), [disc] * 60, 0.0, np.random.default_rng(0))
    fitting = 70**2 // (distance(disc) < 1).sum()  # centres lie in the frame, so the discs lie in 70 x 70 px
    assert 4 <= len(places) <= fitting


def test_clustering_brings_neighbours_closer() -> None:
    def nearest(clustering: float) -> float:
        places = place_nuclei((600, 600), [Outline(8.0)] * 80, clustering, np.random.default_rng(1))
        at = np.array(list(places.values()), float)
        gaps = np.hypot(*(at[:, None] - at).transpose(2, 0, 1))
        return float(np.sort(gaps, axis=1)[:, 1].mean())

    assert nearest(1.0) < 0.7 * nearest(0.0)


def test_crowded_cells_are_whole_and_hold_their_nuclei() -> None:
    rng = np.random.default_rng(8)
    population = Population(cells=120, nucleus_px=18, cell_ratio=3.0, elongation=1.8, clustering=0.6)
    layout = arrange((256, 256), draw_shapes(population, rng), population, rng)
    nuclei, cells = layout.nuclei.labels, layout.cells.labels
    np.testing.assert_array_equal(cells[nuclei > 0], nuclei[nuclei > 0])
    for number in range(1, len(layout.kept) + 1):
        assert components(cells == number)[1] == 1


def test_nuclei_keep_their_distance() -> None:
    def nearest(spacing: float) -> float:
        rng = np.random.default_rng(2)
        population = Population(cells=60, nucleus_px=16, nucleus_cv=0, mitotic=0, clustering=0.9, spacing=spacing)
        at = arrange((300, 300), draw_shapes(population, rng), population, rng).centres
        gaps = np.hypot(*(at[:, None] - at).transpose(2, 0, 1))
        return float(np.sort(gaps, axis=1)[:, 1].min())

    assert nearest(2.0) > 16 * 1.6 > nearest(1.0)


def test_a_layout_knows_where_its_cells_are_and_where_they_point() -> None:
    rng = np.random.default_rng(4)
    population = Population(cells=40, nucleus_px=14, direction=0.5, alignment=1.0)
    layout = arrange((200, 240), draw_shapes(population, rng), population, rng)
    y, x = layout.centres.astype(int).T
    np.testing.assert_array_equal(layout.nuclei.labels[y, x], np.arange(1, len(layout.kept) + 1))
    np.testing.assert_allclose(layout.angles, 0.5)
