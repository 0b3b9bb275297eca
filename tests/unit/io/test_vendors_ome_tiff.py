"""OME-TIFF plates: the index by hand in all its variants, in companion files and in TIFF headers of every kind."""

from __future__ import annotations

import re
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from measurements import draw, plate_of, write

from pipeline_lib.core.manifest import ChannelFacts, Manifest
from pipeline_lib.io.images import UnreadableImage
from pipeline_lib.io.raw_images import read_image
from pipeline_lib.io.vendors import READERS, scan_plate
from pipeline_lib.io.vendors.tiff_text import description

OME = '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">{}</OME>'
PLATE = (
    '<Plate ID="Plate:0" Name="P" Rows="8" Columns="12"><Well ID="Well:0" Row="1" Column="2">'
    '<WellSample ID="WellSample:0" Index="0" PositionX="-1.5" PositionXUnit="mm" PositionY="20" PositionYUnit="µm">'
    '<ImageRef ID="Image:0"/></WellSample><WellSample ID="WellSample:1" Index="1" PositionX="1.5" PositionXUnit="mm" '
    'PositionY="-20" PositionYUnit="µm"><ImageRef ID="Image:1"/></WellSample></Well>'
    '<Well ID="Well:1" Row="7" Column="11"><WellSample ID="WellSample:2" Index="2"/></Well>'
    '<Well ID="Well:2" Row="0" Column="0"/></Plate>'
)
INSTRUMENT = (
    '<Instrument ID="Instrument:0"><Microscope Manufacturer="Maker" Model="One"/>'
    '<Objective ID="Objective:0" NominalMagnification="20" LensNA="0.75"/>'
    '<Objective ID="Objective:1" NominalMagnification="40.0" LensNA="0.95"/></Instrument>'
)
IMAGE = (
    '<Image ID="Image:{n}"><AcquisitionDate>2026-03-04T10:2{n}:30Z</AcquisitionDate><InstrumentRef ID="Instrument:0"/>'
    '<ObjectiveSettings ID="Objective:1"/><Pixels ID="Pixels:{n}" DimensionOrder="XYCZT" Type="uint16" SizeX="6" '
    'SizeY="4" SizeC="2" SizeZ="3" SizeT="1" PhysicalSizeX="650" PhysicalSizeXUnit="nm" PhysicalSizeY="0.65" '
    'PhysicalSizeZ="2.5"><Channel ID="Channel:{n}:0" Name="DNA" ExcitationWavelength="405" EmissionWavelength="0.45" '
    'EmissionWavelengthUnit="µm"/><Channel ID="Channel:{n}:1" Name="GFP"/>{data}'
    '<Plane TheC="0" TheT="0" TheZ="0" ExposureTime="0.1" PositionX="7" PositionY="8"/>'
    '<Plane TheC="1" TheT="0" TheZ="0" ExposureTime="250" ExposureTimeUnit="ms"/></Pixels></Image>'
)
IN_ONE_FILE = [f'<TiffData IFD="{page}" PlaneCount="6"/>' for page in (0, 6)]


def document(*images: str) -> str:
    """The plate with its two images; `images` are their `TiffData`."""
    data = images or IN_ONE_FILE
    return OME.format(PLATE + INSTRUMENT + "".join(IMAGE.format(n=n, data=d) for n, d in enumerate(data)))


def tiff(path: Path, xml: str | None, pages: int = 1, **options: bool | str) -> Path:
    """A file with so many pages, each filled with its number; the first has the text."""
    with tifffile.TiffWriter(path, **options) as tif:  # type: ignore[arg-type]
        for page in range(pages):
            plane = np.full((4, 6), page, np.uint16)
            text = xml.encode() if xml and not page else None
            tif.write(plane, description=text, metadata=None, contiguous=False)
    return path


def scan(folder: Path) -> Manifest:
    return scan_plate("P", folder, "ome-tiff", "")


