"""The labels of an image cut into blocks are those of the whole image, number for number."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from pipeline_lib.core.labels import renumber
from pipeline_lib.flows.blocked import FlowField, Report, label_blocks
from pipeline_lib.flows.blocks import Blocks
from pipeline_lib.flows.masks import MaskSettings, masks_from_flow
from pipeline_lib.flows.targets import flows_from_labels

Field = tuple[np.ndarray, np.ndarray]


def in_memory(core: tuple[int, int], halo: int) -> Blocks:
    return Blocks(core, halo, lambda _, shape, dtype: np.zeros(shape, dtype))


def label(field: Field, how: MaskSettings, steps: int, blocks: Blocks) -> tuple[np.ndarray, Report]:
    target = np.full(field[1].shape, 7, dtype=np.uint32)
    report = label_blocks(FlowField(*field), target, how, steps, blocks)
    return target, report


# Fields: each function takes a random generator and a shape.


def noise(rng: np.random.Generator, shape: tuple[int, int]) -> Field:
    """Paths run wild, and many end nowhere."""
    return rng.normal(size=(2, *shape)).astype(np.float32), rng.normal(loc=1, size=shape).astype(np.float32)


def smooth(rng: np.random.Generator, shape: tuple[int, int]) -> Field:
    """Long paths, which leave every halo, to objects of any form."""
    width = rng.choice([1, 2, 4])
    field = gaussian_filter(rng.normal(size=(3, *shape)), (0, width, width)) * 3 * width
    return field[:2].astype(np.float32), (field[2] + 0.5).astype(np.float32)


def cells(rng: np.random.Generator, shape: tuple[int, int]) -> Field:
    """What a fair network says about touching cells, large and small."""
    middles = rng.uniform(0, shape, size=(rng.integers(1, 9), 2))
    yy, xx = np.indices(shape)
    distance = np.stack([np.hypot(yy - y, xx - x) for y, x in middles])
    labels = np.where(distance.min(axis=0) < rng.uniform(3, 20), distance.argmin(axis=0) + 1, 0)
    error = gaussian_filter(rng.normal(size=(3, *shape)), (0, 1, 1)) * rng.uniform(0, 1)
    flow = flows_from_labels(renumber(labels)) + error[:2]
    return flow.astype(np.float32), (np.where(labels > 0, 2, -2) + error[2]).astype(np.float32)


def plateaus(rng: np.random.Generator, shape: tuple[int, int]) -> Field:
    """Squares of 4 x 4 pixels that end on one of them: sinks of equal counts, some of them neighbours."""
    y, x = np.indices(shape)
    flow = (
        np.stack([-(y % 4), -(x % 4)]) + rng.integers(0, 4, size=(2, *(-(-s // 4) for s in shape)))[:, y // 4, x // 4]
    )
    return flow.astype(np.float32), (rng.random(shape) < 0.9).astype(np.float32)


def teleport(labels: np.ndarray, rng: np.random.Generator) -> Field:
    """A field that turns labels into objects in one step: every pixel is sent to a pixel of its object's own, anywhere.

    Those pixels lie 6 apart, if there is room, so that sinks do not touch.
    """
    gap = 6 if labels.max() <= np.prod([-(-s // 6) for s in labels.shape]) else 3
    lattice = np.indices(labels.shape)[:, ::gap, ::gap].reshape(2, -1)
    homes = rng.permutation(lattice, axis=1)[:, (labels.astype(np.int64) - 1) % lattice.shape[1]]
    flow = homes - np.indices(labels.shape)
    return flow.astype(np.float32), np.where(labels > 0, 1, -1).astype(np.float32)


def patches(rng: np.random.Generator, shape: tuple[int, int]) -> Field:
    """Objects of scattered patches, which enclose each other in every way."""
    size = rng.integers(1, 6)
    numbers = rng.integers(0, rng.integers(2, 7), size=[-(-s // size) for s in shape])
    return teleport(np.kron(numbers, np.ones((size, size), dtype=int))[: shape[0], : shape[1]], rng)


def rings(rng: np.random.Generator, shape: tuple[int, int]) -> Field:
    """Rings within rings, some with gaps, some of one number."""
    yy, xx = np.indices(shape)
    middle = rng.integers(0, shape)
    ring = np.maximum(abs(yy - middle[0]), abs(xx - middle[1])) // rng.integers(1, 4)
    labels = rng.integers(0, 6, size=ring.max() + 1)[ring]
    return teleport(np.where(rng.random(shape) < rng.choice([0, 0.02]), 0, labels), rng)


random_settings = st.builds(
    MaskSettings,
    cellprob_threshold=st.sampled_from([0.0, 0.5, -10.0]),
    flow_threshold=st.sampled_from([None, 0.4, 1.5]),
    min_size=st.sampled_from([0, 15, 40]),
    max_size_fraction=st.sampled_from([1.0, 0.4, 0.1]),
    enclosed=st.sampled_from(["absorb", "keep"]),
)


@pytest.mark.parametrize("draw", [noise, smooth, cells, plateaus, patches, rings])
@given(st.data())
@settings(deadline=None, max_examples=30)
def test_blocks_give_the_labels_of_the_whole_image(draw, data):
    side = st.integers(1, 70)
    field = draw(np.random.default_rng(data.draw(st.integers(0, 10**9), "seed")), data.draw(st.tuples(side, side)))
    core = data.draw(st.tuples(st.integers(1, 4), st.integers(1, 4)), "share of core")
    core = tuple(max(7, length // share) for length, share in zip(field[1].shape, core, strict=True))
    how = data.draw(random_settings, "settings")
    steps = 1 if draw in (patches, rings, plateaus) else data.draw(st.sampled_from([1, 20, 200]), "steps")
    found, report = label(field, how, steps, in_memory(core, data.draw(st.integers(1, 30), "halo")))
    whole = masks_from_flow(*field, how, steps)
    assert np.array_equal(found, whole)
    assert found.dtype == np.uint32
    assert report.objects == whole.max(initial=0)


@pytest.mark.parametrize("draw", [noise, smooth, cells, plateaus, patches, rings])
def test_random_fields_have_objects(draw):
    """The property above means something only if there is something to find."""
    steps = 1 if draw in (patches, rings, plateaus) else 200
    how = MaskSettings(flow_threshold=None, max_size_fraction=1)
    found = [masks_from_flow(*draw(np.random.default_rng(seed), (60, 70)), how, steps).max() for seed in range(10)]
    assert np.median(found) >= 2


@pytest.mark.parametrize("core", [(20, 20), (10, 40), (7, 9), (1, 40), (40, 1), (40, 40)])
def test_one_cell_on_the_corner_of_four_blocks_larger_than_the_halo(core):
    yy, xx = np.indices((40, 40))
    labels = (np.hypot(yy - 19.6, xx - 20.3) < 15).astype(np.uint32)
    field = flows_from_labels(labels), np.where(labels > 0, 5, -5).astype(np.float32)
    found, report = label(field, MaskSettings(max_size_fraction=1), 200, in_memory(core, 3))
    assert np.array_equal(found, labels)
    assert report.objects == 1
    # A corner at the middle of the cell lies in every halo.
    assert (report.wider_windows > 0) == (core not in [(20, 20), (40, 40)])


@pytest.mark.parametrize("core", [(64, 64), (16, 16), (10, 13)])
@pytest.mark.parametrize(("enclosed", "expected"), [("absorb", [1, 1, 1, 1, 1, 1, 1]), ("keep", [1, 1, 2, 2, 3, 3, 3])])
def test_rings_three_deep_across_blocks(core, enclosed, expected):
    yy, xx = np.indices((64, 64))
    ring = np.maximum(abs(yy - 32), abs(xx - 32)) // 4  # 0 in the middle
    labels = np.append([0, 3, 0, 2, 0, 1, 0], np.zeros(9, dtype=int))[ring].astype(np.uint32)
    field = teleport(labels, np.random.default_rng(0))
    how = MaskSettings(flow_threshold=None, max_size_fraction=1, enclosed=enclosed)
    found, _ = label(field, how, 1, in_memory(core, 2))
    # From the outside in: ring 5 and the gap within it, ring 3 and its gap, ring 1 and the middle.
    by_ring = dict(zip([5, 4, 3, 2, 1, 0, 0], expected, strict=True))
    assert np.array_equal(found, np.select([ring == k for k in by_ring], list(by_ring.values()), 0))


def test_what_looks_like_a_seed_at_the_rim_of_a_window_changes_nothing():
    """The first core ends before pixel 14. Pixel 18 is a peak as long as pixel 20 is not seen, and would reach 13."""
    counts = {13: 3, 14: 3, 15: 3, 16: 3, 17: 3, 18: 11, 19: 3, 20: 12}
    ends = np.repeat(list(counts), list(counts.values()))
    flow = np.stack([np.zeros(ends.shape), ends - np.arange(ends.size)])[:, None].astype(np.float32)
    field = flow, np.ones((1, ends.size), dtype=np.float32)
    how = MaskSettings(flow_threshold=None, min_size=0, max_size_fraction=1)
    found, _ = label(field, how, 1, in_memory((1, 14), 9))
    assert np.array_equal(found, [ends >= 15])
    assert np.array_equal(masks_from_flow(*field, how, 1), found)


@pytest.mark.parametrize("enclosed", ["absorb", "keep"])
def test_what_a_dropped_object_leaves_is_a_hole(enclosed):
    yy, xx = np.indices((30, 30))
    ring = np.maximum(abs(yy - 15), abs(xx - 15))
    field = teleport(np.select([ring < 3, ring < 9], [2, 1], 0), np.random.default_rng(0))
    how = MaskSettings(flow_threshold=None, min_size=30, enclosed=enclosed)
    found, _ = label(field, how, 1, in_memory((16, 16), 2))
    assert np.array_equal(found, ring < 9)


def test_an_object_of_which_a_few_pixels_are_left_is_dropped():
    yy, xx = np.indices((30, 30))
    ring = np.maximum(abs(yy - 15), abs(xx - 15))
    labels = np.select([ring < 3, ring < 6, ring < 9, (yy == 29) & (xx < 9)], [2, 0, 1, 2], 0)
    field = teleport(labels, np.random.default_rng(0))
    for min_size, objects in ((10, 1), (9, 2)):
        how = MaskSettings(flow_threshold=None, max_size_fraction=1, min_size=min_size)
        found, report = label(field, how, 1, in_memory((16, 16), 2))
        assert np.array_equal(found, masks_from_flow(*field, how, 1))
        assert report.objects == objects


def test_zarr_arrays_give_the_same():
    field = cells(np.random.default_rng(4), (90, 80))
    store: dict[str, Any] = {}

    def stored(name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> zarr.Array:
        chunks = (*[1] * (len(shape) - 2), 32, 24)
        return zarr.create_array(store, name=name, shape=shape, dtype=dtype, chunks=chunks, fill_value=0)

    flow, logit = (stored(name, a.shape, a.dtype) for name, a in zip(("flow", "logit"), field, strict=True))
    flow[:], logit[:] = field
    target = stored("labels", (90, 80), np.dtype(np.uint32))
    report = label_blocks(FlowField(flow, logit), target, MaskSettings(), 200, Blocks((32, 24), 8, stored))
    assert np.array_equal(target[:], masks_from_flow(*field, MaskSettings()))
    assert report.objects > 0
    assert report.blocks == 12


def test_threads_change_nothing():
    field = cells(np.random.default_rng(8), (90, 80))
    many, report = label(field, MaskSettings(), 200, in_memory((30, 30), 8))
    threads = numba.get_num_threads()
    numba.set_num_threads(1)
    one, same_report = label(field, MaskSettings(), 200, in_memory((30, 30), 8))
    numba.set_num_threads(threads)
    assert np.array_equal(one, many)
    assert report == same_report


class Watched:
    """An array that remembers the largest piece that was read or written."""

    def __init__(self, pixels: np.ndarray, log: list[int]) -> None:
        self.pixels, self.log = pixels, log

    @property
    def shape(self) -> tuple[int, ...]:
        return self.pixels.shape

    def __getitem__(self, place: tuple[slice, ...]) -> np.ndarray:
        piece = self.pixels[place]
        self.log.append(int(np.prod(piece.shape[-2:])))
        return piece

    def __setitem__(self, place: tuple[slice, ...], values: np.ndarray) -> None:
        self.pixels[place] = values
        self.log.append(values.size)


@pytest.mark.parametrize("tiles", [(1, 1), (2, 3), (5, 1)])
def test_pieces_do_not_grow_with_the_image(tiles):
    """Cells of 16 pixels, cores of 32 and a halo of 12: windows of 56 x 56 pixels are enough."""
    yy, xx = np.indices((64, 64))
    labels = renumber(np.where(np.hypot(yy % 16 - 8, xx % 16 - 8) < 7, yy // 16 * 4 + xx // 16 + 1, 0))
    flow, logit = np.tile(flows_from_labels(labels), (1, *tiles)), np.tile(np.where(labels > 0, 5, -5), tiles)
    log: list[int] = []

    def watched(pixels: np.ndarray) -> Watched:
        return Watched(pixels, log)

    blocks = Blocks((32, 32), 12, lambda _, shape, dtype: watched(np.zeros(shape, dtype)))
    target = watched(np.zeros(logit.shape, dtype=np.uint32))
    report = label_blocks(
        FlowField(watched(flow), watched(logit.astype(np.float32))), target, MaskSettings(), 200, blocks
    )
    assert report.objects == 16 * np.prod(tiles) == target.pixels.max()
    assert report.wider_windows == 0
    assert report.largest_window == max(log) <= 56 * 56
    assert report.pixels_read <= 25 * target.pixels.size


def test_progress_is_told_for_each_block():
    told: list[tuple[int, int]] = []
    blocks = Blocks(
        (20, 20), 5, lambda _, shape, dtype: np.zeros(shape, dtype), lambda done, total: told.append((done, total))
    )
    _, report = label(cells(np.random.default_rng(1), (50, 30)), MaskSettings(), 50, blocks)
    assert report.blocks == 6
    assert [done for done, _ in told] == list(range(1, told[0][1] + 1))
    assert len({total for _, total in told}) == 1


def test_bad_values_are_counted_over_all_blocks():
    flow, logit = np.zeros((2, 30, 40), dtype=np.float32), np.ones((30, 40), dtype=np.float32)
    flow[0, 1, 1] = flow[1, 29, 39] = flow[0, 10, 10] = np.nan
    logit[0, 0], logit[29, 0] = np.inf, np.nan
    with pytest.raises(ValueError) as whole:
        masks_from_flow(flow, logit, MaskSettings())
    with pytest.raises(ValueError, match=r"^3 of 2400 flow .*; 2 of 1200 logit ") as blocked:
        label((flow, logit), MaskSettings(), 20, in_memory((8, 8), 7))
    assert str(blocked.value) == str(whole.value)


@pytest.mark.parametrize(
    ("flow", "logit", "target"), [((2, 4, 5), (4, 4), (4, 4)), ((2, 4, 4), (4, 4), (4, 5)), ((3, 4, 4), (4, 4), (4, 4))]
)
def test_shapes_that_do_not_fit_are_refused(flow, logit, target):
    with pytest.raises(ValueError, match=r"flow has shape .* target .* needed"):
        label_blocks(
            FlowField(np.zeros(flow), np.zeros(logit)), np.zeros(target), MaskSettings(), 9, in_memory((8, 8), 8)
        )


@pytest.mark.parametrize("shape", [(0, 5), (1, 1), (12, 9)])
def test_images_without_objects(shape):
    field = np.zeros((2, *shape), dtype=np.float32), np.full(shape, -1, dtype=np.float32)
    found, report = label(field, MaskSettings(min_size=0), 9, in_memory((5, 5), 1))
    assert not found.any()
    assert report.objects == 0
