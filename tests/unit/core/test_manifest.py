"""Manifests: what they answer and their JSON."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_lib.core.manifest import ChannelFacts, ImageFile, Manifest, PlateFacts, Profile

small = st.integers(0, 30)
files = st.builds(
    ImageFile, st.sampled_from(["A01", "B03", "AA12"]), small, st.text(), small, small, st.text(), st.none() | small
)
numbers = st.none() | st.floats(allow_nan=False, allow_infinity=False)
pairs = st.tuples(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6))
told = st.none() | st.text()
manifests = st.builds(
    Manifest,
    plate=st.text(),
    folder=st.text(),
    format=st.sampled_from(["pattern", "imagexpress"]),
    channels=st.lists(st.text()).map(tuple),
    rows=small,
    columns=small,
    files=st.lists(files).map(tuple),
    missing=st.lists(st.text()).map(tuple),
    directories=st.lists(st.tuples(st.text(), st.integers(0, 2**63))).map(tuple),
    pattern=st.text(),
    channel_facts=st.dictionaries(st.text(), st.builds(ChannelFacts, told, numbers, numbers, numbers), max_size=3),
    facts=st.builds(PlateFacts, numbers, numbers, numbers, numbers, numbers, told, told, told),
    positions=st.dictionaries(st.text(), st.dictionaries(small, pairs, max_size=3), max_size=3),
    faulty=st.dictionaries(st.text(), st.text(), max_size=3),
    profiles=st.dictionaries(
        st.text(),
        st.builds(
            Profile, st.lists(st.lists(st.floats(-9, 9)).map(tuple)).map(tuple), pairs, pairs, st.text(), st.text()
        ),
        max_size=3,
    ),
)


@given(manifests)
def test_json_gives_back_the_same_manifest(manifest: Manifest) -> None:
    assert Manifest.from_json(manifest.to_json()) == manifest


def test_wells_keep_the_order_of_the_files() -> None:
    held = tuple(
        ImageFile(well, field, "1", 0, 0, f"{well}{field}") for well in ("B02", "B10", "AA01") for field in (0, 1)
    )
    manifest = Manifest("P", "raw", "pattern", ("1",), 32, 48, held)
    assert manifest.wells == ("B02", "B10", "AA01")
    assert manifest.of_well("B10") == held[2:4]
    assert manifest.of_well("C01") == ()


@pytest.mark.parametrize(
    ("text", "reason"),
    [("", "Expecting value"), ("{}", "version"), ('{"version":1}', "version 1, this code reads"),
     ("[]", ""), ('{"version":2}', "files")],
)  # fmt: skip
def test_anything_else_is_refused_with_advice(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=r"not a manifest.*delete it") as caught:
        Manifest.from_json(text)
    assert reason in str(caught.value)


def test_columns_of_unequal_length_are_refused() -> None:
    content = json.loads(Manifest("P", "raw", "pattern", (), 2, 3, (ImageFile("A01", 0, "1", 0, 0, "a"),)).to_json())
    content["files"]["path"] = []
    with pytest.raises(ValueError, match="not a manifest"):
        Manifest.from_json(json.dumps(content))
