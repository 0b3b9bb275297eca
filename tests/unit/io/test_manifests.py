"""Manifests on disk: atomic, and out of date as soon as the raw folder's names change."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pipeline_lib.core.manifest import Manifest
from pipeline_lib.io.manifests import is_current, read_manifest, write_manifest
from pipeline_lib.io.vendors import scan_plate

PATTERN = r"(?P<well>[A-P][0-9]{2})\.tif"


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """A raw folder with one file at the top and one below; its directories look an hour old."""
    folder = tmp_path / "raw"
    (folder / "more").mkdir(parents=True)
    (folder / "A01.tif").touch()
    (folder / "more" / "A02.tif").touch()
    for directory in (folder, folder / "more"):
        past = directory.stat().st_mtime - 3600
        os.utime(directory, (past, past))
    return folder


@pytest.fixture
def manifest(raw: Path) -> Manifest:
    return scan_plate("P1", raw, "pattern", PATTERN)


def test_write_then_read_is_the_same_and_leaves_nothing_else(manifest: Manifest, tmp_path: Path) -> None:
    path = tmp_path / "results" / "P1" / "manifest.json"
    write_manifest(manifest, path)
    write_manifest(manifest, path)
    assert read_manifest(path) == manifest
    assert list(path.parent.iterdir()) == [path]


def test_a_failed_write_keeps_the_old_manifest(
    manifest: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "results" / "manifest.json"
    write_manifest(manifest, path)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        write_manifest(manifest, path)
    assert read_manifest(path) == manifest
    assert list(path.parent.iterdir()) == [path]


def test_reading_something_else_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "manifest.json"
    path.write_text('{"version":1,')
    with pytest.raises(ValueError, match=r"manifest\.json: not a manifest"):
        read_manifest(path)


def test_unchanged_is_current(manifest: Manifest, raw: Path) -> None:
    assert is_current(manifest, raw, "pattern", PATTERN)


@pytest.mark.parametrize("place", [".", "more"])
def test_an_added_file_is_seen_at_every_depth(manifest: Manifest, raw: Path, place: str) -> None:
    (raw / place / "B01.tif").touch()
    assert not is_current(manifest, raw, "pattern", PATTERN)


def test_removed_and_renamed_files_and_folders_are_seen(manifest: Manifest, raw: Path) -> None:
    (raw / "more" / "A02.tif").rename(raw / "more" / "A03.tif")
    assert not is_current(manifest, raw, "pattern", PATTERN)
    renamed = scan_plate("P1", raw, "pattern", PATTERN)
    assert renamed.wells == ("A01", "A03")
    (raw / "more" / "A03.tif").unlink()
    (raw / "more").rmdir()
    assert not is_current(renamed, raw, "pattern", PATTERN)


def test_a_new_folder_is_seen(manifest: Manifest, raw: Path) -> None:
    (raw / "more" / "still").mkdir()
    assert not is_current(manifest, raw, "pattern", PATTERN)


def test_another_source_is_not_current(manifest: Manifest, raw: Path) -> None:
    assert not is_current(manifest, raw / "more", "pattern", PATTERN)
    assert not is_current(manifest, raw, "imagexpress", PATTERN)
    assert not is_current(manifest, raw, "pattern", PATTERN + "f")


def test_a_raw_folder_that_is_gone_is_not_current(manifest: Manifest, raw: Path) -> None:
    raw.rename(raw.with_name("archive"))
    assert not is_current(manifest, raw, "pattern", PATTERN)
