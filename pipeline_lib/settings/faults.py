"""What is wrong with settings, in the words of those who wrote them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline_lib.settings import Section, Settings, sections

METHODS = ("grow", "network")  # pydantic names them in the path of a fault; in a config they are no keys


def fault_words(fault: Mapping[str, Any], source: str, columns: Sequence[str] = ()) -> str:
    """One fault of a config in words: where, what was found, what is allowed."""
    where = ".".join(str(part) for part in fault["loc"] if part not in METHODS)
    if to_blame := [column for column in columns if _is_inside(where, column) or _is_inside(column, where)]:
        source = f"{source}, column {', '.join(to_blame)}"
    if fault["type"] == "extra_forbidden":
        allowed = section_at(fault["loc"][:-1]).model_fields
        return f"{source}: unknown key {where}; allowed here: {', '.join(allowed)}"
    found = "" if isinstance(fault["input"], Mapping | Section) else f" (found {fault['input']!r})"
    return f"{source}: {where or 'settings'}: {fault['msg'].removeprefix('Value error, ')}{found}"


def section_at(location: Sequence[int | str]) -> type[Section]:
    """The section at a path such as ("segment", "labels", "cells", "grow")."""
    found: list[type[Section]] = [Settings]
    for part in map(str, location):
        inner = [
            s
            for section in found
            if part in section.model_fields
            for s in sections(section.model_fields[part].annotation)
        ]
        found = inner or [s for s in found if part == _method(s)] or found
    return found[0]


def _method(section: type[Section]) -> object:
    """The value of `method` by which a section is chosen; None for most."""
    field = section.model_fields.get("method")
    return field.default if field else None


def _is_inside(key: str, section: str) -> bool:
    """Whether a dotted key names a section or what lies in it."""
    return not section or f"{key}.".startswith(f"{section}.")
