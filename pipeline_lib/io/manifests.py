"""Manifests on disk. Standard library only: the Snakefile imports this while it is parsed."""

from __future__ import annotations

from pathlib import Path

from pipeline_lib.core.manifest import Manifest
from pipeline_lib.io.commit import committed
from pipeline_lib.io.vendors import AUTO


def write_manifest(manifest: Manifest, path: Path) -> None:
    """Write a manifest whole or not at all."""
    with committed(path) as temporary:
        temporary.write_text(manifest.to_json(), encoding="utf-8")


def read_manifest(path: Path) -> Manifest:
    """The manifest stored at `path`.

    Raises:
        FileNotFoundError: There is none.
        ValueError: The file is not a manifest of this version.
    """
    try:
        return Manifest.from_json(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def is_current(manifest: Manifest, folder: Path, format: str, pattern: str) -> bool:  # noqa: A002
    """Whether a new scan would find the same: same source, and no directory has changed since it was read.

    A file that is added, removed or renamed changes the modification time of its directory; one `stat` per directory
    sees it. A file written in place does not: its content is not part of a manifest.
    """
    found = manifest.format if format == AUTO else format
    if (folder.as_posix(), found, pattern) != (manifest.folder, manifest.format, manifest.pattern):
        return False
    try:
        return all((folder / path).stat().st_mtime_ns == time for path, time in manifest.directories)
    except (FileNotFoundError, NotADirectoryError):
        return False
