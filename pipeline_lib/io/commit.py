"""Committed or absent: data appears under its name in one rename, whole, or not at all."""

from __future__ import annotations

import os
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

    An older file is replaced in one step; an older folder is moved aside first and deleted last. So a reader sees the
    old, for a folder perhaps nothing, then the new, never a mix: also after a power cut, since everything is on the
    disk before the rename is.
    """
    _make_folder(target.parent)
    temporary, aside = _beside(target, "tmp"), _beside(target, "old")
    try:
        yield temporary
        _flush(temporary)
        if target.is_dir():
            target.rename(aside)
        temporary.replace(target)
        _flush_one(target.parent)
    finally:
        if aside.exists() and not target.exists():
            aside.rename(target)  # the new one could not take its place
        _remove(temporary)
        _remove(aside)


def discard(target: Path) -> None:
    """Make a file or folder absent at once, then delete what it held."""
    if not target.exists():
        return
    aside = _beside(target, "old")
    target.rename(aside)
    _remove(aside)


def sweep(target: Path) -> None:
    """Delete what a killed job left beside `target`: its unfinished and discarded versions."""
    _sweep(target.parent, f".{target.name}.")


def sweep_folder(folder: Path) -> None:
    """Delete what killed jobs left in a folder."""
    _sweep(folder, ".")


def _sweep(folder: Path, beginning: str) -> None:
    for path in folder.iterdir() if folder.is_dir() else ():
        if is_temporary(path.name) and path.name.startswith(beginning):
            _remove(path)


def _make_folder(folder: Path) -> None:
    """Make a folder that is on the disk, with those it lies in, when this returns."""
    new = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for path in new:
        _flush_one(path.parent)


def _flush(path: Path) -> None:
    """Have a file, or a folder with all it holds, written to the disk."""
    for child in path.iterdir() if path.is_dir() else ():
        _flush(child)
    _flush_one(path)


def _flush_one(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _beside(target: Path, ending: str) -> Path:
    return target.with_name(f".{target.name}.{uuid4().hex[:12]}.{ending}")


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
