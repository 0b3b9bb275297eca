"""Uneven light: planted fields are found again, a corrected image is the even one, a vendor's polynomial by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline_lib.arrays.flat_field import estimate, shrunk
from pipeline_lib.arrays.illumination import Illumination, correct, flattened, polynomial
from pipeline_lib.core.manifest import Profile
from pipeline_lib.synthesis import Optics, Population, draw_field

SIZE, MARGIN, FIELDS = 1024, 80, 60
OFFSET = 150.0
EVEN = replace(Optics(), vignetting=0.0, tilt=(0.0, 0.0), offset=OFFSET)
Falloff = Callable[[NDArray[Any], NDArray[Any], np.random.Generator], NDArray[Any]]


def ramp(y: NDArray[Any], x: NDArray[Any], rng: np.random.Generator) -> NDArray[Any]:
    """From one side to the other, in any direction."""
    angle = rng.uniform(0, 2 * np.pi)
    return np.cos(angle) * x + np.sin(angle) * y


def vignette(y: NDArray[Any], x: NDArray[Any], rng: np.random.Generator) -> NDArray[Any]:
    """Away from a point near the middle."""
    middle = rng.uniform(-0.2, 0.2, 2)
    return (y - middle[0]) ** 2 + (x - middle[1]) ** 2


def planted(falloff: Falloff, seed: int, size: int = SIZE) -> NDArray[np.float64]:
    """A flat field whose darkest place has 30 % less light than its brightest one; mean 1."""
    y, x = (np.mgrid[:size, :size] + 0.5) / size - 0.5
    shape = falloff(y, x, np.random.default_rng(seed))
    flat = 1 - 0.3 * (shape - shape.min()) / np.ptp(shape)
    return np.asarray(flat / flat.mean())


@cache
def sampled() -> NDArray[np.float64]:
    """(fields, channels, 128, 128) of evenly lit fields; cells reach over the edges, as in a well."""
    drawn = SIZE + 2 * MARGIN
    inner = slice(MARGIN, -MARGIN)
    fields = [
        draw_field((drawn, drawn), Population(cells=drawn**2 / 3500), EVEN, 0.3, np.random.default_rng([9, number]))
        for number in range(FIELDS)
    ]
    return np.array([[shrunk(channel[inner, inner] - OFFSET) for channel in field.image] for field in fields])


@pytest.mark.parametrize("channel", [0, 1])
@pytest.mark.parametrize(("falloff", "seed"), [(ramp, 1), (ramp, 2), (vignette, 3)])
def test_a_planted_field_is_found(falloff: Falloff, seed: int, channel: int) -> None:
    """The bar: 2 % of the mean (root mean square over the field), from 60 fields of about 300 cells each."""
    flat = planted(falloff, seed)
    light = estimate(sampled()[:, channel] * shrunk(flat) + OFFSET, (SIZE, SIZE))
    assert light.flat.mean() == pytest.approx(1, abs=1e-3)
    ratio = light.flat / flat
    assert ratio.std() / ratio.mean() < 0.02
    assert light.dark.mean() == pytest.approx(OFFSET, abs=25)


def test_a_plate_corrected_with_it_has_the_true_intensities() -> None:
    """The bar: 1 % of each well's mean, less the camera's counts."""
    flat = shrunk(planted(ramp, 5))
    for channel in range(2):
        truth = sampled()[:, channel]
        light = estimate(truth * flat + OFFSET, flat.shape)
        found = np.array([correct(field * flat + OFFSET, light) for field in truth]) - OFFSET
        wells, true_wells = (fields.reshape(12, 5, -1).mean(axis=(1, 2)) for fields in (found, truth))
        np.testing.assert_allclose(wells, true_wells, rtol=0.01)
        uncorrected = truth * flat
        assert np.abs(uncorrected / truth - 1).mean() > 0.05, "without correction it is far off"


def test_even_light_stays_even() -> None:
    light = estimate(sampled()[:, 0] + OFFSET, (128, 128))
    assert light.flat.std() < 0.02


def test_correction_undoes_the_model() -> None:
    rng = np.random.default_rng(3)
    truth = rng.uniform(200, 3000, (3, 32, 48))
    light = Illumination(
        planted(vignette, 4, 32)[:, :1].repeat(48, 1).astype(np.float32), np.full((32, 48), 100, np.float32)
    )
    seen = truth * light.flat + light.dark
    np.testing.assert_allclose(correct(seen, light), truth + 100, rtol=1e-5)
    counts = correct(np.rint(seen).astype(np.uint16), light)
    assert counts.dtype == np.uint16
    np.testing.assert_allclose(counts, truth + 100, atol=1.5)


def test_counts_stay_inside_their_type() -> None:
    light = Illumination(np.full((2, 2), 0.5, np.float32), np.full((2, 2), 10, np.float32))
    np.testing.assert_array_equal(
        correct(np.array([[0, 10], [100, 255]], np.uint8), light), np.array([[0, 10], [190, 255]], np.uint8)
    )


def test_what_tells_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="2 fields cannot tell"):
        estimate(np.ones((2, 8, 8)), (8, 8))
    with pytest.raises(ValueError, match="one grey value"):
        estimate(np.full((5, 8, 8), 7.0), (8, 8))


def test_a_polynomial_by_hand() -> None:
    """1 + 2u + 3v + 4u^2 + 5uv + 6v^2 at u = x - 1, v = 2 (y - 2)."""
    profile = Profile(((1.0,), (2.0, 3.0), (4.0, 5.0, 6.0)), origin=(2.0, 1.0), scale=(2.0, 1.0))
    found = polynomial(profile, (4, 3))
    for y, x in np.ndindex(4, 3):
        u, v = x - 1, 2 * (y - 2)
        assert found[y, x] == pytest.approx(1 + 2 * u + 3 * v + 4 * u * u + 5 * u * v + 6 * v * v)


def test_a_profile_of_the_microscope_has_mean_one() -> None:
    light = flattened(np.array([[1.0, 3.0]]), np.array([[5.0, 6.0]]))
    np.testing.assert_allclose(light.flat, [[0.5, 1.5]])
    np.testing.assert_allclose(light.dark, [[5, 6]])
