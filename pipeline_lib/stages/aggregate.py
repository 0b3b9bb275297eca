"""aggregate: cells to wells, joined with the plate map and compared with the controls."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline_lib.core.wells import row_column
from pipeline_lib.io.plate import OURS, read_attributes, read_info
from pipeline_lib.io.platemaps import read_plate_map
from pipeline_lib.io.tables import read_table, table_fingerprint, write_csv, write_table
from pipeline_lib.paths import PlatePaths
from pipeline_lib.profiles import (
    SPREAD_SUFFIX,
    aggregate_wells,
    feature_names,
    half_way,
    responders,
    robust_z,
    z_prime,
)
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
    outcomes = plate_outcomes(job.plate, job.wells)
    wells = _with_responders(job.plate, _wells(job, outcomes, job.settings), job.settings.responders)
    features = [name for name in map(str, wells) if not name.startswith(NOT_FEATURES)]
    made_from = {well: table_fingerprint(job.plate.cells(well)) for well in outcomes}
    provenance = job.provenance(job.fingerprint(cells=made_from, wells=_told(wells)))
    write_table(wells, job.plate.wells_parquet, provenance)
    write_csv(wells, job.plate.wells_csv)
    write_table(_profiles(wells, features), job.plate.profiles, provenance)
    write_csv(_scores(wells, features), job.plate.z_prime)
    counts = {"wells": len(outcomes), "quarantined": sum(not outcome.done for outcome in outcomes.values())}
    log.info("aggregate %s: %s", job.name, counts)
    write_record(job, clock, {"counts": counts})


def _told(wells: pd.DataFrame) -> str:
    """What is known of the wells beside their cells, as text."""
    return wells.filter(regex="^Metadata_").to_csv(index=False)


def _profiles(wells: pd.DataFrame, features: Sequence[str]) -> pd.DataFrame:
    """Robust z-scores against the negative controls of the same time point."""
    times = [at_time for _, at_time in wells.groupby("Metadata_Timepoint")]
    scored = [robust_z(at_time, features, at_time["Metadata_Role"] == "negative") for at_time in times]
    return pd.concat(scored).sort_index()


def _scores(wells: pd.DataFrame, features: Sequence[str]) -> pd.DataFrame:
    """Z' over wells: the time points of a well are averaged first, they are no replicates."""
    table = wells.groupby(["Metadata_Well", "Metadata_Role"], sort=False)[list(features)].mean().reset_index()
    return z_prime(table, features, table["Metadata_Role"] == "positive", table["Metadata_Role"] == "negative")


def _wells(job: Job, outcomes: Mapping[str, Outcome], settings: AggregateSettings) -> pd.DataFrame:
    """One row per well and time point: what is known of the well, its picture quality, counts, medians and MADs.

    A well without cells has counts of 0 and no features; a quarantined well has neither.
    """
    described = _described(job, outcomes)
    mapped = _mapped(job.plate_map, settings, outcomes)
    quality = _quality(job.plate, [well for well, outcome in outcomes.items() if outcome.done])
    summaries = _summaries(job.plate, [well for well, outcome in outcomes.items() if outcome.done])
    table = described.merge(mapped, on="Metadata_Well", how="left").merge(quality, on=KEYS, how="left")
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
    """Focus, saturation and background per well, time and channel: means over fields, NaN where one has no focus."""
    info = read_info(plate.raw)
    rows = []
    for well in wells:
        fields = [field["quality"] for field in read_attributes(plate.raw_well(well))[OURS]["fields"]]
        for time in range(info.times):
            table = {
                f"Quality_{measure.capitalize()}_{name}": _mean([field[index][time][measure] for field in fields])
                for index, name in enumerate(info.channel_names)
                for measure in ("focus", "saturation", "background")
            }
            rows.append({"Metadata_Well": well, "Metadata_Timepoint": time, **table})
    return pd.DataFrame(rows, columns=None if rows else KEYS)


def _summaries(plate: PlatePaths, wells: Iterable[str]) -> pd.DataFrame:
    """Counts, medians and MADs of each well and time point, read table by table: memory follows the fullest well."""
    tables = (read_table(plate.cells(well)) for well in wells)
    summaries = [aggregate_wells(table, KEYS) for table in tables]
    filled = [summary for summary in summaries if len(summary)] or summaries[:1]
    return pd.concat(filled, ignore_index=True) if filled else pd.DataFrame(columns=KEYS)


def _with_responders(plate: PlatePaths, wells: pd.DataFrame, features: Sequence[str]) -> pd.DataFrame:
    """The wells with the share of their cells that respond, by each feature; the controls say where that begins.

    Raises:
        ValueError: Cells have no such feature.
    """
    done = wells.loc[wells["Metadata_Status"] == "done", "Metadata_Well"].unique()
    if not features or not len(done):
        return wells
    _check(features, wells)
    cuts = half_way(wells, features, wells["Metadata_Role"] == "positive", wells["Metadata_Role"] == "negative")
    if lost := [cut.feature for cut in cuts if np.isnan(cut.at)]:
        log.warning("aggregate: no responders by %s: the controls do not differ, or lack it", ", ".join(lost))
    shares = [responders(read_table(plate.cells(well)), KEYS, cuts) for well in done]
    return wells.merge(pd.concat(shares, ignore_index=True), on=KEYS, how="left")


def _check(features: Sequence[str], wells: pd.DataFrame) -> None:
    known = [
        name for name in feature_names(wells) if not name.startswith(NOT_FEATURES) and not name.endswith(SPREAD_SUFFIX)
    ]
    unknown = [name for name in features if name not in known]
    if not unknown:
        return
    near = {near for name in unknown for near in get_close_matches(name, known, 3, 0.5)}
    raise ValueError(
        f"aggregate.responders: cells have no {', '.join(unknown)}; "
        f"{len(known)} features are known, such as {', '.join(sorted(near) or known[:3])}; `measure.features` adds more"
    )


def _mean(values: Sequence[float | None]) -> float:
    """The mean; NaN where a value is not known."""
    return float(np.mean(np.array(values, dtype=np.float64)))
