"""Balls -> flows -> the same balls; paths against the definition, sinks and holes in volumes against two dimensions."""

from __future__ import annotations

from dataclasses import replace

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.ndimage import binary_fill_holes

from pipeline_lib.core.labels import renumber
from pipeline_lib.flows import masks
from pipeline_lib.flows.masks import MaskSettings
from pipeline_lib.flows.volume import (
    clean,
    end_voxels,
    fill_holes,
    find_seeds,
    label_by_sink,
    masks_from_volume_flow,
    paint_sinks,
)
from pipeline_lib.metrics import average_precision

ALL = MaskSettings(min_size=0, max_size_fraction=1)


def touching_balls(seed: int, shape: tuple[int, int, int] = (30, 44, 48), reach: float = 7) -> tuple[np.ndarray, ...]:
    """Balls cut straight where they meet, and what a perfect network says about them from three sides."""
    rng = np.random.default_rng(seed)
    middles: list[np.ndarray] = []
    for point in rng.uniform(2, np.array(shape) - 3, size=(60, 3)):
        if all(np.linalg.norm(point - other) >= 1.3 * reach for other in middles):
            middles.append(point)
    offsets = np.array(middles)[:, :, None, None, None] - np.indices(shape)
    distance = np.linalg.norm(offsets, axis=1)
    nearest = distance.argmin(axis=0)
    inside = distance.min(axis=0) <= reach
    towards = inside * np.take_along_axis(offsets, nearest[None, None], axis=0)[0]
    flow = np.zeros((3, *shape), np.float32)
    for plane in ([1, 2], [0, 2], [0, 1]):
        length = np.linalg.norm(towards[plane], axis=0)
        flow[plane] += towards[plane] / (length + 1)  # a network's flow fades near the middle
    return renumber(np.where(inside, nearest + 1, 0)), flow, np.where(inside, 5, -5).astype(np.float32)


def random_flow(seed: int, shape: tuple[int, ...], scale: float) -> tuple[np.ndarray, np.ndarray]:
    """A rough flow and a ragged foreground."""
    rng = np.random.default_rng(seed)
    return rng.normal(scale=scale, size=(len(shape), *shape)).astype(np.float32), rng.random(shape) < 0.7


def plain_walk(flow: np.ndarray, foreground: np.ndarray, steps: int) -> np.ndarray:
    """Follow the definition with all voxels at once: 16 fractional bits, eight corners, single precision."""
    field = np.where(foreground, flow, np.float32(0))
    last = np.array(foreground.shape)[:, None] - 1
    position = np.stack(np.nonzero(foreground)).astype(np.int64) << 16
    for _ in range(steps):
        share = (position & 0xFFFF).astype(np.float32) * np.float32(2**-16)
        move = np.zeros(position.shape, np.float32)
        for corner in np.ndindex(2, 2, 2):
            weights = [share[axis] if side else np.float32(1) - share[axis] for axis, side in enumerate(corner)]
            voxel = np.minimum((position >> 16) + np.array(corner)[:, None], last)
            move += field[:, *voxel] * ((weights[0] * weights[1]) * weights[2])
        position = np.clip(position + np.rint(move * np.float32(65536)).astype(np.int64), 0, last << 16)
    return np.ravel_multi_index(tuple(position >> 16), foreground.shape)


@pytest.mark.parametrize("seed", range(6))
def test_balls_come_back(seed):
    labels, flow, logit = touching_balls(seed)
    found = masks_from_volume_flow(flow, logit, ALL)
    assert found.dtype == np.uint32
    assert found.max() == labels.max() > 10
    assert average_precision(labels, found, (0.9,)) == [1.0]


def test_balls_come_back_from_rough_flows_and_the_flow_threshold_does_not_count():
    labels, flow, logit = touching_balls(1)
    rough = flow + np.random.default_rng(0).normal(scale=0.3, size=flow.shape).astype(np.float32)
    found = masks_from_volume_flow(rough, logit, MaskSettings(flow_threshold=1e-9))
    assert found.max() == labels.max()
    assert average_precision(labels, found, (0.75,)) == [1.0]


@pytest.mark.parametrize("order", [(1, 0, 2), (2, 1, 0), (1, 2, 0)])
def test_axes_are_alike(order):
    labels, flow, logit = touching_balls(2)
    turned_flow = flow[list(order)].transpose(0, *(1 + axis for axis in order))
    turned = masks_from_volume_flow(turned_flow, logit.transpose(order), ALL)
    expected = renumber(masks_from_volume_flow(flow, logit, ALL).transpose(order))
    assert expected.max() == labels.max()
    assert average_precision(expected, turned, (0.97,)) == [1.0]  # corners are added in another order


