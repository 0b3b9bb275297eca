"""MetaXpress folders: two real ones, and made ones for what those do not have."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from xml.sax.saxutils import unescape

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from measurements import PLATE, draw, plate_of, write
from numpy.typing import NDArray

from pipeline_lib.core.manifest import ChannelFacts, Manifest
from pipeline_lib.core.wells import well_name
from pipeline_lib.io.layouts import LAYOUTS, Measurement
from pipeline_lib.io.raw_images import describe_image, position_of
from pipeline_lib.io.vendors import READERS, ImageInfo, scan_plate
from pipeline_lib.io.vendors.base import Listing, list_folder
from pipeline_lib.io.vendors.tiff import Facts, metaseries

GUID = "1D01380B-E7DA-4C09-A343-EDA3D235D808"  # begins with a digit, like most
HTD = """\
"HTSInfoFile", Version 1.0
"Description", "m\u00e9lange, "quoted" by hand
"PlateType", 6
"TimePoints", 1
"ZSeries", FALSE
"ZSteps", 1
"ZProjection", FALSE
"XWells", 4
"YWells", 3
"WellsSelection1", TRUE, TRUE, FALSE, FALSE
"WellsSelection2", FALSE, TRUE, FALSE, true
"WellsSelection3", FALSE, FALSE, FALSE, FALSE
"Sites", TRUE
"XSites", 3
"YSites", 2
"SiteSelection1", TRUE, FALSE, TRUE
"SiteSelection2", FALSE, TRUE, FALSE
"Waves", TRUE
"NWavelengths", 2
"WaveName1", "DAPI"
"WaveName2", "FITC, slow"
"WaveCollect1", 1
"WaveCollect2", 1
"UniquePlateIdentifier", "A0000011-2222-3333-4444-555555555555"
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


def told(path: Path, name: str, otherwise: str = "") -> str:
    """The value of a property, found in the bytes of a file."""
    match = re.search(
        rf'prop id="{re.escape(name)}" type="[a-z-]*" value="([^"]*)"', path.read_bytes().decode("latin-1")
    )
    assert match or otherwise, name
    return unescape(match[1]) if match else otherwise


@pytest.mark.parametrize("name", ["Projection-Mix", "1well-3C-2S-Zmix-T"])
def test_each_image_says_of_itself_what_no_index_says(plates: Path, name: str) -> None:
    manifest = scan_plate("P", plates / name, "imagexpress", "")
    for file in manifest.files:
        path, info = Path(manifest.folder) / file.path, describe_image(manifest, file)
        day, hour = told(path, "acquisition-time-local").split(" ")
        exposure = re.search("Exposure: ([0-9]+) ms", told(path, "Description"))
        assert exposure
        wanted = ImageInfo(
            shape=(1, int(told(path, "pixel-size-y")), int(told(path, "pixel-size-x"))),
            dtype="uint16",
            bit_depth=16,
            pixel_size=float(told(path, "spatial-calibration-x")),
            stage_position=(float(told(path, "stage-position-y")), float(told(path, "stage-position-x"))),
            wavelength=float(told(path, "wavelength")),
            channel_name=told(path, "_IllumSetting_"),
            exposure_ms=float(exposure[1]),
            magnification=float(told(path, "_MagSetting_").split("X ")[0]),
            numerical_aperture=float(told(path, "_MagNA_")),
            z_position=float(told(path, "z-position")),
            z_step=float(told(path, "Z Projection Step Size", "nan")),
            acquired=f"{day[:4]}-{day[4:6]}-{day[6:]}T{hour}",
            instrument="5160126",
        )
        assert info == (replace(wanted, z_step=None) if np.isnan(wanted.z_step or 0) else wanted), file.path
    steps = Counter(describe_image(manifest, file).z_step for file in manifest.files)
    assert steps == ({5.0: 64, None: 24} if name == "Projection-Mix" else {1.0: 7, 0.9: 1, None: 4})


def test_metaseries_metadata(plates: Path) -> None:
    manifest = scan_plate("mix", plates / "Projection-Mix", "imagexpress", "")
    [one] = [file for file in manifest.of_well("E07") if file.field == 1 and file.channel == "2" and file.z == 0]
    assert READERS["imagexpress"].describe(Path(manifest.folder) / one.path) == ImageInfo(
        (1, 512, 512), "uint16", 16, 1.3668, (41385.4, 80513.3), 536.0, "FITC_05", 15.0, 20.0, 0.75, 9318.32, 5.0,
        "2023-02-21T10:42:05.155", "5160126",
    )  # fmt: skip


