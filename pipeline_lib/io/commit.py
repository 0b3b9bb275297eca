"""Committed or absent: data appears under its name in one rename, whole, or not at all."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4


def is_temporary(name: str) -> bool:
    """Whether a file or folder name marks unfinished or discarded work, which no reader looks at."""
    return name.startswith(".") and name.endswith((".tmp", ".old"))


@contextmanager
def committed(target: Path) -> Iterator[Path]:
    """Give a temporary path beside `target` to write a file or folder to; rename it into place if all went well.

    An older `target` is moved aside first and deleted last, so a reader sees the old, nothing, or the new, never a mix.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = _beside(target, "tmp")
    try:
        yield temporary
        discard(target)
        temporary.rename(target)
    finally:
        _remove(temporary)


def discard(target: Path) -> None:
    """Make a file or folder absent at once, then delete what it held."""
    if not target.exists():
        return
    aside = _beside(target, "old")
    target.rename(aside)
    _remove(aside)


def sweep(target: Path) -> None:
    """Delete what a killed job left beside `target`: its unfinished and discarded versions."""
    if not target.parent.is_dir():
        return
    for path in target.parent.iterdir():
        if is_temporary(path.name) and path.name.startswith(f".{target.name}."):
            _remove(path)


def _beside(target: Path, ending: str) -> Path:
    return target.with_name(f".{target.name}.{uuid4().hex[:12]}.{ending}")


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
