"""aggregate: cells to wells, joined with the plate map and compared with the controls."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline_lib.core.wells import row_column
from pipeline_lib.io.plate import OURS, read_attributes, read_info
from pipeline_lib.io.platemaps import read_plate_map
from pipeline_lib.io.tables import read_table, write_csv, write_table
from pipeline_lib.paths import PlatePaths
from pipeline_lib.profiles import aggregate_wells, robust_z, z_prime
from pipeline_lib.settings import AggregateSettings
from pipeline_lib.stages._job import Clock, Job, write_record
from pipeline_lib.stages._plate import Outcome, plate_outcomes

KEYS = ["Metadata_Well", "Metadata_Timepoint"]
NOT_FEATURES = ("Metadata_", "Quality_")

log = logging.getLogger("wellpose")


def aggregate(job: Job) -> None:
    """Write `wells.parquet`, `wells.csv`, `profiles.parquet` and `zprime.csv`."""
    clock = Clock()
    assert isinstance(job.settings, AggregateSettings)
    outcomes = plate_outcomes(job.plate)
    wells = _wells(job, outcomes, job.settings)
    features = [name for name in map(str, wells) if not name.startswith(NOT_FEATURES)]
    positive, negative = wells["Metadata_Role"] == "positive", wells["Metadata_Role"] == "negative"
    provenance = job.provenance(job.fingerprint(tables=[str(outcome) for outcome in outcomes.values()]))
    write_table(wells, job.plate.wells_parquet, provenance)
    write_csv(wells, job.plate.wells_csv)
    write_table(robust_z(wells, features, negative), job.plate.profiles, provenance)
    write_csv(z_prime(wells, features, positive, negative), job.plate.z_prime)
    counts = {
        "wells": len(outcomes),
        "quarantined": sum(not outcome.done for outcome in outcomes.values()),
        "negative": int(negative.sum()),
        "positive": int(positive.sum()),
    }
    log.info("aggregate %s: %s", job.name, counts)
    write_record(job, clock, {"counts": counts})


def _wells(job: Job, outcomes: Mapping[str, Outcome], settings: AggregateSettings) -> pd.DataFrame:
    """One row per well and time point: what is known of the well, its picture quality, counts, medians and MADs.

    A well without cells has counts of 0 and no features; a quarantined well has neither.
    """
    described = _described(job, outcomes)
    mapped = _mapped(job.plate_map, settings, outcomes)
    quality = _quality(job.plate, [well for well, outcome in outcomes.items() if outcome.done])
    summaries = _summaries(job.plate, [well for well, outcome in outcomes.items() if outcome.done])
    table = described.merge(mapped, on="Metadata_Well", how="left").merge(quality, on="Metadata_Well", how="left")
    table = table.merge(summaries, on=KEYS, how="left")
    counts = [name for name in map(str, table) if name.startswith("Count_")]
    done = table["Metadata_Status"] == "done"
    table.loc[done, counts] = table.loc[done, counts].fillna(0)
    return table


def _described(job: Job, outcomes: Mapping[str, Outcome]) -> pd.DataFrame:
    times = read_info(job.plate.raw).times
    rows = []
    for well, outcome in outcomes.items():
        row, column = row_column(well)
        told = {
            "Metadata_Plate": job.name,
            "Metadata_Well": well,
            "Metadata_Row": row + 1,
            "Metadata_Column": column + 1,
            "Metadata_Status": "done" if outcome.done else "quarantined",
            "Metadata_Reason": outcome.reason,
        }
        rows += [{**told, "Metadata_Timepoint": time} for time in range(times if outcome.done else 1)]
    return pd.DataFrame(rows)


def _mapped(path: Path | None, settings: AggregateSettings, wells: Iterable[str]) -> pd.DataFrame:
    """What the plate map says of each well; without one, no well has a role."""
    plate_map = read_plate_map(path, settings.plate_map_columns()).wells if path else {}
    unknown = {"Metadata_Role": "", "Metadata_Dose": None, "Metadata_Compound": ""}
    table = pd.DataFrame([{"Metadata_Well": well, **plate_map.get(well, unknown)} for well in wells])
    return table.astype({"Metadata_Dose": "float64"})


def _quality(plate: PlatePaths, wells: Iterable[str]) -> pd.DataFrame:
    """Focus, saturation and background of each well and channel, means over its fields; a missing focus is NaN."""
    channels = read_info(plate.raw).channel_names
    rows = []
    for well in wells:
        fields = [seen["channels"] for seen in read_attributes(plate.raw_well(well))[OURS]["quality"]]
        table = {
            f"Quality_{measure.capitalize()}_{name}": np.array(
                [field[index][measure] for field in fields], float
            ).mean()
            for index, name in enumerate(channels)
            for measure in ("focus", "saturation", "background")
        }
        rows.append({"Metadata_Well": well, **table})
    return pd.DataFrame(rows, columns=None if rows else ["Metadata_Well"])


def _summaries(plate: PlatePaths, wells: Iterable[str]) -> pd.DataFrame:
    """Counts, medians and MADs of each well and time point, read table by table: memory follows the fullest well."""
    tables = (read_table(plate.cells(well)) for well in wells)
    summaries = [aggregate_wells(table, KEYS) for table in tables]
    filled = [summary for summary in summaries if len(summary)] or summaries[:1]
    return pd.concat(filled, ignore_index=True) if filled else pd.DataFrame(columns=KEYS)