def companion(folder: Path, xml: str, *files: str) -> Manifest:
    (folder / "p.companion.ome").write_text(xml, encoding="utf-8")
    for name in files:
        (folder / name).touch()
    return scan(folder)


def test_one_file_with_all_planes(tmp_path: Path) -> None:
    """XYCZT: channels follow each other, then z. The pages of the second field come after the 6 of the first."""
    tiff(tmp_path / "all.ome.tif", document(), 12)
    manifest = scan(tmp_path)
    found = {(f.field, f.channel, f.time, f.z): f.page for f in manifest.files}
    assert found == {(n, str(c), 0, z): n * 6 + z * 2 + c for n, c, z in product(range(2), range(2), range(3))}
    assert {(f.well, f.path) for f in manifest.files} == {("B03", "all.ome.tif")}
    assert all((read_image(manifest, file) == np.full((1, 4, 6), file.page)).all() for file in manifest.files)
    assert manifest.missing == ("H12",)  # a sample without an image; A01 has no sample, and was not chosen
    assert (manifest.rows, manifest.columns, manifest.faulty, dict(manifest.profiles)) == (8, 12, {}, {})


def test_facts(tmp_path: Path) -> None:
    tiff(tmp_path / "all.ome.tif", document(), 12)
    manifest = scan(tmp_path)
    facts = manifest.facts
    assert (facts.pixel_size, facts.z_step, facts.time_step) == (0.65, 2.5, None)
    assert (facts.magnification, facts.numerical_aperture, facts.instrument) == (40.0, 0.95, "Maker One")
    assert (facts.acquired, facts.plate_type) == ("2026-03-04T10:20:30Z", None)
    assert manifest.channel_facts == {
        "0": ChannelFacts("DNA", 405.0, 450.0, 100.0),
        "1": ChannelFacts("GFP", None, None, 250.0),
    }
    assert manifest.positions == {"B03": {0: (20.0, -1500.0), 1: (-20.0, 1500.0)}}


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("big", [False, True])
def test_every_kind_of_tiff_file(tmp_path: Path, order: str, big: bool) -> None:
    path = tiff(tmp_path / "all.ome.tif", document(), 12, byteorder=order, bigtiff=big)
    with tifffile.TiffFile(path) as tif:
        assert (tif.byteorder, tif.is_bigtiff) == (order, big)
        assert description(path) == tif.pages[0].aspage().tags[270].value == document()
    assert len(scan(tmp_path).files) == 12


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("text", ["", "abc", "abcdef", "abcdefghi"])
def test_descriptions_of_any_length(tmp_path: Path, order: str, big: bool, text: str) -> None:
    """Short ones stand in the tag itself."""
    assert description(tiff(tmp_path / "a.tif", text, byteorder=order, bigtiff=big)) == text


def test_old_text_is_latin_1(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.zeros((4, 6), np.uint8), description="µm".encode("latin-1"), metadata=None)
    assert description(path) == "µm"


@pytest.mark.parametrize("order", ["XYZCT", "XYZTC", "XYCTZ", "XYCZT", "XYTCZ", "XYTZC"])
def test_orders_of_dimensions(tmp_path: Path, order: str) -> None:
    """A TiffData that says nothing holds all planes, from the first page on."""
    sizes = {"C": 2, "T": 3, "Z": 4}
    xml = document('<TiffData><UUID FileName="a.ome.tif">x</UUID></TiffData>', "<MetadataOnly/>")
    xml = xml.replace("XYCZT", order).replace('SizeC="2" SizeZ="3" SizeT="1"', 'SizeC="2" SizeZ="4" SizeT="3"')
    manifest = companion(tmp_path, xml, "a.ome.tif")
    slowest_first = order[:1:-1]
    pages = np.arange(24).reshape([sizes[axis] for axis in slowest_first])
    for file in manifest.files:
        at = {"C": int(file.channel), "T": file.time, "Z": file.z}
        assert file.page == pages[tuple(at[axis] for axis in slowest_first)]
    assert len(manifest.files) == 24