def pixels(manifest: Manifest, field: int, channel: str, z: int = 0, well: str = "") -> NDArray[np.float64]:
    well = well or manifest.wells[0]
    keys = (field, channel, 0, z)
    [file] = [f for f in manifest.of_well(well) if (f.field, f.channel, f.time, f.z) == keys]
    return np.asarray(tifffile.imread(Path(manifest.folder) / file.path), float)


def places(manifest: Manifest, well: str) -> NDArray[np.float64]:
    """(y, x) of the two sites of a well, in micrometres."""
    found = [position_of(manifest, manifest.first_files(well)[field]) for field in (0, 1)]
    assert None not in found
    return np.array(found)


@pytest.mark.parametrize("well", ["E07", "E08"])
def test_the_stage_goes_right_where_the_image_does(plates: Path, well: str) -> None:
    """The second site lies one image further to the right: there the pictures join, and at no other edge."""
    manifest = scan_plate("mix", plates / "Projection-Mix", "imagexpress", "")
    np.testing.assert_allclose(places(manifest, well)[1] - places(manifest, well)[0], (0, 512 * 1.3668), atol=0.2)
    left, right = pixels(manifest, 0, "1", 0, well), pixels(manifest, 1, "1", 0, well)

    def alike(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
        return float(np.corrcoef(one, other)[0, 1])

    assert alike(left[:, -1], right[:, 0]) > 0.99
    assert max(alike(left[:, 0], right[:, -1]), alike(left[0], right[-1]), alike(left[-1], right[0])) < 0.8


def test_the_stage_goes_down_where_the_image_does(plates: Path) -> None:
    """Two sites of a well, at 4x: the bright ring of its wall is an upper arc where y is smaller, else a lower one."""
    manifest = scan_plate("times", plates / "1well-3C-2S-Zmix-T", "imagexpress", "")
    np.testing.assert_allclose(places(manifest, "C07")[1] - places(manifest, "C07")[0], (256 * 13.5504, 0), atol=0.2)

    def ring(field: int, columns: slice, rows: slice) -> int:
        """Where a band of columns is brightest against its surroundings."""
        line = pixels(manifest, field, "1")[:, columns].mean(axis=1)
        smooth = np.convolve(np.pad(line, 12, mode="edge"), np.ones(25) / 25, "valid")
        near = np.convolve(np.pad(line, 2, mode="edge"), np.ones(5) / 5, "valid")
        return int(np.argmax((near - smooth)[rows])) + int(rows.start)

    edges, middle = (slice(0, 16), slice(240, 256)), slice(130, 160)
    upper, lower = slice(5, 100), slice(140, 250)
    assert all(ring(0, middle, upper) < ring(0, edge, upper) - 15 for edge in edges)
    assert all(ring(1, middle, lower) > ring(1, edge, lower) + 15 for edge in edges)


def test_the_stage_moves_with_the_wells(plates: Path) -> None:
    """Wells are 9 mm apart; C07 of a plate of 96 lies (11.24 + 18, 14.38 + 54) mm from the corner (ANSI SLAS 4)."""
    manifest = scan_plate("mix", plates / "Projection-Mix", "imagexpress", "")
    apart = places(manifest, "E08").mean(axis=0) - places(manifest, "E07").mean(axis=0)
    np.testing.assert_allclose(apart, (0, 9000), atol=1)
    times = scan_plate("times", plates / "1well-3C-2S-Zmix-T", "imagexpress", "")
    np.testing.assert_allclose(places(times, "C07").mean(axis=0), (29240, 68380), atol=200)


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
        ("plate_a01_s1_w1.tif", ("A01", 0, "1", 0, 0)),
        ("plate_h12_s1_w1.TIF", ("H12", 0, "1", 0, 0)),
        ("TimePoint_1/plate_b03_W2.tif", ("B03", 0, "2", 0, 0)),
        ("export/TIMEPOINT_7/zstep_4/plate_B03_s9_w2.tif", ("B03", 0, "2", 0, 0)),
        (f"plate_B03_s1_w1{GUID.lower()}.tif", ("B03", 0, "1", 0, 0)),
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


def test_a_wavelength_that_was_not_taken_is_none_of_the_plate(tmp_path: Path) -> None:
    (tmp_path / "p.HTD").write_text(HTD.replace('"WaveCollect2", 1', '"WaveCollect2", 0'))
    assert scan(tmp_path, "p_A02_s1_w1.TIF").channel_names == {"1": "DAPI"}
    assert scan(tmp_path, "p_A02_s1_w2.TIF").channel_names == {"1": "DAPI", "2": "FITC, slow"}  # it was, after all


@pytest.mark.parametrize(
    "variant",
    [
        HTD.replace('"Sites", TRUE', '"Sites", FALSE').replace('"SiteSelection2", FALSE, TRUE, FALSE\n', ""),
        HTD.replace('"Waves", TRUE', '"Waves", FALSE').replace('"NWavelengths", 2', '"NWavelengths", 9'),
        HTD.replace(", FALSE\n", ", FALSE,\n"),
        HTD.replace('"XSites", 3', '"XSites",3').replace('"TimePoints", 1', '"TimePoints" , 0'),
        HTD.replace('"Description", ', '"Description", "never closed\n"XSites of old", 3\n'),
        HTD + "\n\0\0",
    ],
)
def test_an_index_may_be_written_otherwise(tmp_path: Path, variant: str) -> None:
    assert variant != HTD
    (tmp_path / "p.HTD").write_text(variant)
    manifest = scan(tmp_path, "p_A02_w1.TIF")
    assert (manifest.rows, manifest.columns, manifest.missing) == (3, 4, ("A01", "B02", "B04"))
    assert manifest.channel_names == {"1": "DAPI", "2": "FITC, slow"}


def test_an_index_without_wells_and_wavelengths_gives_the_size(tmp_path: Path) -> None:
    (tmp_path / "p.htd").write_text('"XWells", 4\n"YWells", 3\n"EndFile"\n')
    manifest = scan(tmp_path, "p_A01_w1.tif")
    assert (manifest.rows, manifest.columns, manifest.missing, manifest.channel_names) == (3, 4, (), {})


def test_wells_beyond_the_announced_plate_decide_its_size(tmp_path: Path) -> None:
    (tmp_path / "p.HTD").write_text('"XWells", 4\n"YWells", 3\n"EndFile"')
    manifest = scan(tmp_path, "p_A05_w1.tif")
    assert (manifest.rows, manifest.columns) == (4, 6)


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ('"EndFile"\n', "", 'it has no line "EndFile", so it is cut off'),
        ('"XWells", 4\n', "", 'it has no line "XWells"'),
        ('"XWells", 4', '"XWells", NaN', "\"XWells\" is 'NaN', allowed is a whole number from 1 to 48"),
        ('"XWells", 4', '"XWells", -4', "\"XWells\" is '-4'"),
        ('"XWells", 4', '"XWells", 4.5', "\"XWells\" is '4.5'"),
        ('"XWells", 4', '"XWells", \uff14', "\"XWells\" is '\uff14'"),
        ('"XWells", 4', '"XWells",', "\"XWells\" is ''"),
        ('"YWells", 3', '"YWells", 0', "\"YWells\" is '0', allowed is a whole number from 1 to 32"),
        ('"YWells", 3', '"YWells", 33', "\"YWells\" is '33'"),
        ('"YWells", 3', '"YWells", ' + "9" * 5000, r"\"YWells\" is '9{57}\.\.\.'"),
        ('"YWells", 3', '"YWells", 4', 'it has no line "WellsSelection4"'),
        ('"YWells", 3', '"YWells", 2', 'it has a line "WellsSelection3", but "YWells" is 2'),
        (
            '"TimePoints", 1',
            '"TimePoints", 1e400',
            "\"TimePoints\" is '1e400', allowed is a whole number from 0 to 100000",
        ),
        ('"ZSteps", 1', '"ZSteps", 100001', "\"ZSteps\" is '100001'"),
        ('"XSites", 3', '"XSites", 2', "\"SiteSelection1\" is 'TRUE, FALSE, TRUE', allowed are 2 values TRUE or FALSE"),
        ('"WellsSelection2", FALSE', '"WellsSelection2", NO', "\"WellsSelection2\" is 'NO, TRUE, FALSE, true'"),
        ('"WellsSelection2", FALSE, ', '"WellsSelection2", ', "allowed are 4 values TRUE or FALSE"),
        ('"NWavelengths", 2', '"NWavelengths", 3', 'it has no line "WaveName3"'),
        ('"NWavelengths", 2', '"NWavelengths", 100000', '"WaveName5"; and 99995 more'),
        ('"WaveCollect1", 1', '"WaveCollect1", yes', "\"WaveCollect1\" is 'yes', allowed is a whole number"),
        ('"WaveCollect1", 1', '"WaveCollect1"', "\"WaveCollect1\" is ''"),
        ('"Waves", TRUE', '"Waves", TRUE\n"XWells", 5', 'line [0-9]+ is a second line "XWells"'),
        ("damaged line", "x" * 200_000, "line [0-9]+ has 200000 characters, at most 100000 are allowed"),
    ],
)
def test_a_damaged_index_is_refused(tmp_path: Path, old: str, new: str, fault: str) -> None:
    assert old in HTD
    (tmp_path / "p.HTD").write_text(HTD.replace(old, new), encoding="utf-8")
    with pytest.raises(ValueError, match=rf"p.HTD is damaged: .*{fault}.*. Copy it again .* or move it away"):
        scan(tmp_path, "p_A02_w1.TIF")


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b'<!DOCTYPE a [<!ENTITY b "c">]>', b'"XWells", 4\n"YWel'])
def test_what_is_no_index_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "p.HTD").write_bytes(content)
    with pytest.raises(ValueError, match=r'p.HTD is damaged: it has no line "EndFile".*it has no line "YWells"'):
        scan(tmp_path, "p_A02_w1.TIF")


