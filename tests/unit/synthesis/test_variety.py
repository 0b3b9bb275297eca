"""Random scenes: true to their labels whatever was drawn, repeatable, within their ranges, fast, and really varied."""

from __future__ import annotations

import time
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.ndimage import label as components
from skimage.measure import regionprops_table

from pipeline_lib.synthesis import Field, draw_varied_field, draw_variety
from pipeline_lib.synthesis.variety import HABITS, MARKERS

SHAPE = (256, 256)
seeds = st.integers(0, 2**32 - 1)


@cache
def fifty() -> tuple[Field, ...]:
    return tuple(draw_varied_field(SHAPE, seed) for seed in range(50))


def pieces(labels: NDArray[np.uint32]) -> int:
    return sum(int(components(labels == number)[1]) for number in np.unique(labels[labels > 0]))


@settings(max_examples=25, deadline=None)
@given(seeds)
def test_truth_holds_in_every_scene(seed: int) -> None:
    field = draw_varied_field((160, 192), seed)
    inside = field.nuclei > 0
    np.testing.assert_array_equal(field.cells[inside], field.nuclei[inside])
    count = int(field.cells.max())
    for labels in (field.nuclei, field.cells):
        np.testing.assert_array_equal(np.union1d(labels, 0), np.arange(count + 1))
        assert pieces(labels) == count
    assert np.isfinite(field.clean).all()


@settings(max_examples=200, deadline=None)
@given(seeds)
def test_values_stay_in_their_ranges(seed: int) -> None:
    """The dataclasses refuse what they cannot draw; these are the promises of the variety itself."""
    scene = draw_variety(SHAPE, np.random.default_rng(seed))
    population, optics, staining = scene.population, scene.optics, scene.staining
    assert 10 <= population.nucleus_px <= 40
    assert 1.3 <= population.cell_ratio <= 5
    assert 0.1 <= population.staining_cv <= 1
    nuclei = population.cells * np.pi / 4 * (population.nucleus_px * population.spacing) ** 2
    assert nuclei <= 0.43 * SHAPE[0] * SHAPE[1]
    assert min(0.5, 0.12 * population.nucleus_px) <= optics.blur_px <= min(3, 0.12 * population.nucleus_px)
    assert 10 <= optics.photons <= 2000
    assert optics.offset + optics.gain * optics.photons * optics.background < optics.ceiling
    assert 0 <= staining.response <= 0.85


def test_same_seed_same_field_and_a_generator_goes_on() -> None:
    first, again = draw_varied_field(SHAPE, 7), draw_varied_field(SHAPE, np.random.default_rng(7))
    for name in ("image", "clean", "nuclei", "cells"):
        np.testing.assert_array_equal(getattr(first, name), getattr(again, name))
    rng = np.random.default_rng(7)
    one, two = draw_varied_field(SHAPE, rng), draw_varied_field(SHAPE, rng)
    assert (one.image != two.image).any()


def shapes_of(field: Field, *properties: str) -> dict[str, NDArray[np.float64]]:
    return regionprops_table(field.cells.astype(int), properties=properties)  # type: ignore[no-untyped-call, no-any-return]


def test_cells_are_round_and_spindles_small_and_large() -> None:
    tables = [shapes_of(field, "axis_major_length", "axis_minor_length", "area") for field in fifty()]
    ratios = [table["axis_major_length"] / np.maximum(table["axis_minor_length"], 1) for table in tables]
    typical = [np.median(ratio) for ratio in ratios if len(ratio)]
    assert min(typical) < 1.2
    assert max(typical) > 2.5
    assert (np.concatenate(ratios) > 4).mean() > 0.01
    areas = [np.median(table["area"]) for table in tables if len(table["area"])]
    assert max(areas) > 15 * min(areas)


def test_cells_are_convex_and_lobed() -> None:
    typical = [
        np.median(solidity) for field in fifty()[:15] if len(solidity := shapes_of(field, "solidity")["solidity"])
    ]
    assert max(typical) > 0.95
    assert min(typical) < 0.88


def test_frames_are_sparse_and_confluent() -> None:
    covered = np.array([(field.cells > 0).mean() for field in fifty()])
    assert (covered < 0.25).sum() >= 5
    assert (covered > 0.85).sum() >= 5
    counts = np.array([field.cells.max() for field in fifty()])
    assert counts.min() < 6
    assert counts.max() > 100


def test_markers_are_bright_and_dim_inside_and_outside_the_nucleus() -> None:
    contrasts, ratios = [], []
    for field in fifty():
        inside, outside = field.nuclei > 0, (field.cells > 0) & (field.nuclei == 0)
        if inside.any() and outside.any() and (field.cells == 0).sum() > 500:
            marker, empty = field.image[1].astype(float), field.image[1][field.cells == 0].astype(float)
            contrasts.append((marker[outside].mean() - empty.mean()) / empty.std())
            ratios.append((marker[inside].mean() - empty.mean()) / max(marker[outside].mean() - empty.mean(), 1e-3))
    assert np.quantile(contrasts, 0.1) < 2 < 8 < np.quantile(contrasts, 0.9)  # standard deviations of the empty frame
    assert np.quantile(ratios, 0.15) < 0.9
    assert np.quantile(ratios, 0.85) > 1.2


@pytest.mark.parametrize("table", [HABITS, MARKERS])
def test_every_range_has_two_ends(table: dict[str, dict[str, tuple[float, float]]]) -> None:
    assert all(low < high for ranges in table.values() for low, high in ranges.values())


def test_frames_of_any_size() -> None:
    for shape in ((24, 40), (300, 90)):
        field = draw_varied_field(shape, 3)
        assert field.image.shape == (2, *shape)


def test_draws_are_fast() -> None:
    start = time.process_time()
    for seed in range(100, 120):
        draw_varied_field(SHAPE, seed)
    assert (time.process_time() - start) / 20 < 0.15
