"""The sections of the stages that work on a plate."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from pipeline_lib.core.catalogue import DEFAULT_MODEL
from pipeline_lib.core.platemap import PlateMapColumns
from pipeline_lib.settings.base import NetworkSection, Percentiles, Section, check_percentiles, later, scheduling
from pipeline_lib.settings.restore import Images


class NetworkLabels(Section):
    """A label image made by a Cellpose-architecture network."""

    method: Literal["network"] = "network"
    weights: str = Field(DEFAULT_MODEL, description="Name of a shipped or cached model, or a path")
    channels: tuple[str, ...] = Field(
        ("DNA",), min_length=1, max_length=2, description="Channel to segment, and optionally the nuclei channel"
    )
    diameter: PositiveFloat | None = Field(
        None, description="Object diameter in pixels; by default estimated once per plate"
    )
    cellprob_threshold: float = Field(0.0, description="Pixels with a cell logit above this are foreground")
    flow_threshold: float | None = Field(
        0.4, description="Largest mean squared flow error of an object; null: no check"
    )
    min_size: int = Field(15, description="Objects with fewer pixels are removed")
    enclosed: Literal["absorb", "keep"] = Field(
        "absorb", description="What becomes of an object that lies inside another: part of it, or an object of its own"
    )
    niter: PositiveInt | None = Field(
        None, description="Steps along the flow; null: 200, in proportion more for large objects. Long cells need more"
    )


class GrowLabels(Section):
    """Cells grown from the nuclei by a seeded watershed, for plates whose cells no model covers."""

    method: Literal["grow"] = "grow"
    channel: str | None = Field(None, description="Channel whose light guides the borders; null: nearest nucleus")
    distance: PositiveFloat = Field(12.0, description="Farthest a cell reaches from its nucleus, in pixels")
    threshold: float | Literal["otsu"] | None = Field(
        None, description="Cells end where the channel falls below this value; null: only distance limits them"
    )

    @model_validator(mode="after")
    def _visible(self) -> GrowLabels:
        if self.threshold is not None and self.channel is None:
            raise ValueError(
                f"threshold {self.threshold} needs a channel to look at; name one or set threshold to null"
            )
        return self


class LabelSettings(Section):
    """The label images and how each is made. Nucleus, cell and cytoplasm of one cell share one id."""

    nuclei: NetworkLabels | None = Field(NetworkLabels(), description="null: no nuclei")
    cells: Annotated[NetworkLabels | GrowLabels, Field(discriminator="method")] | None = Field(
        GrowLabels(), description="method network or grow; null: no cells"
    )
    cytoplasm_gap: int = Field(
        1, ge=0, le=50, description="Pixels left out between nucleus and cytoplasm, where nuclear light spills over"
    )
    cytoplasm_reach: PositiveFloat | None = Field(
        None,
        le=500,
        description="Cytoplasm ends this many pixels from its nucleus, as a ring; null: at the outline of the cell",
    )

    @model_validator(mode="after")
    def _makeable(self) -> LabelSettings:
        reach, gap = self.cytoplasm_reach, self.cytoplasm_gap
        if reach is not None and reach <= gap:
            raise ValueError(f"segment.labels: cytoplasm_reach {reach:g} leaves nothing beyond cytoplasm_gap {gap}")
        if self.nuclei is None and self.cells is None:
            raise ValueError("segment.labels: nuclei and cells are both null; name at least one label image")
        if self.nuclei is None and isinstance(self.cells, GrowLabels):
            raise ValueError("segment.labels.cells: method grow starts from nuclei, which are null; use method network")
        return self

    def networks(self) -> dict[str, NetworkLabels]:
        """Label image name -> settings, for those a network makes."""
        named = {"nuclei": self.nuclei, "cells": self.cells}
        return {name: made for name, made in named.items() if isinstance(made, NetworkLabels)}

    def weights(self) -> dict[str, str]:
        """Label image -> the weights its network is named by."""
        return {name: made.weights for name, made in self.networks().items()}

    def segmented(self) -> dict[str, str]:
        """Label image -> the channel its network segments."""
        return {name: made.channels[0] for name, made in self.networks().items()}

    def channel_names(self) -> set[str]:
        """Every channel the label images are made from."""
        used = {name for made in self.networks().values() for name in made.channels}
        if isinstance(self.cells, GrowLabels) and self.cells.channel is not None:
            used.add(self.cells.channel)
        return used


class SegmentSettings(NetworkSection):
    """Images to label images."""

    scaling: Literal["field", "plate"] = Field(
        "plate", description="Which pixels the intensity percentiles are taken over; with plate, empty wells stay empty"
    )
    percentiles: Percentiles = Field((1.0, 99.0), description="Intensities brought to 0 and 1 before the network")
    images: Images = later("raw", "What the networks read: raw, or restored (section `restore`)")
    calibration_wells: PositiveInt = Field(8, description="Wells the object diameter is estimated on")
    labels: LabelSettings = LabelSettings()

    @model_validator(mode="after")
    def _ordered(self) -> SegmentSettings:
        check_percentiles("segment.percentiles", self.percentiles)
        return self


FeatureGroup = Literal["shape", "intensity", "radial", "texture", "granularity", "correlation"]


class MeasureSettings(Section):
    """Intensities and labels to one row per cell."""

    wells_per_job: PositiveInt = scheduling(16, "Wells that one job measures")
    features: tuple[FeatureGroup, ...] = Field(
        ("shape", "intensity", "radial"),
        min_length=1,
        description="Groups of features, per object and channel, or pair of channels",
    )
    images: Images = later("raw", "Whose intensities are measured: raw, or restored (section `restore`)")


class AggregateSettings(Section):
    """Cells to wells: which columns of the plate map say what."""

    control: str = Field("role", description="Plate-map column that names the controls")
    negative: tuple[str, ...] = Field(("negative",), description="Its values for negative controls; []: there are none")
    positive: tuple[str, ...] = Field(("positive",), description="Its values for positive controls; []: there are none")
    dose: str = Field("dose", description="Plate-map column with doses")
    compound: str = Field("compound", description="Plate-map column with compound names")
    responders: tuple[str, ...] = Field(
        (),
        description="Features, as named in the tables of cells: each well also gets the share of its cells that lie on "
        "the positive controls' side of half way between the controls, as `<feature>_Responders`",
    )

    def plate_map_columns(self) -> PlateMapColumns:
        """The same choice as a plate map understands it."""
        return PlateMapColumns(**self.model_dump(exclude={"responders"}))


class ReportSettings(Section):
    """The plate report."""

    feature: str | None = Field(None, description="Feature shown first; by default the one with the best Z'")
    thumbnail_size: int = Field(320, ge=32, le=1024, description="Longest side of a well's picture, in pixels")
