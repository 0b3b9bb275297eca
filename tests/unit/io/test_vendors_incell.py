"""IN Cell indices: one written by hand with everything in it, and damaged ones."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from measurements import draw, plate_of, write

from pipeline_lib.core.manifest import ChannelFacts, Manifest, PlateFacts
from pipeline_lib.io.vendors import scan_plate

HEAD = """\
<Application name="IN Cell Analyzer 2200" software_version="5.1"/>
<Creation date="2011-05-09" time="15:20:53" timezoneoffset="-60"/>
<AutoLeadAcquisitionProtocol name="screen">
  <ObjectiveCalibration magnification="10.00" numerical_aperture="0.450" objective_name="Nikon 10X" pixel_height="0.65"
    pixel_width="0.65" unit="um"/>
  <Wavelengths>
    <Wavelength index="1"><ExcitationFilter name="Blue" unit="nm" wavelength="475"/>
      <EmissionFilter name="FITC" unit="nm" wavelength="511"/><Exposure time="0.25" unit="s"/></Wavelength>
    <Wavelength index="0"><ExcitationFilter name="UV" unit="nm" wavelength="390"/>
      <EmissionFilter name="DAPI" unit="nm" wavelength="432.5"/><Exposure time="100" unit="ms"/></Wavelength>
  </Wavelengths>
  <ZDimensionParameters number_of_slices="2" z_step="1.5"/>
  <Plate columns="12" name="Greiner 96" rows="8"><NamingRows begin="A" type="Letter"/></Plate>
  <PlateMap><FieldOffsets><offset_point index="0" x="-300.5" y="200.25"/><offset_point index="1" x="300" y="-200"/>
  </FieldOffsets></PlateMap>
