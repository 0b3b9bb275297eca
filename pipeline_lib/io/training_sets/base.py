"""What the formats of training sets share: how a set is named, what was found of it, and how trouble is told."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pipeline_lib.core.labelled import Labelled


class TrainingSetError(ValueError):
    """A training set that cannot be used. The message names the files, what was found, and what to do."""


@dataclass(frozen=True)
class SetSource:
    """What a line of the config says of one training set.

    Attributes:
        format: One of `FORMATS`.
        folder: Of its images; of an OME-Zarr plate; the file itself, for `tissuenet`.
        channels: What to segment, then the nuclei: names, or numbers from 1, so that red is 1; 0 is the mean of all
            channels, or no nuclei. Empty: the one channel there is, both of two, the mean of colours. As in Cellpose,
            an image of one channel is that channel, whatever numbers are given.
        labels: Which truth, where there may be several: the label image of a plate (else `cells`, and `nuclei` where
            there are none), `cells` (else) or `nuclei` of `tissuenet`, the annotation file of `livecell`.
    """

    format: str
    folder: Path
    channels: tuple[int | str, ...] = ()
    labels: str = ""


@dataclass(frozen=True)
class Found:
    """What is there of a set, before any pixel is decoded."""

    count: int
    read: Callable[[], Iterator[Labelled]]


def some_of(names: list[str]) -> str:
    """The first few of what was found instead, for a message."""
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "") if names else "nothing"
