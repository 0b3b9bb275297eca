"""Drawn fields: repeatable, true to their labels, and with a marker that follows the response."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline_lib.synthesis import Field, Optics, Population, draw_field
from pipeline_lib.synthesis.optics import illumination

SHAPE = (192, 256)
SPARSE = Population(cells=25, nucleus_px=18, clustering=0.2)
OPTICS = Optics()


def draw(response: float = 0.3, seed: int = 1, population: Population = SPARSE) -> Field:
    return draw_field(SHAPE, population, OPTICS, response, np.random.default_rng(seed))


def nucleus_to_cytoplasm(field: Field) -> float:
    """Mean marker above the offset in the nuclei over that in the cytoplasm."""
    marker = field.image[1].astype(float) - OPTICS.offset
    cytoplasm = (field.cells > 0) & (field.nuclei == 0)
    return float(marker[field.nuclei > 0].mean() / marker[cytoplasm].mean())


def test_the_seed_decides_everything() -> None:
    first, again, other = draw(seed=1), draw(seed=1), draw(seed=2)
    for name in ("image", "clean", "nuclei", "cells"):
        np.testing.assert_array_equal(getattr(first, name), getattr(again, name))
        assert (getattr(first, name) != getattr(other, name)).any()


def test_types_and_shapes() -> None:
    field = draw()
    assert field.image.shape == field.clean.shape == (2, *SHAPE)
    assert field.nuclei.shape == field.cells.shape == SHAPE
    kinds = [array.dtype.name for array in (field.image, field.clean, field.nuclei, field.cells)]
    assert kinds == ["uint16", "float32", "uint32", "uint32"]


@settings(max_examples=15, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.builds(
        Population,
        cells=st.floats(0, 150),
        nucleus_px=st.floats(4, 40),
        cell_ratio=st.floats(1.2, 4),
        elongation=st.floats(1, 3),
        clustering=st.floats(0, 1),
        mitotic=st.floats(0, 1),
    ),
)
def test_a_nucleus_and_its_cell_share_one_number(seed: int, population: Population) -> None:
    field = draw_field((96, 120), population, OPTICS, 0.5, np.random.default_rng(seed))
    inside = field.nuclei > 0
    np.testing.assert_array_equal(field.cells[inside], field.nuclei[inside])
    numbers = np.arange(field.cells.max() + 1)
    np.testing.assert_array_equal(np.union1d(field.cells, 0), numbers)
    np.testing.assert_array_equal(np.union1d(field.nuclei, 0), numbers)


def test_marker_moves_into_the_nucleus() -> None:
    ratios = [nucleus_to_cytoplasm(draw(response)) for response in (0.0, 0.25, 0.5, 0.75, 1.0)]
    assert ratios == sorted(ratios)
    assert ratios[0] < 0.8
    assert ratios[-1] > 2.5


def test_cells_respond_differently() -> None:
    field = draw(0.5, population=replace(SPARSE, cells=60, clustering=0.0))
    count = int(field.nuclei.max()) + 1
    ring = np.where(field.nuclei > 0, 0, field.cells).ravel()
    marker = field.clean[1].ravel() - OPTICS.offset
    inside, outside = (
        np.bincount(owner, marker, count)[1:] / np.maximum(np.bincount(owner, minlength=count)[1:], 1)
        for owner in (field.nuclei.ravel(), ring)
    )
    seen = outside > 0
    ratio = np.log(inside[seen] / outside[seen])
    assert 0.1 < ratio.std() < 1


def test_counts_follow_the_request() -> None:
    population = Population(cells=40, nucleus_px=14, clustering=0.3)
    total = sum(draw(seed=seed, population=population).nuclei.max() for seed in range(12))
    # Poisson with mean 480: 4 sigma is 88. Sparse fields leave hardly any cell out.
    assert abs(int(total) - 480) < 88


def test_nuclei_have_the_requested_size() -> None:
    field = draw(population=Population(cells=60, nucleus_px=20, mitotic=0, clustering=0))
    inner = np.setdiff1d(
        field.nuclei, np.concatenate([field.nuclei[[0, -1]].ravel(), field.nuclei[:, [0, -1]].ravel()])
    )
    areas = np.bincount(field.nuclei.ravel())[inner]
    assert np.median(2 * np.sqrt(areas / np.pi)) == pytest.approx(20, rel=0.12)  # a third of them, in G2, are larger


def test_no_cells_leave_only_the_background() -> None:
    field = draw(population=replace(SPARSE, cells=0))
    assert not field.nuclei.any()
    assert not field.cells.any()
    counts = OPTICS.offset + OPTICS.gain * OPTICS.photons * OPTICS.background * illumination(SHAPE, OPTICS)
    np.testing.assert_allclose(field.clean, np.broadcast_to(counts, (2, *SHAPE)), rtol=1e-5)


def test_image_is_clean_plus_camera_noise() -> None:
    field = draw()
    expected = OPTICS.gain * (field.clean.astype(float) - OPTICS.offset) + OPTICS.read_noise**2 + 1 / 12
    deviation = (field.image - field.clean.astype(float)) / np.sqrt(expected)
    assert deviation.mean() == pytest.approx(0, abs=0.02)
    assert deviation.var() == pytest.approx(1, rel=0.03)


def test_stains_stand_out_and_nothing_saturates() -> None:
    field = draw(population=replace(SPARSE, staining_cv=0.0))
    background = field.clean[0][field.cells == 0]
    assert field.clean[0][field.nuclei > 0].mean() - OPTICS.offset > 5 * (background.mean() - OPTICS.offset)
    assert field.image.max() < 65535


@pytest.mark.parametrize("response", [-0.1, 1.1, float("nan")])
def test_response_is_a_share(response: float) -> None:
    with pytest.raises(ValueError, match="allowed: 0"):
        draw(response)


def test_every_fault_of_a_population_is_named() -> None:
    with pytest.raises(ValueError, match=r"clustering is 2, allowed: 0 to 1") as caught:
        Population(clustering=2, elongation=0.5)
    assert "elongation is 0.5, allowed: 1 to 4" in str(caught.value)
