"""measure: intensities, raw ones unless told otherwise, and label images to one table of cells per well."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline_lib.core.wells import row_column
from pipeline_lib.features import measure_field
from pipeline_lib.io.commit import discard
from pipeline_lib.io.ngff import PlateInfo
from pipeline_lib.io.plate import fields_of, read_info, read_labels
from pipeline_lib.io.tables import table_fingerprint, write_table
from pipeline_lib.settings import MeasureSettings
from pipeline_lib.stages._images import WellImages, at_size
from pipeline_lib.stages._job import Job, make_current
from pipeline_lib.stages.segment import labels_fingerprint

METADATA = [
    "Metadata_Plate",
    "Metadata_Well",
    "Metadata_Row",
    "Metadata_Column",
    "Metadata_Field",
    "Metadata_Timepoint",
]


def measure(job: Job) -> None:
    """Make the cell tables of a batch of wells current."""
    assert isinstance(job.settings, MeasureSettings)
    make_current(job, Measure(job, job.settings))


@dataclass(frozen=True)
class Frame:
    """A field at a time point. image: (C, Y, X); labels: name -> (Y, X)."""

    well: str
    field: int
    time: int
    image: NDArray[Any]
    labels: dict[str, NDArray[np.uint32]]


@dataclass(frozen=True)
class Measure:
    """How the cells of one well are measured and their table committed."""

    job: Job
    settings: MeasureSettings

    @cached_property
    def info(self) -> PlateInfo:
        return read_info(self.job.plate.raw)

    @cached_property
    def images(self) -> WellImages:
        return WellImages(self.job.plate, self.settings.images)

    def wanted(self, well: str) -> str | None:
        labels = labels_fingerprint(self.job.plate, well)
        restored = {} if self.settings.images == "raw" else {"images": self.images.fingerprint(well)}
        return labels and self.job.fingerprint(labels=labels, **restored)

    def stored(self, well: str) -> str | None:
        return table_fingerprint(self.job.plate.cells(well))

    def discard(self, well: str) -> None:
        discard(self.job.plate.cells(well))

    def read(self, well: str) -> Iterator[Frame]:
        plate = self.job.plate
        for field, time in product(fields_of(plate.raw, well), range(self.info.times)):
            labels = read_labels(plate.raw, well, field, time, analysis=plate.analysis)
            image = at_size(self.images.read(well, field, time), self.info.shape)
            yield Frame(well, field, time, image, labels)

    def compute(self, piece: Frame) -> pd.DataFrame:
        measured = measure_field(piece.image, piece.labels, self.info.channel_names, self.settings.features)
        row, column = row_column(piece.well)
        place = [self.job.name, piece.well, row + 1, column + 1, piece.field, piece.time]
        told = pd.DataFrame([place] * len(measured), columns=METADATA).astype(
            {"Metadata_Plate": "string", "Metadata_Well": "string"} | dict.fromkeys(METADATA[2:], "int64")
        )
        return pd.concat([told, measured], axis=1)

    def commit(self, well: str, made: Iterable[pd.DataFrame], wanted: str) -> Mapping[str, Any]:
        frames = list(made)
        filled = [frame for frame in frames if len(frame)] or frames[:1]
        table = pd.concat(filled, ignore_index=True)
        write_table(table, self.job.plate.cells(well), self.job.provenance(wanted))
        return {"objects": len(table)}
