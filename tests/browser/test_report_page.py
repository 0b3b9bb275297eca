"""The report in a real browser, opened from a folder without a network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from selenium.webdriver import ActionChains, Chrome, Keys
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import Select, WebDriverWait

from pipeline_lib.reporting import (
    ReportData,
    WellEntry,
    encode_webp,
    render_report,
    thumbnail,
)

HOSTILE = "</script><img src=x onerror=\"document.title='owned'\"><a href='https://example.org'>a</a>"
ROWS, COLUMNS = 4, 6
REASON = "field 3, channel DNA: the file ends after 41 of 80 bytes"

Opener = Callable[[ReportData], Chrome]


def wells() -> list[str]:
    return [f"{row}{column:02d}" for row in "ABCD"[:ROWS] for column in range(1, COLUMNS + 1)]


def pictures() -> tuple[bytes, bytes]:
    image = np.tile(np.arange(64, dtype=np.float32), (1, 64, 1))
    labels = np.zeros((64, 64), dtype=np.uint32)
    labels[16:48, 16:48] = 1
    plain, outlined = thumbnail(image, {"cells": labels}, ["#00ff00"], [(0, 64)], 64)
    return encode_webp(plain), encode_webp(outlined)


def entry(well: str) -> WellEntry:
    if well == "B03":
        return WellEntry(well, "quarantined", REASON, None, None)
    if well == "C04":
        return WellEntry(well, "missing", "no images in the raw folder", None, None)
    return WellEntry(well, "done", "", *pictures())


def well_table() -> pd.DataFrame:
    """Column 1 holds the negative control, column 6 the positive one, between them doses of two compounds."""
    names = pd.Series([well for well in wells() if well not in {"B03", "C04"}])
    row, column = names.str[0].map("ABCD".index), names.str[1:].astype(int)
    control = column.isin([1, COLUMNS])
    return pd.DataFrame(
        {
            "Metadata_Well": names,
            "Metadata_Role": column.map({1: "negative", COLUMNS: "positive"}).fillna("sample"),
            "Metadata_Compound": row.map(lambda index: f"compound {index % 2}").where(~control, "control"),
            "Metadata_Dose": (10.0 ** (column - 3)).where(~control),
            "Count_Nuclei": 1000 - 100 * column + row,
            "Quality_Focus_DNA": (column / 7).where(names != "D05"),
            **{f"Nuclei_Texture_{index}": row + index for index in range(20)},
        }
    )


@pytest.fixture
def data() -> ReportData:
    z_prime = pd.DataFrame(
        {"Feature": ["Quality_Focus_DNA", "Count_Nuclei", "Nuclei_Texture_1"], "ZPrime": [0.2, 0.7, np.nan]}
    )
    return ReportData(
        plate="P1",
        rows=ROWS,
        columns=COLUMNS,
        wells=[entry(well) for well in wells() if well != "D06"],
        table=well_table().query("Metadata_Well != 'D06'"),
        z_prime=z_prime.assign(Positive_Mean=1.5),
        default_feature="Count_Nuclei",
        provenance={"version": "1.2.3", "stages": {"ingest": {"seconds": 1.5}, "segment": {"seconds": 20.25}}},
        notes=["a plate-wide warning"],
        thumbnail_caption="DNA green, cells outlined",
    )


@pytest.fixture
def opened(browser: Chrome, tmp_path: Path) -> Opener:
    """Return a function that stores a report, opens it, and makes sure that the console stays silent."""

    def open_report(data: ReportData) -> Chrome:
        page = tmp_path / "report.html"
        page.write_text(render_report(data), encoding="utf-8")
        console(browser)  # forget what earlier pages said
        browser.get(page.as_uri())
        assert console(browser) == []
        return browser

    return open_report


def by_id(browser: Chrome, name: str) -> WebElement:
    return browser.find_element(By.ID, name)


def console(browser: Chrome) -> list[dict[str, Any]]:
    """Take what the pages have written to the console since the last call."""
    return list(browser.get_log("browser"))  # type: ignore[no-untyped-call]


def well(browser: Chrome, name: str) -> WebElement:
    return browser.find_element(By.CSS_SELECTOR, f'#heatmap [data-well="{name}"]')


def shown_values(browser: Chrome) -> dict[str, str]:
    script = "return [...document.querySelectorAll('#heatmap [data-well]')].map(b => [b.dataset.well, b.dataset.value])"
    return dict(browser.execute_script(script))


def picture_width(browser: Chrome) -> int:
    """Width of the loaded thumbnail in its own pixels."""
    script = "const image = document.getElementById('well-thumbnail'); return image.complete ? image.naturalWidth : 0"
    return int(WebDriverWait(browser, 10).until(lambda page: page.execute_script(script)))


def points(browser: Chrome, plot: str) -> list[dict[str, Any]]:
    """Return the traces of a plot whose points are wells."""
    script = "return document.getElementById(arguments[0]).data.filter(t => t.customdata).map(t => ({...t}))"
    return list(browser.execute_script(script, plot))


def rows(browser: Chrome, table: str) -> list[list[str]]:
    script = "return [...document.querySelectorAll(arguments[0])].map(r => [...r.cells].map(c => c.innerText.trim()))"
    return list(browser.execute_script(script, f"#{table} > tbody > tr"))


def test_the_page_sums_up_the_plate(opened: Opener, data: ReportData) -> None:
    page = opened(data)
    assert page.title == "P1 · plate report"
    figures = [node.text for node in page.find_elements(By.CSS_SELECTOR, "#headline .figure")]
    assert figures == ["21", f"{well_table()['Count_Nuclei'][:-1].sum():,}", "0.70", "1"]
    assert by_id(page, "notes").text == "a plate-wide warning"
    assert not by_id(page, "time-field").is_displayed()


def test_choosing_a_feature_recolours_the_plate_and_redraws_the_plots(opened: Opener, data: ReportData) -> None:
    page = opened(data)
    before, colour = shown_values(page), well(page, "A02").value_of_css_property("background-color")
    assert before["A02"] == "800"
    Select(by_id(page, "feature-select")).select_by_value("Quality_Focus_DNA")
    after = shown_values(page)
    assert after["A02"] == "0.28571"
    assert after["D05"] == after["B03"] == after["C04"] == ""
    assert well(page, "A02").value_of_css_property("background-color") != colour
    assert (
        page.execute_script("return document.getElementById('dose-plot').layout.yaxis.title.text")
        == "Quality Focus DNA"
    )


def test_features_are_found_by_typing(opened: Opener, data: ReportData) -> None:
    page = opened(data)
    by_id(page, "feature-search").send_keys("texture 17", Keys.ENTER)
    assert Select(by_id(page, "feature-select")).first_selected_option.get_attribute("value") == "Nuclei_Texture_17"
    assert shown_values(page)["B01"] == "18"
    page.find_element(By.CSS_SELECTOR, "#zprime-table .link").click()  # a choice elsewhere drops the search
    assert len(Select(by_id(page, "feature-select")).options) == 22
    assert Select(by_id(page, "feature-select")).first_selected_option.get_attribute("value") == "Count_Nuclei"


def test_a_click_on_a_well_shows_its_picture_and_numbers(opened: Opener, data: ReportData) -> None:
    page = opened(data)
    well(page, "C02").click()
    assert by_id(page, "well-name").text == "C02"
    assert picture_width(page) == 64
    outlined = by_id(page, "well-thumbnail").get_property("src")
    by_id(page, "outline-toggle").click()
    assert by_id(page, "well-thumbnail").get_property("src") != outlined
    assert picture_width(page) == 64
    numbers = dict(rows(page, "well-numbers"))
    assert (numbers["Compound"], numbers["Dose"], numbers["Count Nuclei"]) == ("compound 0", "0.1", "802")
    page.find_element(By.CSS_SELECTOR, "#well-all summary").click()
    WebDriverWait(page, 10).until(lambda _: page.find_elements(By.CSS_SELECTOR, "#well-all tr"))
    assert len(page.find_elements(By.CSS_SELECTOR, "#well-all tr")) == 22


def test_raw_and_restored_pictures_stand_side_by_side_where_there_are_both(opened: Opener, data: ReportData) -> None:
    restored = [replace(one, restored=one.thumbnail) if one.well == "C02" else one for one in data.wells]
    page = opened(replace(data, wells=restored))
    well(page, "C02").click()
    assert picture_width(page) == 64
    left, right = (by_id(page, name).rect for name in ("well-thumbnail", "well-restored"))
    assert left["x"] + left["width"] <= right["x"]
    assert (left["y"], left["width"]) == (right["y"], pytest.approx(right["width"], abs=2))
    well(page, "C03").click()
    assert not by_id(page, "well-restored").is_displayed()


@pytest.mark.parametrize(
    ("name", "status", "reason"), [("B03", "Quarantined", REASON), ("C04", "Missing", "no images")]
)
def test_holes_look_different_and_tell_their_reason(
    opened: Opener, data: ReportData, name: str, status: str, reason: str
) -> None:
    page = opened(data)
    assert status.lower() in (well(page, name).get_attribute("class") or "").split()
    ActionChains(page).move_to_element(well(page, name)).perform()
    assert reason in by_id(page, "tip").text
    well(page, name).click()
    assert by_id(page, "well-status").text == status
    assert reason in by_id(page, "well-reason").text
    assert not by_id(page, "well-thumbnail").is_displayed()
    listed = {row[0]: row for row in rows(page, "quarantine-table")}
    assert set(listed) == {"B03", "C04"}
    assert listed[name][1] == status
    assert reason in listed[name][2]


def test_arrow_keys_move_between_imaged_wells(opened: Opener, data: ReportData) -> None:
    page = opened(data)
    well(page, "C06").click()
    for key, expected in ((Keys.ARROW_DOWN, "C06"), (Keys.ARROW_LEFT, "C05"), (Keys.ARROW_UP, "B05")):
        page.switch_to.active_element.send_keys(key)  # D06 was not imaged
        assert by_id(page, "well-name").text == expected
    assert page.switch_to.active_element.get_attribute("data-well") == "B05"


def test_z_prime_is_sorted_best_first_and_searchable(opened: Opener, data: ReportData) -> None:
    page = opened(data)
    assert [row[:2] for row in rows(page, "zprime-table")] == [
        ["Count Nuclei", "0.70"],
        ["Quality Focus DNA", "0.20"],
        ["Nuclei Texture 1", "\N{EN DASH}"],
    ]
    page.find_element(By.CSS_SELECTOR, "#zprime-table .sort").click()
    assert [row[0] for row in rows(page, "zprime-table")] == ["Count Nuclei", "Nuclei Texture 1", "Quality Focus DNA"]
    by_id(page, "zprime-search").send_keys("focus dna")
    assert [row[0] for row in rows(page, "zprime-table")] == ["Quality Focus DNA"]


def test_doses_are_drawn_per_compound_with_control_bands(opened: Opener, data: ReportData) -> None:
    page = opened(data)
    compounds = {trace["name"]: trace for trace in points(page, "dose-plot")}
    assert set(compounds) == {"compound 0", "compound 1"}
    drawn = dict(zip(compounds["compound 0"]["customdata"], compounds["compound 0"]["y"], strict=True))
    assert drawn == {f"{row}{column:02d}": 1000 - 100 * column + "ABCD".index(row)
                     for row in "AC" for column in range(2, 6) if (row, column) != ("C", 4)}  # fmt: skip
    assert page.execute_script("return document.getElementById('dose-plot').layout.xaxis.type") == "log"
    bands = page.execute_script(
        "return document.getElementById('dose-plot').layout.shapes.filter(s => s.type == 'rect')"
    )
    middles = sorted((band["y0"] + band["y1"]) / 2 for band in bands)
    assert middles == pytest.approx([401, 901.5])  # positive in A06, B06 and C06; negative in A01 to D01
    assert page.find_elements(By.CSS_SELECTOR, "#dose-plot .scatterlayer .point")


def test_without_doses_there_is_no_dose_plot(opened: Opener, data: ReportData) -> None:
    page = opened(replace(data, table=data.table.drop(columns=["Metadata_Dose", "Metadata_Compound"])))
    assert not by_id(page, "dose-section").is_displayed()
    assert {trace["name"] for trace in points(page, "role-plot")} == {"negative (4)", "positive (3)", "sample (14)"}


def test_time_points_are_chosen_one_at_a_time(opened: Opener, data: ReportData) -> None:
    later = data.table.assign(Metadata_Timepoint=10, Count_Nuclei=data.table["Count_Nuclei"] * 2)
    page = opened(replace(data, table=pd.concat([later, data.table.assign(Metadata_Timepoint=2)])))
    times = Select(by_id(page, "time-select"))
    assert [option.text for option in times.options] == ["2", "10"]
    assert shown_values(page)["A02"] == "800"
    times.select_by_visible_text("10")
    assert shown_values(page)["A02"] == "1600"


def test_provenance_is_shown(opened: Opener, data: ReportData) -> None:
    page = opened(data)
    assert "1.2.3" in by_id(page, "provenance").text
    page.find_element(By.CSS_SELECTOR, "#provenance summary").click()
    assert rows(page, "provenance table.fit") == [["ingest", "1.5"], ["segment", "20.25"]]


def test_a_plate_of_holes_has_a_page(opened: Opener, data: ReportData) -> None:
    holes = [WellEntry(entry.well, "quarantined", REASON, None, None) for entry in data.wells]
    page = opened(replace(data, wells=holes, table=pd.DataFrame(), z_prime=pd.DataFrame()))
    well(page, "A02").click()
    assert by_id(page, "well-reason").text == REASON
    assert not by_id(page, "plots").is_displayed()
    assert by_id(page, "zprime-none").is_displayed()


def test_hostile_text_stays_text(opened: Opener, data: ReportData) -> None:
    table = data.table.assign(Metadata_Compound=HOSTILE, Metadata_Role=HOSTILE).rename(
        columns={"Count_Nuclei": HOSTILE}
    )
    hostile = replace(
        data,
        plate=HOSTILE,
        table=table,
        wells=[replace(entry, reason=HOSTILE) for entry in data.wells],
        z_prime=pd.DataFrame({"Feature": [HOSTILE], "ZPrime": [0.5]}),
        default_feature=HOSTILE,
        provenance={HOSTILE: {HOSTILE: HOSTILE}},
        notes=[HOSTILE],
        thumbnail_caption=HOSTILE,
    )
    page = opened(hostile)
    for name in ("A02", "B03"):
        well(page, name).click()
    assert by_id(page, "plate-name").text == by_id(page, "well-reason").text == by_id(page, "notes").text == HOSTILE
    assert page.title == f"{HOSTILE} · plate report"
    pictures_shown = [image.get_attribute("id") for image in page.find_elements(By.TAG_NAME, "img")]
    assert pictures_shown == ["well-thumbnail", "well-restored"]
    assert page.find_elements(By.CSS_SELECTOR, "a, [onerror]") == []
    assert HOSTILE in (page.find_element(By.CSS_SELECTOR, "#role-plot .xtick text").get_attribute("textContent") or "")
    assert console(page) == []
