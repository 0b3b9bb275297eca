"""One drawn plate as every microscope writes it becomes the same plate; real plates lose no field."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
import yaml
import yaozarrs
from ingests import arrays, assert_same, ingested, ingested_folder, planned
from plates import REPOSITORY, Run

from pipeline_lib.core.wells import well_name
from pipeline_lib.io.layouts import LAYOUTS
from pipeline_lib.io.manifests import read_manifest
from pipeline_lib.io.plate import committed_wells, fields_of, listed_wells, read_attributes, read_info
from pipeline_lib.io.records import well_outcomes
from pipeline_lib.paths import PlatePaths, well_path
from pipeline_lib.settings import IngestSettings
from pipeline_lib.stages.synthesize import OVERRIDES, Drawing, synthesize

pytestmark = pytest.mark.plate
every_layout = pytest.mark.parametrize("layout", sorted(LAYOUTS))
DRAWING = Drawing("P1", rows=2, columns=5, fields=2, size=96, cells=4.0, compounds=1, seed=3, planes=2)
PLAIN = {"pattern", "cellinsight"}
# Layouts in which neither an index nor the images themselves tell a fact.
SILENT_ON_WAVELENGTHS = {*PLAIN, "ngff", "scanr"}
SILENT_ON_Z_STEP = PLAIN
SILENT_ON_POSITIONS = {*PLAIN, "scanr"}


@pytest.fixture(scope="module")
def in_layout(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, PlatePaths]:
    """The plate drawn and ingested in every layout, with all its planes."""
    made = {}
    for layout in sorted(LAYOUTS):
        folder = tmp_path_factory.mktemp(layout)
        synthesize(folder, replace(DRAWING, layout=layout))
        [plate] = planned(folder, projection="keep")
        made[layout] = ingested(plate)
    return made


@every_layout
def test_every_array_is_the_same(in_layout: Mapping[str, PlatePaths], layout: str) -> None:
    found, wanted = (arrays(in_layout[which].raw) for which in (layout, "pattern"))
    assert len(wanted) == 9 * (2 * 2 + 1)  # nine sound wells: two levels of two fields, and histograms
    assert_same(found, wanted)


def test_the_arrays_are_what_the_files_hold(in_layout: Mapping[str, PlatePaths]) -> None:
    paths = in_layout["pattern"]
    raw = Path(read_manifest(paths.manifest).folder)
    stored = arrays(paths.raw)
    for well in committed_wells(paths.raw):
        for field in (0, 1):
            names = [[f"{well}_s{field + 1}_w{channel}_z{z}.tif" for z in (1, 2)] for channel in ("DNA", "GFP")]
            files = np.array([[tifffile.imread(raw / name) for name in planes] for planes in names])
            np.testing.assert_array_equal(stored[f"{well_path(well)}/{field}/0"], files, strict=True)


@every_layout
def test_the_same_wells_are_sound(in_layout: Mapping[str, PlatePaths], layout: str) -> None:
    """All but the damaged one."""
    paths = in_layout[layout]
    outcomes = well_outcomes(paths.records("ingest"))
    [bad] = [well for well, outcome in outcomes.items() if outcome["status"] == "quarantined"]
    smallest = min(Path(read_manifest(in_layout["pattern"].manifest).folder).iterdir(), key=lambda p: p.stat().st_size)
    assert bad == smallest.name[:3]
    assert len(outcomes) == 10
    sound = [well for well in outcomes if well != bad]
    assert listed_wells(paths.raw) == committed_wells(paths.raw) == sound
    yaozarrs.validate_zarr_store(str(paths.raw))


@every_layout
def test_the_plate_says_the_same_of_itself(in_layout: Mapping[str, PlatePaths], layout: str) -> None:
    found = read_info(in_layout[layout].raw)
    assert (found.name, found.rows, found.columns, found.fields, found.times) == ("P1", 4, 6, 2, 1)
    assert found.channel_names == ("DNA", "GFP")
    assert found.pixel_size == pytest.approx(0.65, rel=1e-9)
    assert found.z_step == (None if layout in SILENT_ON_Z_STEP else 3.0)
    waves = (None, None) if layout in SILENT_ON_WAVELENGTHS else (450.0, 525.0)
    assert tuple(channel.wavelength_nm for channel in found.channels) == waves
    wanted = read_info(in_layout["pattern"].raw)
    shown = [[(channel.colour, channel.window) for channel in info.channels] for info in (found, wanted)]
    assert shown[0] == shown[1]


@every_layout
def test_fields_lie_side_by_side(in_layout: Mapping[str, PlatePaths], layout: str) -> None:
    """Where 0 is, is the microscope's choice."""
    paths = in_layout[layout]
    for well in committed_wells(paths.raw):
        told = read_attributes(paths.raw_well(well))["wellpose"]["fields"]
        left, right = (field["stage_position_um"] for field in told)
        if layout in SILENT_ON_POSITIONS:
            assert left is right is None
        else:
            assert np.subtract(right, left) == pytest.approx((0.0, 96 * 0.65), abs=1e-6)


