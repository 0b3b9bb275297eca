"""Every choice a user can make, once: defaults, help text, JSON schema and `config/config.yaml` all come from here.

One frozen section per stage. A section's `identity` is what decides whether work is current: everything but the
fields that only say how the work is scheduled (`wells_per_job`, `device`, ...).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, model_validator

from pipeline_lib.core.catalogue import DEFAULT_MODEL
from pipeline_lib.core.platemap import PlateMapColumns
from pipeline_lib.core.wells import PLATE_FORMATS

SYNTHETIC_PATTERN = (
    r"(?<![A-Za-z0-9])(?P<well>[A-Z]{1,2}[0-9]{2})_s(?P<field>[0-9]+)_w(?P<channel>[A-Za-z0-9]+)\.tiff?$"
)
DRAWN_LABELS = ("", "cells", "nuclei")
Percentiles = tuple[float, float]


def scheduling(default: object, description: str, pattern: str | None = None) -> Any:
    """A field that changes where or in which portions work runs, but not what it computes."""
    return Field(default, description=description, pattern=pattern, json_schema_extra={"scheduling": True})


class Section(BaseModel):
    """Frozen settings that know their own identity. Unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def identity(self) -> dict[str, Any]:
        """The settings that change a result, as plain JSON values."""
        skipped = {
            name
            for name, field in type(self).model_fields.items()
            if isinstance(field.json_schema_extra, dict) and field.json_schema_extra.get("scheduling")
        }
        return self.model_dump(mode="json", exclude=skipped)

    def to_json(self) -> str:
        """The whole section as one line of JSON, keys sorted: the form in which rules hand it to a stage."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=True)


class ChannelSettings(Section):
    """How one channel of the microscope is called and shown."""

    name: str = Field(description="Name in the OME-Zarr plate and in feature columns, such as DNA or GFP")
    colour: str | None = Field(
        None, pattern="^[0-9A-Fa-f]{6}$", description="Display colour, RRGGBB; by default from wavelength or name"
    )


class IngestSettings(Section):
    """Raw vendor files to one OME-Zarr plate."""

    wells_per_job: PositiveInt = scheduling(24, "Wells that one job converts")
    pattern: str = Field(
        SYNTHETIC_PATTERN,
        description="Format `pattern`: regular expression over relative paths with the named groups well (or row and "
        "column), channel, and optionally field, z, time",
    )
    projection: Literal["max", "keep"] = Field("max", description="Z planes: maximum projection, or keep them all")
    plate_format: Literal[6, 12, 24, 48, 96, 384, 1536] | None = Field(
        None, description="Wells of the plate; by default as the index file says, or the smallest that holds the images"
    )
    channels: dict[str, ChannelSettings] = Field(
        default_factory=dict, description="Channel id in the raw files -> name and colour"
    )
    pixel_size: PositiveFloat | None = Field(
        None, description="Micrometres per pixel; by default what the raw files say"
    )

    def plate_shape(self, found: tuple[int, int]) -> tuple[int, int]:
        """(rows, columns) of the plate; `found`: those of the manifest."""
        return PLATE_FORMATS[self.plate_format] if self.plate_format else found

    def channel_name(self, channel: str, indexed: Mapping[str, str]) -> str:
        """What the channel with this id is called: as chosen here, else as the index file says, else by its id."""
        if channel in self.channels:
            return self.channels[channel].name
        return indexed.get(channel) or (f"Channel{channel}" if channel.isdigit() else channel)


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

    def channel_names(self) -> set[str]:
        """Every channel the label images are made from."""
        used = {name for made in self.networks().values() for name in made.channels}
        if isinstance(self.cells, GrowLabels) and self.cells.channel is not None:
            used.add(self.cells.channel)
        return used


class SegmentSettings(Section):
    """Images to label images."""

    wells_per_job: PositiveInt = scheduling(48, "Wells that one job segments: the network is loaded once per job")
    device: str = scheduling("auto", "auto, cpu, cuda or cuda:N", pattern=r"^(auto|cpu|cuda(:[0-9]+)?)$")
    batch_size: PositiveInt | None = scheduling(
        None, "Tiles that go through the network at once; null: 2 on a processor, 32 on a GPU"
    )
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="auto: bfloat16 where the processor or GPU computes in it, else float32"
    )
    scaling: Literal["field", "plate"] = Field(
        "plate", description="Which pixels the intensity percentiles are taken over; with plate, empty wells stay empty"
    )
    percentiles: Percentiles = Field((1.0, 99.0), description="Intensities brought to 0 and 1 before the network")
    calibration_wells: PositiveInt = Field(8, description="Wells the object diameter is estimated on")
    labels: LabelSettings = LabelSettings()

    @model_validator(mode="after")
    def _ordered(self) -> SegmentSettings:
        low, high = self.percentiles
        if not 0 <= low < high <= 100:
            raise ValueError(f"segment.percentiles: {low}, {high} found; 0 <= low < high <= 100 is allowed")
        return self


FeatureGroup = Literal["shape", "intensity", "radial", "texture", "granularity", "correlation"]


class MeasureSettings(Section):
    """Raw intensities and labels to one row per cell."""

    wells_per_job: PositiveInt = scheduling(16, "Wells that one job measures")
    features: tuple[FeatureGroup, ...] = Field(
        ("shape", "intensity", "radial"),
        min_length=1,
        description="Groups of features, per object and channel, or pair of channels",
    )


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


class TrainingSet(Section):
    """One set of images with truth."""

    name: str = Field(description="By which the set is called in tables and plots")
    format: Literal["pairs", "plate", "tissuenet", "livecell", "omnipose", "yeaz", "deepbacs", "synthetic"] = Field(
        "pairs", description="Layout of its files; synthetic: drawn by this software, see `fields` and `seed`"
    )
    folder: str = Field("", description="Where its files are")
    channels: tuple[int | str, ...] = Field(
        (),
        max_length=2,
        description="Channel to segment, and optionally the nuclei: numbers from 1, 0 for the mean of "
        "all or for none; names for plates; []: as the images suggest",
    )
    labels: str = Field(
        "", description="Label image of a plate, or nuclei or cells of a synthetic set; by default cells"
    )
    weight: PositiveFloat | None = Field(
        None,
        description="Share of the draws, relative to other sets; null for all: 59 % for cyto2, the rest by the "
        "square roots of the numbers of images",
    )
    licence: str = Field("", description="Of the images, and where they are from: for the model card")
    diameter: PositiveFloat | None = Field(
        None, description="Expected object diameter in pixels, for images without objects; null: the set's median"
    )
    fields: PositiveInt = Field(400, description="Synthetic: how many fields are drawn")
    size: PositiveInt = Field(320, description="Synthetic: pixels along each side of a field")
    seed: int = Field(0, ge=0, description="Synthetic: source of chance")

    @model_validator(mode="after")
    def _somewhere(self) -> TrainingSet:
        if (self.format == "synthetic") == bool(self.folder):
            raise ValueError(
                f"set {self.name}: format {self.format} with folder {self.folder!r}; every format but "
                "synthetic needs a folder"
            )
        if self.format == "synthetic" and self.labels not in DRAWN_LABELS:
            raise ValueError(
                f"set {self.name}: labels {self.labels!r}; drawn images have {' or '.join(DRAWN_LABELS[1:])}"
            )
        return self


class AugmentSettings(Section):
    """How training images are varied. Probabilities are per image and draw; 0 switches a variation off."""

    scale_range: float = Field(0.5, ge=0, lt=2, description="Width of the range of sizes around the network's own")
    contrast: float = Field(0.5, ge=0, le=1, description="Probability of another exponent, gain and offset")
    noise: float = Field(0.3, ge=0, le=1, description="Probability of added noise")
    blur: float = Field(0.25, ge=0, le=1, description="Probability of added blur")
    inversion: float = Field(
        0.1, ge=0, le=1, description="Probability of dark objects on bright ground, or the reverse"
    )
    drop_nuclei: float = Field(0.25, ge=0, le=1, description="Probability that the second channel is left out")


class TrainSettings(Section):
    """Images with truth to weights."""

    name: str = scheduling(
        "my-model",
        "Of the weights; `snakemake train` writes them to `<results>/models/<name>`",
        pattern="^[A-Za-z0-9][A-Za-z0-9_.-]*$",
    )
    sets: tuple[TrainingSet, ...] = Field((), description="What is learnt from")
    validation: tuple[TrainingSet, ...] = scheduling((), "What the weights are tried on meanwhile")
    start: str | tuple[str, ...] | None = Field(
        None, description="Weights to start from: a model name or path, or several, whose mean it is; null: chance"
    )
    diam_mean: PositiveFloat | None = Field(
        None, description="Object diameter in pixels the network works at; null: that of `start`, or 30"
    )
    steps: int = Field(
        20000,
        ge=0,
        description="Optimiser steps; `minutes` may end the training before; 0: the start as it is, with a size model",
    )
    minutes: PositiveFloat | None = Field(
        None,
        description="Time to train for, loading and validation left out; the schedule follows whichever is over first",
    )
    batch_size: PositiveInt = Field(8, description="Crops per step")
    crop: PositiveInt = Field(224, multiple_of=16, description="Pixels along each side of a crop")
    learning_rate: PositiveFloat = Field(1e-3, description="Highest learning rate of AdamW")
    weight_decay: float = Field(1e-5, ge=0, description="Of AdamW")
    schedule: Literal["cosine", "cyto3", "constant"] = Field("cosine", description="How the learning rate falls")
    warm_up: float = Field(0.02, ge=0, lt=1, description="Share of the training in which the learning rate rises")
    average: float = Field(0.999, ge=0, lt=1, description="Memory of the running average of the weights; 0: none")
    augment: AugmentSettings = AugmentSettings()
    seed: int = Field(0, ge=0, description="Source of chance")
    validate_every: PositiveFloat = scheduling(10, "Minutes of training between validations")
    size_draws: int = Field(2000, ge=0, description="Crops that the size model is fitted to; 0: no size model")
    validation_images: PositiveInt = scheduling(24, "Images of each validation set that are tried")
    channels_last: bool | None = scheduling(
        None, "Memory layout with channels last; null: with bfloat16, where it is faster"
    )
    precision: Literal["auto", "float32", "bfloat16"] = scheduling(
        "auto", "auto: bfloat16 where the processor or GPU computes in it, else float32"
    )
    device: str = scheduling("auto", "auto, cpu, cuda or cuda:N", pattern=r"^(auto|cpu|cuda(:[0-9]+)?)$")

    @property
    def starts(self) -> tuple[str, ...]:
        """The weights whose mean is the start; none: chance."""
        return (self.start,) if isinstance(self.start, str) else self.start or ()

    @model_validator(mode="after")
    def _drawable(self) -> TrainSettings:
        names = [one.name for one in self.sets]
        weighted = [one.name for one in self.sets if one.weight is not None]
        faults = [f"sets: two are called {name}" for name in sorted({n for n in names if names.count(n) > 1})]
        if weighted and len(weighted) < len(names):
            faults.append(f"sets: only {', '.join(weighted)} have a weight; give one to all sets, or to none")
        if faults:
            raise ValueError("; ".join(faults))
        return self


class Settings(Section):
    """The whole of `config/config.yaml`."""

    plates: str = Field("config/plates.tsv", description="The plate sheet: id, folder, format, plate_map, overrides")
    results: str = Field("results", description="Where everything is written")
    analysis: str | None = Field(
        None,
        pattern="^[A-Za-z0-9][A-Za-z0-9-]*$",
        description="Name of an analysis that stands beside the plain one and shares its ingested plate: its labels, "
        "tables and report leave those of the others alone",
    )
    retry_failed: bool = Field(
        default=False, description="Try quarantined wells again, and only those: `snakemake --config retry_failed=true`"
    )
    ingest: IngestSettings = IngestSettings()
    segment: SegmentSettings = SegmentSettings()
    measure: MeasureSettings = MeasureSettings()
    aggregate: AggregateSettings = AggregateSettings()
    report: ReportSettings = ReportSettings()
    train: TrainSettings = TrainSettings()


def sections(annotation: Any) -> list[type[Section]]:
    """The section classes that the annotation of a field names."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return [annotation]
    return [section for argument in getattr(annotation, "__args__", ()) for section in sections(argument)]