def test_two_steps_by_hand():
    flow = np.full((3, 6, 6, 6), 0.75, dtype=np.float32)
    foreground = np.zeros((6, 6, 6), dtype=bool)
    foreground[2:4, 2:4, 2:4] = True
    # First step: 2 -> 2.75 and 3 -> 3.75. Second step: from (2.75, 2.75, 2.75) all eight voxels flow, so on to 3.5;
    # from the others a quarter or less of the weight is inside: 2.75 -> 2.94 and 3.75 -> 3.94 at most.
    starts = np.flatnonzero(foreground)
    expected = starts.copy()
    expected[0] = starts[-1]
    assert end_voxels(flow, foreground, steps=2).tolist() == expected.tolist()


@pytest.mark.parametrize("steps", [1, 2, 3, 11, 60, 201])
@pytest.mark.parametrize("scale", [0.3, 1.5])
def test_paths_match_the_plain_definition_to_the_bit(steps, scale):
    flow, foreground = random_flow(steps, (7, 9, 8), scale)
    assert np.array_equal(end_voxels(flow, foreground, steps), plain_walk(flow, foreground, steps))


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("seed", range(3))
def test_volume_of_one_plane_is_an_image(seed, axis):
    flow, foreground = random_flow(seed, (40, 50), 0.5)
    both = np.insert(flow, axis, 0, axis=0)
    ends = end_voxels(np.expand_dims(both, axis + 1), np.expand_dims(foreground, axis), 100)
    flat = masks.end_points(flow, foreground, 100)
    assert np.array_equal(ends, np.ravel_multi_index((flat[0], flat[1]), foreground.shape))
    labels = label_by_sink(np.expand_dims(foreground, axis), ends)
    assert labels.max() > 3
    assert np.array_equal(labels.squeeze(axis), masks.label_by_sink(foreground, flat))


@given(st.integers(0, 10**9), st.tuples(*[st.integers(0, 9)] * 6))
@settings(deadline=None, max_examples=20)
def test_result_moves_with_the_volume_to_the_bit(seed, rims):
    flow, foreground = random_flow(seed, (10, 14, 12), 0.5)
    logit = np.pad(np.where(foreground, 1, -1)[4:-4, 4:-4, 4:-4], 4, constant_values=-1).astype(np.float32)
    pairs = list(zip(rims[:3], rims[3:], strict=True))
    moved = masks_from_volume_flow(np.pad(flow, [(0, 0), *pairs]), np.pad(logit, pairs, constant_values=-1), ALL)
    assert np.array_equal(moved, np.pad(masks_from_volume_flow(flow, logit, ALL), pairs))


def test_same_result_with_any_number_of_threads_and_arguments_stay_as_they_were():
    _, flow, logit = touching_balls(3)
    flow += np.random.default_rng(3).normal(scale=0.3, size=flow.shape).astype(np.float32)
    before = flow.copy(), logit.copy()
    first = masks_from_volume_flow(flow, logit, MaskSettings())
    threads = numba.get_num_threads()
    numba.set_num_threads(1)
    second = masks_from_volume_flow(flow, logit, MaskSettings())
    numba.set_num_threads(threads)
    assert first.max() > 5
    assert np.array_equal(first, second)
    assert np.array_equal(flow, before[0])
    assert np.array_equal(logit, before[1])


def test_setting_of_the_steps_wins():
    _, flow, logit = touching_balls(4)
    three, one = (masks_from_volume_flow(flow, logit, ALL, steps) for steps in (3, 1))
    assert not np.array_equal(three, one)
    assert np.array_equal(masks_from_volume_flow(flow, logit, replace(ALL, niter=3), steps=1), three)


def test_sizes_are_of_the_volume():
    labels, flow, logit = touching_balls(5)
    found = masks_from_volume_flow(flow, logit, ALL)
    volumes = np.sort(np.bincount(found.ravel())[1:])
    few = MaskSettings(min_size=int(volumes[2]), max_size_fraction=float(volumes[-2]) / found.size)
    assert masks_from_volume_flow(flow, logit, few).max() == labels.max() - 3


@pytest.mark.parametrize(("logit", "count"), [(-1.0, 0), (0.5, 0), (0.51, 1)])
def test_only_what_is_above_the_threshold_counts(logit, count):
    how = MaskSettings(cellprob_threshold=0.5, max_size_fraction=1)
    logits = np.full((3, 4, 5), logit, dtype=np.float32)
    found = masks_from_volume_flow(np.ones((3, 3, 4, 5), dtype=np.float32), logits, how)
    assert found.shape == (3, 4, 5)
    assert np.array_equal(np.unique(found), [count])


