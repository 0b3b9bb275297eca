"""The watch over damaged plates sees what it should see, and the damage is the same each time."""

from __future__ import annotations

import warnings
from pathlib import Path
from random import Random

import numpy as np
import pytest
from fuzz import guard
from fuzz.donors import DONORS
from fuzz.guard import Stuck, watched
from fuzz.mutations import EXPANDED, IMAGE, TEXT, damaged_image, damaged_text

XML = b'<?xml version="1.0"?>\n<a b="1" c="x"><d>text</d>\n<e f="../2.5"/></a>\n'


def test_nothing_is_seen_where_nothing_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a")
    with watched(tmp_path) as watch, watch.timed("reading"):
        (tmp_path / "a.txt").read_text()
        list(tmp_path.iterdir())
    assert list(watch.faults()) == []


def test_files_outside_are_seen_even_if_they_are_not_there(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    raw.mkdir()
    (tmp_path / "secret").write_text("s")
    (raw / "link").symlink_to(tmp_path / "secret")
    with watched(raw) as watch:
        (raw / ".." / "secret").read_text()
        (raw / "link").read_text()
        with pytest.raises(FileNotFoundError):
            (tmp_path / "raw2").open()
        list(tmp_path.iterdir())
    assert len(list(watch.faults())) == 4


def test_writing_is_seen(tmp_path: Path) -> None:
    with watched(tmp_path) as watch:
        (tmp_path / "new").write_text("n")
    assert list(watch.faults()) == [f"open {tmp_path / 'new'} for writing"]


def test_time_memory_and_warnings_are_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "SECONDS", 0.0)
    monkeypatch.setattr(guard, "MEGABYTES", 50.0)
    with watched(tmp_path) as watch, watch.timed("counting"):
        warnings.warn("careful", stacklevel=1)
        del (pixels := [np.ones(10_000_000)])[:]
    assert pixels == []
    warned, slow, memory = watch.faults()
    assert warned == "warned: UserWarning: careful"
    assert slow.startswith("counting took ")
    assert memory.endswith(" MB more")


def test_what_does_not_end_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "STUCK", 1)
    with pytest.raises(Stuck), watched(tmp_path):
        while True:
            pass


@pytest.mark.parametrize("kind", sorted({*TEXT}, key=lambda kind: kind.__name__), ids=lambda kind: kind.__name__)
def test_each_damage_of_texts_is_repeatable_and_does_something(kind) -> None:
    made = [kind(Random(seed), XML) for seed in range(20)]
    assert made == [kind(Random(seed), XML) for seed in range(20)]
    assert any(one != XML for one in made)
    assert not any(EXPANDED.encode() in one for one in made)


@pytest.mark.parametrize("kind", sorted({*IMAGE}, key=lambda kind: kind.__name__), ids=lambda kind: kind.__name__)
def test_each_damage_of_images_is_repeatable_and_does_something(kind) -> None:
    for content in (DONORS["OME"], DONORS["big"], DONORS["big-endian"], b"II*\x00"):
        made = [kind(Random(seed), content) for seed in range(20)]
        assert made == [kind(Random(seed), content) for seed in range(20)]
        assert any(one != content for one in made)


def test_damaged_files_may_be_empty() -> None:
    assert damaged_text(Random(1), b"") == damaged_text(Random(1), b"")
    assert damaged_image(Random(1), b"") == damaged_image(Random(1), b"")
    for seed in range(300):
        damaged_text(Random(seed), b"")
        damaged_image(Random(seed), b"")
