"""Intensity scaling: hand-computed ranges, and what must not happen."""

from __future__ import annotations

import math
from typing import Any

import hypothesis
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from pipeline_lib.arrays.filters import smooth_and_sharpen
from pipeline_lib.arrays.normalise import (
    NormaliseSettings,
    find_ranges,
    normalise,
    normalise_image,
    percentile_range,
    sampled_slices,
    scale,
    to_range,
)

CHANNELS = arrays(np.uint16, array_shapes(min_dims=2, max_dims=2, max_side=12))


def test_percentiles_of_a_ramp_are_its_percents() -> None:
    ramp = np.arange(101, dtype=np.uint16).reshape(1, 101)
    assert percentile_range(ramp, (1.0, 99.0)) == (1.0, 99.0)
    assert percentile_range(ramp, (0.5, 100.0)) == (0.5, 100.0)


def test_images_of_more_than_224_cubed_pixels_are_read_on_a_grid() -> None:
    side = 3360  # step 15
    image = np.full((side, side), 255, np.uint8)
    image[::15, ::15] = 7
    assert percentile_range(image, (1.0, 99.0)) == (7.0, 7.0)
    assert percentile_range(image[:3000, :3000], (1.0, 99.0)) == (255.0, 255.0)


def test_low_becomes_0_and_high_becomes_1_without_clipping() -> None:
    channel = np.array([[100, 200, 300, 50, 500]], np.uint16)
    np.testing.assert_array_equal(scale(channel, 100, 300), np.float32([[0, 0.5, 1, -0.25, 2]]))


@pytest.mark.parametrize("high", [5.0, 5.0005, 4.0])
def test_a_range_without_signal_gives_zeros(high: float) -> None:
    scaled = scale(np.random.default_rng(0).normal(5, 1, (4, 6)).astype(np.float32), 5.0, high)
    np.testing.assert_array_equal(scaled, np.zeros((4, 6), np.float32))


@given(CHANNELS, st.integers(0, 1000), st.integers(1, 60000))
def test_scaling_can_be_undone(channel: np.ndarray, low: int, span: int) -> None:
    back = scale(channel, low, low + span).astype(np.float64) * span + low
    np.testing.assert_allclose(back, channel, rtol=1e-6, atol=1e-2)


def test_scaling_leaves_its_input_alone() -> None:
    channel = np.arange(6, dtype=np.float32).reshape(2, 3)
    scaled = scale(channel, 1, 3)
    np.testing.assert_array_equal(channel.ravel(), np.arange(6))
    assert not np.shares_memory(scaled, channel)


def test_each_channel_has_its_own_range() -> None:
    image = np.stack([np.full((2, 2), 10), np.full((2, 2), 30)]).astype(np.uint16)
    np.testing.assert_array_equal(normalise(image, [(0, 20), (10, 20)])[:, 0, 0], np.float32([0.5, 2]))
    with pytest.raises(ValueError, match="shorter"):
        normalise(image, [(0, 20)])


STACKS = st.one_of(
    st.tuples(st.integers(1, 6000), st.integers(1, 6000)),
    st.tuples(st.integers(1, 400), st.integers(1, 2000), st.integers(1, 2000)),
    st.tuples(*[st.integers(1, 500)] * 4),
)


@given(STACKS)
def test_a_subsample_is_not_sampled_again(shape: tuple[int, ...]) -> None:
    """So a caller may read the slices only, and ask for the range of what was read."""
    sample = tuple(len(range(length)[part]) for length, part in zip(shape, sampled_slices(shape), strict=True))
    again = tuple(len(range(length)[part]) for length, part in zip(sample, sampled_slices(sample), strict=True))
    assert again == sample
    assert sample == shape or math.prod(shape) > 224**3


@pytest.mark.parametrize(
    ("shape", "steps"),
    [
        ((3360, 3360), (15, 15)),
        ((3352, 3353), (None, None)),
        ((120, 500, 300), (2, 2, 1)),
        ((9, 20000, 200), (1, 89, 1)),
    ],
)
def test_steps_follow_the_rule(shape: tuple[int, ...], steps: tuple[int | None, ...]) -> None:
    assert math.prod(shape) > 224**3 or set(steps) == {None}
    assert tuple(part.step for part in sampled_slices(shape)) == steps


def test_a_stack_has_one_range() -> None:
    stack = np.arange(101, dtype=np.uint16).reshape(101, 1, 1)
    assert percentile_range(stack, (1.0, 99.0)) == (1.0, 99.0)
    image = np.stack([stack, 2 * stack])
    np.testing.assert_allclose(normalise_image(image, NormaliseSettings())[:, 50], np.full((2, 1, 1), 0.5))


