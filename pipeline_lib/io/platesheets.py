"""Plate sheets on disk: one line per plate, columns separated by tabs. Standard library and settings only."""

from __future__ import annotations

import csv
import re
from collections import Counter
from pathlib import Path

from pipeline_lib.settings import Settings

SHEET_COLUMNS = ("plate", "folder", "format", "plate_map", "overrides")
REQUIRED_COLUMNS = SHEET_COLUMNS[:3]
EXAMPLE_COLUMN = "segment.labels.nuclei.diameter"
PLATE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


def read_plate_sheet(path: Path, faults: list[str]) -> list[dict[str, str]]:
    """The lines of the plate sheet that name a plate, checked as a table: column -> text of the cell.

    What is wrong is added to `faults`.
    """
    if not path.is_file():
        faults.append(f"plate sheet {path} does not exist; create it with the columns {', '.join(SHEET_COLUMNS)}")
        return []
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeError as error:
        faults.append(f"{path} is not a text file in UTF-8: {error}")
        return []
    reader = csv.DictReader((line for line in lines if line.strip() and not line.startswith("#")), delimiter="\t")
    rows = [{key: (value or "").strip() for key, value in row.items() if key} for row in reader]
    columns = reader.fieldnames or []
    lacking = [name for name in REQUIRED_COLUMNS if name not in columns]
    unknown = [name for name in columns if name not in SHEET_COLUMNS and not is_setting(name)]
    twice = [name for name, count in Counter(columns).items() if count > 1]
    if lacking or unknown or twice:
        faults.append(
            f"{path}: columns {', '.join(columns) or 'none'} found (tabs between them?); required: "
            f"{', '.join(REQUIRED_COLUMNS)}; also allowed: {', '.join(SHEET_COLUMNS[3:])}, and settings such as "
            f"{EXAMPLE_COLUMN}, each of them once"
        )
        return []
    if not rows:
        faults.append(f"{path} lists no plate: add a line for each, as config/README.md says")
    names = Counter(row["plate"] for row in rows)
    faults += [f"{path}: plate {name!r} is listed {count} times" for name, count in names.items() if count > 1]
    faults += [
        f"{path}: plate id {name!r}: letters, digits, '_', '-' and '.' are allowed, beginning with a letter or digit "
        "(columns are separated by tabs)"
        for name in names
        if not PLATE_ID.fullmatch(name)
    ]
    return [row for row in rows if PLATE_ID.fullmatch(row["plate"])]


def is_setting(column: str) -> bool:
    """Whether a column of the sheet speaks of a setting, if perhaps of one that is not known."""
    return "." in column or column in Settings.model_fields
