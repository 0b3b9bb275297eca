"""Plate maps on disk: as spreadsheets write them; a file that cannot be read is a fault, not a crash."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline_lib.core.platemap import PlateMapColumns
from pipeline_lib.io.platemaps import read_plate_map

TEXT = 'Well,Role,Compound\nA01,negative,DMSO\nA02,positive,"taxol, 1 µM"\n'


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_a_map_is_read_as_spreadsheets_write_it(tmp_path: Path, encoding: str, line_end: str) -> None:
    path = tmp_path / "map.csv"
    path.write_bytes(TEXT.replace("\n", line_end).encode(encoding))
    plate_map = read_plate_map(path, PlateMapColumns())
    assert plate_map.faults == ()
    assert list(plate_map.wells) == ["A01", "A02"]
    assert plate_map.wells["A02"]["Metadata_Compound"] == "taxol, 1 µM"


def test_a_missing_file_and_a_folder_are_faults(tmp_path: Path) -> None:
    for path, reason in ((tmp_path / "none.csv", "No such file"), (tmp_path, "Is a directory")):
        plate_map = read_plate_map(path, PlateMapColumns())
        assert dict(plate_map.wells) == {}
        assert plate_map.faults == (f"cannot be read: {reason}" + (" or directory" if "none" in str(path) else ""),)


@pytest.mark.parametrize("content", [TEXT.encode("latin-1"), TEXT.encode("utf-16")])
def test_another_encoding_is_a_fault(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "map.csv"
    path.write_bytes(content)
    [fault] = read_plate_map(path, PlateMapColumns()).faults
    assert fault.startswith("is not a CSV file in UTF-8")
