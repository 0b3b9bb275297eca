"""What all tests share: the folder of real plates, images and weights."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

BESIDE = Path(__file__).parents[2] / "shared"


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


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test that asks for the shared data reads real data."""
    for item in items:
        if "shared" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.real)
