"""The report as text: what it carries, how numbers are stored, what it refuses, and what a browser may run."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline_lib.reporting import LightEntry, ReportData, WellEntry, render_report

HOSTILE = "</script><!--<script><img src=x onerror=alert(1)>&\"'$data"


def done(well: str) -> WellEntry:
    return WellEntry(well, "done", "", None, None)


@pytest.fixture
def data() -> ReportData:
    table = pd.DataFrame(
        {
            "Metadata_Well": ["A01", "A02", "B01"],
            "Metadata_Role": ["negative", "positive", None],
            "Metadata_Dose": [np.nan, np.nan, 0.1],
            "Count_Nuclei": [1234567, 20, 30],
            "Nuclei_Area": [1 / 3, np.nan, np.inf],
        }
    )
    z_prime = pd.DataFrame({"Feature": ["Nuclei_Area", "Count_Nuclei", "Bad"], "ZPrime": [0.25, 0.5, np.nan]})
    wells = [done("A01"), done("A02"), done("B01"), WellEntry("B02", "quarantined", "torn file", None, None)]
    return ReportData(
        plate="P1",
        rows=2,
        columns=3,
        wells=wells,
        table=table,
        z_prime=z_prime,
        default_feature="Count_Nuclei",
        provenance={"version": "1.0", "stages": {"segment": {"seconds": np.float32(2.5), "device": None}}},
        notes=["a note"],
        thumbnail_caption="DNA blue",
    )


def test_uneven_light_is_shown_where_it_was_corrected(data: ReportData) -> None:
    assert payload(render_report(data))["light"] == []
    lit = replace(data, light=[LightEntry(HOSTILE, b"RIFF", "0.8 to 1.1")])
    page = render_report(lit)
    [entry] = payload(page)["light"]
    assert (entry["channel"], entry["told"]) == (HOSTILE, "0.8 to 1.1")
    assert base64.b64decode(entry["picture"].removeprefix("data:image/webp;base64,")) == b"RIFF"


def payload(page: str) -> dict[str, Any]:
    block = re.search(r'<script id="report-data" type="application/json">(.*?)</script>', page, re.DOTALL)
    assert block is not None
    content: dict[str, Any] = json.loads(block[1])
    return content


def test_table_travels_by_column_with_five_digits_and_no_nan(data: ReportData) -> None:
    shown = payload(render_report(data))
    assert shown["features"] == {"Count_Nuclei": [1234567, 20, 30], "Nuclei_Area": [0.33333, None, None]}
    assert shown["metadata"] == {
        "Well": ["A01", "A02", "B01"],
        "Role": ["negative", "positive", None],
        "Dose": [None, None, 0.1],
    }
    assert shown["positions"] == [["A01", "A02", "A03"], ["B01", "B02", "B03"]]
    assert shown["zPrime"]["ZPrime"] == [0.25, 0.5, None]
    assert shown["provenance"]["stages"]["segment"] == {"seconds": 2.5, "device": None}


@settings(max_examples=30, deadline=None)
@given(values=st.lists(st.floats(), min_size=3, max_size=3))
def test_numbers_lose_at_most_five_digits(values: list[float]) -> None:
    wells = [f"A0{number}" for number in (1, 2, 3)]
    table = pd.DataFrame({"Metadata_Well": wells, "F": values})
    report = ReportData("P", 1, 3, [done(well) for well in wells], table, pd.DataFrame(), "F", {}, [], "")
    for stored, value in zip(payload(render_report(report))["features"]["F"], values, strict=True):
        if abs(value) < 1.7976e308:  # the last few round up to infinity
            assert stored == pytest.approx(value, rel=5.1e-5, abs=1e-320)
        else:
            assert stored is None


def test_nullable_columns_and_time_points(data: ReportData) -> None:
    table = data.table.assign(
        Metadata_Well="A01", Metadata_Timepoint=pd.array([0, 1, 2], "Int64"), F=pd.array([1.5, None, 2], "Float64")
    )
    shown = payload(render_report(replace(data, table=table)))
    assert shown["metadata"]["Timepoint"] == [0, 1, 2]
    assert shown["features"]["F"] == [1.5, None, 2]
    assert shown["headline"][1]["detail"] == "over 3 time points"


def test_headline_sums_up_the_plate(data: ReportData) -> None:
    wells, objects, z_prime, holes = payload(render_report(data))["headline"]
    assert (wells["value"], wells["detail"]) == ("3", "of 4 in this run")
    assert (objects["label"], objects["value"], objects["detail"]) == ("Nuclei", "1,234,617", "median 30 per well")
    assert (z_prime["value"], z_prime["detail"]) == ("0.50", "Count_Nuclei")
    assert (holes["value"], holes["detail"], holes["tone"]) == ("1", "0 missing", "bad")


def test_a_plate_whose_wells_all_failed_still_has_a_report(data: ReportData) -> None:
    holes = [WellEntry(entry.well, "quarantined", "unreadable", None, None) for entry in data.wells]
    for table in (data.table.iloc[:0], pd.DataFrame()):
        shown = payload(render_report(replace(data, wells=holes, table=table, z_prime=pd.DataFrame())))
        assert {entry["reason"] for entry in shown["wells"]} == {"unreadable"}
        assert shown["headline"][2]["detail"] == "no controls to compare"


def test_an_absent_default_feature_falls_back_to_the_first(data: ReportData) -> None:
    assert payload(render_report(replace(data, default_feature="Gone")))["defaultFeature"] == "Count_Nuclei"


def test_thumbnails_travel_as_data_uris(data: ReportData) -> None:
    picture = WellEntry("B03", "done", "", b"plain", b"outlined")
    entry = payload(render_report(replace(data, wells=[*data.wells, picture])))["wells"][-1]
    assert base64.b64decode(entry["thumbnail"].removeprefix("data:image/webp;base64,")) == b"plain"
    assert base64.b64decode(entry["outlined"].removeprefix("data:image/webp;base64,")) == b"outlined"


def test_text_from_users_is_never_markup(data: ReportData) -> None:
    table = data.table.assign(Metadata_Compound=HOSTILE).rename(columns={"Nuclei_Area": HOSTILE})
    hostile = replace(
        data,
        plate=HOSTILE,
        table=table,
        wells=[*data.wells, WellEntry("B03", "missing", HOSTILE, None, None)],
        z_prime=pd.DataFrame({"Feature": [HOSTILE], "ZPrime": [0.1]}),
        provenance={HOSTILE: {HOSTILE: HOSTILE}},
        notes=[HOSTILE],
        thumbnail_caption=HOSTILE,
    )
    page = render_report(hostile)
    assert "<img src=x" not in page
    assert page.lower().count("</script>") == render_report(data).lower().count("</script>") == 3
    shown = payload(page)
    assert (shown["plate"], shown["notes"], shown["caption"]) == (HOSTILE, [HOSTILE], HOSTILE)
    assert shown["provenance"] == {HOSTILE: {HOSTILE: HOSTILE}}
    assert shown["metadata"]["Compound"] == [HOSTILE] * 3


def test_only_the_scripts_of_the_page_may_run_and_nothing_may_be_fetched(data: ReportData) -> None:
    page = render_report(data)
    policy = re.search(r'Content-Security-Policy"\s+content="([^"]*)"', page)
    assert policy is not None
    scripts = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    digests = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    assert policy[1].split("script-src ")[1].split() == [f"'sha256-{digest}'" for digest in digests]
    assert "default-src 'none'" in policy[1]
    assert not re.search(r"<(script|link|img|iframe)[^>]*\s(src|href)=[\"']?(https?:|//)", page.split("<script>")[0])


def test_inputs_are_left_alone(data: ReportData) -> None:
    table, z_prime = data.table.copy(), data.z_prime.copy()
    render_report(data)
    pd.testing.assert_frame_equal(data.table, table)
    pd.testing.assert_frame_equal(data.z_prime, z_prime)


def test_all_faults_are_told_at_once(data: ReportData) -> None:
    strange: Any = "lost"
    wells = [*data.wells, done("C09"), done("A01"), replace(data.wells[0], well="A03", status=strange)]
    table = pd.concat([data.table, data.table.iloc[:1], data.table.iloc[:1].assign(Metadata_Well="D11")])
    with pytest.raises(ValueError, match="plate P1") as caught:
        render_report(replace(data, wells=wells, table=table))
    for fault in (
        "not on a plate of 2 x 3 wells: C09",
        "listed twice: A01",
        "with a status other than done, quarantined, missing: A03",
        "in the table but not in the list of wells: D11",
        "with several rows in the table: A01",
    ):
        assert fault in str(caught.value)
