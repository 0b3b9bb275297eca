"""Display colours: the name says more than the wavelength, the wavelength more than the place."""

from __future__ import annotations

import re

import pytest

from pipeline_lib.core.colours import IN_TURN, channel_colour

BLUE, GREEN, RED, ORANGE = "0000FF", "00FF00", "FF0000", "FFA500"


@pytest.mark.parametrize(
    ("name", "colour"),
    [("DNA", BLUE), ("Hoechst 33342", BLUE), ("GFP-FKHR", GREEN), ("ER", GREEN), ("Cy5", RED), ("TRITC", ORANGE)],
)
@pytest.mark.parametrize("wavelength", [None, 700.0])
def test_a_telling_name_decides(name: str, colour: str, wavelength: float | None) -> None:
    assert channel_colour(name, wavelength, index=3) == colour


def test_two_letter_names_count_only_as_a_whole() -> None:
    assert channel_colour("Tiger", None, 4) == IN_TURN[4]  # not the endoplasmic reticulum


@pytest.mark.parametrize(
    ("wavelength", "colour"), [(460.0, BLUE), (489.9, BLUE), (490.0, GREEN), (590.0, ORANGE), (670.0, RED)]
)
def test_emission_decides_for_other_names(wavelength: float, colour: str) -> None:
    assert channel_colour("Channel1", wavelength, index=2) == colour


def test_otherwise_colours_take_turns() -> None:
    colours = [channel_colour("Channel", None, index) for index in range(len(IN_TURN) + 1)]
    assert colours == [*IN_TURN, IN_TURN[0]]
    assert len(set(IN_TURN)) == len(IN_TURN)
    assert all(re.fullmatch("[0-9A-F]{6}", colour) for colour in IN_TURN)