def test_what_does_not_fit_is_refused_at_once():
    flow, logit = np.zeros((2, 3, 4, 4), dtype=np.float32), np.zeros((3, 4, 5), dtype=np.float32)
    flow[0, 0, 0, 0], logit[0, 0, :2] = np.nan, np.inf
    with pytest.raises(ValueError, match=r"\(2, 3, 4, 4\).*\(3, 4, 5\).*1 of 96 flow.*2 of 60 logit"):
        masks_from_volume_flow(flow, logit, MaskSettings())


def test_seeds_look_two_voxels_along_every_axis():
    counts = np.zeros((12, 12, 12), dtype=np.int32)
    counts[2, 2, 2], counts[4, 4, 4] = 30, 29  # in reach of the higher one over the corner: no peak
    counts[2, 2, 8], counts[5, 2, 8] = 20, 15  # three planes apart: both
    counts[9, 9, 9], counts[9, 3, 9] = 11, 10  # just enough, and just not
    counts[0, 11, 0], counts[2, 11, 0] = 40, 40  # equal neighbours: both
    expected = [(9, 9, 9), (5, 2, 8), (2, 2, 8), (2, 2, 2), (0, 11, 0), (2, 11, 0)]
    assert [tuple(seed) for seed in find_seeds(counts)] == expected


def test_sink_is_connected_busy_and_within_five_voxels_along_every_axis():
    counts = np.zeros((15, 4, 4), dtype=np.int32)
    counts[1:, 1, 1] = 3  # a tail, followed for five voxels
    counts[8, 2, 2] = 3  # over a corner
    counts[6, 1, 2] = 2  # not busy enough
    counts[5, 3, 3] = 9  # busy, near, but not connected
    counts[7, 1, 1] = 99
    sinks = paint_sinks(counts, np.array([[7, 1, 1]]))
    expected = [[z, 1, 1] for z in range(2, 13)] + [[8, 2, 2]]
    assert np.argwhere(sinks).tolist() == sorted(expected)


def test_later_seed_paints_over_the_earlier_one():
    counts = np.zeros((20, 1, 1), dtype=np.int32)
    counts[2:14] = 5
    sinks = paint_sinks(counts, np.array([[6, 0, 0], [9, 0, 0]]))
    assert sinks.ravel().tolist() == [0, 0, *[1] * 2, *[2] * 10, *[0] * 6]


def test_hole_is_closed_in_the_volume_and_not_in_a_plane():
    labels = np.zeros((5, 5, 5), dtype=np.uint32)
    labels[1:4, 1:4, 1:4] = 1
    labels[2, 2, 2] = 0
    cube = labels > 0
    cube[2, 2, 2] = True
    assert np.array_equal(fill_holes(labels), cube)
    labels[1, 2, 2] = 0  # now open through a face, though still closed in each plane
    assert np.array_equal(fill_holes(labels), labels)


def test_what_touches_the_outside_over_an_edge_only_is_a_hole():
    diamond = np.zeros((3, 3, 3), dtype=np.uint32)
    for face in ((0, 1, 1), (2, 1, 1), (1, 0, 1), (1, 2, 1), (1, 1, 0), (1, 1, 2)):
        diamond[face] = 1
    assert fill_holes(diamond)[1, 1, 1] == 1


@given(arrays(np.uint32, (5, 5, 5), elements=st.integers(0, 2)))
@settings(deadline=None)
def test_holes_are_filled_in_the_order_of_the_numbers(labels):
    absorbing, keeping = labels.copy(), labels.copy()
    for label in (1, 2):
        absorbing[binary_fill_holes(absorbing == label)] = label
    for label in (2, 1):
        keeping[binary_fill_holes(keeping == label) & (keeping == 0)] = label
    assert np.array_equal(fill_holes(labels, "absorb"), absorbing)
    assert np.array_equal(fill_holes(labels, "keep"), keeping)


def test_enclosed_object_is_absorbed_or_kept():
    labels = np.ones((7, 7, 7), dtype=np.uint32)
    labels[2:5, 2:5, 2:5] = 0
    labels[3, 3, 3] = 2
    assert np.all(clean(labels, MaskSettings(min_size=0)) == 1)
    kept = clean(labels, MaskSettings(min_size=0, enclosed="keep"))
    assert np.argwhere(kept == 2).tolist() == [[3, 3, 3]]
    assert np.count_nonzero(kept == 1) == 7**3 - 1


def test_what_loses_its_voxels_to_a_filling_may_become_too_small():
    labels = np.ones((7, 7, 9), dtype=np.uint32)
    labels[2:5, 2:5, 2:5] = 2
    labels[3, 3, 8] = 2
    assert np.array_equal(np.unique(clean(labels, MaskSettings(min_size=2))), [0, 1])
    assert np.array_equal(np.unique(clean(labels, MaskSettings(min_size=1))), [1, 2])
