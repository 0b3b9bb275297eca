"""The comparison page as text: what it carries, that names stay text, and what a browser may run."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from selenium import webdriver

from pipeline_lib.reporting.comparison import Comparison, render_comparison

HOSTILE = "</script><!--<script><img src=x onerror=alert(1)>&\"'$data"


def page(name: str = "starter") -> str:
    table = pd.DataFrame({"Set": ["mine", "mine"], "Weights": [name, "other"], "AP": [0.5, np.nan], "Images": [3, 3]})
    plots = {"mine": {name: ((0.5, 0.9), (1.0, 0.25)), "other": ((0.5, 0.9), (0.75, np.nan))}}
    return render_comparison(Comparison("mine", plots, "overlap", "precision", table, {"weights": {name: "sum"}}))


def payload(text: str) -> dict[str, Any]:
    block = re.search(r'<script id="comparison-data" type="application/json">(.*?)</script>', text, re.DOTALL)
    assert block is not None
    content: dict[str, Any] = json.loads(block[1])
    return content


def test_curves_travel_in_the_page() -> None:
    found = payload(page())
    assert found["plots"] == [
        {
            "title": "mine",
            "curves": [
                {"name": "starter", "x": [0.5, 0.9], "y": [1.0, 0.25]},
                {"name": "other", "x": [0.5, 0.9], "y": [0.75, None]},
            ],
        }
    ]
    assert len(set(found["colours"].values())) == 2


def test_the_table() -> None:
    text = page()
    assert re.findall(r"<td>(.*?)</td>", text) == ["mine", "starter", "0.500", "3", "mine", "other", "–", "3"]
    assert "td:nth-child(n + 3)" in text, "numbers are to the right"


def test_names_are_never_markup() -> None:
    text = page(HOSTILE)
    assert payload(text)["plots"][0]["curves"][0]["name"] == HOSTILE
    assert "<img" not in text.replace(page(), "")
    assert HOSTILE not in text


def test_only_its_own_programs_may_run() -> None:
    text = page()
    scripts = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    digests = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    assert len(scripts) == 2
    assert re.findall(r"'sha256-(.*?)'", text.split("</head>")[0]) == digests


@pytest.mark.browser
def test_it_draws_itself(browser: webdriver.Chrome, tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text(page(HOSTILE), encoding="utf-8")
    browser.get_log("browser")
    browser.get((tmp_path / "page.html").as_uri())
    assert [card.text for card in browser.find_elements("css selector", "#plots h2")] == ["mine"]
    assert len(browser.find_elements("css selector", "#plots .scatterlayer .trace")) == 2
    assert HOSTILE in browser.find_element("css selector", "#plots .legend").text
    assert browser.get_log("browser") == []
