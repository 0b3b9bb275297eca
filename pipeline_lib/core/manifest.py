"""What was found in the raw folder of a plate: which file holds which plane of which field, and what an index says."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from itertools import starmap
from typing import Any

_VERSION = 2

Position = tuple[float, float]
"""(y, x) of the middle of a field, in micrometres and in the directions of the image: y grows downwards.

Where 0 is, is the microscope's choice, but the same for the fields of a well.
"""


@dataclass(frozen=True, slots=True)
class ImageFile:
    """One file of a plate, or a page of one. `field`, `time` and `z` are ranks among those of the plate, from 0."""

    well: str
    field: int
    channel: str
    time: int
    z: int
    path: str
    """Relative to the plate's raw folder, with forward slashes."""
    page: int | None = None
    """Which page of the file, from 0; None: all its pages, which then are planes from `z` on."""


@dataclass(frozen=True, slots=True)
class ChannelFacts:
    """What an index file says of a channel; None: it does not say."""

    name: str | None = None
    excitation_nm: float | None = None
    emission_nm: float | None = None
    exposure_ms: float | None = None


@dataclass(frozen=True, slots=True)
class PlateFacts:
    """What an index file says of the whole measurement; None: it does not say."""

    pixel_size: float | None = None
    """Micrometres; pixels are square."""
    z_step: float | None = None
    """Micrometres between planes."""
    time_step: float | None = None
    """Seconds between time points."""
    magnification: float | None = None
    numerical_aperture: float | None = None
    plate_type: str | None = None
    acquired: str | None = None
    """When it began, as ISO 8601 date and time."""
    instrument: str | None = None


@dataclass(frozen=True, slots=True)
class Profile:
    """How unevenly the microscope lights a channel, as its own software measured it: a polynomial, or image files.

    A polynomial's value at pixel (y, x) is the sum of `coefficients[n][k] * u**(n - k) * v**k` with
    u = (x - origin[1]) * scale[1] and v = (y - origin[0]) * scale[0].
    """

    coefficients: tuple[tuple[float, ...], ...] = ()
    origin: Position = (0.0, 0.0)
    scale: Position = (1.0, 1.0)
    flat: str = ""
    """File of the bright field, relative to the plate's raw folder."""
    dark: str = ""
    """File of what the camera sees without light."""


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
    pattern: str = ""
    """The expression the files were found with; only the format `pattern` uses it."""
    channel_facts: Mapping[str, ChannelFacts] = field(default_factory=dict)
    """Channel id -> what the vendor's index file says of it; empty without one."""
    facts: PlateFacts = PlateFacts()
    positions: Mapping[str, Mapping[int, Position]] = field(default_factory=dict)
    """Well -> field -> where it lies; empty where no index file says."""
    faulty: Mapping[str, str] = field(default_factory=dict)
    """Well -> why its images are no good, as the vendor's own index says."""
    profiles: Mapping[str, Profile] = field(default_factory=dict)
    """Channel id -> the vendor's own illumination profile."""

    @property
    def wells(self) -> tuple[str, ...]:
        """Wells with at least one file, row by row."""
        return tuple(dict.fromkeys(file.well for file in self.files))

    @property
    def channel_names(self) -> dict[str, str]:
        """Channel id -> the name in the vendor's index file, where it has one."""
        return {channel: facts.name for channel, facts in self.channel_facts.items() if facts.name}

    def of_well(self, well: str) -> tuple[ImageFile, ...]:
        """The files of one well; none for a well without any."""
        return tuple(file for file in self.files if file.well == well)

    def first_files(self, well: str) -> dict[int, ImageFile]:
        """Field -> the first of its files, of one well."""
        return {file.field: file for file in reversed(self.of_well(well))}

    def to_json(self) -> str:
        """Compact JSON. Files are stored by column, which parses several times faster than one object per file."""
        content = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        content["files"] = {
            entry.name: [getattr(file, entry.name) for file in self.files] for entry in fields(ImageFile)
        }
        content["facts"] = asdict(self.facts)
        for name in ("channel_facts", "profiles"):
            content[name] = {channel: asdict(told) for channel, told in content[name].items()}
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
            return cls(**content | _of_json(content))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(
                f"not a manifest ({error}): delete it, and it is made again from the raw folder"
            ) from error


def _of_json(content: Mapping[str, Any]) -> dict[str, Any]:
    """The parts of a manifest that JSON does not give back as they were."""
    columns = [content["files"][entry.name] for entry in fields(ImageFile)]
    return {
        "files": tuple(starmap(ImageFile, zip(*columns, strict=True))),
        "directories": tuple((path, time) for path, time in content["directories"]),
        "channels": tuple(content["channels"]),
        "missing": tuple(content["missing"]),
        "channel_facts": {channel: ChannelFacts(**told) for channel, told in content["channel_facts"].items()},
        "facts": PlateFacts(**content["facts"]),
        "positions": {
            well: {int(number): (y, x) for number, (y, x) in places.items()}
            for well, places in content["positions"].items()
        },
        "profiles": {channel: _profile(told) for channel, told in content["profiles"].items()},
    }


def _profile(told: Mapping[str, Any]) -> Profile:
    coefficients = tuple(tuple(row) for row in told["coefficients"])
    (y, x), (scale_y, scale_x) = told["origin"], told["scale"]
    return Profile(coefficients, (y, x), (scale_y, scale_x), told["flat"], told["dark"])
