"""One self-contained HTML page per plate: its data, pictures, style and program travel in one file.

All text from users reaches the page as JSON and is shown as text nodes, never as markup; the page's content security
policy lets only the programs run whose digests it names, and forbids every network request.
"""

from __future__ import annotations

import base64
import html
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from string import Template
from typing import Any, Literal

import pandas as pd
from plotly.offline import get_plotlyjs

from pipeline_lib.core.wells import well_name
from pipeline_lib.reporting.page import digest, json_for_html, normal_newlines, plain, resource

_STATUSES = ("done", "quarantined", "missing")
_METADATA = "Metadata_"
_WELL = "Metadata_Well"
_TIME = "Metadata_Timepoint"
_DIGITS = 5
_PROGRAM = ("data.js", "plate.js", "well.js", "plots.js", "tables.js", "report.js")


@dataclass(frozen=True)
class WellEntry:
    """What became of one well.

    Attributes:
        well: Name on the plate, such as `B03`.
        status: `quarantined` and `missing` wells are drawn as holes that tell their reason.
        reason: Why the well is not done; empty for a done well.
        thumbnail: WebP picture of the well, or None.
        outlined: The same picture with object outlines, or None.
        restored: A picture of the restored images, or None.
    """

    well: str
    status: Literal["done", "quarantined", "missing"]
    reason: str
    thumbnail: bytes | None
    outlined: bytes | None
    restored: bytes | None = None


@dataclass(frozen=True)
class LightEntry:
    """How unevenly a channel was lit. picture: WebP of its flat field; told: what it comes to, in words."""

    channel: str
    picture: bytes
    told: str


@dataclass(frozen=True)
class ReportData:
    """Everything the report shows.

    Attributes:
        plate: Name of the plate.
        rows: Rows of the plate format.
        columns: Columns of the plate format.
        wells: The wells of this run; other positions of the plate are drawn as not imaged.
        table: One row per well, or per well and `Metadata_Timepoint`. Columns: `Metadata_Well`, other `Metadata_*`
            (`Role`, `Compound` and `Dose` are used by the plots), and numeric features.
        z_prime: One row per feature, with `Feature`, `ZPrime` and any further columns.
        default_feature: The feature shown first; the first of the table when the table does not have it.
        provenance: Nested mappings, lists and plain values.
        notes: Warnings about the whole plate.
        thumbnail_caption: What the colours of the thumbnails mean.
        light: Of each channel whose images were corrected for uneven light; empty where none was.
    """

    plate: str
    rows: int
    columns: int
    wells: Sequence[WellEntry]
    table: pd.DataFrame
    z_prime: pd.DataFrame
    default_feature: str
    provenance: Mapping[str, object]
    notes: Sequence[str]
    thumbnail_caption: str
    light: Sequence[LightEntry] = ()


def render_report(data: ReportData) -> str:
    """Return the report as one HTML document, to be stored as UTF-8.

    Raises:
        ValueError: Wells or rows that the plate cannot hold, repeated ones, or an unknown status.
    """
    _check(data)
    plotly, program = normal_newlines(get_plotlyjs()), normal_newlines("\n".join(map(resource, _PROGRAM)))
    return Template(resource("template.html")).substitute(
        title=html.escape(data.plate),
        style=resource("report.css"),
        digests=" ".join(digest(script) for script in (plotly, program)),
        data=json_for_html(_payload(data)),
        plotly=plotly,
        program=program,
    )


def _check(data: ReportData) -> None:
    """Raise a ValueError that lists every well or row the page could not show faithfully."""
    entries = pd.Series([entry.well for entry in data.wells], dtype=object)
    positions = {well for row in _positions(data) for well in row}
    keys = [name for name in (_WELL, _TIME) if name in data.table]
    rows = data.table[_WELL] if _WELL in keys else pd.Series(dtype=object)
    problems = {
        f"not on a plate of {data.rows} x {data.columns} wells": set(entries) - positions,
        "listed twice": set(entries[entries.duplicated()]),
        f"with a status other than {', '.join(_STATUSES)}": {w.well for w in data.wells if w.status not in _STATUSES},
        "in the table but not in the list of wells": set(rows) - set(entries),
        "with several rows in the table": set(rows[data.table.duplicated(keys)]) if keys else set(),
    }
    faults = [f"wells {what}: {', '.join(sorted(map(str, wells)))}" for what, wells in problems.items() if wells]
    if faults:
        raise ValueError(f"report of plate {data.plate}: {'; '.join(faults)}")


