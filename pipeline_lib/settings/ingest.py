"""The section of `ingest`: from the microscope's own files to one OME-Zarr plate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

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


class MontageSettings(Section):
    """How the fields of a well become one image, where `fields` is `montage`."""

    place: Literal["stage", "grid"] = Field(
        "stage", description="stage: fields lie where the microscope says; grid: in rows of `columns`, by their numbers"
    )
    columns: PositiveInt | None = Field(None, description="grid: fields of a row")
    overlap: float = Field(0.1, ge=0, le=0.5, description="grid: share of a side that neighbours have in common")
    order: Literal["rows", "snake"] = Field(
        "rows", description="grid: every row from left to right, or every second one from right to left"
    )
    channel: str | None = Field(None, description="Channel whose overlaps are compared; null: the first")
    largest_move: float = Field(
        50.0, ge=0, description="Pixels by which neighbours may be moved to fit each other; 0: they stay where they are"
    )

    @model_validator(mode="after")
    def _whole(self) -> MontageSettings:
        if self.place == "grid" and self.columns is None:
            raise ValueError("place grid needs columns, the number of fields of a row; or use place stage")
        return self


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
    fields: Literal["separate", "montage"] = later(
        "separate", "separate: each field is an image; montage: the fields of a well make one image, overlaps blended"
    )
    montage: MontageSettings = later(MontageSettings(), "How a montage is made")
    illumination: IlluminationSettings = later(IlluminationSettings(), "Uneven light")

    def plate_shape(self, found: tuple[int, int]) -> tuple[int, int]:
        """(rows, columns) of the plate; `found`: those of the manifest."""
        return PLATE_FORMATS[self.plate_format] if self.plate_format else found

    def channel_name(self, channel: str, indexed: Mapping[str, str]) -> str:
        """What the channel with this id is called: as chosen here, else as the index file says, else by its id."""
        if channel in self.channels:
            return self.channels[channel].name
        return indexed.get(channel) or (f"Channel{channel}" if channel.isdigit() else channel)
