"""Records: strict JSON, and of two that speak of a well the newer one counts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipeline_lib.io.records import read_json, read_records, well_outcomes, write_json


def record(folder: Path, batch: str, finished: str, **wells: dict[str, Any]) -> None:
    write_json(folder / f"{batch}.json", {"finished": finished, "wells": wells})


def test_json_comes_back_and_is_the_same_whatever_the_order(tmp_path: Path) -> None:
    content = {"b": [1, 2.5, None], "a": {"µ": "ü", "t": True}}
    write_json(tmp_path / "new" / "one.json", content)
    write_json(tmp_path / "two.json", dict(reversed(content.items())))
    assert read_json(tmp_path / "two.json") == content
    assert (tmp_path / "new" / "one.json").read_bytes() == (tmp_path / "two.json").read_bytes()


def test_what_is_not_there_is_empty(tmp_path: Path) -> None:
    assert read_json(tmp_path / "none.json") == {}
    assert read_records(tmp_path / "none") == []
    assert well_outcomes(tmp_path / "none") == {}


def test_numbers_that_json_does_not_know_become_null(tmp_path: Path) -> None:
    write_json(tmp_path / "x.json", {"a": [float("nan"), float("inf"), -float("inf"), 1.0], "b": "NaN"})
    assert read_json(tmp_path / "x.json") == {"a": [None, None, None, 1.0], "b": "NaN"}


def test_what_is_no_json_is_an_error_and_writes_nothing(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="not JSON serializable"):
        write_json(tmp_path / "x.json", {"a": tmp_path})
    assert list(tmp_path.iterdir()) == []


def test_records_are_read_oldest_first(tmp_path: Path) -> None:
    record(tmp_path, "A01-A12", "2025-03-01T10:00:00+00:00")
    record(tmp_path, "B01-B12", "2024-12-31T23:00:00+00:00")
    record(tmp_path, "C01-C12", "2025-02-01T10:00:00+00:00")
    (tmp_path / ".A01-A12.json.0a1b.tmp").write_text("{")
    found = [entry["finished"][:7] for entry in read_records(tmp_path)]
    assert found == ["2024-12", "2025-02", "2025-03"]


def test_batches_that_were_cut_differently_overlap_and_the_newer_counts(tmp_path: Path) -> None:
    record(tmp_path, "A01-A03", "2025-01-02", A01={"status": "done"}, A02={"status": "done"}, A03={"status": "done"})
    record(tmp_path, "A01-A02", "2025-01-03", A01={"status": "current"}, A02={"status": "quarantined"})
    record(tmp_path, "A02-A02", "2025-01-01", A02={"status": "absent"})
    outcomes = {well: outcome["status"] for well, outcome in well_outcomes(tmp_path).items()}
    assert outcomes == {"A01": "current", "A02": "quarantined", "A03": "done"}
