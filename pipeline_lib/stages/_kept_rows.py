"""Rows of a table that takes hours, kept group by group until it is whole: a killed command goes on where it was."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

Row = Mapping[str, Any]


def kept_rows(path: Path, asked: Row, groups: Iterable[str], rows_of: Callable[[str], Iterable[Row]]) -> list[Row]:
    """The rows of all groups in turn: those that `path` holds, else those `rows_of` makes, which `path` then holds too.

    What it holds is left from a command that was killed, and counts only where that was asked the same. `asked` and the
    rows must be plain JSON. Who has the table written removes the file.
    """
    there = _left(path, asked)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(_lines(asked, *({group: rows} for group, rows in there.items())))
    found: list[Row] = []
    for group in groups:
        if group not in there:
            there[group] = list(rows_of(group))
            with path.open("a") as file:
                file.write(_lines({group: there[group]}))
        found += there[group]
    return found


def _lines(*values: Any) -> str:
    return "".join(json.dumps(value) + "\n" for value in values)


def _left(path: Path, asked: Row) -> dict[str, list[Row]]:
    """Rows by group, up to a torn line; none where the file is not there or answers another question."""
    there: dict[str, list[Row]] = {}
    if path.exists():
        lines = iter(path.read_text().splitlines())
        try:
            if json.loads(next(lines, "null")) == json.loads(json.dumps(asked)):
                for line in lines:
                    there |= json.loads(line)
        except json.JSONDecodeError:  # the command was killed while it wrote this line
            pass
    return there
