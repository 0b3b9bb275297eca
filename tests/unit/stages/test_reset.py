"""reset: what is named goes, with what was made from it and the records that speak of it; nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline_lib.__main__ import main
from pipeline_lib.io.locks import hold
from pipeline_lib.io.plate import committed_wells, labels_of
from pipeline_lib.io.records import write_json
from pipeline_lib.paths import PlatePaths


def reset(plate: PlatePaths, *flags: str) -> int:
    return main(["reset", str(plate.folder), *flags])


def labelled(plate: PlatePaths) -> set[str]:
    """Wells with label images in all fields, by the field's own word."""
    wells = committed_wells(plate.raw)
    return {well for well in wells if all(labels_of(plate.raw, well, field, plate.analysis) for field in (0, 1))}


def measured(plate: PlatePaths) -> set[str]:
    return {path.stem for path in plate.cells("A01").parent.iterdir()}


def recorded(plate: PlatePaths) -> set[str]:
    records = (plate.folder if not plate.analysis else plate.home) / "records"
    return {f"{path.parent.name}/{path.stem}" for path in records.glob("*/*.json")}


SHARED = {"skeleton/plate", "ingest/A01-A02", "ingest/B01-B01", "complete/plate"}
OWN = {"calibrate/plate", "segment/A01-B01", "measure/A01-B01", "aggregate/plate"}


def test_a_raw_well_takes_with_it_what_was_made_from_it(with_v2: PlatePaths) -> None:
    named = PlatePaths(with_v2.folder, "v2")
    assert recorded(with_v2) == SHARED | OWN
    write_json(with_v2.claim("ingest", "A01-A02"), {"left": "by a dead job"})
    assert reset(with_v2, "--wells", "A01") == 0
    assert committed_wells(with_v2.raw) == ["B01"]
    kept = {"calibrate/plate", "aggregate/plate"}
    assert recorded(with_v2) == kept | {"skeleton/plate", "ingest/B01-B01"}
    assert recorded(named) == kept
    assert not with_v2.claim("ingest", "A01-A02").exists()
    assert labelled(with_v2) == labelled(named) == measured(with_v2) == measured(named) == {"B01"}


@pytest.mark.parametrize("flags", [("--stage", "segment"), ("--stage", "segment", "--wells", "B01")])
def test_labels_of_one_analysis(with_v2: PlatePaths, flags: tuple[str, ...]) -> None:
    named = PlatePaths(with_v2.folder, "v2")
    assert reset(with_v2, *flags) == 0
    assert labelled(with_v2) == ({"A01"} if "--wells" in flags else set())
    assert labelled(named) == {"A01", "B01"}
    assert recorded(with_v2) == SHARED | OWN - {"segment/A01-B01"}
    assert recorded(named) == OWN
    assert measured(with_v2) == measured(named) == {"A01", "B01"}  # they tell by themselves what they were made from


def test_tables_of_a_named_analysis(with_v2: PlatePaths) -> None:
    named = PlatePaths(with_v2.folder, "v2")
    assert reset(with_v2, "--stage", "measure", "--analysis", "v2", "--wells", "A01") == 0
    assert (measured(with_v2), measured(named)) == ({"A01", "B01"}, {"B01"})
    assert recorded(named) == OWN - {"measure/A01-B01"}
    assert recorded(with_v2) == SHARED | OWN


def test_a_calibration(with_v2: PlatePaths) -> None:
    named = PlatePaths(with_v2.folder, "v2")
    assert reset(with_v2, "--stage", "calibrate", "--analysis", "v2") == 0
    assert (with_v2.calibration.exists(), named.calibration.exists()) == (True, False)
    assert recorded(named) == OWN - {"calibrate/plate"}


def test_a_quarantined_well_can_be_named(finished: PlatePaths) -> None:
    """It has no result, and a record that speaks of it."""
    assert reset(finished, "--wells", "A02") == 0
    assert committed_wells(finished.raw) == ["A01", "B01"]
    assert recorded(finished) == SHARED - {"ingest/A01-A02", "complete/plate"} | {"calibrate/plate", "aggregate/plate"}


def test_wells_the_plate_has_not(finished: PlatePaths, capsys: pytest.CaptureFixture[str]) -> None:
    assert reset(finished, "--wells", "A01,C07") == 2
    assert "P1 has no well C07; it has A01, A02, B01" in capsys.readouterr().err
    assert recorded(finished) == SHARED | OWN
    assert committed_wells(finished.raw) == ["A01", "B01"]


def test_a_damaged_record_goes_too_and_damaged_labels_are_no_obstacle(finished: PlatePaths) -> None:
    finished.record("segment", "A01-B01").write_text("{")
    (finished.raw_well("A01") / "0/labels/zarr.json").write_text("\0")
    assert reset(finished, "--stage", "segment", "--wells", "A01") == 0
    assert recorded(finished) == SHARED | OWN - {"segment/A01-B01"}
    assert labelled(finished) == {"B01"}


def test_it_is_refused_while_a_run_works_on_the_plate(finished: PlatePaths, capsys: pytest.CaptureFixture[str]) -> None:
    with hold(finished.lock):
        assert reset(finished) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("wellpose reset: ")
    assert "is held by process" in line
    assert recorded(finished) == SHARED | OWN


def test_a_folder_that_is_no_plate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert reset(PlatePaths(tmp_path)) == 2
    assert "is not a plate's results folder" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
