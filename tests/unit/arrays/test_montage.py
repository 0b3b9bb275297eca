"""Fields put together: planted jitter is found again to half a pixel, and a picture cut apart comes back."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline_lib.arrays.montage import Comparison, blended, compare, neighbours, settle, shared_windows
from pipeline_lib.core.layout import Places, grid_places
from pipeline_lib.synthesis import Optics, Population, draw_field

FIELD = (256, 256)
OVERLAP = 0.15


@cache
def well() -> NDArray[np.float32]:
    """A picture of cells, larger than 3 x 3 fields."""
    optics = replace(Optics(), vignetting=0.0, tilt=(0.0, 0.0))
    drawn = draw_field((768, 768), Population(cells=768**2 / 2500), optics, 0.3, np.random.default_rng(4))
    return drawn.image[1].astype(np.float32)


def jittered(seed: int, most: int = 8) -> tuple[Places, dict[int, tuple[int, int]], dict[int, NDArray[np.float32]]]:
    """Where nine fields should lie, where they lie, and what they show."""
    rng = np.random.default_rng(seed)
    told = {n: (y + 40, x + 40) for n, (y, x) in grid_places(range(9), FIELD, 3, OVERLAP, snake=True).items()}
    true = {n: (round(y) + int(rng.integers(-most, most + 1)), round(x) + int(rng.integers(-most, most + 1)))
            for n, (y, x) in told.items()}  # fmt: skip
    noise = {n: rng.normal(0, 4, FIELD).astype(np.float32) for n in told}
    shown = {n: well()[y : y + FIELD[0], x : x + FIELD[1]] + noise[n] for n, (y, x) in true.items()}
    return told, true, shown


def compared(told: Places, shown: dict[int, NDArray[np.float32]]) -> list[Comparison]:
    found = []
    for first, second in neighbours(told, FIELD):
        own, other = shared_windows(told[first], told[second], FIELD)
        move, likeness = compare(shown[first][own], shown[second][other], 30)
        steps = [round(told[second][axis] - told[first][axis]) + move[axis] for axis in (0, 1)]
        found.append(Comparison(first, second, (steps[0], steps[1]), likeness))
    return found


@pytest.mark.parametrize("seed", range(5))
def test_planted_jitter_is_found(seed: int) -> None:
    """The bar: under 0.5 pixel, for every field against every other."""
    told, true, shown = jittered(seed)
    settled = settle(told, compared(told, shown))
    off = np.array([np.subtract(settled[n], true[n]) for n in told])
    assert np.abs(off - off.mean(axis=0)).max() < 0.5
    before = np.array([np.subtract(told[n], true[n]) for n in told])
    assert np.abs(before - before.mean(axis=0)).max() > 2, "the jitter was worth finding"


def test_one_wrong_comparison_moves_nothing() -> None:
    told, true, shown = jittered(1)
    good = compared(told, shown)
    wrong = replace(good[0], offset=(good[0].offset[0] + 25, good[0].offset[1] - 18), likeness=0.9)
    settled = settle(told, [wrong, *good[1:]])
    off = np.array([np.subtract(settled[n], true[n]) for n in told])
    assert np.abs(off - off.mean(axis=0)).max() < 0.5


def test_empty_overlaps_leave_fields_where_the_stage_says() -> None:
    told = grid_places(range(4), FIELD, 2, OVERLAP, snake=False)
    rng = np.random.default_rng(2)
    noise = {n: rng.normal(100, 4, FIELD).astype(np.float32) for n in told}
    assert all(one.likeness < 0.3 for one in compared(told, noise))
    assert settle(told, compared(told, noise)) == dict(told)
    flat = np.full((40, 40), 7, np.float32)
    assert compare(flat, flat, 30)[1] == 0.0


def test_a_move_that_is_too_large_does_not_count() -> None:
    picture = well()
    first, second = picture[100:200, 100:200], picture[88:188, 100:200]
    (y, x), likeness = compare(first, second, 30)
    assert (y, x) == pytest.approx((-12, 0), abs=0.3)
    assert likeness > 0.9
    assert compare(first, second, 10)[1] == 0.0


@pytest.mark.parametrize("rows", [700, 128, 50])
def test_a_picture_cut_apart_comes_back(rows: int) -> None:
    _, true, _ = jittered(3)
    picture = well()
    fields = {n: np.stack([picture, picture + 7])[:, y : y + 256, x : x + 256] for n, (y, x) in true.items()}
    for top in range(0, 700, rows):
        some = min(rows, 700 - top)
        found, covered = blended((top, some, 740), fields, true)
        whole = np.stack([picture, picture + 7])[:, top : top + some, :740]
        np.testing.assert_allclose(found[:, covered], whole[:, covered], rtol=1e-5)
        assert not found[:, ~covered].any()


def test_overlaps_are_blended_linearly() -> None:
    """Two fields of 4 x 6 that share two columns: weights 2 : 1 and 1 : 2."""
    fields = {0: np.zeros((1, 4, 6), np.float32), 1: np.full((1, 4, 6), 9, np.float32)}
    [found], covered = blended((0, 4, 10), fields, {0: (0, 0), 1: (0, 4)})
    assert covered.all()
    np.testing.assert_allclose(found[1, 3:7], [0, 3, 6, 9], rtol=1e-6)


def test_a_pixel_counts_by_its_distance_from_the_nearest_edge() -> None:
    """Two fields of 5 x 6, the second two rows down and three columns to the right; weights counted by hand."""
    fields = {0: np.zeros((1, 5, 6), np.float32), 1: np.full((1, 5, 6), 6, np.float32)}
    [found], _ = blended((0, 7, 9), fields, {0: (0, 0), 1: (2, 3)})
    first, second = np.array([[3, 2, 1], [2, 2, 1], [1, 1, 1]]), np.array([[1, 1, 1], [1, 2, 2], [1, 2, 3]])
    np.testing.assert_allclose(found[2:5, 3:6], 6 * second / (first + second), rtol=1e-6)


@pytest.mark.parametrize("dtype", ["uint32", "int32"])
def test_the_brightest_pixels_of_long_integers_stay_bright(dtype: str) -> None:
    most = np.iinfo(dtype).max
    found, _ = blended((0, 3, 3), {0: np.full((1, 3, 3), most, dtype)}, {0: (0, 0)})
    assert (found == most).all()


def test_integers_are_rounded_and_gaps_filled() -> None:
    """Columns of two fields that share two, where both weigh 1 and 2 or 2 and 1, and then a gap."""
    fields = {0: np.full((2, 3, 6), 10, np.uint16), 1: np.full((2, 3, 6), 11, np.uint16)}
    found, covered = blended((1, 1, 12), fields, {0: (0, -1), 1: (0, 3)}, fill=3)
    assert found.dtype == np.uint16
    assert found[0, 0].tolist() == found[1, 0].tolist() == [10, 10, 10, 10, 11, 11, 11, 11, 11, 3, 3, 3]
    assert covered[0].tolist() == [True] * 9 + [False] * 3
