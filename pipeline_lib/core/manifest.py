"""What was found in the raw folder of a plate: which file holds which plane of which field."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from itertools import starmap

_VERSION = 1


@dataclass(frozen=True, slots=True)
class ImageFile:
    """One file of a plate. `field`, `time` and `z` are ranks among those of the plate, from 0."""

    well: str
    field: int
    channel: str
    time: int
    z: int
    path: str
    """Relative to the plate's raw folder, with forward slashes."""


@dataclass(frozen=True)
class Manifest:
    """The files of one plate, in the order well (row by row), field, channel, time, z."""

    plate: str
    folder: str
    format: str
    channels: tuple[str, ...]
    """The vendor's channel ids, sorted: numbers by value and before names."""
    rows: int
    columns: int
    files: tuple[ImageFile, ...]
    missing: tuple[str, ...] = ()
    """Wells which the vendor's index file announces and which have no file."""
    directories: tuple[tuple[str, int], ...] = ()
    """(path relative to `folder`, modification time in ns) of each directory read: they change with their content."""
    channel_names: Mapping[str, str] = field(default_factory=dict)
    """Channel id -> the name in the vendor's index file; empty without one."""
    pattern: str = ""
    """The expression the files were found with; only the format `pattern` uses it."""

    @property
    def wells(self) -> tuple[str, ...]:
        """Wells with at least one file, row by row."""
        return tuple(dict.fromkeys(file.well for file in self.files))

    def of_well(self, well: str) -> tuple[ImageFile, ...]:
        """The files of one well; none for a well without any."""
        return tuple(file for file in self.files if file.well == well)

    def to_json(self) -> str:
        """Compact JSON. Files are stored by column, which parses several times faster than one object per file."""
        content = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        content["channel_names"] = dict(self.channel_names)
        content["files"] = {
            entry.name: [getattr(file, entry.name) for file in self.files] for entry in fields(ImageFile)
        }
        return json.dumps({"version": _VERSION, **content}, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Manifest:
        """The manifest `to_json` wrote.

        Raises:
            ValueError: Not JSON, not a manifest, or one of another version.
        """
        try:
            content = json.loads(text)
            version = content.pop("version")
            if version != _VERSION:
                raise ValueError(f"version {version}, this code reads version {_VERSION}")
            columns = [content["files"][entry.name] for entry in fields(ImageFile)]
            content["files"] = tuple(starmap(ImageFile, zip(*columns, strict=True)))
            content["directories"] = tuple((path, time) for path, time in content["directories"])
            return cls(**content | {name: tuple(content[name]) for name in ("channels", "missing")})
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(
                f"not a manifest ({error}): delete it, and it is made again from the raw folder"
            ) from error
