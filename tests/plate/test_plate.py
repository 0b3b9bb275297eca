"""The whole workflow on a tiny plate, as a user runs it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaozarrs
import zarr
from ome_zarr_models.v05 import HCS, Image
from ome_zarr_models.v05.well import Well
from plates import Run
from selenium.webdriver import Chrome

from pipeline_lib.io.plate import committed_wells, fields_of, read_field, read_labels
from pipeline_lib.io.records import read_json, well_outcomes
from pipeline_lib.metrics import average_precision
from pipeline_lib.paths import well_path
from pipeline_lib.stages.segment import labels_fingerprint

Troubled = tuple[Run, dict[str, str]]


def planned_rules(dry_run: str) -> set[str]:
    """The rules a dry run would execute."""
    return set(re.findall(r"^(?:local)?rule (\w+):", dry_run, flags=re.MULTILINE)) - {"all"}


def labels_of(run: Run, well: str) -> dict[str, np.ndarray]:
    return {
        f"{field}/{name}": labels
        for field in fields_of(run.plate.raw, well)
        for name, labels in read_labels(run.plate.raw, well, field).items()
    }


def test_bad_wells_are_quarantined_with_a_reason_and_all_others_finish(troubled: Troubled) -> None:
    run, trouble = troubled
    outcomes = well_outcomes(run.plate.records("ingest"))
    assert {well for well, outcome in outcomes.items() if outcome["status"] == "quarantined"} == set(trouble)
    for well, word in trouble.items():
        assert word in outcomes[well]["reason"]
        assert well in outcomes[well]["reason"]
    finished = set(outcomes) - set(trouble)
    assert len(finished) == 8
    for stage in ("segment", "measure"):
        assert {w for w, o in well_outcomes(run.plate.records(stage)).items() if o["status"] == "done"} == finished
    assert set(committed_wells(run.plate.raw)) == finished
    assert {path.stem for path in (run.plate.folder / "cells").iterdir()} == finished


def test_plate_and_every_well_and_image_are_valid_ngff(troubled: Troubled) -> None:
    run, trouble = troubled
    yaozarrs.validate_zarr_store(str(run.plate.raw))
    plate = zarr.open_group(run.plate.raw, mode="r")
    listed = {well.path for well in HCS.from_zarr(plate).attributes.ome.plate.wells}
    assert listed == {well_path(well) for well in committed_wells(run.plate.raw)}
    assert not listed & {well_path(well) for well in trouble}
    for path in listed:
        for image in Well.from_zarr(plate[path]).attributes.ome.well.images:
            opened = Image.from_zarr(plate[f"{path}/{image.path}"])
            assert opened.labels is not None
            assert set(opened.labels.attributes.ome.labels) == {"nuclei", "cells", "cytoplasm"}


def test_raw_pixels_are_those_of_the_files(troubled: Troubled) -> None:
    import tifffile

    run, _ = troubled
    well = committed_wells(run.plate.raw)[0]
    stored = read_field(run.plate.raw, well, 1)
    for channel, name in enumerate(("DNA", "GFP")):
        np.testing.assert_array_equal(stored[channel], tifffile.imread(run.folder / "raw" / f"{well}_s2_w{name}.tif"))


def test_objects_are_those_that_were_drawn(troubled: Troubled) -> None:
    run, _ = troubled
    scores = [
        average_precision(
            read_labels(run.folder / "truth.ome.zarr", well, 0)["nuclei"], labels_of(run, well)["0/nuclei"], (0.5,)
        )[0]
        for well in committed_wells(run.plate.raw)
    ]
    assert np.mean(scores) > 0.9


def test_compartments_of_a_cell_share_its_number(troubled: Troubled) -> None:
    run, _ = troubled
    for well in committed_wells(run.plate.raw):
        labels = read_labels(run.plate.raw, well, 0)
        cytoplasm = labels["cytoplasm"] > 0
        np.testing.assert_array_equal(labels["cytoplasm"][cytoplasm], labels["cells"][cytoplasm])
        assert not (labels["nuclei"][cytoplasm]).any()
        nuclei = labels["nuclei"] > 0
        np.testing.assert_array_equal(labels["nuclei"][nuclei], labels["cells"][nuclei])


def test_tables_tell_of_every_well_and_the_marker_separates_the_controls(troubled: Troubled) -> None:
    run, trouble = troubled
    wells = pd.read_parquet(run.plate.wells_parquet)
    assert len(wells) == 12
    assert set(wells.loc[wells["Metadata_Status"] == "quarantined", "Metadata_Well"]) == set(trouble)
    for well in committed_wells(run.plate.raw):
        cells = pd.read_parquet(run.plate.cells(well))
        counted = wells.loc[wells["Metadata_Well"] == well, "Count_Nuclei"].item()
        assert (
            counted
            == cells["Nuclei_AreaShape_Area"].notna().sum()
            == sum(labels.max() for name, labels in labels_of(run, well).items() if name.endswith("nuclei"))
        )
        assert {"Cytoplasm_Intensity_MeanIntensity_GFP", "Metadata_Well", "Metadata_Field"} <= set(cells)
    scores = pd.read_csv(run.plate.z_prime).set_index("Feature")["ZPrime"]
    assert scores["Cells_Intensity_Log2NucleusCytoplasmRatio_GFP"] > 0.5
    profiles = pd.read_parquet(run.plate.profiles)
    negative = profiles.loc[profiles["Metadata_Role"] == "negative", "Cells_Intensity_Log2NucleusCytoplasmRatio_GFP"]
    assert negative.median() == pytest.approx(0, abs=1e-9)


def test_a_second_run_has_nothing_to_do(troubled: Troubled) -> None:
    run, _ = troubled
    again = run.snakemake()
    assert "Nothing to be done" in again.stdout + again.stderr


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"report": "{thumbnail_size: 100}"}, {"report"}),
        ({"aggregate": "{control: ROLE}"}, {"aggregate", "report"}),
        ({"measure": "{features: [shape]}"}, {"measure", "aggregate", "report"}),
        ({"segment": "{percentiles: [2, 99]}"}, {"calibrate", "segment", "measure", "aggregate", "report"}),
    ],
)
def test_a_changed_setting_reruns_its_stage_and_what_follows(
    troubled: Troubled, change: dict[str, str], expected: set[str]
) -> None:
    run, _ = troubled
    planned = run.snakemake("-n", **change)
    assert planned.returncode == 0, planned.stderr
    assert planned_rules(planned.stdout + planned.stderr) == expected


def test_portions_and_lost_records_recompute_nothing(troubled: Troubled) -> None:
    run, trouble = troubled
    before = {well: labels_fingerprint(run.plate, well) for well in committed_wells(run.plate.raw)}
    assert None not in before.values()
    times = {path: path.stat().st_mtime_ns for path in run.plate.raw.rglob("c/*") if path.is_file()}
    for record in run.plate.records("segment").iterdir():
        record.unlink()
    again = run.snakemake(ingest="{wells_per_job: 5}", measure="{wells_per_job: 7}")
    assert again.returncode == 0, again.stderr
    assert len(list(run.plate.records("ingest").iterdir())) > 1
    for stage in ("ingest", "segment", "measure"):
        outcomes = well_outcomes(run.plate.records(stage))
        assert {o["status"] for w, o in outcomes.items() if w not in trouble} == {"current"}
    assert {well: labels_fingerprint(run.plate, well) for well in committed_wells(run.plate.raw)} == before
    assert all(path.stat().st_mtime_ns == time for path, time in times.items())


def test_a_repaired_file_brings_its_well_and_changes_no_other(draw_plate: Callable[[int, int], Run]) -> None:
    import tifffile

    run = draw_plate(3, 4)
    assert run.snakemake().returncode == 0
    [cut] = [w for w, o in well_outcomes(run.plate.records("ingest")).items() if o["status"] == "quarantined"]
    before = {well: labels_of(run, well) for well in committed_wells(run.plate.raw)}
    damaged = min((run.folder / "raw").glob(f"{cut}_s1_*"), key=lambda path: path.stat().st_size)
    for field in (1, 2):
        whole = run.folder / "raw" / f"{cut}_s{field}_wGFP.tif"
        tifffile.imwrite(whole, tifffile.imread(run.folder / "raw" / f"{cut}_s{field}_wDNA.tif"))
    assert damaged.exists()
    for record in run.plate.records("ingest").iterdir():
        record.unlink()
    again = run.snakemake()
    assert again.returncode == 0, again.stderr
    assert set(committed_wells(run.plate.raw)) == {*before, cut}
    outcomes = well_outcomes(run.plate.records("segment"))
    assert {well for well, outcome in outcomes.items() if outcome["status"] == "done"} == {cut}
    for well, labels in before.items():
        for name, found in labels_of(run, well).items():
            np.testing.assert_array_equal(found, labels[name])


def test_all_faults_of_config_and_plate_map_are_told_before_any_job(tmp_path: Path, troubled: Troubled) -> None:
    _, _ = troubled
    raw = tmp_path / "raw"
    raw.mkdir()
    for well in ("A01", "A02"):
        (raw / f"{well}_s1_wDNA.tif").touch()
    (tmp_path / "plates.tsv").write_text(
        "plate\tfolder\tformat\tplate_map\toverrides\ntiny\traw\tpattern\tmap.csv\t{measure: {featurs: [shape]}}\n"
        "other\traw\tpattern\tmap.csv\t\n"
    )
    (tmp_path / "map.csv").write_text("well,role\nA01,negative\nA02,positive\nQ99,treatment\nA01,negative\n")
    stopped = Run(tmp_path).snakemake()
    told = stopped.stdout + stopped.stderr
    assert stopped.returncode == 1
    for words in ("unknown key measure.featurs", "allowed here: wells_per_job, features", "Q99", "more than once: A01"):
        assert words in told
    assert "Traceback" not in told
    assert not (tmp_path / "results" / "other" / "raw.ome.zarr").exists()


def test_records_say_what_was_computed_from_what(troubled: Troubled) -> None:
    run, _ = troubled
    [record] = run.plate.records("calibrate").iterdir()
    calibration = read_json(record)
    assert calibration["ranges"]["DNA"][0] < calibration["ranges"]["DNA"][1]
    assert 20 < calibration["diameters"]["nuclei"] < 40
    newest = max(run.plate.records("segment").iterdir(), key=lambda path: path.stat().st_mtime)
    record = json.loads(newest.read_text())
    assert len(record["weights"]["nuclei"]) == 64
    assert record["software"]["torch"].startswith("2.")
    assert record["peak_memory_mb"] < 3072
    assert record["settings"]["labels"]["nuclei"]["weights"] == "wellpose-1"


@pytest.mark.browser
def test_the_report_shows_the_plate_in_a_browser(troubled: Troubled, browser: Chrome) -> None:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.ui import Select, WebDriverWait

    run, trouble = troubled
    browser.get_log("browser")
    browser.get(run.plate.report.as_uri())

    def shown() -> list[str]:
        return [
            well.get_attribute("data-value") or ""
            for well in browser.find_elements(By.CSS_SELECTOR, "#heatmap [data-well]")
        ]

    before = shown()
    Select(browser.find_element(By.ID, "feature-select")).select_by_value("Count_Nuclei")
    WebDriverWait(browser, 10).until(lambda _: shown() != before)
    browser.find_element(By.CSS_SELECTOR, '#heatmap [data-well="A01"]').click()
    picture = WebDriverWait(browser, 10).until(lambda _: browser.find_element(By.ID, "well-thumbnail"))
    assert int(browser.execute_script("return arguments[0].naturalWidth", picture)) > 0
    for well, word in trouble.items():
        assert word in browser.find_element(By.ID, "quarantine-table").text
        assert "quarantined" in (
            browser.find_element(By.CSS_SELECTOR, f'[data-well="{well}"]').get_attribute("class") or ""
        )
    assert browser.find_element(By.ID, "dose-plot").is_displayed()
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []
