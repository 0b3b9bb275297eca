"""Measurements: hand-computed values first, then everything that can be odd about an object."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from pipeline_lib.features import FEATURE_GROUPS, feature_columns, measure_field

ALL = list(FEATURE_GROUPS)
PARTS = ["nuclei", "cells", "cytoplasm"]
CHANNELS = ["DNA", "GFP"]

Labels = NDArray[np.uint32]


def ellipse(shape: tuple[int, int], center: tuple[float, float], radii: tuple[float, float]) -> NDArray[np.bool_]:
    y, x = np.ogrid[: shape[0], : shape[1]]
    return ((y - center[0]) / radii[0]) ** 2 + ((x - center[1]) / radii[1]) ** 2 <= 1


def square_cell() -> dict[str, Labels]:
    """One cell, number 7: a 10 x 10 square with a 4 x 4 nucleus, in a field of 20 x 30."""
    cells = np.zeros((20, 30), dtype=np.uint32)
    cells[5:15, 8:18] = 7
    nuclei = np.zeros_like(cells)
    nuclei[8:12, 11:15] = 7
    return {"nuclei": nuclei, "cells": cells, "cytoplasm": np.where(nuclei, 0, cells).astype(np.uint32)}


def odd_objects() -> Labels:
    """A corner pixel, two pixels, two fragments, a ring, a line across the field, a border object; with gaps."""
    labels = np.zeros((40, 48), dtype=np.uint32)
    labels[0, 0] = 3
    labels[5:7, 5] = 4
    labels[25:30, 5:10] = labels[25:30, 20:25] = 9
    labels[ellipse(labels.shape, (16, 35), (9, 9)) & ~ellipse(labels.shape, (16, 35), (4, 4))] = 1000
    labels[36] = 70_000
    labels[12:20, 0:6] = 4_000_000_000
    return labels


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_sizes_and_intensities_by_hand() -> None:
    labels = square_cell()
    dna = np.where(labels["nuclei"] > 0, 0.8, np.where(labels["cells"] > 0, 0.2, 0.0))
    row = measure_field(np.stack([dna, dna * 0 + 0.5]), labels, CHANNELS, ["shape", "intensity"]).iloc[0]
    expected = {
        "ObjectNumber": 7,
        "Nuclei_AreaShape_Area": 16,
        "Cells_AreaShape_Area": 100,
        "Cytoplasm_AreaShape_Area": 84,
        "Cells_Location_Center_X": 12.5,
        "Cells_Location_Center_Y": 9.5,
        "Cells_AreaShape_Center_X": 12.5,
        "Cells_AreaShape_Center_Y": 9.5,
        "Cells_AreaShape_BoundingBoxMinimum_Y": 5,
        "Cells_AreaShape_BoundingBoxMaximum_X": 18,
        "Cells_AreaShape_Extent": 1,
        "Cells_AreaShape_Eccentricity": 0,
        "Cytoplasm_AreaShape_EulerNumber": 0,
        "Nuclei_Intensity_MeanIntensity_DNA": 0.8,
        "Cytoplasm_Intensity_MeanIntensity_DNA": 0.2,
        "Cells_Intensity_MeanIntensity_DNA": (16 * 0.8 + 84 * 0.2) / 100,
        "Cells_Intensity_IntegratedIntensity_DNA": 16 * 0.8 + 84 * 0.2,
        "Cells_Intensity_IntegratedIntensity_GFP": 50,
        "Cells_Intensity_StdIntensity_GFP": 0,
        "Cells_Intensity_MaxIntensity_DNA": 0.8,
        "Cells_Intensity_MinIntensity_DNA": 0.2,
        "Cells_Intensity_MedianIntensity_DNA": 0.2,
        "Cells_Location_CenterMassIntensity_X_DNA": 12.5,
        "Cells_Intensity_MassDisplacement_DNA": 0,
        "Cells_Children_Nuclei_Count": 1,
        "Cells_Intensity_NucleusCytoplasmRatio_DNA": 4,
        "Cells_Intensity_Log2NucleusCytoplasmRatio_DNA": 2,
        "Cells_Intensity_NucleusCytoplasmRatio_GFP": 1,
    }
    for column, value in expected.items():
        assert row[column] == pytest.approx(value, abs=1e-12), column


def test_an_ellipse_has_its_axes_and_eccentricity() -> None:
    labels = ellipse((120, 160), (60, 80), (30, 50)).astype(np.uint32)
    row = measure_field(np.zeros((0, 120, 160)), {"cells": labels}, [], ["shape"]).iloc[0]
    assert row["Cells_AreaShape_Area"] == pytest.approx(np.pi * 30 * 50, rel=0.005)
    assert row["Cells_AreaShape_MajorAxisLength"] == pytest.approx(100, rel=0.01)
    assert row["Cells_AreaShape_MinorAxisLength"] == pytest.approx(60, rel=0.01)
    assert row["Cells_AreaShape_Eccentricity"] == pytest.approx(0.8, abs=0.01)
    assert row["Cells_AreaShape_MaxFeretDiameter"] == pytest.approx(100, rel=0.01)


def test_rings_of_a_disc_hold_the_share_of_their_area(rng: np.random.Generator) -> None:
    labels = ellipse((101, 101), (50, 50), (48, 48)).astype(np.uint32)
    image = np.stack([np.full(labels.shape, 0.3), np.hypot(*np.ogrid[-50:51, -50:51]) < 10])
    row = measure_field(image, {"cells": labels}, CHANNELS, ["radial"]).iloc[0]
    even = [row[f"Cells_RadialDistribution_FracAtD_DNA_{ring}of4"] for ring in range(1, 5)]
    np.testing.assert_allclose(even, np.array([1, 3, 5, 7]) / 16, atol=0.04)
    assert [row[f"Cells_RadialDistribution_MeanFrac_DNA_{ring}of4"] for ring in range(1, 5)] == pytest.approx([1] * 4)
    assert row["Cells_RadialDistribution_FracAtD_GFP_1of4"] == 1


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32])
def test_integers_count_as_shares_of_their_full_scale(dtype: type[np.unsignedinteger]) -> None:
    labels = square_cell()
    full_scale = np.iinfo(dtype).max
    image = np.full((2, 20, 30), full_scale // 5, dtype=dtype)
    row = measure_field(image, labels, CHANNELS, ["intensity"]).iloc[0]
    assert row["Cells_Intensity_MeanIntensity_GFP"] == pytest.approx(full_scale // 5 / full_scale)


def test_the_ratio_is_that_of_the_mean_intensities() -> None:
    labels = square_cell()
    image = np.full((2, 20, 30), 0, dtype=np.uint16)
    image[:, labels["nuclei"] > 0] = 800
    image[0, labels["cytoplasm"] > 0] = 200
    row = measure_field(image, labels, CHANNELS, ["intensity"]).iloc[0]
    assert row["Cells_Intensity_NucleusCytoplasmRatio_DNA"] == pytest.approx(800 / 200)
    assert row["Cells_Intensity_Log2NucleusCytoplasmRatio_DNA"] == pytest.approx(2)
    assert np.isnan(row["Cells_Intensity_NucleusCytoplasmRatio_GFP"]), "a black cytoplasm"
    assert np.isnan(row["Cells_Intensity_Log2NucleusCytoplasmRatio_GFP"])


def test_names_are_those_of_cellprofiler() -> None:
    columns = feature_columns(PARTS, CHANNELS, ALL)
    assert len(columns) == len(set(columns))
    assert {
        "Nuclei_AreaShape_Area",
        "Nuclei_Location_Center_X",
        "Cells_AreaShape_MinFeretDiameter",
        "Cytoplasm_Intensity_MeanIntensity_GFP",
        "Cells_Intensity_MADIntensity_DNA",
        "Cells_Location_MaxIntensity_X_GFP",
        "Cells_RadialDistribution_MeanFrac_DNA_1of4",
        "Nuclei_Texture_AngularSecondMoment_DNA_3_00_256",
        "Cytoplasm_Granularity_16_GFP",
        "Cells_Correlation_Correlation_DNA_GFP",
        "Cells_Children_Nuclei_Count",
        "Cells_Intensity_Log2NucleusCytoplasmRatio_GFP",
    } <= set(columns)
    assert not [name for name in columns if name.endswith("_Z") or "_Z_" in name]
    groups = {name: len(feature_columns(["cells"], ["DNA"], [name])) - 2 for name in ALL}
    assert groups == {"shape": 25, "intensity": 19, "radial": 12, "texture": 52, "granularity": 16, "correlation": 0}
    assert len(feature_columns(["cells"], ["DNA", "GFP", "RFP"], ["correlation"])) == 2 + 3 * 2  # every two, two each


def test_ratios_need_both_parts_and_the_intensities() -> None:
    ratio = "Cells_Intensity_NucleusCytoplasmRatio_DNA"
    assert ratio in feature_columns(PARTS, CHANNELS, ["intensity"])
    assert ratio not in feature_columns(PARTS, CHANNELS, ["shape"])
    assert ratio not in feature_columns(["cells"], CHANNELS, ["intensity"])


def test_a_table_is_the_same_with_and_without_objects() -> None:
    image = np.full((2, 20, 30), 7, dtype=np.uint16)
    full = measure_field(image, square_cell(), CHANNELS, ALL)
    empty = measure_field(image, {name: part * 0 for name, part in square_cell().items()}, CHANNELS, ALL)
    assert list(full) == list(empty) == ["ObjectNumber", *feature_columns(PARTS, CHANNELS, ALL)]
    assert (
        list(full.dtypes) == list(empty.dtypes) == [np.dtype(np.int64)] + [np.dtype(np.float64)] * (full.shape[1] - 1)
    )
    assert (len(full), len(empty)) == (1, 0)


def test_parts_meet_on_their_number() -> None:
    labels = square_cell()
    labels["cells"][0, 0:3] = 2
    labels["cytoplasm"][0, 0:3] = 2
    labels["nuclei"][19, 0:5:2] = 9
    table = measure_field(np.ones((2, 20, 30)), labels, CHANNELS, ["shape"])
    assert list(table["ObjectNumber"]) == [2, 7, 9]
    np.testing.assert_array_equal(table["Cells_AreaShape_Area"], [3, 100, np.nan])
    np.testing.assert_array_equal(table["Nuclei_AreaShape_Area"], [np.nan, 16, 3])
    np.testing.assert_array_equal(table["Cells_Children_Nuclei_Count"], [0, 1, np.nan])


def test_nuclei_in_pieces_are_counted() -> None:
    labels = square_cell()
    labels["nuclei"][:] = 0
    labels["nuclei"][[6, 7, 6, 10], [9, 10, 14, 14]] = 7  # two pixels that touch at a corner are one nucleus
    table = measure_field(np.ones((2, 20, 30)), labels, CHANNELS, ["shape"])
    assert list(table["Cells_Children_Nuclei_Count"]) == [3]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.float64])
@pytest.mark.parametrize("content", ["noise", "black", "full"])
def test_odd_objects_and_images_neither_fail_nor_warn(content: str, dtype: type, rng: np.random.Generator) -> None:
    labels = odd_objects()
    image = filled(content, (2, *labels.shape), dtype, rng)
    groups = [name for name in ALL if name != "texture"]
    table = measure_field(image, dict.fromkeys(PARTS, labels), CHANNELS, groups)
    assert list(table["ObjectNumber"]) == [3, 4, 9, 1000, 70_000, 4_000_000_000]
    assert list(table["Cells_AreaShape_Area"][:3]) == [1, 2, 50]
    assert not np.isinf(table.to_numpy()).any()
    assert np.isnan(table["Cells_AreaShape_FormFactor"][0]), "a pixel has no perimeter"
    assert table["Cells_Intensity_MassDisplacement_DNA"].isna().all() == (content == "black")
    rings = sum(table[f"Cells_RadialDistribution_FracAtD_DNA_{ring}of4"] for ring in range(1, 5))
    np.testing.assert_allclose(rings, np.nan if content == "black" else 1.0)


@pytest.mark.parametrize("content", ["noise", "black", "full"])
def test_texture_is_nan_where_no_two_pixels_are_a_step_apart(content: str, rng: np.random.Generator) -> None:
    labels = odd_objects()
    image = filled(content, (1, *labels.shape), np.uint8, rng)
    table = measure_field(image, {"cells": labels}, ["DNA"], ["texture"])
    measured = table["Cells_Texture_Contrast_DNA_3_00_256"].notna()
    assert list(measured) == [content != "black" and large for large in (False, False, True, True, False, True)]


def filled(content: str, shape: tuple[int, ...], dtype: type, rng: np.random.Generator) -> NDArray[np.generic]:
    values = {"noise": rng.random(shape), "black": np.zeros(shape), "full": np.ones(shape)}[content]
    return (values * (np.iinfo(dtype).max if np.issubdtype(dtype, np.integer) else 1)).astype(dtype)


def test_floats_beyond_the_unit_range_do_not_stop_texture() -> None:
    image = np.linspace(-5, 500, 1200).reshape(2, 20, 30)
    table = measure_field(image, square_cell(), CHANNELS, ["texture", "intensity"])
    assert table["Cells_Intensity_MaxIntensity_GFP"][0] == pytest.approx(image[1, 14, 17])


@settings(max_examples=30, deadline=None)
@given(labels=arrays(np.uint32, (12, 12), elements=st.sampled_from([0, 0, 0, 2, 5, 9])))
def test_an_object_is_measured_alike_beside_others_and_alone(labels: Labels) -> None:
    image = np.random.default_rng(1).random((1, 12, 12))
    together = measure_field(image, {"cells": labels}, ["DNA"], ["shape", "intensity", "radial"])
    for row, number in enumerate(together["ObjectNumber"]):
        only = np.where(labels == number, labels, 0)
        alone = measure_field(image, {"cells": only}, ["DNA"], ["shape", "intensity", "radial"])
        pd.testing.assert_frame_equal(together.iloc[[row]].reset_index(drop=True), alone)


def test_nothing_that_is_given_is_changed(rng: np.random.Generator) -> None:
    labels, image = square_cell(), rng.random((2, 20, 30))
    before = image.copy(), {name: part.copy() for name, part in labels.items()}
    measure_field(image, labels, CHANNELS, ALL)
    np.testing.assert_array_equal(image, before[0])
    for name, part in labels.items():
        np.testing.assert_array_equal(part, before[1][name])


def test_all_that_does_not_fit_is_told_at_once() -> None:
    image = np.zeros((1, 4, 4))
    image[0, 0, 0] = np.nan
    with pytest.raises(ValueError, match="one per channel") as error:
        measure_field(image, {"cells": np.zeros((4, 5), np.uint32)}, CHANNELS, ["shapes"])
    for part in ("'cells': (4, 5)", "unknown feature groups ['shapes']", "not finite"):
        assert part in str(error.value)
