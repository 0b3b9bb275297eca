"""Steps by hand, and whole walks against a plain loop, to the bit."""

from __future__ import annotations

import numba
import numpy as np
import pytest

from pipeline_lib.flows.follow import BLOCK, follow
from pipeline_lib.flows.targets import flows_from_labels


def plain_follow(flow: np.ndarray, points: np.ndarray, steps: int) -> np.ndarray:
    """All points, all steps, no shortcut; float32 throughout."""
    height, width = flow.shape[1:]
    y, x = points.astype(np.float32)
    for _ in range(steps):
        top, left = y.astype(int), x.astype(int)
        bottom, right = np.minimum(top + 1, height - 1), np.minimum(left + 1, width - 1)
        down, across = y - top.astype(np.float32), x - left.astype(np.float32)
        step = (
            flow[:, top, left] * ((1 - down) * (1 - across))
            + flow[:, top, right] * ((1 - down) * across)
            + flow[:, bottom, left] * (down * (1 - across))
            + flow[:, bottom, right] * (down * across)
        )
        y = np.clip(y + step[0], 0, height - 1, dtype=np.float32)
        x = np.clip(x + step[1], 0, width - 1, dtype=np.float32)
    return np.stack([y, x])


def constant_flow(y: float, x: float) -> np.ndarray:
    return np.broadcast_to(np.array([y, x], dtype=np.float32)[:, None, None], (2, 10, 12)).copy()


def test_bilinear_step_by_hand():
    flow = np.zeros((2, 2, 2), dtype=np.float32)
    flow[0] = [[0.0, 0.4], [0.8, 1.2]]
    flow[1] = [[0.0, 0.0], [0.0, 0.8]]
    # Along x first: 0.1 above and 0.9 below; a quarter of the way down 0.3. The other component: a sixteenth of 0.8.
    end = follow(flow, np.array([[0.25], [0.25]], dtype=np.float32), steps=1)
    assert end == pytest.approx(np.array([[0.55], [0.30]]), abs=1e-6)


def test_constant_flow_adds_up():
    end = follow(constant_flow(0.5, 0.25), np.array([[1, 2], [1, 3]], dtype=np.float32), steps=3)
    assert end.tolist() == [[2.5, 3.5], [1.75, 3.75]]


def test_points_stop_at_the_rim():
    start = np.array([[5.0], [6.0]], dtype=np.float32)
    assert follow(constant_flow(1, -1), start, steps=100).tolist() == [[9], [0]]
    assert follow(constant_flow(-1, 1), start, steps=100).tolist() == [[0], [11]]


def test_no_flow_no_steps_no_points():
    points = np.array([[1.5], [2.25]], dtype=np.float32)
    assert np.array_equal(follow(constant_flow(0, 0), points, steps=50), points)
    assert np.array_equal(follow(constant_flow(1, 1), points, steps=0), points)
    assert follow(constant_flow(1, 1), np.zeros((2, 0), dtype=np.float32), steps=9).shape == (2, 0)


@pytest.mark.parametrize("steps", [1, 7, 8, 9, 61, 200])
def test_shortcuts_change_nothing(steps):
    """Points that rest, circle or run wild end exactly where the plain loop takes them."""
    yy, xx = np.mgrid[:40, :50]
    labels = ((yy - 18) ** 2 + (xx - 21) ** 2 < 250).astype(np.uint8)
    rng = np.random.default_rng(steps)
    wild = rng.normal(size=(2, 40, 50)) * (xx > 35)
    flow = (flows_from_labels(labels) + wild).astype(np.float32)
    points = np.stack(np.nonzero(np.ones((40, 50)))).astype(np.float32)
    assert points.shape[1] > BLOCK
    assert np.array_equal(follow(flow, points, steps), plain_follow(flow, points, steps))


def test_points_and_threads_do_not_influence_each_other():
    rng = np.random.default_rng(0)
    flow = rng.normal(size=(2, 30, 30)).astype(np.float32)
    points = rng.uniform(0, 29, size=(2, 3 * BLOCK)).astype(np.float32)
    together = follow(flow, points, steps=40)
    threads = numba.get_num_threads()
    numba.set_num_threads(1)
    alone = follow(flow, points[:, ::-1], steps=40)
    numba.set_num_threads(threads)
    assert np.array_equal(together[:, ::-1], alone)


def test_arguments_are_left_as_they_were():
    flow, points = constant_flow(1, 0), np.ones((2, 5), dtype=np.float32)
    follow(flow, points, steps=3)
    assert np.array_equal(flow, constant_flow(1, 0))
    assert (points == 1).all()
