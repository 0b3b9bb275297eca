"""Parquet tables that carry their own provenance in the schema's metadata."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline_lib.io.commit import committed, sweep

KEY = b"wellpose"


def write_table(table: pd.DataFrame, path: Path, provenance: Mapping[str, Any]) -> None:
    """Write a table and what it was made from, whole or not at all; what a killed job left of it goes."""
    arrow = pa.Table.from_pandas(table, preserve_index=False)
    arrow = arrow.replace_schema_metadata({**(arrow.schema.metadata or {}), KEY: json.dumps(provenance).encode()})
    sweep(path)
    with committed(path) as temporary:
        pq.write_table(arrow, temporary, compression="zstd", write_page_checksum=True)


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


def table_fault(path: Path, key: Sequence[str]) -> str | None:
    """What is wrong with a table: it cannot be read, its checksums differ, or two rows have one key. None: nothing.

    A table that does not exist is not wrong.
    """
    if not path.exists():
        return None
    try:
        table = pq.read_table(path, page_checksum_verification=True).to_pandas()
    except (pa.ArrowException, OSError, ValueError) as error:
        return f"{path}: cannot be read ({' '.join(str(error).split())[:200]})"
    if (twice := int(table.duplicated([name for name in key if name in table]).sum())) and len(table):
        return f"{path}: {twice} row(s) are there twice"
    return None


def write_csv(table: pd.DataFrame, path: Path) -> None:
    """Write a table as CSV, likewise."""
    sweep(path)
    with committed(path) as temporary:
        table.to_csv(temporary, index=False)


def read_csv(path: Path) -> pd.DataFrame:
    """Read a table that `write_csv` wrote."""
    return pd.read_csv(path)
