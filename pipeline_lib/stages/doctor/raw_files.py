"""Headers of all raw files of a plate: which are missing, empty, cut off, unreadable or of an unusual number type."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial

from pipeline_lib.core.errors import DataTrouble
from pipeline_lib.core.manifest import ImageFile, Manifest
from pipeline_lib.io.raw_images import describe_image, path_of
from pipeline_lib.io.vendors import ImageInfo

AT_ONCE = 16  # files; what takes time is waiting for a file server
WIDE = ("uint32", "int32", "float32")
BAD = ("missing", "empty", "truncated", "unreadable")


@dataclass(frozen=True)
class RawFile:
    """One file. kind: good, 32-bit, or one of `BAD`. info: of files that are not bad. told: what was wrong."""

    file: ImageFile
    kind: str
    info: ImageInfo | None = None
    told: str = ""


def look_at_files(manifest: Manifest) -> list[RawFile]:
    """All files of a plate in its order; no pixels are decoded.

    Raises:
        OSError: The disk or network failed, which says nothing about a file.
    """
    some = {file.path: file for file in manifest.files}  # a file of many pages is looked at once
    with ThreadPoolExecutor(AT_ONCE) as threads:
        looked = dict(zip(some, threads.map(partial(_look, manifest), some.values()), strict=True))
    return [replace(looked[file.path], file=file) for file in manifest.files]


def _look(manifest: Manifest, file: ImageFile) -> RawFile:
    path = path_of(manifest, file)
    try:
        if not path.stat().st_size:
            return RawFile(file, "empty", told="0 bytes")
        info = describe_image(manifest, file)
    except (FileNotFoundError, NotADirectoryError) as error:
        return RawFile(file, "missing", told=str(error.strerror))
    except DataTrouble as error:
        told = str(error).removeprefix(f"{path}: ")
        return RawFile(file, "truncated" if "cut off" in told else "unreadable", told=told)
    return RawFile(file, "32-bit" if info.dtype in WIDE else "good", info)


def lacking_planes(manifest: Manifest) -> Iterator[str]:
    """Wells that lack a plane or time point which others have in every field: their files are not there at all."""
    planes = {(file.channel, file.z) for file in manifest.files}
    times = {file.time for file in manifest.files}
    found: dict[str, dict[int, int]] = {}
    for file in manifest.files:
        fields = found.setdefault(file.well, {})
        fields[file.field] = fields.get(file.field, 0) + 1
    whole = len(planes) * len(times)
    return (well for well, fields in found.items() if any(count < whole for count in fields.values()))
