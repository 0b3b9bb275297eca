"""The middle of an image that is too large to look at whole."""

from __future__ import annotations

from collections.abc import Sequence


def middle(shape: Sequence[int], side: int) -> tuple[slice, ...]:
    """Where at most `side` pixels around the middle lie, along each axis of an image of this shape."""
    return tuple(slice(max(0, (length - side) // 2), (length + side) // 2) for length in shape)
