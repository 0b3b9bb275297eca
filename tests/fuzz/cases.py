"""One case: a plate in one layout, one of its files damaged, read as the workflow reads it, and what came of it."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from random import Random

from fuzz.donors import DONORS
from fuzz.guard import Watch, watched
from fuzz.mutations import EXPANDED, damaged_image, damaged_text
from measurements import PLATE, draw, plate_of, write

from pipeline_lib.core.errors import DataTrouble
from pipeline_lib.core.manifest import ImageFile, Manifest, Profile
from pipeline_lib.io.layouts import LAYOUTS
from pipeline_lib.io.raw_images import describe_image, read_image
from pipeline_lib.io.vendors import ImageInfo, scan_plate
from pipeline_lib.io.vendors.base import NoIndexError

PATTERN = (
    r"(?P<well>[A-Z]{1,2}[0-9]{2})_s(?P<field>[0-9]+)_w(?P<channel>[A-Za-z0-9]+)(?:_t(?P<time>[0-9]+))?"
    r"(?:_z(?P<z>[0-9]+))?\.tif"
)
_SIZES = ((2, 1), (1, 2))  # time points and planes of the plates that are damaged
_INDEXES = (".json", ".xml", ".mlf", ".mrf", ".mes", ".wpp", ".wpi", ".htd", ".xdce", ".ome")
_MOST_READ = 64  # files of a damaged plate that are read
_LONGEST = 4000  # characters of a message
_ALLOWED = (ValueError, NoIndexError, FileNotFoundError)
REFUSED, QUARANTINED, READ = "plate refused", "images refused", "read"
NAMES = (
    "", ".tif", "A01.tif", "Z99", "AG01", "A00", "A1", "a01", "٣", "²", "１", "9" * 100, "100001", "-1", "\udcff", "é",
    "\n", " ", "_w1", "_s1", "_thumb", "(", "[", "{", "x" * 120, ":", "\\", "f00d0", "--W", "00000", "TimePoint_9",
    ".ome.tif", ".xdce", ".HTD",
)  # fmt: skip


@dataclass(frozen=True)
class Folder:
    """A whole plate on disk."""

    layout: str
    raw: Path
    indexes: tuple[Path, ...]
    images: tuple[Path, ...]


@dataclass(frozen=True)
class Result:
    """What one case came to. faults: what must not be; none is well."""

    seed: int
    damage: str
    outcome: str
    faults: tuple[str, ...]


def folders_of(layout: str, home: Path) -> list[Folder]:
    """The whole plates that are damaged; beside them lies what no reader may open."""
    (home / "secret.tif").write_bytes(DONORS["plain"])
    made = []
    for times, planes in _SIZES:
        raw = home / f"{times}-{planes}" / "raw"
        raw.parent.mkdir()
        (raw.parent / "secret.tif").write_bytes(DONORS["plain"])
        plate = replace(plate_of(times, planes), wells=("A01", "H12"), positions=PLATE.positions[:2])
        write(raw, layout, plate, draw(plate))
        files = sorted(path for path in raw.rglob("*") if path.is_file())
        indexes = tuple(path for path in files if path.name.lower().endswith(_INDEXES))
        made.append(Folder(layout, raw, indexes, tuple(path for path in files if path not in indexes)))
    return made


def run_case(folders: Sequence[Folder], seed: int) -> Result:
    """Damage a plate, read it, and mend it again."""
    rng = Random(f"{folders[0].layout} {seed}")
    folder = folders[seed % len(folders)]
    with _damaged(rng, folder) as damage, watched(folder.raw) as watch:
        outcome, faults = _read_as_named_and_auto(folder, rng, watch)
    return Result(seed, damage, outcome, (*faults, *watch.faults()))


@contextmanager
def _damaged(rng: Random, folder: Folder) -> Iterator[str]:
    """The plate with one file damaged, gone or called otherwise; what was done."""
    indexes = folder.indexes or folder.images[:1] * 0
    path = rng.choice(indexes if indexes and rng.random() < 0.65 else folder.images)
    content, place = path.read_bytes(), path
    kind = rng.random()
    try:
        if kind < 0.02:
            path.unlink()
            done = "gone"
        elif kind < (0.06 if indexes else 0.4):
            place = _renamed(rng, path)
            done = f"called {place.name[:60]!r}"
        else:
            donor, base = _base(rng, content) if path in folder.images else ("", content)
            done, changed = (damaged_image if path in folder.images else damaged_text)(rng, base)
            path.write_bytes(changed)
            done = f"{donor}{done}"
        yield f"{path.relative_to(folder.raw).as_posix()}: {done}"
    finally:
        if place != path:
            place.unlink(missing_ok=True)
        path.write_bytes(content)


def _renamed(rng: Random, path: Path) -> Path:
    """The file under another name that no file has, some characters of which are replaced."""
    name = path.name
    start = rng.randrange(len(name))
    stop = min(len(name), start + rng.choice((0, 1, 2, 5, 20)))
    changed = f"{name[:start]}{rng.choice(NAMES)}{name[stop:]}"
    if (
        changed in ("", ".", "..")
        or "/" in changed
        or len(os.fsencode(changed)) > 255
        or (path.parent / changed).exists()
    ):
        changed = f"x{name}"[:255]
    return path.rename(path.parent / changed)


def _base(rng: Random, content: bytes) -> tuple[str, bytes]:
    """The image itself, or another of its size in another kind of TIFF; its name."""
    if content[:2] not in (b"II", b"MM") or rng.random() < 0.6:
        return "", content
    name = rng.choice(sorted(DONORS))
    return f"{name} TIFF, ", DONORS[name]


def _read_as_named_and_auto(folder: Folder, rng: Random, watch: Watch) -> tuple[str, list[str]]:
    format_ = LAYOUTS[folder.layout].format
    manifest, faults = _scan(folder, format_, watch)
    other, more = _scan(folder, "auto", watch)
    faults += more
    if manifest is None:
        outcome = REFUSED
    else:
        outcome, more = _read_images(manifest, rng, watch)
        faults += [*more, *_manifest_faults(manifest)]
    if other is not None and other != manifest:
        faults += [*_read_images(other, rng, watch)[1], *_manifest_faults(other)]
    return outcome, faults


def _scan(folder: Folder, format_: str, watch: Watch) -> tuple[Manifest | None, list[str]]:
    try:
        with watch.timed(f"scan as {format_}"):
            return scan_plate("P7", folder.raw, format_, PATTERN), []
    except Exception as error:
        return None, _message_faults(f"scan as {format_}", error, _ALLOWED, _names(folder))


def _names(folder: Folder) -> set[str]:
    """What a message about the plate may name, so that one knows where to look."""
    found = {path.name for path in folder.raw.rglob("*") if path.is_file()}
    return {"plate P7", str(folder.raw), *found}


def _message_faults(where: str, error: Exception, allowed: tuple[type[Exception], ...], names: set[str]) -> list[str]:
    """What is wrong with an exception: its type, or a message that does not help."""
    text = str(error)
    if type(error) not in allowed and not (DataTrouble in allowed and isinstance(error, DataTrouble)):
        return [f"{where}: {type(error).__name__}: {text[:300]}"]
    faults = []
    if not any(name in text for name in names):
        faults.append(f"{where}: the message names no file: {text[:300]}")
    if len(text) > _LONGEST:
        faults.append(f"{where}: the message has {len(text)} characters: {text[:200]}")
    if EXPANDED in text:
        faults.append(f"{where}: an entity was expanded: {text[:200]}")
    return faults


def _read_images(manifest: Manifest, rng: Random, watch: Watch) -> tuple[str, list[str]]:
    files = manifest.files
    if len(files) > _MOST_READ:
        files = tuple(rng.sample(files, _MOST_READ))
    outcome, faults = READ, []
    for file in files:
        for work in (read_image, describe_image):
            what = f"{work.__name__} {file.path[:100]!r}"
            try:
                with watch.timed(what):
                    found = work(manifest, file)
                if isinstance(found, ImageInfo) and EXPANDED in repr(found):
                    faults.append(f"{what}: an entity was expanded")
            except DataTrouble as error:
                outcome = QUARANTINED
                faults += _trouble_faults(what, error, file)
            except Exception as error:
                faults += _message_faults(what, error, (DataTrouble,), set())
    return outcome, faults[:5]


def _trouble_faults(where: str, error: DataTrouble, file: ImageFile) -> list[str]:
    faults = _message_faults(where, error, (DataTrouble,), {file.path, file.path[:200]})
    return [
        *faults,
        *([f"{where}: the message has several lines: {error}"] if "\n" in str(error).replace(file.path, "") else []),
    ]


def _manifest_faults(manifest: Manifest) -> Iterator[str]:
    text = manifest.to_json()
    try:
        json.loads(text, parse_constant=_no_number)
        if Manifest.from_json(text) != manifest:
            yield "the manifest does not come back from its JSON"
    except ValueError as error:
        yield f"the manifest does not come back from its JSON: {error}"
    if EXPANDED in text:
        yield "an entity was expanded into the manifest"
    for profile in manifest.profiles.values():
        yield from _profile_faults(profile)
    paths = {file.path for file in manifest.files} | {path for path, _ in manifest.directories}
    for profile in manifest.profiles.values():
        paths |= {path for path in (profile.flat, profile.dark) if path}
    yield from (f"the manifest leads out of the folder: {path[:200]!r}" for path in paths if _leads_out(path))


def _no_number(text: str) -> None:
    raise ValueError(f"{text} is no number of JSON")


def _profile_faults(profile: Profile) -> Iterator[str]:
    numbers = (*(one for row in profile.coefficients for one in row), *profile.origin, *profile.scale)
    if not all(map(math.isfinite, numbers)):
        yield f"a profile is not finite: {numbers}"


def _leads_out(path: str) -> bool:
    parts = PurePosixPath(path)
    return parts.is_absolute() or ".." in parts.parts or "\0" in path or path.startswith("\\\\")
