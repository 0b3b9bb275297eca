"""Everything that is wrong with a command, told at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

Made = TypeVar("Made")


def noted(faults: list[str], make: Callable[[], Made]) -> Made | None:
    """What `make` gives; None if it raises a ValueError, which is then among the faults."""
    try:
        return make()
    except ValueError as error:
        faults.append(str(error))
        return None


def all_of(faults: Sequence[str]) -> ValueError:
    """One error that tells all faults, to be raised."""
    return ValueError("\n  ".join(faults if len(faults) == 1 else ["", *faults]))
