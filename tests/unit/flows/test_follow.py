"""Steps by hand, whole walks against a plain loop, and windows against whole images, to the bit."""

from __future__ import annotations

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from pipeline_lib.flows.follow import BITS, BLOCK, ONE, OpenSides, follow, follow_in_window
from pipeline_lib.flows.targets import flows_from_labels


def fixed(points: object) -> np.ndarray:
    return np.rint(np.array(points, dtype=np.float64) * ONE).astype(np.int64)


def every_pixel(height: int, width: int) -> np.ndarray:
    return np.indices((height, width)).reshape(2, -1) << BITS


def plain_follow(flow: np.ndarray, points: np.ndarray, steps: int) -> np.ndarray:
    """All points, all steps, no shortcut; float32 throughout, each operation rounded."""
    limit = np.array(flow.shape[1:])[:, None] - 1
    for _ in range(steps):
        (top, left), (down, across) = points >> BITS, (points & (ONE - 1)).astype(np.float32) / np.float32(ONE)
        bottom, right = np.minimum(np.stack([top, left]) + 1, limit)
        step = (
            flow[:, top, left] * ((1 - down) * (1 - across))
            + flow[:, top, right] * ((1 - down) * across)
            + flow[:, bottom, left] * (down * (1 - across))
            + flow[:, bottom, right] * (down * across)
        )
        assert step.dtype == np.float32
        points = np.clip(points + np.rint(np.clip(step, -32768, 32768) * 65536).astype(np.int64), 0, limit * ONE)
    return points


def constant_flow(y: float, x: float) -> np.ndarray:
    return np.broadcast_to(np.array([y, x], dtype=np.float32)[:, None, None], (2, 10, 12)).copy()


def test_bilinear_step_by_hand():
    flow = np.zeros((2, 2, 2), dtype=np.float32)
    flow[0] = [[0.0, 0.4], [0.8, 1.2]]
    flow[1] = [[0.0, 0.0], [0.0, 0.8]]
    # Along x first: 0.1 above and 0.9 below; a quarter of the way down 0.3. The other component: a sixteenth of 0.8.
    end = follow(flow, fixed([[0.25], [0.25]]), steps=1)
    assert np.array_equal(end, fixed([[0.55], [0.30]]))


def test_constant_flow_adds_up():
    end = follow(constant_flow(0.5, 0.25), fixed([[1, 2], [1, 3]]), steps=3)
    assert np.array_equal(end, fixed([[2.5, 3.5], [1.75, 3.75]]))


def test_steps_are_rounded_to_the_nearest_position_ties_to_even():
    units = np.array([0.5, 1.5, 2.5, 2.51, -0.5, -1.5, -2.51])
    flow = np.zeros((2, 1, units.size), dtype=np.float32)
    flow[1] = units / ONE
    starts = np.stack([np.zeros(units.size), np.arange(units.size)]).astype(np.int64) << BITS
    assert (follow(flow, starts, steps=1) - starts)[1].tolist() == [0, 2, 2, 3, 0, -2, -3]


def test_longest_step():
    flow = np.full((2, 1, 40_000), 1e30, dtype=np.float32)
    start = np.array([[0], [5]]) << BITS
    assert (follow(flow, start, steps=1) >> BITS).tolist() == [[0], [5 + 32768]]
    assert (follow(flow, start, steps=2) >> BITS).tolist() == [[0], [39_999]]
    assert (follow(-flow, start, steps=1) >> BITS).tolist() == [[0], [0]]


def test_points_stop_at_the_rim():
    start = fixed([[5], [6]])
    assert np.array_equal(follow(constant_flow(1, -1), start, steps=100), fixed([[9], [0]]))
    assert np.array_equal(follow(constant_flow(-1, 1), start, steps=100), fixed([[0], [11]]))


def test_no_flow_no_steps_no_points():
    points = fixed([[1.5], [2.25]])
    assert np.array_equal(follow(constant_flow(0, 0), points, steps=50), points)
    assert np.array_equal(follow(constant_flow(1, 1), points, steps=0), points)
    assert follow(constant_flow(1, 1), np.zeros((2, 0), dtype=np.int64), steps=9).shape == (2, 0)


@pytest.mark.parametrize("steps", [1, 7, 8, 9, 61, 200])
def test_shortcuts_change_nothing(steps):
    """Points that rest, circle or run wild end exactly where the plain loop takes them."""
    yy, xx = np.mgrid[:40, :50]
    labels = ((yy - 18) ** 2 + (xx - 21) ** 2 < 250).astype(np.uint8)
    rng = np.random.default_rng(steps)
    wild = rng.normal(size=(2, 40, 50)) * (xx > 35)
    flow = (flows_from_labels(labels) + wild).astype(np.float32)
    points = every_pixel(40, 50)
    assert points.shape[1] > BLOCK
    assert np.array_equal(follow(flow, points, steps), plain_follow(flow, points, steps))


