"""Plates that are OME-Zarr already: their label images stay beside the images, as the analysis `imported`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from measurements import draw, plate_of, write

from pipeline_lib.io.manifests import write_manifest
from pipeline_lib.io.plate import commit_labels, labels_of, read_field, read_info, read_labels, withdraw_labels
from pipeline_lib.io.records import read_json
from pipeline_lib.io.vendors import scan_plate
from pipeline_lib.paths import PlatePaths, labels_path, well_path
from pipeline_lib.settings import IngestSettings
from pipeline_lib.stages._job import Job
from pipeline_lib.stages.ingest import IMPORTED, ingest
from pipeline_lib.stages.skeleton import skeleton

TRUTH = np.arange(2 * 24 * 32, dtype=np.uint32).reshape(2, 24, 32) % 7


def raw_plate(folder: Path, labels: np.ndarray = TRUTH) -> Path:
    """An OME-Zarr plate of two time points, of which field 1 of B03 has nuclei."""
    plate = plate_of(times=2, planes=1)
    write(folder, "ngff", plate, draw(plate))
    group = folder / "P7.ome.zarr" / well_path("B03") / labels_path(1)
    from pipeline_lib.io.ngff import PlateInfo

    info = PlateInfo("P7", 8, 12, 3, 2, (), 0.65, (24, 32), "uint16")
    commit_labels(group, "", {"nuclei": [labels]}, [1], info, {})
    return folder


def ingested(folder: Path) -> PlatePaths:
    paths = PlatePaths(folder.parent / "results" / "P7")
    write_manifest(scan_plate("P7", folder, "auto", ""), paths.manifest)
    for stage, run in (("skeleton", skeleton), ("ingest", ingest)):
        run(Job(stage, paths, IngestSettings(), paths.record(stage, "x"), ("A01", "B03", "H12")))
    return paths


def test_labels_that_came_with_a_plate_are_kept(tmp_path: Path) -> None:
    paths = ingested(raw_plate(tmp_path / "raw"))
    assert read_info(paths.raw).channel_names == ("DNA", "GFP")
    assert labels_of(paths.raw, "B03", 1, IMPORTED)["labels"] == ["nuclei"]
    assert labels_of(paths.raw, "B03", 0, IMPORTED) == {}
    for time in range(2):
        np.testing.assert_array_equal(read_labels(paths.raw, "B03", 1, time, analysis=IMPORTED)["nuclei"], TRUTH[time])
    assert read_field(paths.raw, "B03", 1).shape == (2, 24, 32)


def test_tables_that_came_with_a_plate_are_kept(tmp_path: Path) -> None:
    raw = raw_plate(tmp_path / "raw")
    table = raw / "P7.ome.zarr" / well_path("B03") / "1" / "tables" / "regions" / "table.csv"
    table.parent.mkdir(parents=True)
    table.write_text("name,x\na,1\n")
    paths = ingested(raw)
    assert (paths.raw_well("B03") / "1" / "tables" / "regions" / "table.csv").read_text() == table.read_text()
    assert not (paths.raw_well("B03") / "0" / "tables").exists()


def test_labels_of_our_own_stand_beside_them(tmp_path: Path) -> None:
    paths = ingested(raw_plate(tmp_path / "raw"))
    group = paths.raw_well("B03") / labels_path(1)
    commit_labels(group, "", {"nuclei": [TRUTH + 1]}, [1], read_info(paths.raw), {})
    withdraw_labels(group, "")
    assert (read_labels(paths.raw, "B03", 1, analysis=IMPORTED)["nuclei"] == TRUTH[0]).all()


@pytest.mark.parametrize("labels", [TRUTH[:, :20], TRUTH.astype(np.uint32)[[0, 1, 1]]])
def test_labels_of_another_size_set_their_well_aside(tmp_path: Path, labels: np.ndarray) -> None:
    paths = ingested(raw_plate(tmp_path / "raw", labels))
    outcomes = read_json(paths.record("ingest", "x"))["wells"]
    assert [well for well, one in outcomes.items() if one["status"] == "quarantined"] == ["B03"]
    assert "its labels nuclei are" in outcomes["B03"]["reason"]