def test_an_image_of_a_stack_can_be_read_by_its_subsample() -> None:
    stack = np.random.default_rng(0).integers(0, 4000, (110, 330, 320), dtype=np.uint16)
    assert percentile_range(stack, (2.0, 99.9)) == percentile_range(stack[::2], (2.0, 99.9))
    assert percentile_range(stack, (2.0, 99.9)) != percentile_range(stack[1::2], (2.0, 99.9))


# What the options do

OPTIONS = {
    "default": NormaliseSettings(),
    "other percentiles": NormaliseSettings(percentiles=(5.0, 90.0)),
    "inverted": NormaliseSettings(invert=True),
    "smoothed": NormaliseSettings(smooth_radius=2.0),
    "sharpened": NormaliseSettings(sharpen_radius=4.0, smooth_radius=1.0),
    "tiles": NormaliseSettings(tile_size=16),
    "tiles, inverted": NormaliseSettings(tile_size=16, invert=True),
    "given": NormaliseSettings(lowhigh=((100, 3000),)),
    "off": NormaliseSettings(enabled=False),
}
every_option = pytest.mark.parametrize("settings", OPTIONS.values(), ids=OPTIONS)
SCALED_BY_CONTENT = [settings for name, settings in OPTIONS.items() if name not in ("given", "off")]


def cells(*shape: int, seed: int = 0, dtype: str = "float32") -> np.ndarray:
    return np.random.default_rng(seed).gamma(2, 300, shape).astype(dtype)


@every_option
@pytest.mark.parametrize("dtype", ["uint16", "float32", "float64"])
@pytest.mark.parametrize("shape", [(3, 33, 47), (2, 3, 33, 20), (1, 1, 1)])
def test_images_are_never_changed(settings: NormaliseSettings, dtype: str, shape: tuple[int, ...]) -> None:
    image = cells(*shape, dtype=dtype)
    before = image.copy()
    scaled = normalise_image(image, settings)
    np.testing.assert_array_equal(image, before)
    assert not np.shares_memory(scaled, image)
    assert (scaled.shape, scaled.dtype) == (image.shape, np.dtype(np.float32))


@every_option
@hypothesis.settings(max_examples=10, deadline=None)
@given(order=st.permutations(range(3)), seed=st.integers(0, 99))
def test_channels_do_not_know_each_other(settings: NormaliseSettings, order: list[int], seed: int) -> None:
    image = cells(3, 21, 35, seed=seed) * np.float32([1, 5, 0])[:, None, None]
    np.testing.assert_array_equal(normalise_image(image[order], settings), normalise_image(image, settings)[order])


@pytest.mark.parametrize("settings", SCALED_BY_CONTENT)
@hypothesis.settings(max_examples=10, deadline=None)
@given(gain=st.floats(0.1, 100), seed=st.integers(0, 99))
def test_exposure_does_not_matter(settings: NormaliseSettings, gain: float, seed: int) -> None:
    image = cells(2, 21, 35, seed=seed)
    brighter = (image * gain).astype(np.float32)
    np.testing.assert_allclose(normalise_image(brighter, settings), normalise_image(image, settings), atol=1e-4)


@every_option
def test_one_call_does_not_change_the_next(settings: NormaliseSettings) -> None:
    image = cells(2, 40, 30)
    wanted = normalise_image(image, settings)
    for other in OPTIONS.values():
        normalise_image(image, other)
    np.testing.assert_array_equal(normalise_image(image, settings), wanted)


@pytest.mark.parametrize("settings", SCALED_BY_CONTENT)
@pytest.mark.parametrize("value", [0, 7, 60000])
def test_a_constant_image_is_zero(settings: NormaliseSettings, value: int) -> None:
    scaled = normalise_image(np.full((2, 40, 30), value, np.uint16), settings)
    np.testing.assert_allclose(scaled, np.zeros((2, 40, 30)), atol=1e-6)


def test_percentiles_are_scaled_as_on_plates() -> None:
    image = cells(2, 40, 30)
    wanted = normalise(image, [percentile_range(channel, (1.0, 99.0)) for channel in image])
    np.testing.assert_array_equal(normalise_image(image, NormaliseSettings()), wanted)
    np.testing.assert_array_equal(normalise_image(image, NormaliseSettings(invert=True)), 1 - wanted)