def test_planes_in_files_of_their_own(tmp_path: Path) -> None:
    """With an IFD a TiffData is one plane; without one it ends where the next begins. Image 1: FirstZ alone."""
    first = [
        f'<TiffData FirstC="{c}" FirstZ="{z}" IFD="0"><UUID FileName="sub/z{z}c{c}.ome.tif">x</UUID></TiffData>'
        for c in range(2) for z in range(3)
    ]  # fmt: skip
    second = [f'<TiffData FirstZ="{z}"><UUID FileName="b{z}.ome.tif">x</UUID></TiffData>' for z in (0, 2)]
    manifest = companion(tmp_path, document("".join(first), "".join(second)), "b0.ome.tif")
    planes = {(f.field, f.channel, f.z): (f.path, f.page) for f in manifest.files}
    assert planes == {
        **{(0, str(c), z): (f"sub/z{z}c{c}.ome.tif", 0) for c in range(2) for z in range(3)},
        **{(1, str(c), z): ("b0.ome.tif", 2 * z + c) for c in range(2) for z in range(2)},
        **{(1, str(c), 2): ("b2.ome.tif", c) for c in range(2)},
    }


def test_the_layout_is_what_its_companion_says(tmp_path: Path) -> None:
    """By regular expressions over the index."""
    plate = plate_of()
    files = write(tmp_path, "ome-tiff", plate, draw(plate))
    [index] = tmp_path.glob("*.companion.ome")
    text = index.read_text(encoding="utf-8")
    counts = [int(count) for count in re.findall(r'PlaneCount="(\d+)"', text)]
    manifest = scan(tmp_path)
    assert len(manifest.files) == sum(counts) == len(counts) * 6 == 108
    named = re.findall(r'FileName="([^"]+)"', text)
    assert sorted(named) == sorted(path.name for path in files) == sorted({file.path for file in manifest.files})
    assert all('<BinaryOnly MetadataFile="P7.companion.ome"' in description(path) for path in files)


def test_without_the_companion_in_its_place_it_is_asked_for(tmp_path: Path) -> None:
    plate = plate_of(1, 1)
    write(tmp_path, "ome-tiff", plate, draw(plate))
    (tmp_path / "P7.companion.ome").rename(tmp_path / "P7.xml")
    with pytest.raises(ValueError, match=r"A01_F1_C0.ome.tif says .* in P7.companion.ome, which is not there"):
        scan(tmp_path)


def test_metadata_files_of_another_name(tmp_path: Path) -> None:
    tiff(tmp_path / "a.ome.tif", OME.format('<BinaryOnly MetadataFile="plate.xml" UUID="x"/>'), 12)
    data = [f'<TiffData IFD="{page}" PlaneCount="6"><UUID FileName="a.ome.tif"/></TiffData>' for page in (0, 6)]
    (tmp_path / "plate.xml").write_text(document(*data), encoding="utf-8")
    assert len(scan(tmp_path).files) == 12


def test_a_lone_file_may_be_renamed(tmp_path: Path) -> None:
    data = [one.replace("/>", '><UUID FileName="old.ome.tif"/></TiffData>') for one in IN_ONE_FILE]
    tiff(tmp_path / "new.ome.tiff", document(*data), 12)
    assert {file.path for file in scan(tmp_path).files} == {"new.ome.tiff"}


@pytest.mark.parametrize(
    ("unit", "micrometres"),
    [("", 12.5), ("µm", 12.5), ("nm", 0.0125), ("mm", 12500.0), ("m", 12500000.0), ("Å", 0.00125), ("in", 317500.0),
     ("reference frame", None), ("pixel", None)],
)  # fmt: skip
def test_lengths(tmp_path: Path, unit: str, micrometres: float | None) -> None:
    told = f'PhysicalSizeZUnit="{unit}"' if unit else ""
    manifest = companion(tmp_path, document(named("a"), named("b")).replace('Z="2.5"', f'Z="12.5" {told}'), "a.ome.tif")
    assert manifest.facts.z_step == micrometres