</AutoLeadAcquisitionProtocol>
"""
ADVICE = "Copy it from the microscope's computer again"


def entry(
    name: str, row: int = 2, column: int = 3, field: object = 0, wave: object = 0, time: object = 0, z: object = 0
) -> str:
    return (
        f'<Image filename="{name}" acquisition_time_ms="{float(str(time)) * 5000 + 1234.5}"><Well label="B - 3">'
        f'<Row number="{row}"/><Column number="{column}"/></Well><MinMaxMean max="9"/>'
        f'<Identifier field_index="{field}" time_index="{time}" wave_index="{wave}" z_index="{z}"/></Image>'
    )


ENTRIES = (
    entry("a.tif"), entry("b.tif", wave=1), entry("c.tif", z=1), entry("d.tif", time=2), entry("e.tif", field=1),
    entry("f.TIFF", row=8, column=12),
)  # fmt: skip


def index_of(head: str = HEAD, entries: tuple[str, ...] = ENTRIES) -> str:
    return f'<ImageStack PlateID="7">{head}<Images image_format="TIFF">{"".join(entries)}</Images></ImageStack>'


def scan(folder: Path, text: str | bytes, *lacking: str) -> Manifest:
    """The manifest of a folder with this index and empty files for what it names, but for some."""
    content = text if isinstance(text, bytes) else text.encode()
    (folder / "screen.xdce").write_bytes(content)
    for name in re.findall(r'filename="([\w./]+)"', content.decode("latin-1")):
        if name not in lacking and "/" not in name:
            (folder / name).touch()
    return scan_plate("P", folder, "incell", "")


def planes(manifest: Manifest) -> list[tuple[str, int, str, int, int, str]]:
    return [(file.well, file.field, file.channel, file.time, file.z, file.path) for file in manifest.files]


def test_everything_an_index_says(tmp_path: Path) -> None:
    manifest = scan(tmp_path, index_of())
    assert planes(manifest) == [
        ("B03", 0, "0", 0, 0, "a.tif"),
        ("B03", 0, "0", 0, 1, "c.tif"),
        ("B03", 0, "0", 1, 0, "d.tif"),
        ("B03", 0, "1", 0, 0, "b.tif"),
        ("B03", 1, "0", 0, 0, "e.tif"),
        ("H12", 0, "0", 0, 0, "f.TIFF"),
    ]
    assert manifest.facts == PlateFacts(
        pixel_size=0.65, z_step=1.5, time_step=5.0, magnification=10.0, numerical_aperture=0.45,
        plate_type="Greiner 96", acquired="2011-05-09T15:20:53", instrument="IN Cell Analyzer 2200",
    )  # fmt: skip
    assert manifest.channel_facts == {
        "0": ChannelFacts("DAPI", 390.0, 432.5, 100.0),
        "1": ChannelFacts("FITC", 475.0, 511.0, 250.0),
    }
    assert manifest.positions == {well: {0: (-200.25, -300.5), 1: (200.0, 300.0)} for well in ("B03", "H12")}
    assert (manifest.rows, manifest.columns) == (8, 12)
    assert (manifest.missing, manifest.faulty, manifest.profiles) == ((), {}, {})


def test_an_index_without_facts(tmp_path: Path) -> None:
    manifest = scan(tmp_path, index_of("", (entry("a.tif"),)))
    assert manifest.facts == PlateFacts()
    assert manifest.channel_facts == {"0": ChannelFacts()}
    assert (manifest.positions, manifest.rows, manifest.columns) == ({}, 2, 3)


def test_single_images_tell_of_channels_where_nothing_else_does(tmp_path: Path) -> None:
    optics = (
        '<ExcitationFilter name="Green" wavelength="542"/><EmissionFilter name="Cy3" wavelength="597"/>'
        '<Exposure time="40" unit="ms"/></Image>'
    )
    manifest = scan(tmp_path, index_of("", (entry("a.tif").replace("</Image>", optics),)))
    assert manifest.channel_facts == {"0": ChannelFacts("Cy3", 542.0, 597.0, 40.0)}


def test_channels_with_one_emission_filter_are_named_after_both(tmp_path: Path) -> None:
    manifest = scan(tmp_path, index_of(HEAD.replace("FITC", "DAPI")))
    assert manifest.channel_names == {"0": "UV - DAPI", "1": "Blue - DAPI"}


@pytest.mark.parametrize(
    ("old", "new", "fact", "value"),
    [
        ('pixel_height="0.65"', 'pixel_height="0.7"', "pixel_size", None),
        ('pixel_height="0.65"', 'pixel_height=""', "pixel_size", None),
        ('unit="um"', 'unit="parsec"', "pixel_size", None),
        ('unit="um"', 'unit="mm"', "pixel_size", 650.0),
        ('magnification="10.00"', 'magnification="0"', "magnification", None),
        ('number_of_slices="2"', 'number_of_slices="1"', "z_step", None),
        ('z_step="1.5"', 'z_step="-1.5"', "z_step", 1.5),
        ('z_step="1.5"', 'z_step="0"', "z_step", None),
        ('date="2011-05-09"', 'date="9 May 2011"', "acquired", None),
        ("ZDimensionParameters", "ZSlice", "z_step", 1.5),
    ],
)
def test_facts_one_by_one(tmp_path: Path, old: str, new: str, fact: str, value: float | None) -> None:
    assert getattr(scan(tmp_path, index_of(HEAD.replace(old, new))).facts, fact) == value


def test_a_channel_may_have_no_wavelength(tmp_path: Path) -> None:
    manifest = scan(tmp_path, index_of(HEAD.replace('"432.5"', '"open"').replace('unit="ms"', 'unit="hours"')))
    assert manifest.channel_facts["0"] == ChannelFacts("DAPI", 390.0, None, None)


def test_wells_by_label_where_they_have_no_numbers(tmp_path: Path) -> None:
    nameless = re.sub("<(Row|Column) [^>]*>", "", entry("a.tif"))
    assert scan(tmp_path, index_of(HEAD, (nameless,))).wells == ("B03",)


def test_fields_with_two_places_have_none(tmp_path: Path) -> None:
    assert scan(tmp_path, index_of(HEAD.replace('index="1" x', 'index="0" x'))).positions == {}


def test_a_missing_file_is_kept_and_a_well_without_any_is_missing(tmp_path: Path) -> None:
    manifest = scan(tmp_path, index_of(), "c.tif", "f.TIFF")
    assert "c.tif" in [file.path for file in manifest.files]
    assert (manifest.wells, manifest.missing) == (("B03",), ("H12",))


def test_an_index_lies_beside_its_images(tmp_path: Path) -> None:
    (tmp_path / "run 1").mkdir()
    scan(tmp_path / "run 1", index_of())
    assert scan_plate("P", tmp_path, "auto", "").files[0].path == "run 1/a.tif"


def test_latin_letters_and_namespaces(tmp_path: Path) -> None:
    declared = '<?xml version="1.0" encoding="ISO-8859-1" standalone="yes"?>\n'
    text = declared + index_of(HEAD.replace("Greiner 96", "Zürich 96")).replace(
        "<ImageStack", '<ImageStack xmlns="urn:x"'
    )
    manifest = scan(tmp_path, text.encode("latin-1"))
    assert (manifest.facts.plate_type, len(manifest.files)) == ("Zürich 96", 6)


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ((entry("a.tif"), entry("b.tif")), r"well B03, field 0, wave 0, time 0, z 0 is both 'a.tif' and 'b.tif'"),
        ((entry("a.tif"), entry("a.tif", z=1)), r"'a.tif' is both well B03.*z 0 and well B03.*z 1"),
        ((entry("../a.tif"),), r"image 1 \('../a.tif'\): screen.xdce names the file '../a.tif'; a name below"),
        ((entry("C:/a.tif"),), "names the file 'C:/a.tif'"),
        ((entry("a.im"),), r"the file name 'a.im' is not that of a TIFF file"),
        ((entry("").replace(' filename=""', ""),), r"the file name '' is not"),
        ((entry("a.tif", field="x"),), r"field_index is 'x'; a whole number from 0 to 100000 is expected"),
        ((entry("a.tif", z="-1"),), "z_index is '-1'"),
        ((entry("a.tif", wave="100001"),), "wave_index is '100001'"),
        ((entry("a.tif", z="9" * 500),), r"z_index is '9{80}\.\.\.'"),
        ((entry("a.tif", field="\u0663"),), "field_index is"),
        ((entry("a.tif").replace("field_index", "field"),), "field_index is missing"),
        ((re.sub("<Identifier[^>]*>", "", entry("a.tif")),), "field_index is missing"),
        ((re.sub("<Well.*</Well>", "", entry("a.tif")),), "has no <Well>"),
        ((entry("a.tif", row=33),), "no plate has a well at row 32"),
        ((entry("a.tif", column=0),), "no plate has a well at row 1, column -1"),
        ((re.sub("<Row[^>]*>", "", entry("a.tif")).replace("B - 3", "!"),), "'!' is not a well"),
        ((entry("a.tif").replace("1234.5", "late"),), "acquisition_time_ms is 'late'"),
        ((), "there is not one <Image>"),
    ],
)
def test_entries_that_cannot_be_right(tmp_path: Path, entries: tuple[str, ...], message: str) -> None:
    with pytest.raises(ValueError, match=f"(?s)screen.xdce: 1 entries of this index.*{ADVICE}.*{message}"):
        scan(tmp_path, index_of(HEAD, entries))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('rows="8"', 'rows="NaN"', "rows is 'NaN'"),
        ('rows="8"', 'rows="0"', "no plate has a well at row -1"),
        ('columns="12"', 'columns="49"', "column 48"),
        ('x="300"', 'x="nan"', "x is 'nan'; a number between -1e.09 and 1e.09 is expected"),
        ('x="300"', 'x="1e999"', "x is '1e999'"),
        ('x="300"', "", "offset_point 1 lacks x or y"),
        ('index="0" x', "x", "index is missing"),
        ('pixel_width="0.65"', 'pixel_width="inf"', "pixel_width is 'inf'"),
        ('magnification="10.00"', 'magnification="-1"', "magnification is -1; a positive number"),
        ('wavelength="475"', 'wavelength="47x5"', "wavelength is '47x5'"),
        ('time="100"', 'time="1e300"', "time is '1e300'"),
        ('z_step="1.5"', 'z_step="big"', "z_step is 'big'"),
        ('<Wavelength index="1"', '<Wavelength index="one"', "index is 'one'"),
    ],
)
def test_facts_that_cannot_be_right(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in HEAD
    with pytest.raises(ValueError, match=f"(?s)screen.xdce: 1 entries.*{message}"):
        scan(tmp_path, index_of(HEAD.replace(old, new)))


def test_several_faults_are_told_together(tmp_path: Path) -> None:
    wrong = tuple(entry(f"{name}.tif", field="?") for name in "abcde")
    with pytest.raises(ValueError, match=r"(?s)6 entries.*image 1 .*image 2 .*image 3 .*and 3 more"):
        scan(tmp_path, index_of(HEAD.replace('rows="8"', 'rows="many"'), wrong))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "screen.xdce is not whole XML"),
        (index_of()[:-40], "screen.xdce is not whole XML"),
        ("\0\0\0", "screen.xdce is not whole XML"),
        ('<!DOCTYPE a [<!ENTITY b "c">]>' + index_of(), "screen.xdce has a document type"),
        ('<?xml version="1.0" encoding="none"?>' + index_of(), "screen.xdce is not whole XML"),
    ],
)
def test_files_that_are_no_index(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        scan(tmp_path, text)


def test_two_indices_are_refused(tmp_path: Path) -> None:
    (tmp_path / "b.XDCE").touch()
    with pytest.raises(ValueError, match=r"holds 2 index files, so several measurements: b.XDCE, screen.xdce"):
        scan(tmp_path, index_of())


@settings(max_examples=300)
@given(st.data())
def test_damage_anywhere_is_a_value_error_or_nothing(data: st.DataObject) -> None:
    text = index_of()
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, min(len(text), start + 30)))
    put = data.draw(
        st.sampled_from(['"', "<", "", "&", "-1", "NaN", "9" * 400, "<Image/>", "..", "\ud7ff"]) | st.text(max_size=4)
    )
    with tempfile.TemporaryDirectory() as folder:
        damaged = (text[:start] + put + text[end:]).encode("utf-8", "replace")
        try:
            scan(Path(folder), damaged)
        except ValueError as error:
            assert not isinstance(error, UnicodeError)
            assert "screen.xdce" in str(error) or "of the format 'incell'" in str(error)


def test_names_and_clock_of_a_written_plate(tmp_path: Path) -> None:
    plate = plate_of()
    files = write(tmp_path, "incell", plate, draw(plate))
    assert [file.name for file in files[:2]] == [
        "A - 1(fld 1 wv DNA - DNA z 1 time 1 - 0ms).tif",
        "A - 1(fld 1 wv DNA - DNA z 2 time 1 - 0ms).tif",
    ]
    assert files[-1].name == "H - 12(fld 3 wv GFP - GFP z 3 time 2 - 60000ms).tif"
    assert scan_plate("P", tmp_path, "auto", "").facts.acquired == "2026-03-04T10:20:30"
