"""ScanR folders: names, a descriptor written by hand, and damaged ones."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from measurements import read

from pipeline_lib.core.manifest import ChannelFacts, Manifest, PlateFacts
from pipeline_lib.core.wells import well_name
from pipeline_lib.io.vendors import scan_plate

NAMES = ("--W00001--P00001--Z00000--T00000--dapi.tif", "--W00015--P00002--Z00001--T00003--Cy5 far.tif")
WITH_WELLS = tuple(well + name for well, name in zip(("A1", "B3"), NAMES, strict=True))


def value(kind: str, name: str, val: str) -> str:
    return f"<{kind}>\n<Name>{name}</Name>\n<Val>{val}</Val>\n</{kind}>\n"


def cluster(name: str, *content: str) -> str:
    return f"<Cluster>\n<Name>{name}</Name>\n<NumElts>{len(content)}</NumElts>\n{''.join(content)}</Cluster>\n"


PLATE = cluster(
    "Well plate", value("String", "plate type", "Greiner"), value("I32", "Rows", "8"), value("I32", "Columns", "12")
)
DESCRIPTOR = (
    '<?xml version="1.0" encoding="ISO-8859-1" standalone="no"?>\n<LVData xmlns="http://www.ni.com/LVData">\n'
    "<Version>8.6</Version>\n"
    + cluster(
        "experiment",
        PLATE,
        value("DBL", "conversion factor um/pixel", "0.645000"),
        value("DBL", "AF exposure time [ms]", "120"),
        "<Array>\n<Name>channels</Name>\n<Dimsize>2</Dimsize>\n",
        cluster("", value("String", "name", "DAPI"), value("DBL", "exposure time", "200.00000")),
        cluster("", value("String", "name", "Cy5 far"), value("DBL", "exposure time", "500,50000")),
        "</Array>\n",
        cluster("fields", value("I32", "Rows", "3"), value("I32", "Columns", "2")),
        cluster("stack", value("DBL", "z-step [um]", "2.5"), value("DBL", "timeloop delay [ms]", "1500")),
    )
    + "</LVData>\n"
)


def scan(folder: Path, descriptor: str | bytes | None, *names: str, data: str = "data") -> Manifest:
    """The manifest of a folder with this descriptor and empty files of these names in `data`."""
    (folder / data).mkdir(exist_ok=True, parents=True)
    for name in names:
        (folder / data / name).touch()
    if descriptor is not None:
        content = descriptor if isinstance(descriptor, bytes) else descriptor.encode("latin-1", "replace")
        (folder / "experiment_descriptor.xml").write_bytes(content)
    return scan_plate("P", folder, "scanr", "")


def planes(manifest: Manifest) -> list[tuple[str, int, str, int, int]]:
    return [(file.well, file.field, file.channel, file.time, file.z) for file in manifest.files]


@pytest.mark.parametrize("names", [NAMES, WITH_WELLS])
def test_everything_a_descriptor_says(tmp_path: Path, names: tuple[str, ...]) -> None:
    manifest = scan(tmp_path, DESCRIPTOR, *names)
    assert planes(manifest) == [("A01", 0, "dapi", 0, 0), ("B03", 1, "Cy5 far", 1, 1)]
    assert [file.path for file in manifest.files] == [f"data/{name}" for name in names]
    assert manifest.facts == PlateFacts(pixel_size=0.645, z_step=2.5, time_step=1.5, plate_type="Greiner")
    assert manifest.channel_facts == {
        "dapi": ChannelFacts("dapi", exposure_ms=200.0),
        "Cy5 far": ChannelFacts("Cy5 far", exposure_ms=500.5),
    }
    assert (manifest.rows, manifest.columns, manifest.positions) == (8, 12, {})


@given(st.integers(1, 384))
def test_wells_are_counted_row_by_row(number: int) -> None:
    plate = DESCRIPTOR.replace(">8<", ">16<").replace(">12<", ">24<")
    with tempfile.TemporaryDirectory() as folder:
        manifest = scan(Path(folder), plate, f"x--W{number:05}--P00001--Z00000--T00000--c.tif")
    counted = [well_name(row, column) for row in range(16) for column in range(24)]
    assert manifest.wells == (counted[number - 1],)


@pytest.mark.parametrize(
    ("called", "wells"),
    [
        (("D5", "E6"), ("D05", "E06")),  # counted over chosen wells alone
        (("D5", "cells"), ("A01", "B03")),
        (("D5", "D5"), ("A01", "B03")),  # a name for all of them
        (("", "E6"), ("A01", "B03")),
    ],
)
def test_names_of_wells_come_before_their_count(
    tmp_path: Path, called: tuple[str, ...], wells: tuple[str, ...]
) -> None:
    names = [one + name for one, name in zip(called, NAMES, strict=True)]
    assert scan(tmp_path, DESCRIPTOR, *names).wells == wells


def test_a_plate_without_descriptor(tmp_path: Path) -> None:
    manifest = scan(tmp_path, None, *WITH_WELLS)
    assert (manifest.wells, manifest.facts) == (("A01", "B03"), PlateFacts())
    assert scan_plate("P", tmp_path, "auto", "").format == "scanr"
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / WITH_WELLS[0]).touch()
    with pytest.raises(ValueError, match="images in 2 folders, so several measurements: data, other"):
        scan(tmp_path, None)


def test_images_of_other_folders_are_not_used(tmp_path: Path) -> None:
    scan(tmp_path, DESCRIPTOR, *NAMES)
    assert len(scan(tmp_path, DESCRIPTOR, NAMES[0], data="data upr").files) == 2


@pytest.mark.parametrize(("home", "data"), [("", "Data"), ("", "."), ("run", "run/data"), ("run", "run")])
def test_where_images_lie(tmp_path: Path, home: str, data: str) -> None:
    (tmp_path / home).mkdir(exist_ok=True)
    (tmp_path / home / "Experiment_Descriptor.xml").write_text(DESCRIPTOR)
    assert len(scan(tmp_path, None, *NAMES, data=data).files) == 2


def test_a_file_may_hold_a_stack(tmp_path: Path) -> None:
    stack = np.arange(3 * 4 * 5, dtype=np.uint16).reshape(3, 4, 5)
    (tmp_path / "data").mkdir()
    tifffile.imwrite(tmp_path / "data" / WITH_WELLS[0], stack, photometric="minisblack", metadata=None)
    [image] = read(scan(tmp_path, DESCRIPTOR)).values()
    np.testing.assert_array_equal(image, stack[None, None])


@pytest.mark.parametrize(
    ("old", "new", "fact", "expected"),
    [
        ("timeloop delay [ms]", "timeloop interval [min]", "time_step", 90_000.0),
        ("timeloop delay [ms]", "timeloop delay", "time_step", None),
        ("z-step [um]", "z step size [um]", "z_step", 2.5),
        ("z-step [um]", "z-steps", "z_step", None),
        ("0.645000", "0", "pixel_size", None),
        ("0.645000", "", "pixel_size", None),
        ("Greiner", "", "plate_type", None),
        (PLATE, PLATE + cluster("", value("DBL", "um/pixel", "0.3")), "pixel_size", None),
        (PLATE, PLATE + cluster("", value("DBL", "um/pixel", "0.645")), "pixel_size", 0.645),
    ],
)
def test_facts_one_by_one(tmp_path: Path, old: str, new: str, fact: str, expected: object) -> None:
    assert old in DESCRIPTOR
    assert getattr(scan(tmp_path, DESCRIPTOR.replace(old, new), *NAMES).facts, fact) == expected


def test_the_plate_by_its_type(tmp_path: Path) -> None:
    typed = DESCRIPTOR.replace(PLATE, cluster("plate", value("String", "Type", "Corning 384 wells 0.5")))
    manifest = scan(tmp_path, typed, NAMES[1])
    assert ((manifest.rows, manifest.columns), manifest.wells) == ((16, 24), ("A15",))


def test_exposures_that_disagree_tell_nothing(tmp_path: Path) -> None:
    again = cluster("", value("String", "name", "dapi"), value("DBL", "exposure time", "10"))
    manifest = scan(tmp_path, DESCRIPTOR.replace(PLATE, PLATE + again), *NAMES)
    assert manifest.channel_facts["dapi"].exposure_ms is None
    assert manifest.channel_facts["Cy5 far"].exposure_ms == 500.5


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (">8<", ">NaN<", "rows is 'NaN'; a number from 0"),
        (">8<", ">8.5<", "rows is '8.5'; a whole number"),
        (">8<", ">0<", "no plate has a well at row -1"),
        (">12<", ">1e300<", "columns is '1e300'"),
        ("0.645000", "inf", "conversion factor um/pixel is 'inf'"),
        ("0.645000", "-1", "conversion factor um/pixel is '-1'"),
        ("200.00000", "long", "exposure time is 'long'"),
        ("2.5", "two", r"z-step \[um\] is 'two'"),
        ("1500", "9" * 400, "timeloop delay"),
    ],
)
def test_descriptors_that_cannot_be_right(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in DESCRIPTOR
    with pytest.raises(ValueError, match=f"experiment_descriptor.xml: {message}.*Copy this file"):
        scan(tmp_path, DESCRIPTOR.replace(old, new), *NAMES)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "experiment_descriptor.xml is not whole XML"),
        (DESCRIPTOR[:-30], "experiment_descriptor.xml is not whole XML"),
        ('<!DOCTYPE a [<!ENTITY b "c">]><LVData/>', "experiment_descriptor.xml has a document type"),
    ],
)
def test_files_that_are_no_descriptor(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        scan(tmp_path, text, *NAMES)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("--W00097--P00001--Z00000--T00000--c.tif", "well number 97: the plate has 8 x 12 wells"),
        ("--W00000--P00001--Z00000--T00000--c.tif", "well number 0"),
        ("--W00001--P100001--Z00000--T00000--c.tif", "field 100001 is above 100000"),
        ("--W00001--P00001--Z00000--T999999--c.tif", "time 999999 is above"),
    ],
)
def test_names_that_cannot_be_right(tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(ValueError, match=f"(?s)1 of 3 images in .*data/{name}: {message}"):
        scan(tmp_path, DESCRIPTOR, *NAMES, name)


def test_wells_that_nobody_names(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"(?s)2 of 2 images.*how many columns the plate has.*begin the names of all"):
        scan(tmp_path, DESCRIPTOR.replace("Columns", "Things"), *NAMES)


@pytest.mark.parametrize("name", ["A1--W1--P1--Z0--T0--c.tif", NAMES[0][:-4] + ".png", "W00001--P00001.tif"])
def test_names_that_are_no_images(tmp_path: Path, name: str) -> None:
    assert [file.path for file in scan(tmp_path, DESCRIPTOR, NAMES[0], name).files] == [f"data/{NAMES[0]}"]


def test_two_descriptors_are_refused(tmp_path: Path) -> None:
    scan(tmp_path / "a", DESCRIPTOR, *NAMES)
    scan(tmp_path / "b", DESCRIPTOR, *NAMES)
    with pytest.raises(ValueError, match="holds 2 index files, so several measurements"):
        scan_plate("P", tmp_path, "scanr", "")


def test_a_lost_image_leaves_its_well_out(tmp_path: Path) -> None:
    scan(tmp_path, DESCRIPTOR, *NAMES)
    (tmp_path / "data" / NAMES[0]).unlink()
    assert scan(tmp_path, DESCRIPTOR).wells == ("B03",)


@settings(max_examples=300)
@given(st.data())
def test_damage_anywhere_is_a_value_error_or_nothing(data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(DESCRIPTOR)))
    end = data.draw(st.integers(start, min(len(DESCRIPTOR), start + 40)))
    marks = ["<", "", "&", "-1", "NaN", "9" * 400, "<Val/>", "<Cluster>" * 3000 + "</Cluster>" * 3000]
    put = data.draw(st.sampled_from(marks) | st.text(max_size=4))
    with tempfile.TemporaryDirectory() as folder:
        try:
            scan(Path(folder), DESCRIPTOR[:start] + put + DESCRIPTOR[end:], *NAMES)
        except ValueError as error:
            assert not isinstance(error, UnicodeError)
            assert "experiment_descriptor.xml" in str(error) or "images in" in str(error)
