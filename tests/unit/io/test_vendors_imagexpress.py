"""MetaXpress folders: two real ones, and made ones for what those do not have."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from pipeline_lib.core.manifest import Manifest
from pipeline_lib.io.vendors import READERS, scan_plate

GUID = "1D01380B-E7DA-4C09-A343-EDA3D235D808"  # begins with a digit, like most
HTD = """\
"HTSInfoFile", Version 1.0
"Description", "m\u00e9lange, "quoted" by hand
"TimePoints", 1
"XWells", 4
"YWells", 3
"WellsSelection1", TRUE, TRUE, FALSE, FALSE
"WellsSelection2", FALSE, TRUE, FALSE, true
"WellsSelection3", FALSE, FALSE, FALSE, FALSE
"Waves", TRUE
"NWavelengths", 2
"WaveName1", "DAPI"
"WaveName2", "FITC, slow"
"WaveCollect1", 1
damaged line
"EndFile"
"""


@pytest.fixture
def plates(shared: Path) -> Path:
    """Two real measurements."""
    return shared / "data" / "plates" / "imagexpress"


def scan(folder: Path, *names: str) -> Manifest:
    """The manifest of a folder after putting empty files into it."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return scan_plate("P", folder, "imagexpress", "")


def planes(manifest: Manifest) -> list[tuple[str, int, str, int, int]]:
    return [(file.well, file.field, file.channel, file.time, file.z) for file in manifest.files]


def test_stacks_win_over_their_projections_and_thumbnails_are_left_out(plates: Path) -> None:
    """2 wells x 2 sites: w1 and w2 in ZStep_1..10 and projected, w3 projected only, w4 in ZStep_1 only."""
    manifest = scan_plate("mix", plates / "Projection-Mix", "imagexpress", "")
    assert manifest.wells == ("E07", "E08")
    assert manifest.channels == ("1", "2", "3", "4")
    assert Counter(file.channel for file in manifest.files) == {"1": 40, "2": 40, "3": 4, "4": 4}
    assert [file.z for file in manifest.of_well("E07") if file.field == 1 and file.channel == "2"] == list(range(10))
    assert all(file.z == 0 and "ZStep" not in file.path for file in manifest.files if file.channel == "3")
    assert all(file.z == 0 and "ZStep_1/" in file.path for file in manifest.files if file.channel == "4")
    assert not any("thumb" in file.path for file in manifest.files)
    assert all(f"ZStep_{file.z + 1}/" in file.path for file in manifest.files if file.channel in "12")
    assert (manifest.rows, manifest.columns) == (6, 8)  # no index file: the smallest plate with an E08
    assert len(manifest.directories) == 13  # the folder, 2023-02-21, 1334 and ten ZStep
    assert manifest.channel_names == {}


def test_time_points(plates: Path) -> None:
    manifest = scan_plate("times", plates / "1well-3C-2S-Zmix-T", "imagexpress", "")
    assert planes(manifest) == [("C07", s, c, t, 0) for s in (0, 1) for c in "123" for t in (0, 1)]
    assert all(f"TimePoint_{file.time + 1}/" in file.path for file in manifest.files)
    assert all(f"_s{file.field + 1}_w{file.channel}" in file.path for file in manifest.files)


def test_metaseries_metadata(plates: Path) -> None:
    manifest = scan_plate("mix", plates / "Projection-Mix", "imagexpress", "")
    [one] = [file for file in manifest.of_well("E07") if file.field == 1 and file.channel == "2" and file.z == 0]
    info = READERS["imagexpress"].describe(Path(manifest.folder) / one.path)
    assert (info.shape, info.dtype, info.bit_depth) == ((1, 512, 512), "uint16", 16)
    assert (info.pixel_size, info.wavelength, info.channel_name) == (1.3668, 536.0, "FITC_05")
    assert info.stage_position == (41385.4, 80513.3)


def test_two_measurements_are_not_mixed(plates: Path) -> None:
    with pytest.raises(ValueError, match=r"holds 2 measurements: .*1697, .*1334. Name the folder of one"):
        scan_plate("both", plates, "imagexpress", "")


