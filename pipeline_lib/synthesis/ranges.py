"""One check for the values that describe a drawing."""

from __future__ import annotations

from collections.abc import Mapping


def require(owner: object, allowed: Mapping[str, tuple[float, float]]) -> None:
    """Compare the named attributes of `owner` with their closed ranges.

    Raises:
        ValueError: Names every attribute out of its range.
    """
    faults = [
        f"{name} is {getattr(owner, name)}, allowed: {low} to {high}"
        for name, (low, high) in allowed.items()
        if not low <= getattr(owner, name) <= high
    ]
    if faults:
        raise ValueError(f"{type(owner).__name__}: " + "; ".join(faults))
