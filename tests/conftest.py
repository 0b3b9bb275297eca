"""What all tests share: the folder of real plates, images and weights, and a browser."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

BESIDE = Path(__file__).parents[2] / "shared"
SWITCHES = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1400,900",
)


if not os.environ.get("CI"):  # where hypothesis has a profile of its own
    hypothesis.settings.register_profile("busy", deadline=None)  # other programs may run beside the tests
    hypothesis.settings.load_profile("busy")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The shared data folder; without it tests are skipped, but fail where `CI` is set."""
    folder = Path(os.environ.get("WELLPOSE_SHARED", BESIDE))
    if folder.is_dir():
        return folder
    lack = f"no shared data at {folder}; set WELLPOSE_SHARED to the folder with the test data"
    if os.environ.get("CI"):
        pytest.fail(lack)
    pytest.skip(lack)


@pytest.fixture(scope="session")
def chromium() -> tuple[str, str]:
    """Paths of the browser and of its driver; without them tests are skipped, but fail where `CI` is set."""
    browser, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if browser is not None and driver is not None:
        return browser, driver
    lack = "chromium and chromedriver are not installed (Debian: apt install chromium chromium-driver)"
    if os.environ.get("CI"):
        pytest.fail(lack)
    pytest.skip(lack)


@pytest.fixture(scope="session")
def browser(chromium: tuple[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    """Start Chromium once, without a window; its console log holds everything from every page."""
    binary, driver = chromium
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for switch in (*SWITCHES, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(switch)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    chrome = webdriver.Chrome(options=options, service=Service(driver))
    chrome.set_page_load_timeout(120)
    yield chrome
    chrome.quit()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test that asks for the shared data reads real data."""
    for item in items:
        if "shared" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.real)