def _payload(data: ReportData) -> dict[str, object]:
    """Return what `data.js` reads; every value is JSON-ready."""
    features = [name for name in data.table.select_dtypes("number").columns if not name.startswith(_METADATA)]
    metadata = [name for name in data.table.columns if name.startswith(_METADATA)]
    return {
        "plate": data.plate,
        "positions": _positions(data),
        "wells": [_well(entry) for entry in data.wells],
        "metadata": {name.removeprefix(_METADATA): _values(data.table[name]) for name in metadata},
        "features": {name: _values(data.table[name]) for name in features},
        "defaultFeature": data.default_feature if data.default_feature in features else next(iter(features), None),
        "zPrime": {name: _values(data.z_prime[name]) for name in data.z_prime.columns},
        "headline": _headline(data),
        "provenance": plain(data.provenance),
        "notes": list(data.notes),
        "caption": data.thumbnail_caption,
        "light": [{"channel": one.channel, "picture": _data_uri(one.picture), "told": one.told} for one in data.light],
    }


def _positions(data: ReportData) -> list[list[str]]:
    """Return the names of all wells the plate can hold, row by row."""
    return [[well_name(row, column) for column in range(data.columns)] for row in range(data.rows)]


def _well(entry: WellEntry) -> dict[str, object]:
    return {
        "well": entry.well,
        "status": entry.status,
        "reason": entry.reason,
        "thumbnail": _data_uri(entry.thumbnail),
        "outlined": _data_uri(entry.outlined),
        "restored": _data_uri(entry.restored),
    }


def _data_uri(webp: bytes | None) -> str | None:
    return None if webp is None else f"data:image/webp;base64,{base64.b64encode(webp).decode()}"


def _values(column: pd.Series[Any]) -> list[object]:
    """Return a column for JSON: floats with 5 significant digits, other values as text, what is not known as None."""
    if pd.api.types.is_integer_dtype(column) or not pd.api.types.is_numeric_dtype(column):
        return [None if pd.isna(value) else plain(value) for value in column]
    return [_rounded(value) for value in column.astype("Float64").to_numpy(dtype=float, na_value=math.nan).tolist()]


def _rounded(value: float) -> float | int | None:
    short = float(f"{value:.{_DIGITS}g}")  # the largest floats round up to infinity
    if not math.isfinite(short):
        return None
    return int(short) if short.is_integer() else short


def _headline(data: ReportData) -> list[dict[str, str]]:
    """Return the few figures that sum up the plate, as label, value and a line of detail."""
    counted = {status: sum(entry.status == status for entry in data.wells) for status in _STATUSES}
    return [
        {"label": "Wells analysed", "value": f"{counted['done']:,}", "detail": f"of {len(data.wells):,} in this run"},
        _object_count(data),
        _best_z_prime(data.z_prime),
        {
            "label": "Quarantined",
            "value": f"{counted['quarantined']:,}",
            "detail": f"{counted['missing']:,} missing",
            "tone": "bad" if counted["quarantined"] or counted["missing"] else "good",
        },
    ]


def _object_count(data: ReportData) -> dict[str, str]:
    """Sum the count feature shown first, else the first one of the table."""
    counts = [name for name in (data.default_feature, *data.table.columns) if name.startswith("Count_")]
    name = next((name for name in counts if name in data.table), None)
    if name is None:
        return {"label": "Objects", "value": "\N{EN DASH}", "detail": "no count feature"}
    times = data.table[_TIME].nunique() if _TIME in data.table else 1
    median = data.table[name].median()
    where = f"over {times} time points" if times > 1 else "median \N{EN DASH} per well"
    detail = where if times > 1 or pd.isna(median) else f"median {median:,.0f} per well"
    label = name.removeprefix("Count_").replace("_", " ")
    return {"label": label, "value": f"{data.table[name].sum():,.0f}", "detail": detail}


def _best_z_prime(z_prime: pd.DataFrame) -> dict[str, str]:
    label = "Best Z\N{PRIME}"
    known = z_prime.dropna(subset="ZPrime") if "ZPrime" in z_prime else z_prime.iloc[:0]
    if known.empty:
        return {"label": label, "value": "\N{EN DASH}", "detail": "no controls to compare"}
    best = known.sort_values("ZPrime", ascending=False).iloc[0]
    return {"label": label, "value": f"{best['ZPrime']:.2f}", "detail": str(best["Feature"])}
