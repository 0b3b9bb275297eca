"""What differs between two settings, in words."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

LONGEST = 60  # characters of a value that are told


def changes(old: Mapping[str, Any], new: Mapping[str, Any], where: str = "") -> list[str]:
    """Lines such as `segment.labels.nuclei.diameter: null -> 20`, one for each JSON value that differs.

    where: the dotted key under which both lie. Sections of another `method` are compared whole: they have little in
    common.
    """
    lines: list[str] = []
    for key in dict.fromkeys([*new, *old]):
        place = f"{where}.{key}" if where else key
        before, after = old.get(key), new.get(key)
        if isinstance(before, Mapping) and isinstance(after, Mapping) and before.get("method") == after.get("method"):
            lines += changes(before, after, place)
        elif key not in old or key not in new or before != after:
            lines.append(f"{place}: {_value(old, key)} -> {_value(new, key)}")
    return lines


def _value(section: Mapping[str, Any], key: str) -> str:
    """A value as JSON, cut where it is long."""
    if key not in section:
        return "absent"
    text = json.dumps(section[key], ensure_ascii=False)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."
