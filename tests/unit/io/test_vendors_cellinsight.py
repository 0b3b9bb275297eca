"""CellInsight and ArrayScan exports: names only."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st

from pipeline_lib.core.manifest import Manifest, PlateFacts
from pipeline_lib.core.wells import well_name
from pipeline_lib.io.vendors import READERS, scan_plate
from pipeline_lib.io.vendors.base import Listing

ONE = "MFGTMP_140220040001_A01f00d0.TIF"


def scan(folder: Path, *names: str, format: str = "cellinsight") -> Manifest:  # noqa: A002
    """The manifest of a folder after putting empty files into it."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return scan_plate("P", folder, format, "")


def planes(manifest: Manifest) -> list[tuple[str, int, str, int, int]]:
    return [(file.well, file.field, file.channel, file.time, file.z) for file in manifest.files]


@pytest.mark.parametrize(
    ("name", "plane"),
    [
        (ONE, ("A01", 0, "0", 0, 0)),
        ("AS_09125_050116030001_D03f00d2.tif", ("D03", 0, "2", 0, 0)),
        ("AS_09047_050428030001_O14f01d2.TIF", ("O14", 0, "2", 0, 0)),
        ("MFGTMP-PC_130509120002_B02f111d10.tiff", ("B02", 0, "10", 0, 0)),
        ("070314_TDS_VSV_50K_P2_1_B02f0d0.tif", ("B02", 0, "0", 0, 0)),
        ("A01f00d1.TIFF", ("A01", 0, "1", 0, 0)),
        ("p_B2_AF48F3D1.tif", ("AF48", 0, "1", 0, 0)),
        ("p_A01t02z05f00d1.TIF", ("A01", 0, "1", 0, 0)),
        ("p_A01f00d1t02z05.TIF", ("A01", 0, "1", 0, 0)),
    ],
)
def test_names(tmp_path: Path, name: str, plane: tuple[str, int, str, int, int]) -> None:
    assert planes(scan(tmp_path, name)) == [plane]


@given(
    st.integers(0, 15), st.integers(0, 23), st.sampled_from([2, 3]), st.permutations("fdtz"),
    st.dictionaries(st.sampled_from("fdtz"), st.integers(0, 99)),
)  # fmt: skip
def test_any_order_of_parts(row: int, column: int, digits: int, order: list[str], numbers: dict[str, int]) -> None:
    """Beside the plane of zeros, so that ranks show whether a number is 0."""
    parts = "".join(f"{letter}{numbers.get(letter, 0):0{digits}}" for letter in order)
    with tempfile.TemporaryDirectory() as folder:
        names = {f"p_{well_name(row, column)}{parts}.TIF", f"p_{well_name(row, column)}f0d0.tif"}
        if not any(numbers.values()):
            names.pop()
        found = planes(scan(Path(folder), *names))
    place = {letter: int(numbers.get(letter, 0) > 0) for letter in "ftz"}
    last = (well_name(row, column), place["f"], str(numbers.get("d", 0)), place["t"], place["z"])
    assert last in found
    assert len(found) == len(names)


@pytest.mark.parametrize(
    "name",
    ["p_A01f00d0o1.TIF", "p_A01f00.TIF", "p_A01d0.TIF", "p_A01f00d0d1.TIF", "p_A01f00d0.C01", "p_A01f00d0.mdb",
     "p_A01f00d0x.TIF", "p_A01f000000d0.TIF", "plateA01f00d0.TIF", "p_B03_s1_w1.tif"],
)  # fmt: skip
def test_names_that_are_no_images(tmp_path: Path, name: str) -> None:
    assert [file.path for file in scan(tmp_path, ONE, name).files] == [ONE]


@pytest.mark.parametrize(
    "name",
    ["A01f00d0.TIF", "p_B03_s1_w1.tif", "p_A01f00.tif", "A - 1(fld 1 wv DAPI - DAPI).tif",
     "p_A01_T0001F001L01A01Z01C01.tif", "r01c01f01p01-ch1sk1fk1fl1.tiff", "Channel1-01-A-01.tif"],
)  # fmt: skip
def test_names_of_others_are_not_recognised(name: str) -> None:
    listing = Listing((name, "MFGTMP_140220040001_A01f00d0.C01"), ())
    assert not READERS["cellinsight"].recognises(listing)


def test_own_names_are_recognised(tmp_path: Path) -> None:
    assert scan(tmp_path, "notes.txt", ONE, format="auto").format == "cellinsight"


def test_no_index_means_no_facts(tmp_path: Path) -> None:
    manifest = scan(tmp_path, ONE, "MFGTMP_140220040001.mdb")
    assert (manifest.facts, manifest.channel_facts, manifest.positions) == (PlateFacts(), {}, {})


def test_tags_are_read_when_a_file_is_opened(tmp_path: Path) -> None:
    pixels = np.zeros((4, 5), np.uint16)
    tifffile.imwrite(tmp_path / ONE, pixels, metadata=None, resolution=(20_000, 20_000), resolutionunit="CENTIMETER")
    info = READERS["cellinsight"].describe(tmp_path / ONE)
    assert (info.shape, info.pixel_size) == ((1, 4, 5), 0.5)


@pytest.mark.parametrize("other", ["MFGTMP_140220040002_A01f00d0.TIF", f"again/{ONE}"])
def test_two_measurements_are_not_mixed(tmp_path: Path, other: str) -> None:
    with pytest.raises(ValueError, match=r"holds 2 measurements: \./MFGTMP_140220040001, .*Put each into a folder"):
        scan(tmp_path, ONE, other)


def test_wells_that_are_none(tmp_path: Path) -> None:
    wrong = [f"MFGTMP_140220040001_{well}f00d0.TIF" for well in ("A00", "A49", "AG01", "ZZ01")]
    with pytest.raises(ValueError, match=r"(?s)4 of the images .*A00f00d0.TIF: 'A00' is not a well.*and 1 more"):
        scan(tmp_path, ONE, *wrong)


def test_other_kinds_of_images_are_named_in_the_message(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"must be exported as TIFF, for \.C01 is not read"):
        scan(tmp_path, "MFGTMP_140220040001_A01f00d0.C01")
