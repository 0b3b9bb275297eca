"""Rows kept group by group: what is left of a killed command is used, and only where it answers the same question."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline_lib.stages._kept_rows import kept_rows


class Maker:
    """Makes two rows of a group; dies before the group `dies_at`."""

    def __init__(self, dies_at: str = "") -> None:
        self.dies_at = dies_at
        self.made: list[str] = []

    def __call__(self, group: str) -> Iterator[dict[str, Any]]:
        if group == self.dies_at:
            raise KeyboardInterrupt
        self.made.append(group)
        yield from ({"group": group, "value": number / 3} for number in range(2))


def rows(*groups: str) -> list[dict[str, Any]]:
    return [row for group in groups for row in Maker()(group)]


def test_a_killed_command_goes_on_where_it_was(tmp_path: Path) -> None:
    path = tmp_path / "out" / "rows.jsonl"
    with pytest.raises(KeyboardInterrupt):
        kept_rows(path, {"seed": 1}, "abc", Maker(dies_at="c"))
    with path.open("a") as file:
        file.write('{"c": [{"gro')  # killed while it wrote
    again = Maker()
    assert kept_rows(path, {"seed": 1}, "abc", again) == rows("a", "b", "c"), "in order, each number as it was"
    assert again.made == ["c"]


def test_rows_of_another_question_are_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    kept_rows(path, {"seed": 1}, "ab", Maker())
    again = Maker()
    assert kept_rows(path, {"seed": 2}, "ab", again) == rows("a", "b")
    assert again.made == ["a", "b"]
    for damaged in ("", "torn{\n"):
        path.write_text(damaged)
        assert kept_rows(path, {"seed": 1}, "a", Maker()) == rows("a")


def test_an_empty_group_is_not_asked_again(tmp_path: Path) -> None:
    kept_rows(tmp_path / "rows.jsonl", {}, "a", lambda _: [])
    again = Maker()
    assert kept_rows(tmp_path / "rows.jsonl", {}, "a", again) == []
    assert again.made == []
