"""What committed results say of their making, read from attributes alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pyarrow.parquet as pq

from pipeline_lib.io.plate import OURS, fields_of, labels_of, read_attributes
from pipeline_lib.io.tables import KEY
from pipeline_lib.paths import PlatePaths


def stored_provenance(stage: str, plate: PlatePaths, well: str) -> dict[str, Any]:
    """The provenance (fingerprint, code, settings, software) of a well's committed result of a batch stage.

    Empty where there is none, or where the fields of the well do not carry one and the same.
    """
    return _PROVENANCE[stage](plate, well)


def _of_raw(plate: PlatePaths, well: str) -> dict[str, Any]:
    ours: dict[str, Any] = read_attributes(plate.raw_well(well)).get(OURS, {})
    return ours


def _of_labels(plate: PlatePaths, well: str) -> dict[str, Any]:
    fields = fields_of(plate.raw, well) if read_attributes(plate.raw_well(well)) else []
    found = [labels_of(plate.raw, well, field, plate.analysis) for field in fields]
    return found[0] if len({ours.get("fingerprint") for ours in found}) == 1 else {}


def _of_table(plate: PlatePaths, well: str) -> dict[str, Any]:
    path = plate.cells(well)
    if not path.exists():
        return {}
    told: dict[str, Any] = json.loads((pq.read_schema(path).metadata or {}).get(KEY, b"{}"))
    return told


def _of_restored(plate: PlatePaths, well: str) -> dict[str, Any]:
    ours: dict[str, Any] = read_attributes(plate.restored_well(well)).get(OURS, {})
    return ours


_PROVENANCE: dict[str, Callable[[PlatePaths, str], dict[str, Any]]] = {
    "ingest": _of_raw,
    "restore": _of_restored,
    "segment": _of_labels,
    "measure": _of_table,
}
