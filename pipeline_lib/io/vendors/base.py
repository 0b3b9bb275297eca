"""What a reader of one vendor's folders must offer, and the walk over the folder that all of them share.

Standard library only, like every `scan`: the Snakefile imports this while it is parsed.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from pipeline_lib.core.manifest import ChannelFacts, ImageFile, PlateFacts, Position, Profile

if TYPE_CHECKING:
    from numpy.typing import NDArray

STORE_FILES = ("zarr.json", ".zgroup")
"""A directory that holds one of these is a Zarr store: it is listed, and not searched."""
_LONGEST_NAME, _LONGEST_PATH = 255, 1000  # bytes and characters: more cannot be opened
_TOLD = 3  # faults of many
_SHOWN = 80  # characters of a name that is wrong


@dataclass(frozen=True)
class Listing:
    """All files below a folder and the directories they lie in; no hidden names (`.DS_Store`, `._A01.tif`)."""

    paths: tuple[str, ...]
    """Relative, with forward slashes, sorted. Of a Zarr store only its metadata file, `store/zarr.json` or
    `store/.zgroup`."""
    directories: tuple[tuple[str, int], ...]
    """(relative path, modification time in ns, taken before the directory was read), sorted; "." is the folder."""

    def named(self, *names: str) -> tuple[str, ...]:
        """The paths whose last part is one of `names`, in whatever case."""
        wanted = {name.lower() for name in names}
        return tuple(path for path in self.paths if path.rpartition("/")[2].lower() in wanted)

    def ending(self, *endings: str) -> tuple[str, ...]:
        """The paths that end with one of `endings`, in whatever case."""
        return tuple(path for path in self.paths if path.lower().endswith(tuple(end.lower() for end in endings)))


@dataclass(frozen=True)
class Scan:
    """What the names and index files of a folder say. No image has been opened.

    All numbers of fields, time points and planes are still the vendor's own. A file that an index names and that is not
    in the listing is kept, so that its well is known to lack it.
    """

    files: tuple[ImageFile, ...]
    shape: tuple[int, int] | None = None
    """(rows, columns) of the plate, from an index file."""
    selected: tuple[str, ...] = ()
    """Wells an index file announces."""
    channels: Mapping[str, ChannelFacts] = field(default_factory=dict)
    facts: PlateFacts = field(default_factory=PlateFacts)
    positions: Mapping[str, Mapping[int, Position]] = field(default_factory=dict)
    """Well -> field -> where it lies, in the directions of the image: y grows downwards, x to the right."""
    faulty: Mapping[str, str] = field(default_factory=dict)
    """Well -> why its images are no good, as the index says."""
    profiles: Mapping[str, Profile] = field(default_factory=dict)
    directories: tuple[tuple[str, int], ...] = ()
    """Directories read beyond those of the listing, such as the wells of a Zarr store."""


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
    """(y, x) in micrometres, as the file has it; of MetaXpress in the directions of the image (see `metaseries`)."""
    wavelength: float | None = None
    """Emission, in nanometres."""
    channel_name: str | None = None
    exposure_ms: float | None = None
    magnification: float | None = None
    numerical_aperture: float | None = None
    z_position: float | None = None
    """Of the focus, in micrometres."""
    z_step: float | None = None
    """Micrometres between the planes of its stack, or of the stack that it is a projection of."""
    acquired: str | None = None
    """ISO 8601 date and time."""
    instrument: str | None = None
    """Its serial number."""


def describe_tiff(path: Path) -> ImageInfo:
    """The metadata of one TIFF file.

    Raises:
        UnreadableImage: See `pipeline_lib.io.images.read_planes`.
    """
    from pipeline_lib.io.vendors.tiff import describe

    return describe(path)


def read_tiff(path: Path, page: int | None) -> NDArray[Any]:
    """(Z, Y, X): one page of a TIFF file, or all of them.

    Raises:
        UnreadableImage: See `pipeline_lib.io.images.read_planes`.
    """
    from pipeline_lib.io.images import read_page, read_planes

    return read_planes(path) if page is None else read_page(path, page)


@dataclass(frozen=True)
class Reader:
    """One raw format."""

    scan: Callable[[Path, Listing, str], Scan]
    """(folder, what it holds, pattern) -> what is there, by names and index files only;
    a ValueError says what is wrong."""
    recognises: Callable[[Listing], bool]
    """Whether the names in a folder are those of this format."""
    expects: str
    """The names this format looks for, in words, for error messages."""
    describe: Callable[[Path], ImageInfo] = describe_tiff
    """The metadata of one file; imports what it needs when it is called."""
    read: Callable[[Path, int | None], NDArray[Any]] = read_tiff
    """(path, page) -> (Z, Y, X)."""
    read_labels: Callable[[Path, str], Mapping[str, NDArray[Any]]] = lambda _folder, _path: {}
    """(plate's folder, path of an image in it) -> name -> pages (N, Y, X) of the label images that lie beside it."""
    tables: Callable[[Path, str], Path | None] = lambda _folder, _path: None
    """(plate's folder, path of an image in it) -> the folder of tables that lies beside it."""


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
    """(name, is a directory) of everything in one directory that is not hidden; of a Zarr store its metadata file."""
    with os.scandir(directory) as entries:
        found = {entry.name: entry.is_dir() for entry in entries}
    if store := next((name for name in STORE_FILES if name in found), None):
        yield store, False
        return
    yield from ((name, is_directory) for name, is_directory in found.items() if not name.startswith("."))


def beside(index: str, name: str) -> str:
    """The path of a file that the index file `index` names, both relative to the plate's folder.

    Raises:
        ValueError: The name leads out of the folder that the index lies in, or is longer than a name can be.
    """
    path = PurePosixPath(name.replace("\\", "/"))
    outside = not name or path.is_absolute() or ".." in path.parts or ":" in name or "\0" in name
    if outside or len(name) > _LONGEST_PATH or any(len(os.fsencode(part)) > _LONGEST_NAME for part in path.parts):
        shown = repr(name if len(name) <= _SHOWN else f"{name[:_SHOWN]}...")
        raise ValueError(f"{index} names the file {shown}; a name below its own folder is expected")
    return str(PurePosixPath(index).parent / path)


def number_in(text: str) -> float:
    """The number that a text is; NaN, which no comparison lets pass, where it is none."""
    try:
        return float(text)
    except ValueError:
        return math.nan


def refuse(said: str, faults: Sequence[str]) -> None:
    """Nothing without faults.

    Raises:
        ValueError: There are faults: what is said of them, the first of them, a line each, and how many more there are.
    """
    if faults:
        more = [f"and {len(faults) - _TOLD} more"] if len(faults) > _TOLD else []
        raise ValueError("\n  ".join([said, *faults[:_TOLD], *more]))


class NoIndexError(ValueError):
    """A folder without the index file of its format."""


def only_index(folder: Path, paths: tuple[str, ...]) -> str:
    """The one index file among `paths`.

    Raises:
        NoIndexError: There is none.
        ValueError: There are several.
    """
    if len(paths) == 1:
        return paths[0]
    if not paths:
        raise NoIndexError(f"{folder} holds no index file")
    raise ValueError(
        f"{folder} holds {len(paths)} index files, so several measurements: {', '.join(paths[:3])}. "
        "Name the folder of one of them"
    )