def named(*names: str) -> str:
    """TiffData of a whole image in one file."""
    return "".join(f'<TiffData IFD="0" PlaneCount="6"><UUID FileName="{name}.ome.tif"/></TiffData>' for name in names)


@pytest.mark.parametrize(
    ("change", "positions"),
    [
        (('PositionXUnit="mm" ', ""), {0: (20.0, -1.5), 1: (-20.0, 1.5)}),
        (('PositionXUnit="mm" ', 'PositionXUnit="reference frame" '), {0: (8.0, 7.0), 1: (9.0, 7.0)}),
        (('PositionX="-1.5"', ""), {0: (8.0, 7.0), 1: (9.0, 7.0)}),  # one of two is none
    ],
)
def test_positions(tmp_path: Path, change: tuple[str, str], positions: dict[int, tuple[float, float]]) -> None:
    """Of the samples, else of the planes."""
    xml = document(named("a"), named("b")).replace(*change)
    first, second = xml.split('<Image ID="Image:1">')
    xml = first + '<Image ID="Image:1">' + second.replace('PositionY="8"', 'PositionY="9"')
    assert companion(tmp_path, xml, "a.ome.tif").positions == {"B03": positions}


def test_positions_that_are_all_the_same_are_none(tmp_path: Path) -> None:
    xml = re.sub(r'Position([XY])="-?[0-9.]+"', r'Position\1="0.0"', document(named("a"), named("b")))
    assert companion(tmp_path, xml, "a.ome.tif").positions == {}


@pytest.mark.parametrize(
    ("told", "step"),
    [
        ('TimeIncrement="2" TimeIncrementUnit="min"', 120.0),
        ("", 7.5),
        ('TimeIncrement="0"', 7.5),
    ],
)
def test_time_steps(tmp_path: Path, told: str, step: float) -> None:
    """Of the image, else by its planes: 0, 7.4 and 15 s, of which the first and the last count."""
    planes = "".join(f'<Plane TheC="0" TheT="{t}" TheZ="0" DeltaT="{s}"/>' for t, s in enumerate((0, 7.4, 15)))
    xml = document(named("a") + planes, named("b")).replace('SizeT="1"', f'SizeT="3" {told}')
    assert companion(tmp_path, xml, "a.ome.tif").facts.time_step == step


def test_the_start_of_the_plate_wins_over_dates_of_images(tmp_path: Path) -> None:
    run = '<PlateAcquisition ID="PlateAcquisition:0" StartTime="2026-03-04T10:00:00+01:00"/></Plate>'
    xml = document(named("a"), named("b"))
    assert companion(tmp_path, xml.replace("</Plate>", run), "a.ome.tif").facts.acquired == "2026-03-04T10:00:00+01:00"
    assert companion(tmp_path, xml.replace("2026-03-04", "yesterday")).facts.acquired is None


