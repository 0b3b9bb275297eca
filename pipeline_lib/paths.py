"""Every file name of a run, as pure functions: rules and stages ask here, and nothing here touches a disk."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pipeline_lib.core.wells import row_column, well_name

BATCH_STAGES = ("ingest", "restore", "segment", "measure")
PLATE_STAGES = ("skeleton", "illuminate", "complete", "calibrate", "prepare", "aggregate", "report", "conclude")
RESTORING_STAGES = ("prepare", "restore", "conclude")  # only where a channel is restored
LIGHT_STAGES = ("illuminate",)  # only where images are corrected for uneven light
SHARED_STAGES = ("skeleton", "illuminate", "ingest", "complete")  # the same for all analyses of a plate
ANALYSES = "analyses"
WHOLE_PLATE = "plate"  # the batch name of stages that treat a plate as one
HISTOGRAMS = "histograms"  # array beside the fields of a well


def absent_stages(*, restored: bool, lit: bool) -> tuple[str, ...]:
    """The stages a plate does not have. restored: a channel of it is; lit: uneven light is taken out of its images."""
    return (*(() if restored else RESTORING_STAGES), *(() if lit else LIGHT_STAGES))


@dataclass(frozen=True)
class PlatePaths:
    """Where everything of one plate lies, below `folder` = `<results>/<plate>`.

    analysis: name of an analysis that stands beside the plain one, which has none. Raw wells are shared by all
    analyses; everything else of a named one lies in a folder of its own, and its label images carry its name.
    """

    folder: Path
    analysis: str = ""

    @property
    def home(self) -> Path:
        """The folder of this analysis."""
        return self.folder / ANALYSES / self.analysis if self.analysis else self.folder

    @property
    def manifest(self) -> Path:
        return self.folder / "manifest.json"

    @property
    def lock(self) -> Path:
        """Held by the run that works on the plate."""
        return self.folder / ".lock"

    @property
    def calibration(self) -> Path:
        return self.home / "calibration.json"

    @property
    def illumination(self) -> Path:
        """The folder that tells how unevenly each channel is lit."""
        return self.folder / "illumination"

    @property
    def raw(self) -> Path:
        return self.folder / "raw.ome.zarr"

    @property
    def restoration(self) -> Path:
        """What was chosen for the restoration of the plate."""
        return self.home / "restoration.json"

    @property
    def restored(self) -> Path:
        return self.home / "restored.ome.zarr"

    @property
    def fields(self) -> Path:
        """Where each field of the raw plate lies."""
        return self.folder / "fields.csv"

    @property
    def wells_parquet(self) -> Path:
        return self.home / "wells.parquet"

    @property
    def wells_csv(self) -> Path:
        return self.home / "wells.csv"

    @property
    def profiles(self) -> Path:
        return self.home / "profiles.parquet"

    @property
    def z_prime(self) -> Path:
        return self.home / "zprime.csv"

    @property
    def report(self) -> Path:
        return self.home / "report.html"

    @property
    def results(self) -> tuple[Path, ...]:
        """What people read."""
        return (self.wells_parquet, self.wells_csv, self.profiles, self.z_prime, self.report)

    def cells(self, well: str) -> Path:
        """The cell table of one well."""
        return self.home / "cells" / f"{well}.parquet"

    def records(self, stage: str) -> Path:
        """The folder with the records of a stage."""
        return self._of(stage) / "records" / stage

    def claim(self, stage: str, batch: str) -> Path:
        """What a job says of itself while it works, and how it ended unless it wrote its record."""
        return self.claims(stage) / f"{batch}.json"

    def claims(self, stage: str) -> Path:
        """The folder with the claims of a stage."""
        return self._of(stage) / "claims" / stage

    def _of(self, stage: str) -> Path:
        return self.folder if stage in SHARED_STAGES else self.home

    @property
    def retries(self) -> Path:
        """The folder with orders to try quarantined wells again."""
        return self.folder / "retry"

    def retry(self, stage: str, batch: str, made: str) -> Path:
        """The order to try the quarantined wells of a batch again. made: what tells it from earlier ones."""
        return self.retries / f"{stage}.{batch}.{made}"

    def record(self, stage: str, batch: str) -> Path:
        """The record of one job: its Snakemake output."""
        return self.records(stage) / f"{batch}.json"

    def raw_well(self, well: str) -> Path:
        """The group of one well in the raw plate."""
        return self.raw / well_path(well)

    def restored_well(self, well: str) -> Path:
        """The group of one well in the restored plate."""
        return self.restored / well_path(well)

    def ready(self, batch: str) -> Path:
        """There while a batch of restored wells is, for Snakemake: where those are temporary, so is this."""
        return self.home / "ready" / batch


def well_path(well: str) -> str:
    """`B03` -> `B/03`, the path of a well inside an OME-Zarr plate."""
    row, column = row_column(well)
    name = well_name(row, column)
    return f"{name.rstrip('0123456789')}/{column + 1:02d}"


def labels_path(field: int) -> str:
    """The group of label images of a field, inside its well."""
    return f"{field}/labels"


def label_name(name: str, analysis: str) -> str:
    """What a label image is called in the plate: `nuclei`, or `nuclei_v2` of the analysis `v2`."""
    return f"{name}_{analysis}" if analysis else name