def test_filters_come_before_scaling() -> None:
    image = cells(2, 40, 30)
    for radii in ((2.0, 0.0), (0.0, 4.0), (2.0, 4.0)):
        wanted = normalise_image(smooth_and_sharpen(image, *radii), NormaliseSettings())
        found = normalise_image(image, NormaliseSettings(smooth_radius=radii[0], sharpen_radius=radii[1]))
        np.testing.assert_array_equal(found, wanted)


def test_given_intensities_are_0_and_1() -> None:
    image = np.array([[[10, 20, 40]], [[100, 200, 50]]], np.uint16)
    one = NormaliseSettings(lowhigh=((10, 30),), smooth_radius=3, tile_size=16, percentiles=(40, 60))
    np.testing.assert_array_equal(normalise_image(image, one), np.float32([[[0, 0.5, 1.5]], [[4.5, 9.5, 2]]]))
    each = NormaliseSettings(lowhigh=((10, 30), (100, 200)), invert=True)
    np.testing.assert_array_equal(normalise_image(image, each), np.float32([[[1, 0.5, -0.5]], [[1, 0, 1.5]]]))
    narrow = NormaliseSettings(lowhigh=((0.0, 2.0**-12),))
    np.testing.assert_array_equal(normalise_image(np.full((1, 1, 1), 2.0**-13), narrow), np.float32([[[0.5]]]))
    with pytest.raises(ValueError, match="lowhigh has 2 pairs and the image 3 channels"):
        normalise_image(cells(3, 4, 5), each)


def test_tiles_are_inverted_too() -> None:
    image = cells(2, 40, 50)
    upright, inverted = (normalise_image(image, NormaliseSettings(tile_size=16, invert=i)) for i in (False, True))
    np.testing.assert_array_equal(inverted, 1 - upright)


def test_planes_can_be_scaled_each_by_its_own_tiles() -> None:
    """A stack whose planes are separate images is scaled plane by plane, whatever the number of channels."""
    planes = np.stack([cells(2, 40, 50, seed=seed) * (seed + 1) for seed in range(3)])
    scaled = [normalise_image(plane, NormaliseSettings(tile_size=16)) for plane in planes]
    np.testing.assert_allclose([np.percentile(plane, 99) for plane in scaled], 1, atol=0.3)


def test_faults_come_at_once() -> None:
    with pytest.raises(
        ValueError, match=r"percentiles are .*lowhigh is .*smooth_radius is .*sharpen_radius.*tile_size"
    ):
        NormaliseSettings(
            percentiles=(99, 1), lowhigh=((5, 5),), smooth_radius=-1, sharpen_radius=float("nan"), tile_size=3
        )


@pytest.mark.parametrize(
    "options",
    [
        {"percentiles": (-1, 99)},
        {"percentiles": (1, 101)},
        {"percentiles": (50, 50)},
        {"percentiles": (float("nan"), 99)},
        {"lowhigh": (0, 100)},
        {"lowhigh": ((0, 100), (9, 1))},
        {"lowhigh": ((0, float("inf")),)},
        {"lowhigh": ((1e9, 1e9 + 1),)},
        {"smooth_radius": float("inf")},
        {"tile_size": -1},
        {"tile_size": 15},
        {"enabled": False, "invert": True},
        {"enabled": False, "tile_size": 100},
    ],
)
def test_impossible_settings_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"^intensities cannot be scaled like this: [^;]*$"):
        NormaliseSettings(**options)


@pytest.mark.parametrize(
    "settings",
    [
        NormaliseSettings(),
        NormaliseSettings(percentiles=(5, 70), invert=True),
        NormaliseSettings(lowhigh=((0, 1000),)),
        NormaliseSettings(lowhigh=((0, 1000), (5, 5.0005)), invert=True),
        NormaliseSettings(enabled=False),
    ],
    ids=str,
)
def test_parts_of_an_image_are_scaled_like_the_whole(settings: NormaliseSettings) -> None:
    image = np.random.default_rng(0).integers(0, 4000, (3, 40, 30)).astype(np.uint16)
    image[1] = 5
    ranges = find_ranges(image, (2, 1), settings)
    parts = [
        np.concatenate([to_range(image[c, y : y + 7], span, invert=settings.invert) for y in range(0, 40, 7)])
        for c, span in zip((2, 1), ranges, strict=True)
    ]
    np.testing.assert_array_equal(parts, normalise_image(image[[2, 1]], settings))


def test_what_needs_the_whole_image_is_refused_for_parts() -> None:
    with pytest.raises(ValueError, match="tile_size, smooth_radius found; an image too large for memory"):
        find_ranges(np.zeros((1, 9, 9)), (0,), NormaliseSettings(tile_size=64, smooth_radius=1))
