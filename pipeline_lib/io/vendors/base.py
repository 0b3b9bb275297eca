"""What a reader of one vendor's folders must offer, and the walk over the folder that all of them share.

Standard library only, like every `scan`: the Snakefile imports this while it is parsed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pipeline_lib.core.manifest import ImageFile


@dataclass(frozen=True)
class Listing:
    """All files below a folder and the directories they lie in; no hidden names (`.DS_Store`, `._A01.tif`)."""

    paths: tuple[str, ...]
    """Relative, with forward slashes, sorted."""
    directories: tuple[tuple[str, int], ...]
    """(relative path, modification time in ns, taken before the directory was read), sorted; "." is the folder."""


@dataclass(frozen=True)
class Scan:
    """What the names and index files of a folder say. No image has been opened."""

    listing: Listing
    files: tuple[ImageFile, ...]
    """`field`, `time` and `z` still carry the vendor's own numbers."""
    shape: tuple[int, int] | None = None
    """(rows, columns) of the plate, from an index file."""
    selected: tuple[str, ...] = ()
    """Wells an index file announces."""
    channel_names: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ImageInfo:
    """The metadata of one image file. None: the file does not say."""

    shape: tuple[int, int, int]
    """(Z, Y, X)."""
    dtype: str
    bit_depth: int
    pixel_size: float | None = None
    """Micrometres; pixels are square."""
    stage_position: tuple[float, float] | None = None
    """(y, x) in micrometres, in the stage's own directions."""
    wavelength: float | None = None
    """Emission, in nanometres."""
    channel_name: str | None = None


@dataclass(frozen=True)
class Reader:
    """One raw format."""

    scan: Callable[[Path, str], Scan]
    """(folder, pattern) -> what is there, by names and index files only."""
    describe: Callable[[Path], ImageInfo]
    """The metadata of one file; imports what it needs when it is called."""
    expects: str
    """The names this format looks for, in words, for error messages."""


def list_folder(folder: Path) -> Listing:
    """Walk `folder` and all below it; links to directories are followed, each directory is read once.

    Files are not touched: a directory costs one `stat` and one listing.
    """
    paths: list[str] = []
    directories: list[tuple[str, int]] = []
    seen: set[tuple[int, int]] = set()
    waiting = [""]
    while waiting:
        prefix = waiting.pop()
        status = (folder / prefix).stat()
        if (status.st_dev, status.st_ino) in seen:
            continue
        seen.add((status.st_dev, status.st_ino))
        directories.append((prefix or ".", status.st_mtime_ns))
        for name, is_directory in _entries(folder / prefix):
            (waiting if is_directory else paths).append(f"{prefix}/{name}" if prefix else name)
    return Listing(tuple(sorted(paths)), tuple(sorted(directories)))


def _entries(directory: Path) -> Iterator[tuple[str, bool]]:
    """(name, is a directory) of everything in one directory that is not hidden."""
    with os.scandir(directory) as entries:
        for entry in entries:
            if not entry.name.startswith("."):
                yield entry.name, entry.is_dir()
