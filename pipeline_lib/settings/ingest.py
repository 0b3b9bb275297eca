"""The section of `ingest`: from the microscope's own files to one OME-Zarr plate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field, PositiveFloat, PositiveInt

from pipeline_lib.core.wells import PLATE_FORMATS
from pipeline_lib.settings.base import Section, later, scheduling

SYNTHETIC_PATTERN = (
    r"(?<![A-Za-z0-9])(?P<well>[A-Z]{1,2}[0-9]{2})_s(?P<field>[0-9]+)_w(?P<channel>[A-Za-z0-9]+)\.tiff?$"
)


class ChannelSettings(Section):
    """How one channel of the microscope is called and shown."""

    name: str = Field(description="Name in the OME-Zarr plate and in feature columns, such as DNA or GFP")
    colour: str | None = Field(
        None, pattern="^[0-9A-Fa-f]{6}$", description="Display colour, RRGGBB; by default from wavelength or name"
    )


class IlluminationSettings(Section):
    """Uneven light, taken out of the images while they are ingested, if that is asked for."""

    method: Literal["none", "estimated", "vendor"] = Field(
        "none",
        description="estimated: flat and dark field from the plate's own fields; vendor: the microscope's own "
        "profiles; none: images stay as they are",
    )
    fields: int = Field(60, ge=3, description="Fields per channel, spread over the plate, that the estimate looks at")
    dark: float | None = Field(None, ge=0, description="Counts without light; null: estimated with the flat field")

    @property
    def is_on(self) -> bool:
        """Whether images are corrected."""
        return self.method != "none"


class IngestSettings(Section):
    """Raw vendor files to one OME-Zarr plate."""

    wells_per_job: PositiveInt = scheduling(24, "Wells that one job converts")
    pattern: str = Field(
        SYNTHETIC_PATTERN,
        description="Format `pattern`: regular expression over relative paths with the named groups well (or row and "
        "column), channel, and optionally field, z, time",
    )
    projection: Literal["max", "mean", "focus", "focus_stack", "keep"] | PositiveInt = Field(
        "max",
        description="Z planes: their brightest value, their mean, the sharpest one, the sharpest one at each place, "
        "all of them, or the number of one plane, counted from 1",
    )
    plate_format: Literal[6, 12, 24, 48, 96, 384, 1536] | None = Field(
        None, description="Wells of the plate; by default as the index file says, or the smallest that holds the images"
    )
    channels: dict[str, ChannelSettings] = Field(
        default_factory=dict, description="Channel id in the raw files -> name and colour"
    )
    pixel_size: PositiveFloat | None = Field(
        None, description="Micrometres per pixel; by default what the raw files say"
    )
    illumination: IlluminationSettings = later(IlluminationSettings(), "Uneven light")

    def plate_shape(self, found: tuple[int, int]) -> tuple[int, int]:
        """(rows, columns) of the plate; `found`: those of the manifest."""
        return PLATE_FORMATS[self.plate_format] if self.plate_format else found

    def channel_name(self, channel: str, indexed: Mapping[str, str]) -> str:
        """What the channel with this id is called: as chosen here, else as the index file says, else by its id."""
        if channel in self.channels:
            return self.channels[channel].name
        return indexed.get(channel) or (f"Channel{channel}" if channel.isdigit() else channel)
