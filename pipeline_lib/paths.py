"""Every file name of a run, as pure functions: rules and stages ask here, and nothing here touches a disk."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pipeline_lib.core.wells import row_column, well_name

BATCH_STAGES = ("ingest", "segment", "measure")
PLATE_STAGES = ("skeleton", "complete", "calibrate", "aggregate", "report")
WHOLE_PLATE = "plate"  # the batch name of stages that treat a plate as one
HISTOGRAMS = "histograms"  # array beside the fields of a well


@dataclass(frozen=True)
class PlatePaths:
    """Where everything of one plate lies, below `folder` = `<results>/<plate>`."""

    folder: Path

    @property
    def manifest(self) -> Path:
        return self.folder / "manifest.json"

    @property
    def calibration(self) -> Path:
        return self.folder / "calibration.json"

    @property
    def raw(self) -> Path:
        return self.folder / "raw.ome.zarr"

    @property
    def wells_parquet(self) -> Path:
        return self.folder / "wells.parquet"

    @property
    def wells_csv(self) -> Path:
        return self.folder / "wells.csv"

    @property
    def profiles(self) -> Path:
        return self.folder / "profiles.parquet"

    @property
    def z_prime(self) -> Path:
        return self.folder / "zprime.csv"

    @property
    def report(self) -> Path:
        return self.folder / "report.html"

    @property
    def results(self) -> tuple[Path, ...]:
        """What people read."""
        return (self.wells_parquet, self.wells_csv, self.profiles, self.z_prime, self.report)

    def cells(self, well: str) -> Path:
        """The cell table of one well."""
        return self.folder / "cells" / f"{well}.parquet"

    def records(self, stage: str) -> Path:
        """The folder with the records of a stage."""
        return self.folder / "records" / stage

    def record(self, stage: str, batch: str) -> Path:
        """The record of one job: its Snakemake output."""
        return self.records(stage) / f"{batch}.json"

    def raw_well(self, well: str) -> Path:
        """The group of one well in the raw plate."""
        return self.raw / well_path(well)


def well_path(well: str) -> str:
    """`B03` -> `B/03`, the path of a well inside an OME-Zarr plate."""
    row, column = row_column(well)
    name = well_name(row, column)
    return f"{name.rstrip('0123456789')}/{column + 1:02d}"


def labels_path(field: int) -> str:
    """The group of label images of a field, inside its well."""
    return f"{field}/labels"
