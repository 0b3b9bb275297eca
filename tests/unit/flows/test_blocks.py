"""Cores tile the image, and every object is read once, as a whole."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_lib.flows.blocks import Blocks, Box, Grid, plan_readings

lengths = st.integers(1, 40)
grids = st.builds(Grid, st.tuples(lengths, lengths), st.tuples(lengths, lengths))


@given(grids)
def test_cores_tile_the_image_and_own_their_pixels(grid):
    owner = np.full(grid.shape, -1)
    for number, core in enumerate(grid):
        assert (owner[core.slices] == -1).all()
        owner[core.slices] = number
    assert np.array_equal(grid.owners(*np.indices(grid.shape)), owner)
    assert owner.max() + 1 == len(grid)


def test_cores_by_hand():
    assert list(Grid((5, 7), (3, 4))) == [(0, 0, 3, 4), (0, 4, 3, 7), (3, 0, 5, 4), (3, 4, 5, 7)]
    assert list(Grid((0, 7), (3, 4))) == []


def test_boxes_by_hand():
    box = Box(4, 6, 8, 11)
    assert box.shape == (4, 5)
    assert box.grown(3, (10, 100)) == (1, 3, 10, 14)
    assert box.grown(9, (10, 12)) == (0, 0, 10, 12)
    image = np.arange(200).reshape(10, 20)
    outer = box.grown(2, (10, 20))
    assert np.array_equal(image[outer.slices][box.within(outer)], image[4:8, 6:11])
    assert Box.around(np.array([[3, 4, 5, 6], [1, 5, 3, 9]])) == (1, 4, 5, 9)


def test_pixels_are_split_by_core():
    y, x = np.array([0, 4, 2, 4, 0]), np.array([0, 6, 3, 0, 1])
    parts = {core: own.tolist() for core, own in Grid((5, 7), (3, 4)).split(y, x)}
    assert parts == {(0, 0, 3, 4): [0, 2, 4], (3, 4, 5, 7): [1], (3, 0, 5, 4): [3]}
    assert Grid((5, 7), (3, 4)).split(y[:0], x[:0]) == []


@given(grids, st.data())
def test_each_object_is_read_once_and_whole(grid, data):
    def span(length: int) -> st.SearchStrategy[tuple[int, int]]:
        return st.tuples(st.integers(0, length), st.integers(0, length)).filter(lambda p: p[0] < p[1])

    places = data.draw(st.lists(st.tuples(span(grid.shape[0]), span(grid.shape[1])), max_size=8))
    boxes = np.array([(y[0], x[0], y[1], x[1]) for y, x in places], dtype=np.int64).reshape(-1, 4)
    names = 10 * np.arange(len(boxes)) + 3
    plan = plan_readings(grid, names, boxes)
    assert len(plan) == len(grid)
    readings = [reading for readings in plan for reading in readings]
    assert sorted(name for objects, _ in readings for name in objects) == names.tolist()
    for objects, box in readings:
        assert Box.around(boxes[np.isin(names, objects)]) == box
        if len(objects) > 1:
            assert box.shape[0] <= 2 * grid.core[0]
            assert box.shape[1] <= 2 * grid.core[1]


def test_small_objects_of_a_block_are_read_together_and_large_ones_alone():
    boxes = np.array([[1, 1, 3, 3], [4, 2, 20, 30], [0, 16, 20, 17], [0, 0, 2, 31], [11, 16, 12, 17]])
    first, second, _, _, last, _ = plan_readings(Grid((20, 40), (10, 15)), np.arange(5), boxes)
    assert [(r.objects.tolist(), r.box) for r in first] == [([0, 1], (1, 1, 20, 30)), ([3], (0, 0, 2, 31))]
    assert [(r.objects.tolist(), r.box) for r in second] == [([2], (0, 16, 20, 17))]
    assert [r.objects.tolist() for r in last] == [[4]]


@pytest.mark.parametrize(("core", "halo"), [((0, 5), 3), ((5, -1), 3), ((5, 5), 0)])
def test_blocks_of_nothing_are_refused(core, halo):
    with pytest.raises(ValueError, match=r"at least 1"):
        Blocks(core, halo, lambda _, shape, dtype: np.zeros(shape, dtype))