@pytest.fixture(scope="module")
def two_vendors(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """Two plates with the same pixels on one sheet, one of them of whatever format it is: finished in one run."""
    folder = tmp_path_factory.mktemp("vendors")
    lines = []
    for name, layout in (("opera", "operetta"), ("express", "imagexpress_export")):
        drawing = replace(DRAWING, plate=name, columns=3, fields=1, size=160, cells=9.0, planes=1, layout=layout)
        synthesize(folder / name, drawing)
        head, line = (folder / name / "plates.tsv").read_text(encoding="utf-8").splitlines()
        lines += [line.replace("\traw\t", f"\t{name}/raw\t").replace("platemap.csv", f"{name}/platemap.csv")]
    sheet = "\n".join([head, *lines, ""]).replace("\toperetta\t", "\tauto\t")
    grown = "segment: {labels: {cells: {method: grow, distance: 16}}}"  # in half the time of a second network
    (folder / "plates.tsv").write_text(sheet.replace(OVERRIDES[1:-1], grown), encoding="utf-8")
    runs = {
        name: Run(folder, name).having(segment="{labels: {nuclei: {diameter: 28}}}") for name in ("opera", "express")
    }
    done = runs["opera"].snakemake()
    assert done.returncode == 0, done.stdout + done.stderr
    return runs


def test_two_vendors_on_one_sheet_come_to_their_reports(two_vendors: dict[str, Run]) -> None:
    for name, run in two_vendors.items():
        assert f'"{name}"' in run.plate.report.read_text(encoding="utf-8")
        wells = pd.read_parquet(run.plate.wells_parquet)
        assert list(wells["Metadata_Status"]) == ["done"] * 6
        assert wells["Count_Nuclei"].sum() > 20
    formats = {name: read_manifest(run.plate.manifest).format for name, run in two_vendors.items()}
    assert formats == {"opera": "operetta", "express": "imagexpress"}


def test_the_vendor_changes_no_measurement(two_vendors: dict[str, Run]) -> None:
    opera, express = (pd.read_parquet(run.plate.wells_parquet) for run in two_vendors.values())
    assert set(opera["Metadata_Plate"]) == {"opera"}
    pd.testing.assert_frame_equal(
        opera.drop(columns=["Metadata_Plate"]), express.drop(columns=["Metadata_Plate"]), check_exact=True
    )


Fields = Mapping[str, int]
"""Well -> its fields."""


def announced_by_harmony(folder: Path) -> Fields:
    index = (folder / "Images" / "Index.idx.xml").read_text(encoding="utf-8-sig")
    images = re.findall(r"<Row>(\d+)</Row>\s*<Col>(\d+)</Col>\s*<FieldID>(\d+)</FieldID>", index)
    return Counter(well_name(int(row) - 1, int(column) - 1) for row, column, _ in set(images))


def announced_by_cellvoyager(folder: Path) -> Fields:
    [index] = folder.rglob("MeasurementData.mlf")
    records = re.findall(r'bts:Column="(\d+)" bts:Row="(\d+)".*? bts:FieldIndex="(\d+)"', index.read_text("utf-8"))
    return Counter(well_name(int(row) - 1, int(column) - 1) for column, row, _ in set(records))


def named_by_metaxpress(folder: Path) -> Fields:
    names = [path.name for path in folder.rglob("*.tif") if "_thumb" not in path.name]
    return Counter(well for well, _ in {re.findall(r"_([A-P]\d\d)_s(\d+)_w\d", name)[0] for name in names})


@pytest.mark.parametrize(
    ("name", "fields_in"),
    [
        ("operetta_sonata", announced_by_harmony),
        ("cv8000", announced_by_cellvoyager),
        ("imagexpress/Projection-Mix", named_by_metaxpress),
        ("imagexpress/1well-3C-2S-Zmix-T", named_by_metaxpress),
    ],
)
def test_every_field_of_a_real_plate_is_ingested(
    shared: Path, tmp_path: Path, name: str, fields_in: Callable[[Path], Fields]
) -> None:
    folder = (shared / "data" / "plates" / name).resolve()
    paths = ingested_folder(tmp_path, folder, "auto", IngestSettings())
    assert_whole(paths, fields_in(folder))


def test_every_field_of_bbbc013_is_ingested(shared: Path, tmp_path: Path) -> None:
    folder = (shared / "data" / "plates" / "bbbc013").resolve()
    own = yaml.safe_load((REPOSITORY / "config" / "examples" / "bbbc013.yaml").read_text(encoding="utf-8"))
    paths = ingested_folder(tmp_path, folder, "pattern", IngestSettings.model_validate(own["ingest"]))
    names = Counter(f"{path.stem[-4]}{path.stem[-2:]}" for path in folder.glob("*.tif"))
    assert set(names.values()) == {2}  # channels
    assert_whole(paths, dict.fromkeys(names, 1))


def assert_whole(paths: PlatePaths, expected: Fields) -> None:
    """Every well is committed, with so many fields."""
    outcomes = well_outcomes(paths.records("ingest"))
    assert {well: outcome.get("reason") for well, outcome in outcomes.items() if outcome["status"] != "done"} == {}
    assert expected
    assert {well: len(fields_of(paths.raw, well)) for well in listed_wells(paths.raw)} == expected
    yaozarrs.validate_zarr_store(str(paths.raw))


def test_pixels_of_a_harmony_export_are_those_of_its_files(shared: Path, tmp_path: Path) -> None:
    folder = (shared / "data" / "plates" / "operetta_sonata").resolve()
    stored = arrays(ingested_folder(tmp_path, folder, "operetta", IngestSettings()).raw)
    for field in (0, 1):
        file = tifffile.imread(folder / "Images" / f"r03c03f0{field + 1}p01-ch1sk1fk1fl1.tiff")
        assert file.std() > 0
        np.testing.assert_array_equal(stored[f"C/03/{field}/0"], file[None], strict=True)


def test_stacks_of_a_cellvoyager_measurement_are_whole(shared: Path, tmp_path: Path) -> None:
    folder = (shared / "data" / "plates" / "cv8000").resolve()
    [index] = folder.rglob("MeasurementData.mlf")
    planes = re.findall(r' bts:ZIndex="(\d+)".*? bts:Ch="(\d+)"', index.read_text(encoding="utf-8"))
    depth, channels = (len(set(numbers)) for numbers in zip(*planes, strict=True))
    paths = ingested_folder(tmp_path, folder, "cellvoyager", IngestSettings(projection="keep"))
    stored = {path: array for path, array in arrays(paths.raw).items() if path.endswith("/0")}
    frame = tifffile.imread(next(index.parent.glob("*Z01C01.tif"))).shape
    assert len(stored) == 3 * 4
    assert {array.shape for array in stored.values()} == {(channels, depth, *frame)}
