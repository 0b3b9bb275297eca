"""The section of `restore`: noisy, blurred or coarse images to clean ones, before segmentation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field, PositiveFloat, field_validator, model_validator

from pipeline_lib.core.catalogue import RESTORATION_MODELS
from pipeline_lib.settings.base import NetworkSection, Percentiles, Section, check_percentiles, scheduling

Images = Literal["raw", "restored"]


class ChannelRestoration(Section):
    """What is done to one channel."""

    kind: Literal["none", "denoise", "deblur", "upsample", "oneclick"] = Field(
        description="oneclick: noise, blur and coarse pixels in one; upsample enlarges the images; none: a copy"
    )
    weights: str | None = Field(
        None, description="Name of a shipped or cached restoration model, or a path; null: the shipped one of the kind"
    )
    diameter: PositiveFloat | Literal["nuclei", "cells"] | None = Field(
        None,
        description="Object diameter in pixels, or the label image whose diameter it is; null: that of the label image "
        "made from the channel, else the network's own",
    )

    @property
    def network(self) -> str | None:
        """The weights that are used; None where nothing is done."""
        return None if self.kind == "none" else self.weights or RESTORATION_MODELS[self.kind]


class RestoreSettings(NetworkSection):
    """Raw images to restored ones. Without a channel to restore the stage does not exist."""

    scaling: Literal["field", "well", "plate"] = Field(
        "plate", description="Which pixels the intensity percentiles are taken over"
    )
    percentiles: Percentiles = Field(
        (1.0, 99.0), description="Intensities brought to 0 and 1 before the network, and back after it"
    )
    keep: Literal[True, "temporary"] = scheduling(
        default=True,
        description="temporary: restored images are deleted once the plate is finished, and made again when needed",
    )
    channels: dict[str, ChannelRestoration] = Field(
        default_factory=dict, description="Channel -> what is done to it; all others are copied"
    )

    @field_validator("keep", mode="before")
    @classmethod
    def _typed(cls, value: object) -> object:
        """Inside a section on Snakemake's command line all values are text."""
        return True if value == "true" else value

    @model_validator(mode="after")
    def _ordered(self) -> RestoreSettings:
        check_percentiles("restore.percentiles", self.percentiles)
        return self

    @property
    def is_on(self) -> bool:
        """Whether there is anything to restore."""
        return bool(self.weights())

    def weights(self) -> dict[str, str]:
        """Channel -> the weights its network is named by, for those that are restored."""
        return {name: made.network for name, made in self.channels.items() if made.network is not None}

    def with_diameters(self, made_from: Mapping[str, str]) -> RestoreSettings:
        """The same, where channels without a diameter name the label image made from them.

        made_from: label image -> the channel that is segmented.
        """
        of_channel = {channel: label for label, channel in reversed(list(made_from.items()))}
        channels = {
            name: made.model_copy(update={"diameter": made.diameter or of_channel.get(name)})
            for name, made in self.channels.items()
        }
        return self.model_copy(update={"channels": channels})