def test_pixels_that_are_not_square_have_no_size(tmp_path: Path) -> None:
    xml = document(named("a"), named("b")).replace('SizeY="0.65"', 'SizeY="0.66"')
    assert companion(tmp_path, xml, "a.ome.tif").facts.pixel_size is None


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('Row="1"', 'Row="-1"', "Row of a Well is '-1': a whole number 0 to 100,000 is expected"),
        ('Row="1"', "", "Row of a Well is missing"),
        ('Row="1"', 'Row="32"', "no plate has a well at row 32"),
        ('Rows="8"', 'Rows="99999"', "no plate has a well at row 99998"),
        ('Row="7" Column="11"', 'Row="1" Column="2"', "well B03 is listed twice"),
        ('<ImageRef ID="Image:0"/>', "<ImageRef/>", "an ImageRef has no ID"),
        ('<ImageRef ID="Image:0"/>', '<ImageRef ID="Image:9"/>', "well B03 names the image 'Image:9', which the index"),
        ('<ImageRef ID="Image:0"/>', '<ImageRef ID="Image:1"/>', "the image 'Image:1' is named by wells B03 and B03"),
        ('SizeC="2"', 'SizeC="two"', "SizeC of a Pixels is 'two'"),
        ('SizeC="2"', 'SizeC="0"', "it has 0 planes"),
        ('SizeC="2" SizeZ="3"', 'SizeC="99999" SizeZ="99999"', "it has 9999800001 planes; 1 to 1,000,000"),
        ('SizeZ="3"', 'SizeZ="123456789012345678901234567890"', "SizeZ of a Pixels"),
        ("XYCZT", "XYCCT", "DimensionOrder is 'XYCCT'"),
        ('PlaneCount="6"', 'PlaneCount="7"', "a TiffData holds the planes 0 to 6 of 6"),
        ('IFD="0"', 'IFD="0" FirstZ="3"', "a TiffData begins beyond the image: FirstZ 3 of 3"),
        ('IFD="0"', 'IFD="0" FirstZ="1"', "a TiffData holds the planes 2 to 7 of 6"),
        ('FileName="a.ome.tif"', "", "a UUID has no FileName"),
        ('FileName="a.ome.tif"', 'FileName="../a.ome.tif"', r"names the file '../a.ome.tif'; a name below"),
        ('FileName="a.ome.tif"', 'FileName="/etc/a.ome.tif"', r"names the file '/etc/a.ome.tif'"),
        ('FileName="a.ome.tif"', 'FileName="C:\\a.ome.tif"', r"names the file 'C:"),
        ('FileName="b.ome.tif"', 'FileName="a.ome.tif"', "page 0 of a.ome.tif is channel 0, .*field 1 .*another"),
        ('<UUID FileName="a.ome.tif"/>', "", "a TiffData names no file"),
        (named("a"), named("a", "c"), "channel 0, time 0, z 0 of field 0 of B03 is named twice, in a.* and c.ome.tif"),
        ('PhysicalSizeX="650"', 'PhysicalSizeX="NaN"', "PhysicalSizeX is 'NaN', and should be a number"),
        ('PhysicalSizeX="650"', 'PhysicalSizeX="-650"', "PhysicalSizeX is '-650', and cannot be negative"),
        ('PhysicalSizeX="650"', 'PhysicalSizeX="1e400"', "PhysicalSizeX is '1e400'"),
        ('ExposureTime="0.1"', 'ExposureTime="short"', "ExposureTime is 'short'"),
        ('NominalMagnification="20"', 'NominalMagnification="x"', "Instrument 'Instrument:0': NominalMagnification"),
        ('Name="GFP"', 'SamplesPerPixel="3"', "it is a colour image"),
        ("<TiffData", "<BinData>AAAA</BinData><TiffData", "its pixels stand in the XML"),
        ('ID="Image:1"><Acq', 'ID="Image:0"><Acq', "there are two of this ID"),
        ("<ImageRef", "<!-- --><X", "has no <Plate> with images in its wells.*format `pattern`"),
        ("</Image></OME>", "</OME>", "is not whole XML"),
    ],
)  # fmt: skip
def test_damage_is_told(tmp_path: Path, old: str, new: str, told: str) -> None:
    xml = document(named("a"), named("b"))
    assert old in xml
    with pytest.raises(ValueError, match=told) as caught:
        companion(tmp_path, xml.replace(old, new), "a.ome.tif", "b.ome.tif")
    assert "p.companion.ome" in str(caught.value)


def test_channels_must_not_change_their_names(tmp_path: Path) -> None:
    before, _, after = document(named("a"), named("b")).rpartition("GFP")
    with pytest.raises(ValueError, match="channel 1 is 'DNA' in field 1 of B03, and 'GFP' before"):
        companion(tmp_path, f"{before}DNA{after}", "a.ome.tif")