@pytest.mark.parametrize(
    ("name", "plane"),
    [
        ("plate_B03_s1_w1.TIF", ("B03", 0, "1", 0, 0)),
        (f"plate_B03_s1_w2{GUID}.tif", ("B03", 0, "2", 0, 0)),
        (f"plate_B03_s1_w12{GUID}.tif", ("B03", 0, "12", 0, 0)),
        ("plate_B03_s1_w12.tif", ("B03", 0, "12", 0, 0)),
        (f"plate_B03_s1_w1_[{GUID}].tif", ("B03", 0, "1", 0, 0)),
        (f"plate_B03_w2{GUID}.tif", ("B03", 0, "2", 0, 0)),
        (f"plate_B03_s4{GUID}.tif", ("B03", 0, "1", 0, 0)),
        (f"plate_B03{GUID}.tiff", ("B03", 0, "1", 0, 0)),
        ("plate_B03.tif", ("B03", 0, "1", 0, 0)),
        ("B03_s1_w3.tif", ("B03", 0, "3", 0, 0)),
        ("my_A01_plate_C12_s1_w1.tif", ("C12", 0, "1", 0, 0)),
        ("plate_AF48_s1_w1.tif", ("AF48", 0, "1", 0, 0)),
    ],
)
def test_names(tmp_path: Path, name: str, plane: tuple[str, int, str, int, int]) -> None:
    assert planes(scan(tmp_path, name)) == [plane]


@pytest.mark.parametrize(
    "name", [f"p_B03_s1_w1_thumb{GUID}.tif", "p_B03_s1_w1_thumb.tif", "p_B3_s1_w1.tif", "p_B03.txt"]
)
def test_names_that_are_no_images(tmp_path: Path, name: str) -> None:
    assert scan(tmp_path, "p_A01_s1_w1.tif", name).wells == ("A01",)


def test_time_points_hold_z_steps_and_lone_files_count_as_the_lowest_plane(tmp_path: Path) -> None:
    manifest = scan(
        tmp_path,
        "TimePoint_2/ZStep_3/p_A01_w1.tif", "TimePoint_2/ZStep_12/p_A01_w1.tif", "TimePoint_2/p_A01_w1.tif",
        "TimePoint_10/p_A01_w1.tif", "TimePoint_10/p_A01_w2.tif",
    )  # fmt: skip
    assert [(file.channel, file.time, file.z, file.path) for file in manifest.files] == [
        ("1", 0, 0, "TimePoint_2/ZStep_3/p_A01_w1.tif"),
        ("1", 0, 1, "TimePoint_2/ZStep_12/p_A01_w1.tif"),
        ("1", 1, 0, "TimePoint_10/p_A01_w1.tif"),
        ("2", 1, 0, "TimePoint_10/p_A01_w2.tif"),
    ]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_the_index_gives_size_missing_wells_and_channel_names(tmp_path: Path, encoding: str, newline: str) -> None:
    (tmp_path / "p.HTD").write_bytes(HTD.replace("\n", newline).encode(encoding))
    manifest = scan(tmp_path, "TimePoint_1/p_A02_w1.TIF", "TimePoint_1/p_A02_w2.TIF")
    assert (manifest.rows, manifest.columns) == (3, 4)
    assert manifest.missing == ("A01", "B02", "B04")
    assert manifest.channel_names == {"1": "DAPI", "2": "FITC, slow"}


def test_an_index_that_says_nothing_is_as_good_as_none(tmp_path: Path) -> None:
    (tmp_path / "p.htd").write_bytes(b'\xff\xfe\x00"XWells"\n"YWells", many\n"WaveName1",\n"WellsSelectionX", TRUE\n')
    manifest = scan(tmp_path, "p_C04_w1.tif")
    assert (manifest.rows, manifest.columns, manifest.missing, manifest.channel_names) == (3, 4, (), {})


def test_wells_beyond_the_announced_plate_decide_its_size(tmp_path: Path) -> None:
    (tmp_path / "p.HTD").write_text('"XWells", 4\n"YWells", 3\n')
    manifest = scan(tmp_path, "p_A05_w1.tif")
    assert (manifest.rows, manifest.columns) == (4, 6)


def test_two_indices_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"holds 2 index files, so several measurements: a.HTD, b.htd"):
        scan(tmp_path, "a.HTD", "b.htd", "p_A05_w1.tif")
