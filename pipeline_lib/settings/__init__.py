"""Every choice a user can make, once: defaults, help text, JSON schema and `config/config.yaml` all come from here.

One frozen section per stage. A section's `identity` is what decides whether work is current: everything but the
fields that only say how the work is scheduled (`wells_per_job`, `device`, ...).
"""

from __future__ import annotations

from pydantic import Field

from pipeline_lib.settings.base import NetworkSection, Percentiles, Section, scheduling, sections
from pipeline_lib.settings.ingest import (
    SYNTHETIC_PATTERN,
    ChannelSettings,
    IlluminationSettings,
    IngestSettings,
    MontageSettings,
)
from pipeline_lib.settings.plate import (
    AggregateSettings,
    FeatureGroup,
    GrowLabels,
    LabelSettings,
    MeasureSettings,
    NetworkLabels,
    ReportSettings,
    SegmentSettings,
)
from pipeline_lib.settings.restoration import RestorationTrainSettings
from pipeline_lib.settings.restore import ChannelRestoration, Images, RestoreSettings
from pipeline_lib.settings.training import DRAWN_LABELS, AugmentSettings, LearningSettings, TrainingSet, TrainSettings

__all__ = [
    "DRAWN_LABELS", "SYNTHETIC_PATTERN", "AggregateSettings", "AugmentSettings", "ChannelRestoration",
    "ChannelSettings", "FeatureGroup", "GrowLabels", "IlluminationSettings", "Images", "IngestSettings",
    "LabelSettings", "LearningSettings",
    "MeasureSettings", "MontageSettings", "NetworkLabels", "NetworkSection", "Percentiles", "ReportSettings",
    "RestorationTrainSettings",
    "RestoreSettings", "Section", "SegmentSettings", "Settings", "TrainSettings", "TrainingSet", "scheduling",
    "sections",
]  # fmt: skip


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
    restore: RestoreSettings = RestoreSettings()
    segment: SegmentSettings = SegmentSettings()
    measure: MeasureSettings = MeasureSettings()
    aggregate: AggregateSettings = AggregateSettings()
    report: ReportSettings = ReportSettings()
    train: TrainSettings = TrainSettings()
    train_restoration: RestorationTrainSettings = RestorationTrainSettings()
