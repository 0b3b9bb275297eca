"""Rows read one by one are the rows of the whole, at any size."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline_lib.arrays.normalise import normalise
from pipeline_lib.arrays.resample import resize
from pipeline_lib.tiling.sources import Pixels, Resized, Scaled, resized_bands

CPU = torch.device("cpu")
SHAPES = st.tuples(st.integers(1, 40), st.integers(1, 40))
SEEDS = st.integers(0, 9)


def random_image(shape: tuple[int, int], seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(2, *shape)).astype(np.float32)


def cuts(length: int, seed: int) -> list[int]:
    """Random places to cut rows 0..length into bands."""
    inside = np.random.default_rng(seed).integers(0, length + 1, 3)
    return sorted({0, length, *map(int, inside)})


@given(SHAPES, SHAPES, SEEDS)
@settings(deadline=None)
def test_rows_of_a_resized_image_are_those_of_the_whole_to_the_bit(
    old: tuple[int, int], new: tuple[int, int], seed: int
) -> None:
    image = random_image(old, seed)
    source = Resized(Pixels(image, 2, CPU), new)
    assert source.shape == (2, *new)
    edges = cuts(new[0], seed)
    bands = [source.rows(start, stop).numpy() for start, stop in itertools.pairwise(edges)]
    np.testing.assert_array_equal(np.concatenate(bands, axis=1), resize(image, new))


@given(SHAPES, SHAPES, SEEDS)
@settings(deadline=None)
def test_bands_are_resized_as_the_whole_is_to_the_bit(old: tuple[int, int], new: tuple[int, int], seed: int) -> None:
    image = random_image(old, seed)
    edges = cuts(old[0], seed)
    bands = [torch.from_numpy(image[:, start:stop]) for start, stop in itertools.pairwise(edges)]
    found = torch.cat(list(resized_bands(bands, old, new)), dim=1)
    np.testing.assert_array_equal(found.numpy(), resize(image, new))


def test_channels_an_image_lacks_are_zero() -> None:
    rows = Pixels(np.ones((1, 5, 4), np.uint16), 2, CPU).rows(1, 3)
    assert rows.dtype == torch.float32
    np.testing.assert_array_equal(rows, [np.ones((2, 4)), np.zeros((2, 4))])


@pytest.mark.parametrize("shape", [(3, 5, 4), (0, 5, 4), (5, 4), (1, 1, 5, 4)])
def test_too_many_channels_or_axes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"this network takes \(C, Y, X\) with 1 to 2 channels"):
        Pixels(np.zeros(shape, np.float32), 2, CPU)


def test_scaling_row_by_row_is_scaling_the_whole() -> None:
    raw = np.random.default_rng(0).integers(0, 5000, (3, 20, 10)).astype(np.uint16)
    ranges = [(100.0, 4000.0), (7.0, 900.0)]
    scaled = Scaled(raw, (2, 0), ranges)
    assert scaled.shape == (2, 20, 10)
    np.testing.assert_array_equal(scaled[:, 5:9], normalise(raw[[2, 0]], ranges)[:, 5:9])
    np.testing.assert_array_equal(scaled[:, 5:9, 3:4], normalise(raw[[2, 0]], ranges)[:, 5:9, 3:4])
