"""The section of the training of networks that restore images."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, PositiveFloat

from pipeline_lib.core.catalogue import DEFAULT_MODEL
from pipeline_lib.settings.base import scheduling
from pipeline_lib.settings.training import LearningSettings


class RestorationTrainSettings(LearningSettings):
    """Images with truth to the weights of a network that restores images for a segmentation network.

    last_plateaus: the last 90 of 2000 epochs, nine times.
    """

    section: ClassVar[str] = "train_restoration"
    last_plateaus: ClassVar[tuple[float, float]] = (0.955, 0.005)

    name: str = scheduling(
        "my-restorer",
        "Of the weights; `snakemake train_restoration` writes them to `<results>/models/<name>`",
        pattern="^[A-Za-z0-9][A-Za-z0-9_.-]*$",
    )
    kind: Literal["denoise", "deblur", "upsample", "oneclick", "aniso"] = Field(
        "oneclick",
        description="What is done to the images that the network learns to restore; oneclick: the first three; aniso: "
        "blurred and sampled along y alone",
    )
    frozen: str = Field(
        DEFAULT_MODEL, description="The segmentation network it restores for: a model name or path; it learns nothing"
    )
    losses: Literal["per_seg", "per", "seg", "rec"] = Field(
        "per_seg",
        description="per: the frozen network's maps correlate as in the clean image; seg: it finds the true objects; "
        "rec: pixels equal the clean ones",
    )
    start: str | tuple[str, ...] | None = Field(
        None,
        description="Weights to start from: a model name or path, or several, whose mean it is; null: chance. Of a "
        "segmentation network all is taken but the second channel and the head",
    )
    diam_mean: PositiveFloat | None = Field(
        None, description="Object diameter in pixels the network works at; null: that of `frozen`"
    )
    steps: int = Field(
        20000, ge=0, description="Optimiser steps; `minutes` may end the training before; 0: the start as it is"
    )
