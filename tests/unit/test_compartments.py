"""One number, one cell: what holds for any nuclei and cells, and small fields checked by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pipeline_lib.compartments import grow, otsu_threshold, pair
from pipeline_lib.core.labels import renumber

images = arrays(np.uint16, (8, 8), elements=st.integers(0, 6))


def two_nuclei() -> np.ndarray:
    nuclei = np.zeros((21, 60), dtype=np.uint32)
    nuclei[8:13, 8:13], nuclei[8:13, 40:45] = 5, 2
    return nuclei


def distance_to(mask: np.ndarray) -> np.ndarray:
    yy, xx = np.indices(mask.shape)
    return np.min([np.hypot(yy - y, xx - x) for y, x in np.argwhere(mask)], axis=0)


def test_without_a_stain_cells_are_the_nearest_nuclei_within_the_distance():
    nuclei = two_nuclei()
    to_5, to_2 = distance_to(nuclei == 5), distance_to(nuclei == 2)
    cells = grow(nuclei, None, distance=20)
    assert not cells[np.minimum(to_5, to_2) > 20].any()
    assert (cells[(to_5 <= 20) & (to_5 < to_2)] == 5).all()
    assert (cells[(to_2 <= 20) & (to_2 < to_5)] == 2).all()


def test_cells_meet_where_the_stain_is_darkest():
    nuclei = two_nuclei()
    stain = np.full(nuclei.shape, 100, dtype=np.float32)
    stain[:, 34] = 10  # far from half way, which is column 26
    cells = grow(nuclei, stain, distance=40)
    assert (cells[:, :33] == 5).all()
    assert (cells[:, 36:] == 2).all()


def test_cells_end_at_the_distance_and_in_the_dark():
    nuclei = two_nuclei()
    stain = np.where(np.arange(60) < 20, 50, 1) * np.ones((21, 1))
    cells = grow(nuclei, stain.astype(np.float32), distance=6, threshold=25)
    assert np.array_equal(cells == 5, (distance_to(nuclei == 5) <= 6) & (stain == 50))
    assert np.array_equal(cells == 2, nuclei == 2)  # a nucleus in the dark stays


@given(images, arrays(np.float32, (8, 8), elements=st.floats(0, 100, width=32)), st.floats(0, 5))
@settings(deadline=None)
def test_nuclei_stay_in_their_own_cells(nuclei, stain, distance):
    for cells in (grow(nuclei, None, distance), grow(nuclei, stain, distance), grow(nuclei, stain, distance, 50.0)):
        assert np.array_equal(cells[nuclei > 0], nuclei[nuclei > 0])
        assert set(np.unique(cells)) - {0} == set(np.unique(nuclei)) - {0}


def test_no_nucleus_no_cell():
    nothing = np.zeros((5, 5), dtype=np.uint32)
    assert not grow(nothing, None, 9).any()
    assert not grow(nothing, np.ones((5, 5), dtype=np.float32), 9).any()


def test_threshold_needs_a_stain():
    with pytest.raises(ValueError, match=r"12\.5"):
        grow(two_nuclei(), None, 5, 12.5)


def test_otsu_splits_two_levels():
    stain = np.full((40, 40), 10, dtype=np.float32)
    stain[:, 20:] = 200
    assert 10 < otsu_threshold(stain) < 200


def test_pairs_by_hand():
    cells = np.zeros((8, 30), dtype=np.uint32)
    cells[:, 0:8], cells[:, 8:16], cells[:, 16:22], cells[:, 26:30] = 9, 4, 6, 1
    nuclei = np.zeros_like(cells)
    nuclei[1:3, 18:20], nuclei[5:7, 17:20] = 3, 8  # two nuclei of cell 6
    nuclei[4, 5:10] = 20  # three of five pixels in cell 9
    nuclei[4, 21:26] = 7  # one of five pixels in cell 6: without a cell
    found = pair(nuclei, cells)
    assert (found.nuclei_without_cell, found.cells_without_nucleus) == (1, 2)
    # Cells with nuclei in raster order: 9 -> 1, 6 -> 2; the nucleus 7 -> 3; cells without a nucleus: 4 -> 4, 1 -> 5.
    assert np.array_equal(found.cells, np.select([cells == k for k in (9, 6, 4, 1)], [1, 2, 4, 5], 0))
    assert np.array_equal(found.nuclei, np.select([nuclei == k for k in (20, 3, 8, 7)], [1, 2, 2, 3], 0))
    assert np.array_equal(found.cytoplasm, np.where(nuclei > 0, 0, found.cells))


@pytest.mark.parametrize("inside", [(3, 1, 0), (2, 1, 1), (2, 0, 1)])
def test_half_of_the_nucleus_is_enough(inside):
    in_cell, in_other, outside = inside
    nuclei = np.zeros((1, 12), dtype=np.uint32)
    nuclei[0, 6 - in_cell : 6 + in_other + outside] = 1
    cells = np.zeros_like(nuclei)
    cells[0, :6], cells[0, 6 : 6 + in_other] = 1, 2
    enough = 2 * in_cell >= in_cell + in_other + outside
    assert pair(nuclei, cells).nuclei_without_cell == (0 if enough else 1)


def test_nucleus_shared_by_halves_goes_to_the_first_cell():
    cells = np.array([[7, 7, 3, 3], [7, 7, 3, 3]])
    nuclei = np.array([[0, 1, 1, 0], [0, 0, 0, 0]])
    found = pair(nuclei, cells)
    assert found.cells[0, 0] == found.nuclei[0, 1] == found.nuclei[0, 2] == 1
    assert found.cells_without_nucleus == 1


def test_nucleus_in_shreds_over_many_cells_has_no_cell():
    cells = np.arange(1, 6)[None]
    assert pair(np.ones((1, 5), dtype=int), cells).nuclei_without_cell == 1


def test_gap_keeps_the_cytoplasm_away_from_every_nucleus():
    nuclei = two_nuclei()
    found = pair(nuclei, grow(nuclei, None, 12), gap=3)
    away = np.minimum(distance_to(nuclei == 5), distance_to(nuclei == 2)) > 3
    assert np.array_equal(found.cytoplasm, np.where(away, found.cells, 0))


def test_reach_makes_the_cytoplasm_a_ring_around_its_own_nucleus():
    nuclei = two_nuclei()
    whole = np.where(np.arange(nuclei.shape[1]) < 1, 0, np.ones(nuclei.shape, int))  # one cell for both
    apart = grow(nuclei, None, 30)
    for cells in (whole, apart):
        found = pair(nuclei, cells, gap=1, reach=4)
        distance = np.minimum(distance_to(nuclei == 5), distance_to(nuclei == 2))
        assert np.array_equal(found.cytoplasm, np.where((distance > 1) & (distance <= 4), found.cells, 0))
    lonely = np.where(nuclei == 5, nuclei, 0)
    found = pair(lonely, apart, reach=4)
    assert found.cells_without_nucleus == 1
    assert set(np.unique(found.cytoplasm)) == {0, 1}  # a cell without nucleus has no ring


def test_grown_cells_pair_with_their_nuclei():
    nuclei = two_nuclei()
    found = pair(nuclei, grow(nuclei, None, 12))
    assert (found.nuclei_without_cell, found.cells_without_nucleus) == (0, 0)
    assert np.array_equal(found.nuclei, np.where(nuclei > 0, found.cells, 0))
    assert set(np.unique(found.cytoplasm)) == {0, 1, 2}


@given(images, images, st.integers(0, 2))
@settings(deadline=None, max_examples=200)
def test_nothing_is_lost_and_no_number_means_two_cells(nuclei, cells, gap):
    found = pair(nuclei, cells, gap)
    assert np.array_equal(found.nuclei > 0, nuclei > 0)
    assert np.array_equal(renumber(found.cells), renumber(cells))  # each cell keeps its pixels and gets one number
    for k in np.unique(nuclei[nuclei > 0]):
        assert len(np.unique(found.nuclei[nuclei == k])) == 1
    in_nuclei, in_cells = set(np.unique(found.nuclei)) - {0}, set(np.unique(found.cells)) - {0}
    assert in_nuclei | in_cells == set(range(1, len(in_nuclei | in_cells) + 1))
    assert len(in_nuclei - in_cells) == found.nuclei_without_cell
    assert len(in_cells - in_nuclei) == found.cells_without_nucleus
    for k in in_nuclei & in_cells:  # the number is shared because they overlap, not by accident
        for j in np.unique(nuclei[found.nuclei == k]):
            assert 2 * np.count_nonzero(found.cells[nuclei == j] == k) >= np.count_nonzero(nuclei == j)
    assert np.isin(found.cytoplasm[found.cytoplasm > 0], found.cells).all()
    assert not (found.cytoplasm[nuclei > 0]).any()


@pytest.mark.parametrize("shape", [(4, 4)])
def test_empty_fields(shape):
    nothing, one = np.zeros(shape, dtype=np.uint32), np.eye(4, dtype=np.uint32)
    assert pair(nothing, nothing).cells.max() == 0
    assert pair(one, nothing).nuclei_without_cell == 1
    found = pair(nothing, one, gap=2)
    assert found.cells_without_nucleus == 1
    assert np.array_equal(found.cytoplasm, one)
