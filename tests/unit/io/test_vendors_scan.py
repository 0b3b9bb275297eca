"""Scanning raw folders, whatever their format: the listing, ranks, order, errors, and no heavy import."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_lib.core.wells import well_name
from pipeline_lib.io.vendors import READERS, scan_plate
from pipeline_lib.io.vendors.base import list_folder
from pipeline_lib.io.vendors.pattern import compile_pattern

ROOT = Path(__file__).parents[3]
PATTERN = (
    r"(?P<well>[A-Z]{1,2}[0-9]{2})_t(?P<time>[0-9]+)_s(?P<field>[0-9]+)_w(?P<channel>[A-Za-z0-9]+)_z(?P<z>[0-9]+)\.tif"
)


def touch(folder: Path, *names: str) -> Path:
    """Empty files below `folder`."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def test_listing_follows_links_once_and_skips_hidden_names(tmp_path: Path) -> None:
    raw = touch(tmp_path / "raw", "b.tif", "a/c.tif", ".DS_Store", "._b.tif", ".cache/d.tif")
    outside = touch(tmp_path / "outside", "e.tif")
    (raw / "link").symlink_to(outside)
    (raw / "a" / "loop").symlink_to(raw)
    listing = list_folder(raw)
    assert listing.paths == ("a/c.tif", "b.tif", "link/e.tif")
    assert listing.directories == tuple((name, (raw / name).stat().st_mtime_ns) for name in (".", "a", "link"))


def test_numbers_become_ranks_over_the_plate_and_files_come_in_order(tmp_path: Path) -> None:
    raw = touch(
        tmp_path, "AA01_t5_s7_w1_z30.tif", "B02_t5_s12_w10_z30.tif", "B02_t5_s12_w2_z9.tif", "B02_t5_s2_wDAPI_z30.tif",
        "B02_t40_s2_w2_z30.tif",
    )  # fmt: skip
    manifest = scan_plate("P", raw, "pattern", PATTERN)
    assert [(f.well, f.field, f.channel, f.time, f.z, f.path) for f in manifest.files] == [
        (
            "B02",
            0,
            "2",
            1,
            1,
            "B02_t40_s2_w2_z30.tif",
        ),  # sites 2, 7, 12 -> 0, 1, 2; times 5, 40 -> 0, 1; z 9, 30 -> 0, 1
        ("B02", 0, "DAPI", 0, 1, "B02_t5_s2_wDAPI_z30.tif"),
        ("B02", 2, "2", 0, 0, "B02_t5_s12_w2_z9.tif"),
        ("B02", 2, "10", 0, 1, "B02_t5_s12_w10_z30.tif"),
        ("AA01", 1, "1", 0, 1, "AA01_t5_s7_w1_z30.tif"),
    ]
    assert manifest.channels == ("1", "2", "10", "DAPI")
    assert (manifest.rows, manifest.columns) == (32, 48)
    assert (manifest.plate, manifest.folder, manifest.format, manifest.pattern) == (
        "P",
        raw.as_posix(),
        "pattern",
        PATTERN,
    )


images = st.tuples(
    st.integers(0, 31), st.integers(0, 47), st.integers(0, 99), st.sampled_from(["1", "2", "GFP"]), st.integers(0, 9)
)


@given(st.sets(images, min_size=1, max_size=8))
def test_what_is_written_into_names_is_read_from_them(
    tmp_path_factory: pytest.TempPathFactory, written: set[tuple[int, int, int, str, int]]
) -> None:
    raw = tmp_path_factory.mktemp("raw")
    names = {
        f"day/plate_{well_name(row, column)}_t1_s{site}_w{channel}_z{z}.tif": (well_name(row, column), channel)
        for row, column, site, channel, z in written
    }
    manifest = scan_plate("P", touch(raw, *names), "pattern", PATTERN)
    assert {file.path: (file.well, file.channel) for file in manifest.files} == names
    sites = sorted({site for _, _, site, _, _ in written})
    found = {compile_pattern(PATTERN).search(file.path)["field"]: file.field for file in manifest.files}  # type: ignore[index]
    assert found == {str(site): rank for rank, site in enumerate(sites)}


def test_double_planes_are_all_counted_and_the_first_named(tmp_path: Path) -> None:
    names = [f"{day}/A0{column}_t1_s1_w1_z1.tif" for day in ("mon", "tue") for column in range(1, 6)]
    with pytest.raises(ValueError, match="plate P7: 5 planes have several files") as caught:
        scan_plate("P7", touch(tmp_path, *names), "pattern", PATTERN)
    assert "mon/A01_t1_s1_w1_z1.tif, tue/A01_t1_s1_w1_z1.tif" in str(caught.value)
    assert "and 2 more" in str(caught.value)


def test_an_unknown_format_names_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"'opera': known are auto, .*imagexpress.*, pattern"):
        scan_plate("P", tmp_path, "opera", PATTERN)


def test_a_missing_folder_says_what_lies_above_it(tmp_path: Path) -> None:
    touch(tmp_path, "plate_1/a.tif", "plate_2/a.tif")
    with pytest.raises(FileNotFoundError, match=r"plate P: there is no folder .*plate_3.* holds plate_1, plate_2"):
        scan_plate("P", tmp_path / "plate_3" / "raw", "pattern", PATTERN)


@pytest.mark.parametrize("kind", sorted(READERS))
def test_no_image_shows_what_was_found_and_the_pattern(tmp_path: Path, kind: str) -> None:
    raw = touch(tmp_path, "notes.txt", "c.png", "b.png", "a.png")
    with pytest.raises(ValueError, match="none of the 4 files") as caught:
        scan_plate("P", raw, kind, PATTERN)
    assert "such as a.png, b.png, c.png." in str(caught.value)
    assert repr(PATTERN) in str(caught.value)


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="none of the 0 files"):
        scan_plate("P", tmp_path, "imagexpress", "")


def test_scanning_needs_the_standard_library_only() -> None:
    code = (
        "import sys; import pipeline_lib.io.vendors, pipeline_lib.io.manifests; "
        "print(*sorted({m.partition('.')[0] for m in sys.modules} - set(sys.stdlib_module_names)))"
    )
    bare = [sys.executable, "-S", "-c", code]
    done = subprocess.run(bare, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["__main__", "pipeline_lib"] or done.stdout.split() == ["pipeline_lib"]
