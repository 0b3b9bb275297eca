"""Tables on disk: values and types come back, and the file says what it was made from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from pipeline_lib.io.tables import read_csv, read_table, table_fingerprint, write_csv, write_table

TABLE = pd.DataFrame(
    {
        "Metadata_Well": pd.Series(["A01", "A01", "B12"], dtype="string"),
        "Metadata_Field": np.array([0, 0, 3], np.int64),
        "Cells_AreaShape_Area": [1.5, np.nan, 1e300],
        "Cells_Texture_3_DNA": np.array([0.1, np.inf, -1], np.float32),
    },
    index=[5, 9, 5],
)


def test_a_table_comes_back_with_its_types(tmp_path: Path) -> None:
    path = tmp_path / "cells" / "A01.parquet"
    write_table(TABLE, path, {"fingerprint": "F"})
    pd.testing.assert_frame_equal(read_table(path), TABLE.reset_index(drop=True))
    assert list(path.parent.iterdir()) == [path]


def test_an_empty_table_keeps_its_columns(tmp_path: Path) -> None:
    write_table(TABLE[:0], tmp_path / "t.parquet", {})
    pd.testing.assert_frame_equal(read_table(tmp_path / "t.parquet"), TABLE[:0].reset_index(drop=True))


def test_the_file_carries_its_own_provenance(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    assert table_fingerprint(path) is None
    write_table(TABLE, path, {"fingerprint": "F", "settings": {"features": ["shape"]}})
    assert table_fingerprint(path) == "F"
    assert b'"features": ["shape"]' in pq.read_schema(path).metadata[b"wellpose"]
    write_table(TABLE, path, {"stage": "measure"})
    assert table_fingerprint(path) is None


def test_a_table_of_others_has_no_fingerprint(tmp_path: Path) -> None:
    TABLE.to_parquet(tmp_path / "t.parquet")
    assert table_fingerprint(tmp_path / "t.parquet") is None


def test_a_failed_write_keeps_the_old_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "t.parquet"
    write_table(TABLE, path, {"fingerprint": "old"})

    def half(_: object, target: Path, **__: object) -> None:
        target.write_bytes(b"PAR1")
        raise OSError(28, "disk full")

    monkeypatch.setattr(pq, "write_table", half)
    with pytest.raises(OSError, match="disk full"):
        write_table(TABLE, path, {"fingerprint": "new"})
    assert table_fingerprint(path) == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_csv_comes_back(tmp_path: Path) -> None:
    table = pd.DataFrame({"Feature": ['a, "b"', "µ"], "ZPrime": [0.1 + 0.2, np.nan]})
    write_csv(table, tmp_path / "z.csv")
    pd.testing.assert_frame_equal(read_csv(tmp_path / "z.csv"), table)
