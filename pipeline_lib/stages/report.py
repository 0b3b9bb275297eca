"""report: one self-contained page about the plate."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from pipeline_lib.arrays.pyramid import STEP
from pipeline_lib.io.commit import committed, sweep
from pipeline_lib.io.illumination import read_illumination, told_of_illumination
from pipeline_lib.io.ngff import PlateInfo
from pipeline_lib.io.plate import (
    fields_of,
    labels_of,
    levels_of,
    read_field,
    read_info,
    read_labels,
    stored_fingerprint,
)
from pipeline_lib.io.records import read_json, read_records
from pipeline_lib.io.tables import read_csv, read_table
from pipeline_lib.paths import BATCH_STAGES, PLATE_STAGES, PlatePaths
from pipeline_lib.reporting import (
    LightEntry,
    ReportData,
    WellEntry,
    encode_webp,
    grey_picture,
    render_report,
    thumbnail,
)
from pipeline_lib.settings import ReportSettings
from pipeline_lib.stages._images import WellImages
from pipeline_lib.stages._job import Clock, Job, write_record
from pipeline_lib.stages._plate import Outcome, plate_outcomes

OUTLINED = ("nuclei", "cells")

LIGHT_SIZE = 220  # pixels of the picture of a flat field
FEW = 8  # control wells of a kind below which a Z' is told to be shaky
TOLD_ELSEWHERE = [f"Metadata_{name}" for name in ("Plate", "Row", "Column", "Status", "Reason")]

log = logging.getLogger("wellpose")


def report(job: Job) -> None:
    """Write `report.html`."""
    clock = Clock()
    assert isinstance(job.settings, ReportSettings)
    page = render_report(_data(job, job.settings))
    sweep(job.plate.report)
    with committed(job.plate.report) as temporary:
        temporary.write_text(page, encoding="utf-8")
    log.info("report %s: %s (%.1f MB)", job.name, job.plate.report, len(page) / 1e6)
    write_record(job, clock, {"bytes": len(page)})


def _data(job: Job, settings: ReportSettings) -> ReportData:
    info = read_info(job.plate.raw)
    outcomes = plate_outcomes(job.plate, job.wells)
    table, scores = read_table(job.plate.wells_parquet), read_csv(job.plate.z_prime)
    wells = [_entry(job.plate, well, outcome, info, settings.thumbnail_size) for well, outcome in outcomes.items()]
    return ReportData(
        plate=job.name,
        rows=info.rows,
        columns=info.columns,
        wells=wells,
        table=table.drop(columns=TOLD_ELSEWHERE),
        z_prime=scores,
        default_feature=settings.feature or _first_feature(table, scores),
        provenance=_provenance(job.plate),
        notes=_notes(job.plate, table, outcomes),
        thumbnail_caption=_caption(info, restored=any(entry.restored for entry in wells)),
        light=list(_light(job.plate, info)),
    )


def _light(plate: PlatePaths, info: PlateInfo) -> Iterator[LightEntry]:
    """The flat field of each channel, where the images were corrected by it."""
    newest = read_records(plate.records("ingest"))[-1:]
    if all(record["settings"].get("illumination", {}).get("method", "none") == "none" for record in newest):
        return
    told = told_of_illumination(plate.illumination)
    lights = read_illumination(plate.illumination)
    how = {"estimated": "estimated from the plate's own fields", "vendor": "as the microscope's software measured it"}
    for channel in info.channels:
        (flat, _), of_channel = lights[channel.id], told["channels"][channel.id]
        span = f"{of_channel['darkest']:.2f} to {of_channel['brightest']:.2f} of the mean light"
        dark = f"{of_channel['dark']:g} counts without light"
        picture = encode_webp(grey_picture(flat, LIGHT_SIZE))
        yield LightEntry(channel.name, picture, f"{span}, {dark}; {how[told['method']]}")


def _first_feature(table: pd.DataFrame, scores: pd.DataFrame) -> str:
    """The feature that separates the controls best; without controls the first count."""
    if len(scores) and scores["ZPrime"].notna().any():
        return str(scores["Feature"].iloc[0])
    return next((name for name in map(str, table) if name.startswith("Count_")), "")


def _entry(plate: PlatePaths, well: str, outcome: Outcome, info: PlateInfo, size: int) -> WellEntry:
    """A well with its picture: the first field at the first time point."""
    if not outcome.done:
        return WellEntry(well, "quarantined", f"{outcome.stage}: {outcome.reason}", None, None)
    field = fields_of(plate.raw, well)[0]
    level = _level(info, size, levels_of(plate.raw, well, field))
    image = read_field(plate.raw, well, field, level=level)
    found = read_labels(plate.raw, well, field, level=level, analysis=plate.analysis)
    labels = {name: found[name] for name in OUTLINED if name in found}
    colours, windows = [c.colour for c in info.channels], [c.window for c in info.channels]
    plain, outlined = thumbnail(image, labels, colours, windows, size)
    return WellEntry(
        well, "done", "", encode_webp(plain), encode_webp(outlined), _restored(plate, well, field, info, size)
    )


def _restored(plate: PlatePaths, well: str, field: int, info: PlateInfo, size: int) -> bytes | None:
    """A picture of the restored field, coloured as the raw one; None where it is not there. info: of the raw plate."""
    stored = stored_fingerprint(plate.restored_well(well))
    if stored is None or stored != WellImages(plate, "restored").fingerprint(well):
        return None
    level = _level(read_info(plate.restored), size, levels_of(plate.restored, well, field))
    image = read_field(plate.restored, well, field, level=level)
    picture, _ = thumbnail(image, {}, [c.colour for c in info.channels], [c.window for c in info.channels], size)
    return encode_webp(picture)


def _level(info: PlateInfo, size: int, levels: int) -> int:
    """The coarsest level that is not smaller than a thumbnail."""
    longest = max(info.shape)
    return max(level for level in range(levels) if level == 0 or longest / STEP**level >= size)


def _caption(info: PlateInfo, *, restored: bool) -> str:
    shown = ", ".join(f"{c.name} #{c.colour} from {c.window[0]:g} to {c.window[1]:g}" for c in info.channels)
    told = f"First field, {shown}; the same display window for the whole plate. Outlines: nuclei yellow, cells pink."
    return f"{told} Left raw, right restored." if restored else told


def _notes(plate: PlatePaths, table: pd.DataFrame, outcomes: Mapping[str, Outcome]) -> list[str]:
    """What someone who reads the plate should know first."""
    notes = []
    quarantined = sum(not outcome.done for outcome in outcomes.values())
    if quarantined:
        notes.append(f"{quarantined} of {len(outcomes)} wells are quarantined; everything else is complete.")
    wells = table[table["Metadata_Status"] == "done"].drop_duplicates("Metadata_Well")
    roles = wells["Metadata_Role"].value_counts()
    positive, negative = int(roles.get("positive", 0)), int(roles.get("negative", 0))
    if 2 <= min(positive, negative) < FEW:
        notes.append(
            f"Z' rests on {positive} positive and {negative} negative control wells only, and the best of hundreds of "
            "features is an optimistic choice."
        )
    if min(positive, negative) < 2:
        notes.append(
            "No Z' and no dose comparison: fewer than two wells of positive or of negative controls are known."
        )
    unpaired = _unpaired(plate, [well for well, outcome in outcomes.items() if outcome.done])
    notes += [f"{count:,} {what.replace('_', ' ')} in the whole plate." for what, count in unpaired.items() if count]
    return notes


def _unpaired(plate: PlatePaths, wells: list[str]) -> dict[str, int]:
    """Nuclei without a cell and cells without a nucleus, counted over the plate."""
    totals = dict.fromkeys(("nuclei_without_cell", "cells_without_nucleus"), 0)
    for well in wells:  # told only where both are looked for
        for field in fields_of(plate.raw, well):
            told = labels_of(plate.raw, well, field, plate.analysis)
            if {"nuclei", "cells"} <= set(told["labels"]):
                for name in totals:
                    totals[name] += sum(frame[name] for frame in told["counts"])
    return totals


def _provenance(plate: PlatePaths) -> dict[str, Any]:
    """Versions, settings, calibration, and what each stage cost."""
    records = {stage: read_records(plate.records(stage)) for stage in (*BATCH_STAGES, *PLATE_STAGES)}
    newest = {stage: found[-1] for stage, found in records.items() if found}
    stages = {
        stage: {
            "jobs": len(records[stage]),
            "seconds": round(sum(record["seconds"] for record in records[stage]), 1),
            "peak memory (MiB)": max(record["peak_memory_mb"] for record in records[stage]),
            "code": record["code"],
            "finished": record["finished"][:19],
        }
        for stage, record in newest.items()
    }
    manifest = read_json(plate.manifest)
    named = {"analysis": plate.analysis} if plate.analysis else {}
    return {
        **named,
        "raw folder": manifest["folder"],
        "format": manifest["format"],
        "stages": stages,
        "settings": {stage: newest[stage]["settings"] for stage in (*BATCH_STAGES, "aggregate") if stage in newest},
        "calibration": read_json(plate.calibration),
        "weights (SHA-256)": {
            **newest.get("restore", {}).get("weights", {}),
            **newest.get("segment", {}).get("weights", {}),
        },
        "software": newest["aggregate"]["software"],
    }
