"""The checks before any job starts: every fault at once, every well in one batch, manifests as old as their folders."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_lib.core.manifest import ImageFile, Manifest
from pipeline_lib.core.wells import row_column, well_name
from pipeline_lib.paths import BATCH_STAGES, LIGHT_STAGES, PLATE_STAGES, RESTORING_STAGES, PlatePaths
from pipeline_lib.settings import (
    GrowLabels,
    IngestSettings,
    LabelSettings,
    NetworkLabels,
    Section,
    SegmentSettings,
    Settings,
    sections,
)
from pipeline_lib.settings.faults import section_at
from pipeline_lib.workflow import ConfigError, Plate, Workflow, load_workflow

MAP = "well,role,dose\nA01,negative,0\nA02,positive,9\n"
CHANNELS = ("DNA", "GFP")


@dataclass(frozen=True)
class Screen:
    """A folder with a plate sheet, beside it raw folders full of empty files."""

    folder: Path

    def raw(self, name: str, wells: Sequence[str] = ("A01", "A02", "B01")) -> Path:
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        for well in wells:
            for channel in CHANNELS:
                (folder / f"{well}_s1_w{channel}.tif").touch()
        past = folder.stat().st_mtime - 3600
        os.utime(folder, (past, past))
        return folder

    def sheet(self, *lines: str, header: str = "plate\tfolder\tformat\tplate_map\toverrides") -> None:
        (self.folder / "plates.tsv").write_text("\n".join(["# comment", header, *lines, ""]))

    def load(self, config: Mapping[str, Any] | None = None) -> Workflow:
        places = {"plates": str(self.folder / "plates.tsv"), "results": str(self.folder / "results")}
        return load_workflow({**places, **(config or {})})

    def faults(self, config: Mapping[str, Any] | None = None) -> list[str]:
        """The faults of the one error that is raised."""
        with pytest.raises(ConfigError) as caught:
            self.load(config)
        head, *faults = str(caught.value).split("\n  * ")
        assert head == f"{len(faults)} fault(s) to mend before any job starts:"
        return faults


@pytest.fixture
def screen(tmp_path: Path) -> Screen:
    made = Screen(tmp_path)
    made.raw("raw")
    (tmp_path / "map.csv").write_text(MAP)
    return made


def test_a_good_sheet_gives_plates_with_their_own_settings(screen: Screen) -> None:
    (screen.folder / "own.yaml").write_text("measure: {wells_per_job: 1}\n")
    screen.sheet(
        "P1\traw\tpattern\tmap.csv\t",
        f"P2\t{screen.folder / 'raw'}\tpattern\t\t{{measure: {{features: [shape]}}}}",
        "P-3.x\traw\tpattern\tmap.csv\town.yaml",
        "P4\traw\tpattern",
    )
    found = screen.load({"measure": {"features": ["shape", "texture"]}})
    assert list(found.plates) == ["P1", "P2", "P-3.x", "P4"]
    features = [plate.settings.measure.features for plate in found.plates.values()]
    assert features == [("shape", "texture"), ("shape",), ("shape", "texture"), ("shape", "texture")]
    assert [plate.settings.measure.wells_per_job for plate in found.plates.values()] == [16, 16, 1, 16]
    assert found.plates["P1"].wells == ("A01", "A02", "B01")
    assert found.plates["P1"].plate_map == screen.folder / "map.csv"
    assert found.plates["P2"].plate_map is None
    assert found.plates["P1"].paths.folder == screen.folder / "results" / "P1"


def test_wells_that_are_only_announced_are_wells_too(screen: Screen) -> None:
    """B02 is on the plate map alone, C05 in the index file alone: both will be told of as holes."""
    (screen.folder / "map.csv").write_text(MAP + "B02,x,1\n")
    screen.sheet("P1\traw\tpattern\tmap.csv\t")
    assert screen.load().plates["P1"].wells == ("A01", "A02", "B01", "B02")
    index = screen.folder / "indexed" / "x.HTD"
    index.parent.mkdir()
    chosen = {
        row: ", ".join("TRUE" if (row, column) == (3, 5) else "FALSE" for column in range(1, 13)) for row in range(1, 9)
    }
    selection = "".join(f'"WellsSelection{row}", {cells}\n' for row, cells in chosen.items())
    index.write_text(f'"XWells", 12\n"YWells", 8\n{selection}"EndFile"\n')
    (index.parent / "x_A01_s1_w1.TIF").touch()
    screen.sheet("P1\tindexed\timagexpress\t\t{segment: {labels: {nuclei: {channels: [Channel1]}}}}")
    assert screen.load().plates["P1"].wells == ("A01", "C05")


def test_all_faults_of_a_config_are_told_at_once(screen: Screen) -> None:
    screen.sheet("P1\traw\tpattern")
    faults = screen.faults(
        {
            "segmnt": {},
            "measure": {"feature": ["shape"], "wells_per_job": 0},
            "segment": {"labels": {"cells": {"method": "grow", "radius": 3}}},
            "ingest": {"channels": {"1": {"name": "DNA", "color": "00FF00"}}},
        }
    )
    told = "\n".join(faults)
    assert len(faults) == 6
    assert "plate P1: ingest.channels names channel id '1'; the raw files have DNA, GFP" in told, (
        "plates are checked too"
    )
    assert f"unknown key segmnt; allowed here: {', '.join(Settings.model_fields)}" in told
    assert "unknown key measure.feature; allowed here: wells_per_job, features" in told
    assert "measure.wells_per_job: Input should be greater than 0 (found 0)" in told
    assert "unknown key segment.labels.cells.radius; allowed here: method, channel, distance, threshold" in told
    assert "unknown key ingest.channels.1.color; allowed here: name, colour" in told


def network_file(path: Path, channels_out: int) -> str:
    """The header of a safetensors file, by which a network is told from others."""
    header = json.dumps({"output.2.weight": {"dtype": "F16", "shape": [channels_out, 32, 1, 1]}}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    return str(path)


def test_faults_of_a_restoration_are_told_at_once(screen: Screen) -> None:
    cleans, finds = (network_file(screen.folder / f"{n}.safetensors", n) for n in (1, 3))
    screen.sheet("P1\traw\tpattern")
    channels = {
        "DNA": {"kind": "denoise", "weights": finds},
        "GFP": {"kind": "deblur", "weights": "gone", "diameter": "cells"},
        "ER": {"kind": "upsample", "weights": cleans},
    }
    nuclei = {"weights": cleans}
    told = "\n".join(screen.faults({"restore": {"channels": channels}, "segment": {"labels": {"nuclei": nuclei}}}))
    assert f"segment.labels.nuclei.weights: {cleans} restores images; name a network here that finds objects" in told
    assert f"restore.channels.DNA.weights: {finds} finds objects; name a network here that restores images" in told
    assert "restore.channels.GFP.weights: no weights named 'gone'" in told
    assert "restore.channels uses channel 'ER'; the plate has DNA, GFP" in told
    assert "restore.channels.GFP.diameter: cells are not found by a network" in told
    assert len(told.splitlines()) == 5
    [fault] = screen.faults({"measure": {"images": "restored"}})
    assert "measure.images: restored images are asked for, and restore.channels restores none" in fault


def test_a_plate_has_the_stages_of_restoration_only_where_a_channel_is_restored(screen: Screen) -> None:
    cleans = network_file(screen.folder / "clean.safetensors", 1)
    screen.sheet(
        "P1\traw\tpattern", "P2\traw\tpattern\t\t{restore: {channels: {DNA: {kind: none}}}, segment: {images: raw}}"
    )
    restore = {"channels": {"DNA": {"kind": "denoise", "weights": cleans}}, "wells_per_job": 2}
    plates = screen.load({"restore": restore, "segment": {"images": "restored"}}).plates
    assert plates["P2"].batch_stages == ("ingest", "segment", "measure")
    assert not any("restore" in target or "conclude" in target for target in plates["P2"].targets())
    assert plates["P1"].batch_stages == BATCH_STAGES
    assert plates["P1"].section("restore").channels["DNA"].diameter == "nuclei", "the one found in this channel"
    records = plates["P1"].restored_for("segment", "A01-B01")
    assert [Path(record).stem for record in records] == ["A01-A02", "B01-B01"]
    assert plates["P1"].restored_for("measure", "A01-B01") == []


def test_all_faults_of_a_sheet_and_its_plates_are_told_at_once(screen: Screen) -> None:
    (screen.folder / "off.csv").write_text("well,role,dose\nA01,negative,1\nA02,positive,x\nP24,y,1\n")
    (screen.folder / "lacking.csv").write_text("well,role\nA01,negative\nA02,other\n")
    (screen.folder / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    screen.sheet(
        "twice\traw\tpattern\t\t",
        "twice\traw\tpattern\t\t",
        "../out\traw\tpattern\t\t",
        "format\traw\tczi\t\t",
        "gone\tnowhere\tpattern\t\t",
        "map\traw\tpattern\toff.csv\t",
        "controls\traw\tpattern\tlacking.csv\t",
        "nomap\traw\tpattern\tnone.csv\t",
        "channel\traw\tpattern\t\t{segment: {labels: {nuclei: {channels: [DAPI]}}}}",
        "ids\traw\tpattern\t\t{ingest: {channels: {'7': {name: X}, DNA: {name: GFP}}}}",
        "syntax\traw\tpattern\t\t{measure: [",
        "list\traw\tpattern\t\t[measure]",
        "file\traw\tpattern\t\tnone.yaml",
        "binary\traw\tpattern\t\tbinary.yaml",
        "key\traw\tpattern\t\t{measure: {feature: [shape]}}",
        "place\traw\tpattern\t\t{results: elsewhere}",
        "regex\traw\tpattern\t\t{ingest: {pattern: '(?P<wel>[A-Z])'}}",
        "none\traw\timagexpress\t\t",
    )
    faults = screen.faults()
    expected = [
        "plate 'twice' is listed 2 times",
        "plate id '../out': letters, digits",
        "plate format: unknown raw format 'czi': known are auto, ",
        "plate gone: there is no folder",
        "off.csv: not on a plate of 2 x 3 wells (A01 to B03): P24",
        "off.csv: doses in column 'dose' that are not plain numbers: 'x' (A02)",
        "lacking.csv: no positive control",
        "none.csv: cannot be read: No such file or directory",
        "plate channel: segment.labels uses channel 'DAPI'; the plate has DNA, GFP",
        "plate ids: ingest.channels names channel id '7'; the raw files have DNA, GFP",
        "plate ids: segment.labels uses channel 'DNA'; the plate has GFP, GFP",
        "plate ids: two channels have one name: GFP, GFP",
        "plate syntax: overrides '{measure: [' are neither YAML nor a YAML file",
        "plate list: overrides hold a list; sections such as {measure: ...} are allowed",
        "plate file: overrides 'none.yaml' are neither YAML nor a YAML file",
        "plate binary: overrides 'binary.yaml' are neither YAML nor a YAML file",
        "plate key: unknown key measure.feature; allowed here: wells_per_job, features",
        "plate place: results cannot differ between plates",
        "needs either `well`, or `row` and `column`",
        "plate none: none of the 6 files in",
    ]
    lost = [part for part in expected if not any(part in fault for fault in faults)]
    assert lost == []
    assert len(faults) == len(expected)


@pytest.mark.parametrize("line", ["../out\traw\tpattern\t\t", "P1\traw\tpattern\t\t{results: elsewhere}"])
def test_a_faulty_plate_writes_nothing_outside_the_results(
    screen: Screen, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    monkeypatch.chdir(screen.folder)
    screen.sheet(line)
    screen.faults()
    assert {path.name for path in screen.folder.iterdir()} <= {"map.csv", "plates.tsv", "raw", "results"}


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (None, "does not exist; create it with the columns plate, folder, format, plate_map, overrides"),
        (b"", "columns none found (tabs between them?); required: plate, folder, format"),
        (b"plate,folder,format\nP1,raw,pattern\n", "columns plate,folder,format found (tabs between them?)"),
        (b"plate\tfolder\tformat\tmap\nP1\traw\tpattern\tm.csv\n", "also allowed: plate_map, overrides"),
        ("plate\tfolder\tformat\nµ\traw\tpattern\n".encode("latin-1"), "is not a text file in UTF-8"),
        ("plate\tfolder\tformat\nP1\traw\tpattern\n".encode("utf-16"), "is not a text file in UTF-8"),
        (b"plate\tfolder\tformat\n\traw\tpattern\n", "plate id ''"),
        (b"plate\tfolder\tformat\tmeasure.features\tmeasure.features\nP1\traw\tpattern\n", "each of them once"),
        (b"plate\tfolder\tformat\tdiameter\nP1\traw\tpattern\n", "settings such as segment.labels.nuclei.diameter"),
    ],
)
def test_a_sheet_that_is_no_sheet(screen: Screen, content: bytes | None, fault: str) -> None:
    if content is not None:
        (screen.folder / "plates.tsv").write_bytes(content)
    [found] = screen.faults()
    assert str(screen.folder / "plates.tsv") in found
    assert fault in found


def test_an_empty_sheet_is_told(screen: Screen) -> None:
    screen.sheet()
    [fault] = screen.faults()
    assert "lists no plate" in fault


def test_missing_weights_and_a_threshold_without_a_channel_are_told_before_any_job(screen: Screen) -> None:
    screen.sheet("P1\traw\tpattern\t\t{segment: {labels: {nuclei: {weights: nope}, cells: {threshold: otsu}}}}")
    told = "\n".join(screen.faults())
    assert "segment.labels.nuclei.weights: no weights named 'nope'" in told
    assert "starter_nuclei" in told, "what there is"
    assert "threshold otsu needs a channel" in told


def test_jobs_work_on_the_plate_as_it_was_planned(screen: Screen) -> None:
    screen.sheet("P1\traw\tpattern")
    planned = screen.load().plates["P1"].wells
    (screen.folder / "raw" / "B02_s1_wDNA.tif").touch()
    shutil.rmtree(screen.folder / "raw")
    config = {"plates": str(screen.folder / "plates.tsv"), "results": str(screen.folder / "results")}
    assert load_workflow(config, rescan=False).plates["P1"].wells == planned
    assert screen.load().plates["P1"].wells == planned, "an archived raw folder does not stop a report"


def test_a_file_that_is_no_image_reruns_nothing(screen: Screen) -> None:
    screen.sheet("P1\traw\tpattern")
    manifest = screen.load().plates["P1"].paths.manifest
    before = manifest.stat().st_mtime_ns
    (screen.folder / "raw" / "notes.txt").write_text("focus was bad in row C")
    screen.load()
    assert manifest.stat().st_mtime_ns == before


def test_the_plate_format_can_be_given(screen: Screen) -> None:
    (screen.folder / "map.csv").write_text("well,role\nA01,negative\nH12,positive\n")
    screen.sheet("P1\traw\tpattern\tmap.csv\t{ingest: {plate_format: 96}}")
    assert "H12" in screen.load().plates["P1"].wells
    screen.sheet("P1\traw\tpattern\tmap.csv\t")
    assert "not on a plate of" in screen.faults()[0]


def test_overrides_are_laid_over_the_config_section_by_section(screen: Screen) -> None:
    screen.sheet("P1\traw\tpattern\t\t{segment: {labels: {nuclei: {diameter: 20}, cells: {distance: 5}}}}")
    config = {"segment": {"labels": {"nuclei": {"min_size": 3}, "cells": {"method": "grow", "channel": "GFP"}}}}
    labels = screen.load(config).plates["P1"].settings.segment.labels
    assert (labels.nuclei.diameter, labels.nuclei.min_size) == (20, 3)
    assert (labels.cells.distance, labels.cells.channel) == (5, "GFP")
    assert config["segment"]["labels"]["nuclei"] == {"min_size": 3}


def test_a_label_image_of_another_method_is_replaced_whole(screen: Screen) -> None:
    screen.sheet("P1\traw\tpattern\t\t{segment: {labels: {cells: {method: network, channels: [GFP]}}}}")
    config = {"segment": {"labels": {"cells": {"method": "grow", "distance": 6.0}}}}
    cells = screen.load(config).plates["P1"].settings.segment.labels.cells
    assert (cells.method, cells.channels) == ("network", ("GFP",))
    screen.sheet("P1\traw\tpattern\t\t{segment: {labels: {cells: null}}}")
    assert screen.load(config).plates["P1"].settings.segment.labels.cells is None


COLUMNS = "plate\tfolder\tformat\toverrides\tsegment.labels.nuclei.diameter\tmeasure.features"


def test_columns_named_by_settings_win_over_overrides_and_those_over_the_config(screen: Screen) -> None:
    own = "{segment: {labels: {nuclei: {diameter: 20, min_size: 3}}}}"
    screen.sheet(
        f"both\traw\tpattern\t{own}\t30\t[shape]",
        f"file\traw\tpattern\t{own}\t\t",
        "none\traw\tpattern",
        header=COLUMNS,
    )
    plates = screen.load({"segment": {"labels": {"nuclei": {"diameter": 10}}}}).plates
    nuclei = {name: plate.settings.segment.labels.nuclei for name, plate in plates.items()}
    assert {name: made.diameter for name, made in nuclei.items()} == {"both": 30, "file": 20, "none": 10}
    assert {name: made.min_size for name, made in nuclei.items()} == {"both": 3, "file": 3, "none": 15}
    assert plates["both"].settings.measure.features == ("shape",)
    assert plates["none"].settings.measure.features == Settings().measure.features


def test_a_column_can_give_null_and_a_format(screen: Screen) -> None:
    header = "plate\tfolder\tformat\tsegment.labels.nuclei.diameter\tingest.plate_format"
    screen.sheet("P1\traw\tpattern\tnull\t96", header=header)
    settings = screen.load({"segment": {"labels": {"nuclei": {"diameter": 10}}}}).plates["P1"].settings
    assert (settings.segment.labels.nuclei.diameter, settings.ingest.plate_format) == (None, 96)


@pytest.mark.parametrize(
    "header",
    [
        ("segment.labels.cells.channels", "segment.labels.cells.method", "segment.labels.cells"),
        ("segment.labels.cells", "segment.labels.cells.method", "segment.labels.cells.channels"),
    ],
)
def test_columns_that_belong_together_stand_in_any_order(screen: Screen, header: tuple[str, ...]) -> None:
    cells = {
        "segment.labels.cells": "{diameter: 9, channels: [DNA]}",
        "segment.labels.cells.method": "network",
        "segment.labels.cells.channels": "[GFP]",
    }
    screen.sheet(
        "\t".join(("P1", "raw", "pattern", *(cells[name] for name in header))),
        header="\t".join(("plate", "folder", "format", *header)),
    )
    found = screen.load().plates["P1"].settings.segment.labels.cells
    assert (found.method, found.channels, found.diameter) == ("network", ("GFP",), 9)


def test_faults_of_columns_name_plate_and_column_beside_all_others(screen: Screen) -> None:
    columns = {
        "segment.labels.nuclei.diametre": "20",
        "segmnt.scaling": "field",
        "measure.wells_per_job": "-1",
        "segment.labels.cells.threshold": "otsu",
        "segment.scaling": "[",
        "results": "elsewhere",
        "analysis": "v2",
    }
    header = "\t".join(("plate", "folder", "format", "overrides", *columns))
    own = "{measure: {feature: [shape]}}"
    screen.sheet("\t".join(("P1", "raw", "pattern", own, *columns.values())), "P2\traw\tczi", header=header)
    faults = screen.faults({"aggregate": {"dosis": "x"}})
    expected = [
        "config: unknown key aggregate.dosis",
        "plate P1: unknown key measure.feature; allowed here: wells_per_job, features",
        "plate P1, column segment.labels.nuclei.diametre: unknown key segment.labels.nuclei.diametre; allowed here: ",
        "plate P1, column segmnt.scaling: unknown key segmnt; allowed here: plates, results",
        "plate P1, column measure.wells_per_job: measure.wells_per_job: Input should be greater than 0 (found -1)",
        "plate P1, column segment.labels.cells.threshold: segment.labels.cells: threshold otsu needs a channel",
        "plate P1, column segment.scaling: '[' is not YAML",
        "plate P1, column results: results cannot differ between plates",
        "plate P1, column analysis: analysis cannot differ between plates",
        "plate P2: unknown raw format 'czi'",
    ]
    lost = [part for part in expected if not any(fault.startswith(part) for fault in faults)]
    assert lost == []
    assert len(faults) == len(expected)


def test_a_column_of_one_plate_changes_that_plate_only(screen: Screen) -> None:
    screen.sheet("P1\traw\tpattern", "P2\traw\tpattern", header=COLUMNS)
    before = screen.load().plates
    screen.sheet("P1\traw\tpattern", "P2\traw\tpattern\t\t20", header=COLUMNS)
    after = screen.load().plates
    assert after["P1"].settings == before["P1"].settings
    assert after["P2"].settings.segment.labels.nuclei.diameter == 20


def test_changed_overrides_change_that_plate_only(screen: Screen) -> None:
    screen.sheet("P1\traw\tpattern\t\t", "P2\traw\tpattern\t\t")
    before = screen.load().plates
    screen.sheet("P1\traw\tpattern\t\t", "P2\traw\tpattern\t\t{measure: {features: [shape]}}")
    after = screen.load().plates
    assert after["P1"].settings == before["P1"].settings
    assert after["P2"].section("measure").to_json() != before["P2"].section("measure").to_json()
    assert after["P2"].section("segment").to_json() == before["P2"].section("segment").to_json()


def test_a_manifest_is_kept_while_the_raw_folder_is_unchanged(screen: Screen) -> None:
    screen.sheet("P1\traw\tpattern\t\t")
    path = screen.load().plates["P1"].paths.manifest
    before = (path.stat().st_ino, path.stat().st_mtime_ns, path.read_bytes())
    screen.load()
    assert (path.stat().st_ino, path.stat().st_mtime_ns, path.read_bytes()) == before


def test_a_manifest_is_made_again_when_a_file_is_added_the_pattern_changes_or_it_is_damaged(screen: Screen) -> None:
    screen.sheet("P1\traw\tpattern\t\t")
    plate = screen.load().plates["P1"]
    (screen.folder / "raw" / "B03_s1_wDNA.tif").touch()
    assert screen.load().plates["P1"].wells == (*plate.wells, "B03")
    plate.paths.manifest.write_text("{")
    assert screen.load().plates["P1"].wells == (*plate.wells, "B03")
    narrow = {"ingest": {"pattern": r"(?P<well>A[0-9]{2})_s1_w(?P<channel>[A-Z]+)\.tif"}}
    assert screen.load(narrow).plates["P1"].wells == ("A01", "A02")


wells = st.sets(st.tuples(st.integers(0, 31), st.integers(0, 47)), min_size=1, max_size=80).map(
    lambda places: [well_name(*place) for place in places]
)
sizes = st.integers(1, 100)


def plate_of(wells: Sequence[str], **sizes: int) -> Plate:
    files = tuple(ImageFile(well, 0, "1", 0, 0, f"{well}.tif") for well in wells)
    manifest = Manifest("P1", "raw", "pattern", ("1",), 32, 48, files)
    settings = Settings.model_validate({stage: {"wells_per_job": size} for stage, size in sizes.items()})
    return Plate("P1", PlatePaths(Path("results/P1")), settings, manifest)


@given(wells, sizes)
def test_batches_hold_every_well_once_and_in_order(wells: list[str], size: int) -> None:
    plate = plate_of(wells, segment=size)
    batches = plate.batches("segment")
    assert [well for batch in batches.values() for well in batch] == sorted(wells, key=row_column)
    assert [len(batch) for batch in batches.values()][:-1] == [size] * (len(batches) - 1)
    assert all(0 < len(batch) <= size for batch in batches.values())
    assert all(name == f"{batch[0]}-{batch[-1]}" for name, batch in batches.items())
    assert len(plate.records("segment")) == len(batches)


@given(wells, sizes, sizes)
def test_a_job_waits_for_exactly_the_batches_that_hold_its_wells(wells: list[str], one: int, other: int) -> None:
    plate = plate_of(wells, segment=one, measure=other)
    for batch, members in plate.batches("measure").items():
        waited = plate.records_sharing("segment", "measure", batch)
        found = {
            w
            for name, b in plate.batches("segment").items()
            for w in b
            if f"results/P1/records/segment/{name}.json" in waited
        }
        assert set(members) <= found
        assert all(set(b) & set(members) for name, b in plate.batches("segment").items()
                   if f"results/P1/records/segment/{name}.json" in waited)  # fmt: skip


def test_a_finished_plate_has_its_report_and_every_record() -> None:
    plate = plate_of(["A01", "A02", "B01"], ingest=2, segment=1, measure=3)
    targets = plate.targets()
    assert set(targets[:5]) == {
        f"results/P1/{name}" for name in ("report.html", "wells.parquet", "wells.csv", "profiles.parquet", "zprime.csv")
    }
    records = [path.removeprefix("results/P1/records/") for path in targets[5:]]
    assert sorted(records) == sorted(
        [
            *(f"{stage}/plate.json" for stage in PLATE_STAGES if stage not in (*RESTORING_STAGES, *LIGHT_STAGES)),
            *("ingest/A01-A02.json", "ingest/B01-B01.json", "measure/A01-B01.json"),
            *("segment/A01-A01.json", "segment/A02-A02.json", "segment/B01-B01.json"),
        ]
    )
    assert set(BATCH_STAGES) == {"ingest", "restore", "segment", "measure"}


@pytest.mark.parametrize(
    ("path", "section"),
    [
        ((), Settings),
        (("segment",), SegmentSettings),
        (("segment", "labels"), LabelSettings),
        (("segment", "labels", "nuclei"), NetworkLabels),
        (("segment", "labels", "cells", "grow"), GrowLabels),
        (("segment", "labels", "cells", "network"), NetworkLabels),
        (("ingest", "channels", "1"), sections(IngestSettings.model_fields["channels"].annotation)[0]),
    ],
)
def test_the_section_at_a_path(path: tuple[str, ...], section: type[Section]) -> None:
    assert section_at(path) is section