def test_points_and_threads_do_not_influence_each_other():
    rng = np.random.default_rng(0)
    flow = rng.normal(size=(2, 30, 30)).astype(np.float32)
    points = fixed(rng.uniform(0, 29, size=(2, 3 * BLOCK)))
    together = follow(flow, points, steps=40)
    threads = numba.get_num_threads()
    numba.set_num_threads(1)
    alone = follow(flow, points[:, ::-1], steps=40)
    numba.set_num_threads(threads)
    assert np.array_equal(together[:, ::-1], alone)


def test_same_flow_elsewhere_moves_points_by_the_same_amount():
    rng = np.random.default_rng(1)
    flow = np.pad(rng.normal(scale=0.7, size=(2, 20, 24)), ((0, 0), (9, 9), (9, 9))).astype(np.float32)
    points = fixed(rng.uniform(9, 28, size=(2, 500)))
    moved = np.array([[70_001], [13]])
    elsewhere = np.zeros((2, 70_050, 60), dtype=np.float32)
    elsewhere[:, 70_001:70_039, 13:55] = flow
    ends = follow(flow, points, steps=50)
    assert np.count_nonzero((ends != points).any(axis=0)) > 400
    assert np.array_equal(follow(elsewhere, points + (moved << BITS), steps=50), ends + (moved << BITS))


def test_arguments_are_left_as_they_were():
    flow, points = constant_flow(1, 0), np.ones((2, 5), dtype=np.int64)
    follow(flow, points, steps=3)
    follow_in_window(flow, points, 3, OpenSides(True, True, True, True))
    assert np.array_equal(flow, constant_flow(1, 0))
    assert (points == 1).all()


def assert_window_agrees(flow: np.ndarray, window: tuple[slice, slice], steps: int) -> np.ndarray:
    """Points that a window keeps end where they do in the whole image, and those that leave it are told."""
    top, left = window[0].start, window[1].start
    part = flow[:, *window]
    height, width = part.shape[1:]
    sides = OpenSides(top > 0, left > 0, top + height < flow.shape[1], left + width < flow.shape[2])
    points = every_pixel(height, width)
    corner = np.array([[top], [left]]) << BITS
    ends, escaped = follow_in_window(part, points, steps, sides)
    whole = follow(flow, points + corner, steps)
    assert np.array_equal((ends + corner)[:, ~escaped], whole[:, ~escaped])
    return escaped.reshape(height, width)


@given(st.data())
@settings(deadline=None, max_examples=60)
def test_windows_agree_with_the_whole_image(data):
    seed, smooth = data.draw(st.integers(0, 10**6)), data.draw(st.sampled_from([0, 1, 3]))
    scale, steps = data.draw(st.sampled_from([0.3, 1, 6])), data.draw(st.integers(0, 60))
    flow = gaussian_filter(np.random.default_rng(seed).normal(size=(2, 40, 50)), (0, smooth, smooth))
    flow = (flow / flow.std() * scale).astype(np.float32)
    spans = [sorted(data.draw(st.sets(st.integers(0, most), min_size=2, max_size=2))) for most in (40, 50)]
    if all(last - first >= 2 for first, last in spans):
        assert_window_agrees(flow, tuple(slice(*span) for span in spans), steps)


def test_only_points_that_come_to_an_open_side_escape():
    window = slice(2, 8), slice(3, 9)
    still = np.ones((6, 6), dtype=bool)
    still[1:-1, 1:-1] = False
    assert np.array_equal(assert_window_agrees(constant_flow(0, 0), window, steps=5), still)
    # Three steps up: the first four rows come to the uppermost pixels of the window; the outermost pixels as before.
    drifting = still.copy()
    drifting[:4] = True
    assert np.array_equal(assert_window_agrees(constant_flow(-1, 0), window, steps=3), drifting)
    assert not assert_window_agrees(constant_flow(1, 1), (slice(0, 10), slice(0, 12)), steps=30).any()


def test_a_point_that_comes_back_has_escaped_all_the_same():
    flow = np.zeros((2, 3, 12), dtype=np.float32)
    flow[1, :, 4:] = -2
    flow[1, :, :4] = 5  # from 6 to 4, 2, and back to 7
    escaped = assert_window_agrees(flow, (slice(0, 3), slice(3, 12)), steps=3)
    assert escaped[:, 3].all()