def test_many_faults_are_counted(tmp_path: Path) -> None:
    names = "".join(
        f'<TiffData IFD="0" PlaneCount="1" FirstZ="{z}"><UUID FileName="../{z}"/></TiffData>' for z in range(3)
    )
    with pytest.raises(ValueError, match=r"6 faults(.|\n)*names the file '../0'(.|\n)*and 3 more"):
        companion(tmp_path, document(names, names))


def test_several_measurements_are_refused(tmp_path: Path) -> None:
    xml = document(named("a"), named("b"))
    two = xml.replace("<Instrument", PLATE.replace('Name="P"', 'Name="Q"') + "<Instrument", 1)
    with pytest.raises(ValueError, match="describes 2 plates: 'P', 'Q'"):
        companion(tmp_path, two, "a.ome.tif")
    run = '<PlateAcquisition ID="{}"><WellSampleRef ID="WellSample:0"/></PlateAcquisition>'
    with pytest.raises(ValueError, match="images of 2 acquisitions of its plate"):
        companion(tmp_path, xml.replace("</Plate>", run.format(0) + run.format(1) + "</Plate>"))
    assert len(companion(tmp_path, xml.replace("</Plate>", run.format(0) + "</Plate>")).files) == 12
    (tmp_path / "q.companion.ome").write_text(xml)
    with pytest.raises(ValueError, match="holds 2 index files"):
        scan(tmp_path)


def test_images_that_the_index_does_not_name_are_not_passed_over(tmp_path: Path) -> None:
    for name in ("a.ome.tif", "b.ome.tif"):
        tiff(tmp_path / name, document(), 12)
    with pytest.raises(ValueError, match=r"of a.ome.tif does not name 1 OME-TIFF files beside it, such as b.ome.tif"):
        scan(tmp_path)


def test_without_a_plate_another_format_is_suggested(tmp_path: Path) -> None:
    xml = OME.format(IMAGE.format(n=0, data="<TiffData/>"))
    tiff(tmp_path / "a.ome.tif", xml, 6)
    (tmp_path / "b.ome.tif").write_bytes(b"")
    (tmp_path / "c.ome.tif").write_bytes(b"II*\0\xff\xff\xff\xff")
    tiff(tmp_path / "d.ome.tif", None)
    with pytest.raises(ValueError, match=r"first 4 of 4 OME-TIFF files says which well.*format `pattern`") as caught:
        scan(tmp_path)
    assert "the OME-XML of a.ome.tif has no <Plate>" in str(caught.value)
    assert re.search(r"b.ome.tif: it has 0 bytes, and bytes 0 to 8 are needed: the file is cut off", str(caught.value))
    assert re.search(r"c.ome.tif: it has 8 bytes, and bytes 4294967295 to", str(caught.value))


def test_an_overview_before_the_plate_is_no_index(tmp_path: Path) -> None:
    tiff(tmp_path / "a.ome.tif", OME.format(IMAGE.format(n=0, data="<TiffData/>").replace("XYCZT", "?")), 6)
    data = [one.replace("/>", '><UUID FileName="b.ome.tif"/></TiffData>') for one in IN_ONE_FILE]
    tiff(tmp_path / "b.ome.tif", document(*data), 12)
    with pytest.raises(ValueError, match=r"of b.ome.tif does not name 1 OME-TIFF files beside it, such as a.ome.tif"):
        scan(tmp_path)


BOMB = '<?xml version="1.0"?><!DOCTYPE OME [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]>'


def test_document_types_are_refused(tmp_path: Path) -> None:
    tiff(tmp_path / "a.ome.tif", BOMB + document(), 12)
    with pytest.raises(ValueError, match="has a document type"):
        scan(tmp_path)
    with pytest.raises(ValueError, match="has a document type"):
        companion(tmp_path, BOMB + document(named("a"), named("b")))


