"""Parquet tables that carry their own provenance in the schema's metadata."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline_lib.io.commit import committed

KEY = b"wellpose"


def write_table(table: pd.DataFrame, path: Path, provenance: Mapping[str, Any]) -> None:
    """Write a table and what it was made from, whole or not at all."""
    arrow = pa.Table.from_pandas(table, preserve_index=False)
    arrow = arrow.replace_schema_metadata({**(arrow.schema.metadata or {}), KEY: json.dumps(provenance).encode()})
    with committed(path) as temporary:
        pq.write_table(arrow, temporary, compression="zstd")


def read_table(path: Path) -> pd.DataFrame:
    """Read a table."""
    return pd.read_parquet(path)


def table_fingerprint(path: Path) -> str | None:
    """The fingerprint of a committed table; None where there is none."""
    if not path.exists():
        return None
    metadata = pq.read_schema(path).metadata or {}
    found: str | None = json.loads(metadata.get(KEY, b"{}")).get("fingerprint")
    return found


def write_csv(table: pd.DataFrame, path: Path) -> None:
    """Write a table as CSV, whole or not at all."""
    with committed(path) as temporary:
        table.to_csv(temporary, index=False)


def read_csv(path: Path) -> pd.DataFrame:
    """Read a table that `write_csv` wrote."""
    return pd.read_csv(path)
