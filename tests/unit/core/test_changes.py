"""Two settings side by side: every value that differs is told once, in words."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_lib.core.changes import LONGEST, changes
from pipeline_lib.settings import Settings

KEYS = st.sampled_from("abc")
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(0, 3) | st.sampled_from(["x", "y"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=6,
)
SECTIONS = st.dictionaries(KEYS, VALUES, max_size=3)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ({"diameter": None}, {"diameter": 20.0}, ["segment.diameter: null -> 20.0"]),
        ({"a": {"b": {"c": [1], "d": 2}}}, {"a": {"b": {"c": [1, 2], "d": 2}}}, ["segment.a.b.c: [1] -> [1, 2]"]),
        ({"a": 1}, {"b": "x"}, ['segment.b: absent -> "x"', "segment.a: 1 -> absent"]),
        ({"a": {"b": 1}}, {"a": None}, ['segment.a: {"b": 1} -> null']),
        ({"a": 20}, {"a": 20.0}, []),
    ],
)
def test_what_differs_is_told_by_its_key(old: dict[str, Any], new: dict[str, Any], told: list[str]) -> None:
    assert changes(old, new, "segment") == told


def test_a_label_image_of_another_method_is_compared_whole() -> None:
    old = {"cells": {"method": "grow", "distance": 12, "channel": None}}
    [told] = changes(old, {"cells": {"method": "network", "weights": "w" * 99}})
    assert told.startswith('cells: {"method": "grow", "distance": 12, "channel": null} -> {"method": "network"')
    assert told.endswith("...")
    assert len(told.split(" -> ")[1]) == LONGEST


@given(SECTIONS, SECTIONS)
def test_nothing_is_told_exactly_if_nothing_differs(old: dict[str, Any], new: dict[str, Any]) -> None:
    assert (changes(old, new) == []) == (old == new)
    assert changes(old, old) == []


@given(SECTIONS, SECTIONS)
def test_what_is_told_turns_round(old: dict[str, Any], new: dict[str, Any]) -> None:
    turned = [f"{key}: {after} -> {before}" for key, before, after in map(_parts, changes(new, old))]
    assert sorted(turned) == sorted(changes(old, new))


def _parts(line: str) -> tuple[str, str, str]:
    key, values = line.split(": ", 1)
    before, after = values.split(" -> ")
    return key, before, after


def test_settings_do_not_differ_from_themselves() -> None:
    told = Settings().model_dump(mode="json")
    assert changes(told, told) == []
    other = Settings.model_validate({"segment": {"labels": {"nuclei": {"min_size": 3}}}}).model_dump(mode="json")
    assert changes(told, other) == ["segment.labels.nuclei.min_size: 15 -> 3"]