@pytest.mark.parametrize(
    "content", [b"", b"<OME", b"\0\0", b"<OME/>", b"\xff\xfe<", b'<?xml version="1.0" encoding="x"?><O/>']
)
def test_an_empty_or_odd_companion(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "p.companion.ome").write_bytes(content)
    with pytest.raises(ValueError, match=r"p.companion.ome (is not whole XML|has no <Plate>)"):
        scan(tmp_path)


mutations = st.lists(st.tuples(st.integers(0, 1 << 14), st.binary(min_size=0, max_size=3)), max_size=4)
quick = settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])


def mutated(content: bytes, changes: list[tuple[int, bytes]], cut: int) -> bytes:
    for place, new in changes:
        at = place % len(content)
        content = content[:at] + new + content[at + 1 :]
    return content[: len(content) - cut]


@quick
@given(mutations, st.sampled_from([0, 0, 1, 500]))
@example([], 1)
def test_any_damage_to_a_companion_is_a_value_error(tmp_path: Path, changes: list[tuple[int, bytes]], cut: int) -> None:
    (tmp_path / "a.ome.tif").touch()
    (tmp_path / "p.companion.ome").write_bytes(mutated(document(named("a"), named("b")).encode(), changes, cut))
    try:
        assert scan(tmp_path).files
    except ValueError as error:
        assert str(error)


@quick
@given(st.lists(st.tuples(st.integers(0, 400), st.binary(min_size=1, max_size=1)), max_size=6), st.booleans())
@example([(4, b"\xff"), (5, b"\xff"), (6, b"\xff"), (7, b"\xff")], False)
def test_any_damage_to_a_tiff_header_is_a_value_error(
    tmp_path: Path, changes: list[tuple[int, bytes]], big: bool
) -> None:
    path = tiff(tmp_path / "a.ome.tif", document(), 1, bigtiff=big)
    path.write_bytes(mutated(path.read_bytes(), changes, 0))
    try:
        scan(tmp_path)
    except ValueError as error:
        assert str(error)


@given(st.binary(max_size=64))
def test_any_bytes_are_a_tiff_file_or_a_value_error(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.mktemp("bytes") / "a.tif"
    for head in (b"", b"II*\0\x08\0\0\0", b"MM\0+\0\x08\0\0\0\0\0\0\0\0\0\x10"):
        path.write_bytes(head + content)
        try:
            assert isinstance(description(path), str)
        except ValueError as error:
            assert "a.tif: " in str(error)


def test_describe(tmp_path: Path) -> None:
    path = tiff(tmp_path / "all.ome.tif", document(), 12)
    info = READERS["ome-tiff"].describe(path)
    assert (info.shape, info.dtype, info.bit_depth) == ((1, 4, 6), "uint16", 16)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(UnreadableImage, match="cut off"):
        READERS["ome-tiff"].describe(path)
    with pytest.raises(UnreadableImage, match="No such file"):
        READERS["ome-tiff"].describe(tmp_path / "none.ome.tif")
    tifffile.imwrite(tmp_path / "rgb.ome.tif", np.zeros((4, 6, 3), np.uint8), photometric="rgb", metadata=None)
    with pytest.raises(UnreadableImage, match="expected one grey plane"):
        READERS["ome-tiff"].describe(tmp_path / "rgb.ome.tif")


def test_a_page_that_is_not_there(tmp_path: Path) -> None:
    tiff(tmp_path / "all.ome.tif", document(), 11)
    manifest = scan(tmp_path)
    [last] = [file for file in manifest.files if file.page == 11]
    with pytest.raises(UnreadableImage, match="page 12 is asked for, and the file has 11"):
        read_image(manifest, last)


def test_names_that_are_recognised(tmp_path: Path) -> None:
    tiff(tmp_path / "all.OME.TIFF", document(), 12)
    assert scan_plate("P", tmp_path, "auto", "").format == "ome-tiff"
