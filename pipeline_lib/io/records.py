"""Records and other small JSON files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline_lib.io.commit import committed

QUARANTINED = "quarantined"  # the status of a well whose data are bad
FINISHED = ("done", "current")  # the statuses of a well that is as it should be


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file whole or not at all. Numbers that are not finite, which JSON does not know, become null."""
    plain = json.loads(json.dumps(content), parse_constant=lambda _: None)
    with committed(path) as temporary:
        temporary.write_text(json.dumps(plain, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON file; empty where there is none."""
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    return content


def read_records(folder: Path) -> list[dict[str, Any]]:
    """All records in a folder, oldest first."""
    records = [read_json(path) for path in folder.glob("*.json")]
    return sorted(records, key=lambda record: str(record["finished"]))


def well_outcomes(folder: Path) -> dict[str, dict[str, Any]]:
    """What the newest record of a stage says of each well: batches may have been cut differently before."""
    return {well: outcome for record in read_records(folder) for well, outcome in record["wells"].items()}
