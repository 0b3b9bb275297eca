"""The sections of training: sets of images with truth, and how a network learns from them."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from pipeline_lib.settings.base import Section, scheduling

DRAWN_LABELS = ("", "cells", "nuclei")


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


class LearningSettings(Section):
    """What every training is told, whatever its network is to do.

    section: its name in the config. last_plateaus: of the schedule cyto3, when the rate is first halved and how long it
    then stays, as shares of the training: the last 100 of 5000 epochs, ten times.
    """

    section: ClassVar[str] = "train"
    last_plateaus: ClassVar[tuple[float, float]] = (0.98, 0.002)

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
    seed: int = Field(0, ge=0, description="Source of chance")
    validate_every: PositiveFloat = scheduling(10, "Minutes of training between validations")
    validation_images: PositiveInt = scheduling(24, "Images of each validation set that are tried")
    channels_last: bool | None = scheduling(
        None, "Memory layout with channels last; null: on processors and with bfloat16, where it is faster"
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
    def _drawable(self) -> LearningSettings:
        names = [one.name for one in self.sets]
        weighted = [one.name for one in self.sets if one.weight is not None]
        faults = [f"sets: two are called {name}" for name in sorted({n for n in names if names.count(n) > 1})]
        if weighted and len(weighted) < len(names):
            faults.append(f"sets: only {', '.join(weighted)} have a weight; give one to all sets, or to none")
        if faults:
            raise ValueError("; ".join(faults))
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


class TrainSettings(LearningSettings):
    """Images with truth to the weights of a network that finds objects."""

    augment: AugmentSettings = AugmentSettings()
    size_draws: int | None = Field(
        None,
        ge=0,
        description="Crops that the size model is fitted to; null: 40 for each image, at most 2000; 0: no size model",
    )
