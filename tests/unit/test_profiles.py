"""Profiles: every summary against numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_lib.profiles import (
    Z_PRIME_COLUMNS,
    Cut,
    aggregate_wells,
    feature_names,
    half_way,
    responders,
    robust_z,
    z_prime,
)

AREA = "Cells_AreaShape_Area"
GFP = "Nuclei_Intensity_MeanIntensity_GFP"
BY = ["Metadata_Plate", "Metadata_Well"]


@pytest.fixture
def cells() -> pd.DataFrame:
    nan = np.nan
    return pd.DataFrame(
        {
            "Metadata_Plate": ["P"] * 5,
            "Metadata_Well": ["B02", "A01", "A01", "A01", "B02"],
            "Metadata_Field": [1, 1, 1, 2, 2],
            "ObjectNumber": [1, 1, 2, 1, 1],
            "Cells_Location_Center_X": [1.0, 1.0, 2.0, 3.0, 4.0],
            "Nuclei_Location_Center_X": [nan, 1.0, 2.0, nan, nan],
            "Cells_AreaShape_Center_X": [1.0, 1.0, 2.0, 3.0, 4.0],
            "Cells_AreaShape_Orientation": [1.0, 1.0, 2.0, 3.0, 4.0],
            "Cells_AreaShape_BoundingBoxMinimum_X": [1.0, 1.0, 2.0, 3.0, 4.0],
            "Cells_AreaShape_BoundingBoxArea": [1.0, 1.0, 2.0, 3.0, 4.0],
            AREA: [10.0, 1.0, 5.0, 2.0, 30.0],
            GFP: [nan, 0.5, 0.1, nan, nan],
        }
    )


def test_medians_and_deviations_by_hand(cells: pd.DataFrame) -> None:
    wells = aggregate_wells(cells, BY)
    expected = pd.DataFrame(
        {
            "Metadata_Plate": ["P", "P"],
            "Metadata_Well": ["A01", "B02"],
            "Count_Cells": [3, 2],
            "Count_Nuclei": [2, 0],
            AREA: [2.0, 20.0],
            GFP: [0.3, np.nan],
            f"{AREA}_MAD": [1.0, 10.0],
            f"{GFP}_MAD": [0.2, np.nan],
        }
    )
    pd.testing.assert_frame_equal(wells[list(expected)], expected)


def test_features_are_what_describes_a_cell(cells: pd.DataFrame) -> None:
    assert feature_names(cells) == ["Cells_AreaShape_BoundingBoxArea", AREA, GFP]


def test_no_cells_make_no_wells_and_the_same_columns(cells: pd.DataFrame) -> None:
    empty, full = aggregate_wells(cells.iloc[:0], BY), aggregate_wells(cells, BY)
    assert len(empty) == 0
    assert list(empty) == list(full)
    assert (empty.dtypes[full.columns] == full.dtypes).all()


def test_a_plate_is_the_sum_of_its_wells(cells: pd.DataFrame) -> None:
    one_by_one = [aggregate_wells(part, BY) for _, part in cells.groupby("Metadata_Well")]
    pd.testing.assert_frame_equal(pd.concat(one_by_one, ignore_index=True), aggregate_wells(cells, BY))


def test_aggregation_leaves_the_cells_alone(cells: pd.DataFrame) -> None:
    before = cells.copy()
    aggregate_wells(cells, BY)
    pd.testing.assert_frame_equal(cells, before)


def test_robust_z_by_hand() -> None:
    wells = pd.DataFrame({"Metadata_Well": list("abcde"), AREA: [1.0, 2.0, 4.0, 10.0, np.nan]}, index=[9, 8, 7, 6, 5])
    controls = pd.Series([True, True, True, False, False], index=wells.index)
    scaled = robust_z(wells, [AREA], controls)
    np.testing.assert_allclose(scaled[AREA], np.array([-1.0, 0.0, 2.0, 8.0, np.nan]) / 1.4826)
    assert list(scaled["Metadata_Well"]) == list("abcde")
    assert list(wells[AREA])[:4] == [1.0, 2.0, 4.0, 10.0]


@given(scale=st.floats(0.01, 100), offset=st.floats(-100, 100))
def test_robust_z_knows_neither_unit_nor_offset(scale: float, offset: float) -> None:
    values = np.array([1.0, 2.0, 4.0, 7.0, 11.0, -3.0])
    wells, controls = pd.DataFrame({AREA: values}), pd.Series([True] * 4 + [False] * 2)
    moved = pd.DataFrame({AREA: values * scale + offset})
    np.testing.assert_allclose(
        robust_z(moved, [AREA], controls)[AREA], robust_z(wells, [AREA], controls)[AREA], atol=1e-6
    )


def test_a_feature_without_a_scale_is_nan() -> None:
    wells = pd.DataFrame(
        {"Cells_A_constant": [3.0, 3.0, 3.0, 9.0], "Cells_A_absent": [np.nan] * 3 + [1.0], AREA: range(4)}
    )
    controls = pd.Series([True, True, True, False])
    scaled = robust_z(wells, list(wells), controls)
    assert scaled[["Cells_A_constant", "Cells_A_absent"]].isna().all(axis=None)
    assert scaled[AREA].notna().all()
    assert robust_z(wells, list(wells), ~controls).isna().all(axis=None), "one control well has no spread"
    assert robust_z(wells, list(wells), controls & False).isna().all(axis=None), "no control well has no spread"


def masks(*roles: str) -> tuple[pd.Series[bool], pd.Series[bool]]:
    told = pd.Series(roles)
    return told == "p", told == "n"


def test_z_prime_by_hand() -> None:
    wells = pd.DataFrame(
        {
            "good": [10.0, 12.0, 1.0, 3.0, 99.0],  # means 11 and 2, both sd sqrt(2)
            "bad": [1.0, 3.0, 2.0, 4.0, 99.0],
            "equal": [1.0, 3.0, 3.0, 1.0, 99.0],
            "single": [1.0, np.nan, 3.0, 1.0, 99.0],
            "coarse": [5.0, 5.0, 1.0, 1.0, 99.0],
            "half": [5.0, 5.0, 1.0, 3.0, 99.0],
        }
    )
    table = z_prime(wells, list(wells), *masks("p", "p", "n", "n", ""))
    assert list(table) == Z_PRIME_COLUMNS
    assert list(table["Feature"]) == ["good", "half", "bad", "equal", "single", "coarse"]
    expected = [1 - 6 * np.sqrt(2) / 9, 1 - np.sqrt(2), 1 - 6 * np.sqrt(2), np.nan, np.nan, np.nan]
    np.testing.assert_allclose(table["ZPrime"], expected)
    good = table.set_index("Feature").loc["good"]
    assert (good["PositiveMean"], good["NegativeMean"], good["PositiveN"], good["NegativeN"]) == (11.0, 2.0, 2, 2)
    assert good["PositiveSD"] == pytest.approx(np.sqrt(2))


def test_z_prime_does_not_mind_which_control_is_which() -> None:
    wells = pd.DataFrame({"a": [1.0, 2.0, 7.0, 9.0], "b": [5.0, 4.0, 7.0, 0.5]})
    positive, negative = masks("p", "p", "n", "n")
    there, back = z_prime(wells, ["a", "b"], positive, negative), z_prime(wells, ["a", "b"], negative, positive)
    pd.testing.assert_frame_equal(there[["Feature", "ZPrime"]], back[["Feature", "ZPrime"]])


@pytest.mark.parametrize("roles", ["pnnn", "pppn", "ppp ", "    "])
def test_z_prime_needs_two_wells_of_each_control(roles: str) -> None:
    table = z_prime(pd.DataFrame({"a": [1.0, 2.0, 3.0, 4.0]}), ["a"], *masks(*roles))
    assert len(table) == 0
    assert list(table) == Z_PRIME_COLUMNS


def test_half_way_between_the_controls_by_hand() -> None:
    wells = pd.DataFrame({"Role": ["p", "p", "p", "n", "n", ""], "Up": [9.0, 7.0, 99.0, 1.0, 3.0, 0.0]})
    wells = wells.assign(Down=-wells["Up"], Same=4.0, Lost=[np.nan] * 3 + [1.0] * 3)
    cuts = half_way(wells, ["Up", "Down", "Same", "Lost"], wells["Role"] == "p", wells["Role"] == "n")
    assert [(cut.feature, cut.rising) for cut in cuts[:2]] == [("Up", True), ("Down", False)]
    assert [cut.at for cut in cuts[:2]] == [5.5, -5.5]
    assert np.isnan([cut.at for cut in cuts[2:]]).all()


def test_shares_of_responders_by_hand(cells: pd.DataFrame) -> None:
    cuts = [Cut(AREA, 2.0, rising=True), Cut(GFP, 0.3, rising=False)]
    shares = responders(cells, BY, cuts)
    assert shares["Metadata_Well"].tolist() == ["A01", "B02"]
    assert shares[f"{AREA}_Responders"].tolist() == [1 / 3, 1.0]  # 1, 5, 2 and 10, 30
    np.testing.assert_equal(shares[f"{GFP}_Responders"].to_numpy(), [1 / 2, np.nan])  # 0.5, 0.1, none and none, none
    assert responders(cells, BY, [Cut(AREA, np.nan, rising=True)])[f"{AREA}_Responders"].isna().all()


def test_no_cells_have_no_share(cells: pd.DataFrame) -> None:
    shares = responders(cells.iloc[:0], BY, [Cut(AREA, 2.0, rising=True)])
    assert list(shares) == [*BY, f"{AREA}_Responders"]
    assert shares.empty


@given(values=st.lists(st.floats(-1e6, 1e6), min_size=1), at=st.floats(-1e6, 1e6))
def test_whoever_does_not_respond_upwards_does_so_downwards(values: list[float], at: float) -> None:
    cells = pd.DataFrame({"Metadata_Well": "A01", AREA: values})
    up, down = (responders(cells, ["Metadata_Well"], [Cut(AREA, at, rising)]).iloc[0, 1] for rising in (True, False))
    assert up + down == pytest.approx(1)
    assert up == np.mean(np.array(values) > at)
