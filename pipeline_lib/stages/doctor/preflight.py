"""What the checks of `wellpose doctor` look at, opened once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from pipeline_lib.core.needs import NEEDS
from pipeline_lib.io.run_profiles import RunProfile
from pipeline_lib.paths import absent_stages
from pipeline_lib.settings import NetworkSection, Settings
from pipeline_lib.stages.doctor.estimate import Estimate, estimate
from pipeline_lib.stages.doctor.raw_files import RawFile, look_at_files
from pipeline_lib.workflow import Plate


@dataclass(frozen=True)
class Preflight:
    """The run that is being considered.

    plates: none where the config has faults. profile: None for a run on this machine. file_budget: files the results
    may have; None without a limit.
    """

    settings: Settings = field(default_factory=Settings)
    plates: Mapping[str, Plate] = field(default_factory=dict)
    profile: RunProfile | None = None
    file_budget: int | None = None

    @property
    def results(self) -> Path:
        """The folder of all results."""
        return Path(self.settings.results)

    @property
    def on_slurm(self) -> bool:
        """Whether the jobs go to SLURM."""
        return self.profile is not None and self.profile.is_slurm

    @cached_property
    def raw_files(self) -> dict[str, list[RawFile]]:
        """Plate -> headers of its raw files; none for a plate whose raw folder has been archived."""
        return {
            name: look_at_files(plate.manifest) if Path(plate.manifest.folder).is_dir() else []
            for name, plate in self.plates.items()
        }

    @cached_property
    def estimates(self) -> dict[str, Estimate]:
        """Plate -> what it will take on disk."""
        return {name: estimate(plate, self.raw_files[name]) for name, plate in self.plates.items()}

    @property
    def networks(self) -> list[tuple[str, NetworkSection]]:
        """Section and settings of the stages that run networks, each that some plate has."""
        chosen = [plate.settings for plate in self.plates.values()] or [self.settings]
        found: list[tuple[str, NetworkSection]] = [("segment", one.segment) for one in chosen]
        found += [("restore", one.restore) for one in chosen if one.restore.is_on]
        return list({(section, settings.to_json()): (section, settings) for section, settings in found}.values())

    @property
    def stages(self) -> list[str]:
        """The stages that some plate has."""
        chosen = [self.settings, *(plate.settings for plate in self.plates.values())]
        absent = absent_stages(
            restored=any(one.restore.is_on for one in chosen), lit=any(one.ingest.illumination.is_on for one in chosen)
        )
        return [stage for stage in NEEDS if stage not in absent]
