"""Plate maps on disk. Standard library only: the Snakefile reads them while it is parsed."""

from __future__ import annotations

import csv
from pathlib import Path

from pipeline_lib.core.platemap import PlateMap, PlateMapColumns, parse_plate_map


def read_plate_map(path: Path, columns: PlateMapColumns) -> PlateMap:
    """Read a CSV with one line per well. A file that cannot be read gives a map whose faults say so."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as lines:
            return parse_plate_map(list(csv.DictReader(lines)), columns)
    except OSError as error:
        return PlateMap({}, (f"cannot be read: {error.strerror}",))
    except (UnicodeDecodeError, csv.Error) as error:
        return PlateMap({}, (f"is not a CSV file in UTF-8: {error}",))