@given(cut=st.integers(0, len(HTD) - 12))
def test_an_index_cut_off_anywhere_is_refused(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    folder = tmp_path_factory.mktemp("cut")
    (folder / "p.HTD").write_bytes(HTD.encode("latin-1")[:cut])
    with pytest.raises(ValueError, match=r"p\.HTD is damaged"):
        scan(folder, "p_A02_w1.TIF")


@settings(max_examples=300)
@given(data=st.data())
def test_damage_of_any_kind_is_a_value_error_or_none(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Bytes changed, lost, added and doubled: the index is read or refused; no other exception leaves the scan."""
    folder = tmp_path_factory.mktemp("fuzz")
    content = bytearray(HTD.encode("latin-1"))
    for _ in range(data.draw(st.integers(1, 6))):
        start = data.draw(st.integers(0, len(content)))
        content[start : start + data.draw(st.integers(0, 30))] = data.draw(
            st.one_of(st.binary(max_size=12), st.just(bytes(content[start : start + 80])), st.just(b"9" * 30))
        )
    (folder / "p.HTD").write_bytes(content)
    try:
        manifest = scan(folder, "p_A02_w1.TIF")
    except ValueError as error:
        assert "p.HTD is damaged: " in str(error)
    else:
        assert manifest.wells == ("A02",)


def test_two_indices_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"holds 2 index files, so several measurements: a.HTD, b.htd"):
        scan(tmp_path, "a.HTD", "b.htd", "p_A05_w1.tif")


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("p_ZZ99_s1_w1.tif", "'ZZ99' is not a well"),
        ("p_A00_s1_w1.tif", "'A00' is not a well"),
        ("p_A01_s100001_w1.tif", "site 100001 is above 100000"),
        (f"p_A01_s1_w{'9' * 60}.tif", "wavelength 9{60} is above"),
        ("TimePoint_123456/p_A01_s1_w1.tif", "time point 123456 is above"),
        ("ZStep_123456/p_A01_s1_w1.tif", "z step 123456 is above"),
    ],
)
def test_impossible_wells_and_numbers_are_refused(tmp_path: Path, name: str, fault: str) -> None:
    with pytest.raises(
        ValueError, match=f"holds 1 files .* cannot be: {name}: {fault}.*. Rename them, or move them away"
    ):
        scan(tmp_path, name)


def test_three_impossible_names_are_told_and_the_others_counted(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"holds 5 files .*p_Z90.*p_Z91.*p_Z92[^;]*; and 2 more\."):
        scan(tmp_path, *(f"p_Z9{number}_w1.tif" for number in range(5)))


def test_two_files_of_one_plane_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"1 planes have several files.*\n.*p_A01_s1_w1.tif, p_a01_s1_w1.tif"):
        scan(tmp_path, "p_A01_s1_w1.tif", "p_a01_s1_w1.tif")


@pytest.mark.parametrize(
    "name",
    [
        "p.HTD", "deeper/p.htd", "p_A01_s1_w1.TIF", "p_a01_w1.tif", "TimePoint_1/p_A01_s3.tif", f"p_A01{GUID}.tif",
        f"ZStep_1/p_A01_s1_w1{GUID}.tif", f"p_A01_s1_w1_[{GUID}].tif",
    ],
)  # fmt: skip
def test_its_folders_are_recognised(name: str) -> None:
    assert READERS["imagexpress"].recognises(Listing((name,), ()))


@pytest.mark.parametrize(
    "name",
    [
        "B03_s1_wDNA.tif", "B03_s1_wDNA_t1_z1.tif", "Channel1-01-A-01.tif", "r01c01f01p01-ch1sk1fk1fl1.tiff",
        "Images/r02c03f01p01-ch1t01.tiff", "P7_B03_T0001F001L01A01Z01C01.tif", "Image/W0001F0001T0001Z001C1.tif",
        "A01_s1_w1.ome.tif", "B03.ome.tif", "A - 1(fld 1 wv DAPI - DAPI).tif", "B03.tif", "plate_B03.tif",
        "p_A01_s1_w1.png", "Index.idx.xml",
    ],
)  # fmt: skip
def test_folders_of_others_are_not(name: str) -> None:
    assert not READERS["imagexpress"].recognises(Listing((name,), ()))


@pytest.mark.parametrize(("times", "planes"), [(1, 1), (2, 1), (1, 3), (2, 3)])
@pytest.mark.parametrize("sites", [1, 3])
@pytest.mark.parametrize("channels", [1, 2])
def test_names_and_folders_are_those_of_metaxpress(
    tmp_path: Path, times: int, planes: int, sites: int, channels: int
) -> None:
    plate = plate_of(times, planes)
    plate = replace(
        plate,
        wells=("B03",),
        positions=plate.positions[:sites],
        channels=plate.channels[:channels],
        shape=(times, channels, *plate.shape[2:]),
    )
    images = {(well, field): image[:, :channels] for (well, field), image in draw(plate).items()}
    written = write(tmp_path, "imagexpress", plate, images)
    first = re.sub(
        r"[0-9A-F]{8}(-[0-9A-F]{4}){3}-[0-9A-F]{12}(?=\.tif)", "<GUID>", written[0].relative_to(tmp_path).as_posix()
    )
    folders = ("TimePoint_1/" if times > 1 else "") + ("ZStep_1/" if planes > 1 else "")
    assert first == f"{folders}P7_B03{'_s1' if sites > 1 else ''}{'_w1' if channels > 1 else ''}<GUID>.tif"
    found = list_folder(tmp_path).ending(".tif")
    projections = sites * channels * times * (planes > 1)
    assert len(written) == len(set(written)) == sites * channels * times * planes
    assert len(found) == 2 * (len(written) + projections)  # with their thumbnails
    manifest = scan_plate("P7", tmp_path, "auto", "")
    assert {Path(manifest.folder) / file.path for file in manifest.files} == set(written)
    assert list(manifest.channel_names.values()) == ["DNA", "GFP"][:channels]


def test_a_folder_is_written_alike_each_time(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write(tmp_path / name, "imagexpress", PLATE, draw(PLATE))
    one, two = (list_folder(tmp_path / name).paths for name in ("one", "two"))
    assert one == two
    assert all((tmp_path / "one" / path).read_bytes() == (tmp_path / "two" / path).read_bytes() for path in one)


@pytest.mark.parametrize("layout", ["imagexpress", "imagexpress_export"])
def test_the_images_say_what_the_index_has_no_words_for(tmp_path: Path, layout: str) -> None:
    write(tmp_path, layout, PLATE, draw(PLATE))
    manifest = scan_plate("P7", tmp_path, "imagexpress", "")
    infos = {(f.well, f.field, f.channel, f.time, f.z): describe_image(manifest, f) for f in manifest.files}
    assert len(infos) == 3 * 3 * 2 * 2 * 3
    for (_, _, channel, time, _), info in infos.items():
        wanted = PLATE.channels[int(channel) - 1]
        assert (info.channel_name, info.wavelength, info.exposure_ms) == (
            wanted.name,
            wanted.emission_nm,
            wanted.exposure_ms,
        )
        assert (info.pixel_size, info.magnification, info.numerical_aperture) == (0.65, 20.0, 0.75)
        assert info.z_step == 3.0
        assert (info.instrument, info.acquired) == ("Ideal", f"2026-03-04T10:2{time}:30.000")
    for well in PLATE.wells:
        assert np.diff([infos[well, 0, "1", 0, z].z_position for z in range(3)]).tolist() == [3.0, 3.0]
        found = np.array([position_of(manifest, manifest.first_files(well)[field]) for field in range(3)])
        np.testing.assert_allclose(found - found[0], np.array(PLATE.positions) - PLATE.positions[0], atol=1e-6)
    assert manifest.positions == {}


def test_the_projection_says_how_far_apart_its_planes_are(tmp_path: Path) -> None:
    write(tmp_path, "imagexpress", plate_of(1, 3), draw(plate_of(1, 3)))
    [path] = [path for path in tmp_path.glob("P7_B03_s2_w1*.tif") if "thumb" not in path.name]
    info = READERS["imagexpress"].describe(path)
    assert (info.z_step, info.z_position) == (3.0, 9003.0)


def test_an_image_that_knows_nothing_says_nothing(tmp_path: Path) -> None:
    facts = type(PLATE.facts)()
    plate = replace(plate_of(1, 1), channels=(ChannelFacts(), ChannelFacts()), facts=facts, wells=("A01",))
    write(tmp_path, "imagexpress", plate, draw(plate))
    manifest = scan_plate("P7", tmp_path, "imagexpress", "")
    info = describe_image(manifest, manifest.files[0])
    known = ImageInfo((1, 24, 32), "uint16", 16, stage_position=(11190.0, 14320.0), z_position=9000.0)
    assert info == known


@pytest.mark.parametrize(
    ("kind", "name", "value", "facts"),
    [
        ("prop", "Description", "Exposure: 15.5 ms&#13;&#10;", Facts(exposure_ms=15.5)),
        ("prop", "Description", "LAF Plate Bottom Exposure:10&#13;&#10;Exposure: 2 s", Facts(exposure_ms=2000.0)),
        ("prop", "Description", "Exposure: 300 us", Facts(exposure_ms=0.3)),
        ("prop", "Description", "Exposure: 0 ms", Facts()),
        ("prop", "Description", "Exposure: 3 minutes", Facts()),
        ("prop", "Description", f"Exposure: {'9' * 400} ms", Facts()),
        ("custom-prop", "Exposure Time", "80 ms", Facts(exposure_ms=80.0)),
        ("prop", "acquisition-time-local", "20240422 09:57:37", Facts(acquired="2024-04-22T09:57:37.000")),
        ("prop", "acquisition-time-local", "20241322 09:57:37", Facts()),
        ("prop", "_MagSetting_", "0.5x Plan", Facts(magnification=0.5)),
        ("prop", "_MagSetting_", "Plan Apo 20X", Facts()),
        ("prop", "_MagNA_", "nan", Facts()),
        ("prop", "_MagNA_", "-0.75", Facts()),
        ("prop", "wavelength", "1e999", Facts()),
        ("prop", "z-position", "inf", Facts()),
        ("prop", "z-position", "-3.5", Facts(z_position=-3.5)),
        ("custom-prop", "Z Projection Step Size", "0", Facts()),
    ],
)
def test_single_properties(kind: str, name: str, value: str, facts: Facts) -> None:
    assert metaseries(f'<MetaData><PlaneInfo><{kind} id="{name}" value="{value}"/></PlaneInfo></MetaData>') == facts


texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n"), max_size=12).map(str.strip)


@given(
    shape=st.sampled_from([(1, 1), (2, 3), (8, 12), (16, 24), (32, 48)]),
    chosen=st.sets(st.tuples(st.floats(0, 0.99), st.floats(0, 0.99)), min_size=1, max_size=9),
    names=st.lists(texts, min_size=1, max_size=12),
    series=st.tuples(st.integers(1, 200), st.integers(1, 60)),
)
def test_any_index_comes_back(
    tmp_path_factory: pytest.TempPathFactory,
    shape: tuple[int, int],
    chosen: set[tuple[float, float]],
    names: Sequence[str],
    series: tuple[int, int],
) -> None:
    folder = tmp_path_factory.mktemp("index")
    wells = sorted({well_name(int(y * shape[0]), int(x * shape[1])) for y, x in chosen})
    plate = Measurement(
        plate="P7",
        rows=shape[0],
        columns=shape[1],
        wells=tuple(wells),
        channels=tuple(ChannelFacts(name) for name in names),
        facts=PLATE.facts,
        positions=PLATE.positions,
        shape=(series[0], len(names), series[1], 8, 8),
        dtype="uint16",
    )
    LAYOUTS["imagexpress"].write_index(folder, plate)
    found = READERS["imagexpress"].scan(folder, list_folder(folder), "")
    assert (found.shape, found.files) == (shape, ())
    assert sorted(found.selected) == wells
    assert {wave: facts.name for wave, facts in found.channels.items()} == {
        str(number): name or f"w{number}" for number, name in enumerate(names, 1)
    }
