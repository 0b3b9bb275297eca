"""Harmony exports: a real one of a Sonata, and made ones for the schemas and the damage which it does not have."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline_lib.core.manifest import ChannelFacts, ImageFile, Manifest, Profile
from pipeline_lib.io.vendors import READERS, Scan, scan_plate
from pipeline_lib.io.vendors.base import list_folder
from pipeline_lib.io.vendors.harmony import acapella, profile

V4 = "http://www.perkinelmer.com/PEHH/HarmonyV4"
V5 = "http://www.perkinelmer.com/PEHH/HarmonyV5"
V7 = "43B2A954-E3C3-47E1-B392-6635266B0DD3/HarmonyV7"
PLATE = {
    "MeasurementStartTime": "2024-06-24T11:48:44.5462111-04:00",
    "PlateTypeName": "96 CellCarrier &amp; more",
    "PlateRows": "8",
    "PlateColumns": "12",
}
PLACE = {
    "State": "Ok",
    "Row": "2",
    "Col": "3",
    "FieldID": "1",
    "PlaneID": "1",
    "TimepointID": "0",
    "ChannelID": "1",
}
SHARED = {
    "ChannelName": "Alexa 488 (long)",
    "ImageType": "Signal",
    "ImageResolutionX": ("m", "2.5E-07"),
    "ImageResolutionY": ("m", "2.5E-07"),
    "MainExcitationWavelength": ("nm", "488"),
    "MainEmissionWavelength": ("nm", "522"),
    "ObjectiveMagnification": ("", "20"),
    "ObjectiveNA": ("", "0.8"),
    "ExposureTime": ("s", "0.02"),
}
FACTS = ChannelFacts("Alexa 488 (long)", 488.0, 522.0, 20.0)
POLYNOMIAL = (
    "{Background: {Character: Null, Mean: NaN, NonFlatness: {Random: INF}, Profile: {Type: Identity}}, Channel: 1, "
    'ChannelName: "405ex, 570-630 (em]", Foreground: {Character: NonFlat, Profile: {Coefficients: [[1.5], [-0.25, 2], '
    "[3, -4, 5e-1]], Dims: [2000, 1000], Origin: [999.5, 499.5], Scale: [0.001, 0.002], Type: Polynomial}, "
    "Quality: 1.0}, Version: Acapella:2013}"
)

Children = Mapping[str, "str | tuple[str, str]"]


def children(told: Children) -> str:
    lines = []
    for name, value in told.items():
        unit, text = (f' Unit="{value[0]}"', value[1]) if isinstance(value, tuple) else ("", value)
        lines.append(f"<{name}{unit}>{text}</{name}>")
    return "".join(lines)


def image(told: Children, url: str = "<URL>r02c03f01p01-ch1sk1fk1fl1.tiff</URL>") -> str:
    return f'<Image Version="1"><id>0203K1F1P1R1</id>{url}{children(told)}</Image>'


def entry(told: Children, channel: str = "1") -> str:
    return f'<Map><Entry ChannelID="{channel}">{children(told)}</Entry></Map>'


def document(*images: str, maps: str = "", space: str = V5, wells: str = '<Well id="0203" />') -> str:
    return (
        f'\ufeff<?xml version="1.0" encoding="utf-8"?>\n<EvaluationInputData Version="1" xmlns="{space}">'
        f"<InstrumentType>Phenix</InstrumentType><Plates><Plate>{children(PLATE)}{wells}</Plate></Plates>"
        f'<Wells><Well><id>0203</id><Image id="0203K1F1P1R1" /></Well></Wells><Maps>{maps}</Maps>'
        f"<Images>{''.join(images)}</Images></EvaluationInputData>"
    )


def url(name: str, buffer: str = "") -> str:
    return f"<URL{buffer}>{name}</URL>"


def numbered(count: int, **fields: Any) -> list[str]:
    """Images of one file each; the n-th has the n-th value of each field, or its one value."""
    values = [{name: one[n] if isinstance(one, list) else one for name, one in fields.items()} for n in range(count)]
    return [image({**PLACE, **SHARED, **told}, url(f"{n}.tiff")) for n, told in enumerate(values)]


def read(folder: Path, text: str | bytes, index: str = "Images/Index.idx.xml") -> Scan:
    path = folder / index
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return READERS["operetta"].scan(folder, list_folder(folder), "")


@pytest.fixture
def sonata(shared: Path) -> Path:
    return shared / "data" / "plates" / "operetta_sonata"


@pytest.fixture
def manifest(sonata: Path) -> Manifest:
    return scan_plate("P", sonata, "operetta", "")


@pytest.fixture
def words(sonata: Path) -> str:
    return (sonata / "Images" / "Index.idx.xml").read_text(encoding="utf-8-sig")


def said(text: str, name: str) -> list[str]:
    """The texts of the elements of one name, without any parser."""
    return re.findall(rf"<{name}(?: Unit=\"[a-z]*\")?>([^<]*)</{name}>", text)


@pytest.mark.real
def test_the_images_of_a_real_index(manifest: Manifest, words: str) -> None:
    assert [file.path for file in manifest.files] == [f"Images/{name}" for name in said(words, "URL")]
    assert len(manifest.files) == words.count("<State>Ok") == 2
    assert {(file.well, file.time, file.z, file.page) for file in manifest.files} == {("C03", 0, 0, None)}
    assert [file.field for file in manifest.files] == [0, 1]
    assert (manifest.rows, manifest.columns) == (16, 24)
    assert (manifest.wells, manifest.missing, manifest.faulty) == (("C03",), (), {})


@pytest.mark.real
def test_the_facts_of_a_real_index(manifest: Manifest, words: str) -> None:
    facts = manifest.facts
    assert facts.pixel_size == pytest.approx(float(said(words, "ImageResolutionX")[0]) * 1e6, abs=1e-9)
    assert facts.magnification == float(said(words, "ObjectiveMagnification")[0])
    assert facts.numerical_aperture == float(said(words, "ObjectiveNA")[0])
    assert [facts.acquired] == said(words, "MeasurementStartTime")
    assert [facts.instrument] == said(words, "InstrumentType")
    assert [facts.plate_type] == said(words, "PlateTypeName")
    assert (facts.z_step, facts.time_step) == (None, None)
    [name, _] = said(words, "ChannelName")
    assert manifest.channel_facts == {"1": ChannelFacts(name, 475.0, 525.0, 6.0)}
    places = zip(said(words, "PositionY"), said(words, "PositionX"), strict=True)
    wanted = [(-float(y) * 1e6, float(x) * 1e6) for y, x in places]
    np.testing.assert_allclose([manifest.positions["C03"][field] for field in range(2)], wanted)


@pytest.mark.real
def test_the_profile_of_a_real_index(manifest: Manifest, words: str) -> None:
    [text] = said(words, "FlatfieldProfile")
    foreground = text[text.index("Foreground") :]
    written = re.search(r"Coefficients: (\[\[.*?\]\])", foreground)
    assert written is not None
    found = manifest.profiles["1"]
    assert [list(row) for row in found.coefficients] == json.loads(written[1])
    assert (found.origin, found.scale) == ((539.5, 539.5), (0.00092592593, 0.00092592593))


def value(coefficients: Any, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """A polynomial as `Profile` has it."""
    return sum(float(c) * u ** (n - k) * v**k for n, row in enumerate(coefficients) for k, c in enumerate(row))


@pytest.mark.real
def test_the_order_of_terms_is_the_one_the_images_follow(manifest: Manifest, words: str) -> None:
    """The index has a profile of the background too, which the darkest pixels of these images must resemble."""
    block, across = 60, 18
    dark = []
    for file in manifest.files:
        pixels = tifffile.imread(Path(manifest.folder) / file.path)
        blocks = pixels.reshape(across, block, across, block).swapaxes(1, 2).reshape(across, across, -1)
        dark.append(np.percentile(blocks, 1, axis=2))
    middles = (np.arange(across) * block + (block - 1) / 2 - 539.5) * 0.00092592593
    y, x = np.meshgrid(middles, middles, indexing="ij")
    told: Any = acapella(said(words, "FlatfieldProfile")[0])
    coefficients = told["Background"]["Profile"]["Coefficients"]
    lowest = np.min(dark, axis=0)
    x_first, y_first = (np.corrcoef(value(coefficients, *uv).ravel(), lowest.ravel())[0, 1] for uv in ((x, y), (y, x)))
    assert x_first > 0.85 > y_first + 0.1


@pytest.mark.real
def test_the_folder_of_the_images_can_be_named_itself(sonata: Path, manifest: Manifest) -> None:
    inner = scan_plate("P", sonata / "Images", "auto", "")
    assert inner.format == scan_plate("P", sonata, "auto", "").format == "operetta"
    assert [file.path for file in inner.files] == [file.path.removeprefix("Images/") for file in manifest.files]
    assert inner.positions == manifest.positions


@settings(max_examples=40)
@given(st.sets(st.sampled_from(sorted(SHARED))), st.sampled_from([V4, V5, V7, ""]), st.booleans())
def test_facts_of_a_channel_come_from_its_images_or_its_entries(moved: set[str], space: str, behind: bool) -> None:
    """HarmonyV5 writes them with each image, V6 and V7 once; entries may be in several maps, before or after."""
    own = {name: value for name, value in SHARED.items() if name not in moved}
    maps = entry({"FlatfieldProfile": POLYNOMIAL}) + "".join(entry({name: SHARED[name]}) for name in sorted(moved))
    text = document(image({**PLACE, **own}), maps="" if behind else maps, space=space)
    if behind:
        text = text.replace("</Images>", f"</Images><Maps>{maps}</Maps>")
    with tempfile.TemporaryDirectory() as folder:
        found = read(Path(folder), text)
    assert found.channels == {"1": FACTS}
    assert (found.facts.pixel_size, found.facts.magnification, found.facts.numerical_aperture) == (0.25, 20.0, 0.8)
    assert list(found.profiles) == ["1"]


def test_an_image_knows_better_than_the_entries_of_its_channel(tmp_path: Path) -> None:
    maps = entry({"ChannelName": "Other", "ExposureTime": ("s", "9")}) + entry({"ObjectiveNA": ("", "0.8")}, "2")
    told = {**PLACE, **SHARED, "ExposureTime": ("s", "")}
    found = read(tmp_path, document(image(told), maps=maps))
    assert found.channels == {"1": replace(FACTS, exposure_ms=9000.0)}  # an empty element says nothing


def test_of_two_elements_of_one_name_the_first_counts(tmp_path: Path) -> None:
    text = document(image(PLACE)).replace("<FieldID>1</FieldID>", "<FieldID>4</FieldID><FieldID>5</FieldID>")
    assert [file.field for file in read(tmp_path, text).files] == [4]


def test_facts_of_the_plate(tmp_path: Path) -> None:
    found = read(tmp_path, document(*numbered(1), wells='<Well id="0203" /><Well id="0812" />'))
    assert found.shape == (8, 12)
    assert found.selected == ("B03", "H12")
    assert found.facts.plate_type == "96 CellCarrier & more"
    assert found.facts.acquired == "2024-06-24T11:48:44.5462111-04:00"
    assert found.facts.instrument == "Phenix"
    assert found.files == (ImageFile("B03", 1, "1", 0, 1, "Images/0.tiff"),)
    assert found.faulty == {}


def test_what_an_index_does_not_say_is_not_known(tmp_path: Path) -> None:
    bare = f"<EvaluationInputData><Images>{image(PLACE)}</Images></EvaluationInputData>"
    found = read(tmp_path, bare)
    assert found == Scan(
        (ImageFile("B03", 1, "1", 0, 1, "Images/r02c03f01p01-ch1sk1fk1fl1.tiff"),), channels={"1": ChannelFacts()}
    )


@pytest.mark.parametrize(
    ("unit", "text"),
    [("m", "-0.0012"), ("mm", "-1.2"), ("um", "-1200"), ("µm", "-1200.0"), ("nm", "-1.2e6"), ("", "-12E-4")],
)
def test_lengths_in_any_unit_and_y_is_turned_downwards(tmp_path: Path, unit: str, text: str) -> None:
    told = {**PLACE, "PositionX": (unit, text), "PositionY": (unit, text)}
    assert read(tmp_path, document(image(told))).positions == {"B03": {1: (1200.0, -1200.0)}}


@pytest.mark.parametrize(("unit", "text"), [("s", "0.0015"), ("ms", "1.5"), ("us", "1500"), ("", "1.5E-03")])
def test_times_in_any_unit(tmp_path: Path, unit: str, text: str) -> None:
    told = {**PLACE, "ExposureTime": (unit, text)}
    assert read(tmp_path, document(image(told))).channels["1"].exposure_ms == 1.5


@given(st.integers(1, 10**7))
def test_a_pixel_size_comes_back_as_it_was(picometres: int) -> None:
    size = picometres / 1e6
    sizes = {f"ImageResolution{axis}": ("m", repr(size / 1e6)) for axis in "XY"}
    with tempfile.TemporaryDirectory() as folder:
        assert read(Path(folder), document(image({**PLACE, **sizes}))).facts.pixel_size == size


def test_pixels_that_are_not_square_and_channels_that_differ(tmp_path: Path) -> None:
    oblong = {**PLACE, **SHARED, "ImageResolutionY": ("m", "2.6E-07")}
    assert read(tmp_path, document(image(oblong))).facts.pixel_size is None
    images = numbered(2, ChannelID=["1", "2"], ObjectiveNA=[("", "0.8"), ("", "0.4")])
    found = read(tmp_path, document(*images)).facts
    assert (found.pixel_size, found.magnification, found.numerical_aperture) == (0.25, 20.0, None)


def test_zero_stands_for_nothing(tmp_path: Path) -> None:
    """Harmony writes an emission of 0 nm for transmitted light."""
    told = {**PLACE, **SHARED, "MainEmissionWavelength": ("nm", "0")}
    assert read(tmp_path, document(image(told))).channels["1"] == replace(FACTS, emission_nm=None)


def test_the_steps_are_those_of_most_planes_and_time_points(tmp_path: Path) -> None:
    """Planes 1, 2 and 4 at -3, -1.5 and 1.6 micrometres are 1.5 and 1.55 apart; times 0, 1, 3 60 s, then 62 s."""
    planes = numbered(3, PlaneID=["1", "2", "4"], PositionZ=[("m", "-3E-06"), ("m", "-1.5E-06"), ("um", "1.6")])
    assert read(tmp_path, document(*planes)).facts.z_step == 1.525
    times = numbered(
        3, TimepointID=["0", "1", "3"], MeasurementTimeOffset=[("s", "0"), ("s", "60"), ("min", "3.0666666666")]
    )
    assert read(tmp_path, document(*times)).facts.time_step == 61.0


def test_planes_of_different_channels_and_fields_make_no_step(tmp_path: Path) -> None:
    images = numbered(
        3, ChannelID=["1", "2", "1"], FieldID=["1", "1", "2"], PlaneID=["1", "2", "3"],
        PositionZ=[("m", "0"), ("m", "5E-06"), ("m", "9E-06")],
    )  # fmt: skip
    found = read(tmp_path, document(*images))
    assert found.facts.z_step is None
    assert [(file.field, file.channel, file.z) for file in found.files] == [(1, "1", 1), (1, "2", 2), (2, "1", 3)]


def test_failed_images_are_a_fault_of_their_well(tmp_path: Path) -> None:
    failed = {**PLACE, "Row": "3", "State": "Failed", "FieldID": "7"}
    images = [
        image(PLACE),
        image(failed, url("failed.tiff")),
        image({**failed, "FieldID": "8"}, ""),
        image({**failed, "Row": "4"}, "<URL></URL>"),
    ]
    found = read(tmp_path, document(*images))
    assert set(found.faulty) == {"C03", "D03"}
    assert found.faulty["C03"] == (
        "the microscope's index marks 2 of its images as 'Failed', first field 7, channel 1, time 0, plane 1"
    )
    assert [(file.well, file.path) for file in found.files] == [
        ("B03", "Images/r02c03f01p01-ch1sk1fk1fl1.tiff"), ("C03", "Images/failed.tiff"),
    ]  # fmt: skip
    assert found.selected == ("B03", "C03", "D03")


def test_pictures_of_the_illumination_are_left_out_and_other_kinds_kept(tmp_path: Path) -> None:
    images = numbered(3, ChannelID=["1", "2", "3"], ImageType=["Signal", "FlatfieldReference", "Brightfield"])
    found = read(tmp_path, document(*images))
    assert [file.channel for file in found.files] == ["1", "3"]
    assert set(found.channels) == {"1", "3"}
    bare = [image({**PLACE, "ChannelID": channel}, url(f"{channel}.tiff")) for channel in "12"]
    found = read(tmp_path, document(*bare, maps=entry({"ImageType": "Flatfield"}, "2")))
    assert [file.channel for file in found.files] == ["1"]


@pytest.mark.parametrize(("name", "mark"), [("FlimID", "fl"), ("SequenceID", "sq")])
def test_gates_and_sequences_make_channels_of_their_own(tmp_path: Path, name: str, mark: str) -> None:
    images = numbered(4, ChannelID=["1", "1", "2", "2"], FieldID=["1", "1", "1", "2"], **{name: ["1", "2", "1", "2"]})
    found = read(tmp_path, document(*images, maps=entry({"FlatfieldProfile": POLYNOMIAL})))
    assert [file.channel for file in found.files] == [f"1{mark}1", f"1{mark}2", "2", "2"]  # 2 has nothing double
    assert found.channels == dict.fromkeys((f"1{mark}1", f"1{mark}2", "2"), FACTS)
    assert set(found.profiles) == {f"1{mark}1", f"1{mark}2"}


def test_pages_of_one_file(tmp_path: Path) -> None:
    images = [image({**PLACE, "PlaneID": str(n + 1)}, url("stack.tiff", f' BufferNo="{n}"')) for n in range(3)]
    found = read(tmp_path, document(*images))
    assert [(file.z, file.path, file.page) for file in found.files] == [
        (n + 1, "Images/stack.tiff", n) for n in range(3)
    ]


def test_an_index_above_its_images_names_them_with_backslashes(tmp_path: Path) -> None:
    text = document(image(PLACE, url(r"Images\r02\a.tiff")), space=V7)
    [file] = read(tmp_path, text, "P/index.idx.xml").files
    assert file.path == "P/Images/r02/a.tiff"


def test_of_several_indexes_in_one_folder_the_first_kind_counts(tmp_path: Path) -> None:
    read(tmp_path, document(*numbered(1)), "Images/Index.ref.xml")
    read(tmp_path, document(*numbered(2, FieldID=["1", "2"])), "Images/Index.xml")
    assert len(READERS["operetta"].scan(tmp_path, list_folder(tmp_path), "").files) == 2
    found = read(tmp_path, document(*numbered(3, FieldID=["1", "2", "3"])))
    assert len(found.files) == 3
    with pytest.raises(ValueError, match=r"holds 2 index files, so several measurements: .*Name the folder of one"):
        read(tmp_path, document(*numbered(1)), "Other/Index.xml")


def test_no_index_is_told(tmp_path: Path) -> None:
    (tmp_path / "r01c01f01p01-ch1sk1fk1fl1.tiff").touch()
    with pytest.raises(ValueError, match="holds no index file"):
        READERS["operetta"].scan(tmp_path, list_folder(tmp_path), "")


@pytest.mark.parametrize(
    ("names", "wanted"),
    [
        (["Images/Index.idx.xml"], True),
        (["index.idx.xml", "Images/a.tif"], True),
        (["Images/Index.xml", "Images/r01c01f01p01-ch1sk1fk1fl1.tiff"], True),
        (["Images/Index.ref.xml", "Images/r01c01f01p01-ch1t1.tiff"], True),
        (["Images/Index.xml", "Images/A01.tif"], False),
        (["Images/r01c01f01p01-ch1sk1fk1fl1.tiff"], False),
        ([], False),
    ],
)
def test_recognised(tmp_path: Path, names: list[str], wanted: bool) -> None:
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert READERS["operetta"].recognises(list_folder(tmp_path)) is wanted


def test_images_that_are_not_there(tmp_path: Path) -> None:
    """A lost image stays on the list of its well; a well without any image is missing."""
    images = numbered(3, Row=["2", "2", "3"], FieldID=["1", "2", "1"])
    read(tmp_path, document(*images, wells='<Well id="0203" /><Well id="0303" /><Well id="0101" />'))
    (tmp_path / "Images" / "0.tiff").touch()
    manifest = scan_plate("P", tmp_path, "operetta", "")
    assert [file.path for file in manifest.files] == ["Images/0.tiff", "Images/1.tiff"]
    assert manifest.missing == ("A01", "C03")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("</Images>", "", "is not whole XML"),
        ("<EvaluationInputData", '<!DOCTYPE a [<!ENTITY b "c">]><EvaluationInputData', "document type"),
        ("<EvaluationInputData", '<!DOCTYPE a SYSTEM "/etc/passwd"><EvaluationInputData', "document type"),
        ("<URL>r02c03f01p01", "<URL>../r02c03f01p01", r"names the file '../r02.*a name below its own folder"),
        ("<URL>r02c03f01p01", "<URL>/r02c03f01p01", "a name below its own folder is expected"),
        ("<URL>r02c03f01p01-ch1sk1fk1fl1.tiff</URL>", "", "<Image> 0203K1F1P1R1: it has no URL"),
        ("<FieldID>1</FieldID>", "", "it has no FieldID"),
        ("<PlaneID>1</PlaneID>", "<PlaneID></PlaneID>", "it has no PlaneID"),
        ("<TimepointID>0</TimepointID>", "<TimepointID>-1</TimepointID>", "TimepointID is '-1', a whole number from 0"),
        ("<FieldID>1<", "<FieldID>1e3<", "FieldID is '1e3'"),
        ("<FieldID>1<", "<FieldID>100001<", "FieldID is '100001', a whole number from 0 to 100000"),
        ("<FieldID>1<", f"<FieldID>{'9' * 5000}<", "FieldID is '99999"),
        ("<FieldID>1<", "<FieldID>\u0663<", "FieldID is"),
        ("<ChannelID>1<", "<ChannelID>one<", "ChannelID is 'one'"),
        ("<Row>2<", "<Row>0<", "no plate has a well at row -1"),
        ("<Col>3<", "<Col>49<", "no plate has a well"),
        ('<Well id="0203" />', '<Well id="B03" />', "the well id is 'B03', two digits"),
        ('<Well id="0203" />', '<Well id="9903" />', "no plate has a well"),
        ('<Well id="0203" />', "<Well />", "the well id is ''"),
        ("<PlateRows>8<", "<PlateRows>99999<", "PlateRows is '99999', a whole number from 0 to 32"),
        ("<PlateColumns>12<", "<PlateColumns>twelve<", "PlateColumns is 'twelve'"),
        ("2024-06-24T", "2024-26-24T", "a date and time of ISO 8601"),
        ("2024-06-24T11:48:44.5462111-04:00", "2024-06-24", "a date and time of ISO 8601"),
        (">0.02<", ">NaN<", "channel 1: ExposureTime is 'NaN', a finite number"),
        (">0.02<", ">1e999<", "ExposureTime is '1e999', a finite number"),
        (">0.02<", ">1e30<", "ExposureTime is '1e30' s, which is too large"),
        (">0.02<", ">1_0<", "ExposureTime is '1_0', a finite number"),
        (">0.02<", ">-0.02<", "ExposureTime is '-0.02', a number above 0"),
        ('Unit="m">2.5E-07</ImageResolutionX', 'Unit="inch">2.5E-07</ImageResolutionX', "is in 'inch', a known unit"),
        ('<Entry ChannelID="1">', "<Entry>", "<Entry> after .* others: ChannelID is ''"),
        ("<Image Version", "<Picture Version", "is not whole XML"),
        ("Coefficients: [[1.5], [-0.25, 2]", "Coefficients: [[1.5], [-0.25]", "of degree 1 are"),
        ("Coefficients: [[1.5]", "Coefficients: [[INF]", "the Coefficients of degree 0 is 'INF', a finite number"),
        ("Coefficients: [[1.5]", "Coefficients: [[1e20]", "too large to be true"),
        ("Coefficients: [[", "Coefficients: [[[[", r"`,` or `\]` is expected|a list of 1 numbers"),
        ("Version: Acapella:2013}", "Version: Acapella:2013", r"`,` or `}` is expected"),
        ("Scale: [0.001, 0.002]", "Scale: [0.001]", "Scale are"),
        ("Origin: [999.5, 499.5], ", "", "Origin are"),
    ],
)  # fmt: skip
def test_damage_is_told(tmp_path: Path, old: str, new: str, message: str) -> None:
    text = document(image({**PLACE, **SHARED}), maps=entry({"FlatfieldProfile": POLYNOMIAL}))
    assert read(tmp_path, text).channels == {"1": FACTS}
    assert old in text
    with pytest.raises(ValueError, match=message) as caught:
        read(tmp_path, text.replace(old, new, 1))
    assert "Index.idx.xml" in str(caught.value)


def test_the_first_faults_are_told_and_how_many_more_there_are(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"in 5 places.*export the measurement again") as caught:
        read(tmp_path, document(*numbered(6, FieldID=["1", "a", "b", "c", "d", "e"])))
    assert [word for word in "abcde" if f"FieldID is '{word}'" in str(caught.value)] == ["a", "b", "c"]
    assert str(caught.value).endswith("and 2 more")


def test_double_planes_and_shared_files_are_refused(tmp_path: Path) -> None:
    double = (
        r"several images are one plane, well B03, field 1, channel 1, time 0, plane 1: Images/0.tiff, Images/1.tiff"
    )
    with pytest.raises(ValueError, match=double):
        read(tmp_path, document(*numbered(2)))
    twice = [image({**PLACE, "FieldID": field}) for field in "12"]
    with pytest.raises(ValueError, match=r"fl1.tiff is the file of 2 planes"):
        read(tmp_path, document(*twice))


def test_an_index_without_images_or_of_several_plates_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="names 0 images and 1 plates"):
        read(tmp_path, document())
    with pytest.raises(ValueError, match="is not whole XML"):
        read(tmp_path, "")
    plate = f"<Plate>{children(PLATE)}</Plate>"
    with pytest.raises(ValueError, match="names 1 images and 2 plates"):
        read(tmp_path, document(*numbered(1)).replace("<Plates>", f"<Plates>{plate}"))


PIECES = ["", "<", ">", '"', "0", "-1", "NaN", "1e999", "99999999999999999999", "\u0663", "\udcff", "[", "{", "}", ":",
          "<Image>", "</Image>", "<Entry>", "<Plate/>", "&amp;", "&x;", "..", "/", "\0", "\n"]  # fmt: skip


@settings(max_examples=400)
@given(st.lists(st.tuples(st.floats(0, 1), st.integers(0, 30), st.sampled_from(PIECES)), min_size=1, max_size=3))
def test_no_damage_raises_anything_but_a_value_error(cuts: list[tuple[float, int, str]]) -> None:
    text = document(*numbered(2, FieldID=["1", "2"]), maps=entry({"FlatfieldProfile": POLYNOMIAL}))
    for place, length, piece in cuts:
        at = int(place * len(text))
        text = text[:at] + piece + text[at + length :]
    with tempfile.TemporaryDirectory() as folder:
        try:
            found = read(Path(folder), text.encode(errors="surrogateescape"))
        except ValueError:
            return
    assert all(".." not in file.path and not file.path.startswith("/") for file in found.files)


WRONG = ["", " ", "0", "-1", "-0.0", "nan", "-INF", "1e400", "1e-400", "1e308", "100000", "100001", "9" * 6000, "0x10",
         "1_0", "\u0663", "\u00b2", "None", "../a.tiff", "C:\\a.tiff", "a\u0085b", "{", "[" * 5000, "{a:" * 5000, "}",
         "{}", "[[1], [2, 3]]", "2024", "99-99-99T", "A", "Failed", "<b>1</b>", "<Image/>", "<!-- x -->"]  # fmt: skip


@settings(max_examples=400)
@given(st.lists(st.tuples(st.integers(0, 200), st.sampled_from([*WRONG, None])), min_size=1, max_size=3))
def test_no_wrong_value_raises_anything_but_a_value_error(wrong: list[tuple[int, str | None]]) -> None:
    """Well-formed: one text or attribute is another, or an element is not there."""
    text = document(*numbered(2, FieldID=["1", "2"]), maps=entry({"FlatfieldProfile": POLYNOMIAL}))
    for number, other in wrong:
        pattern = r"<(\w+)[^<>/]*>[^<>]*</\1>" if other is None else r'(?<=>)[^<>]+(?=<)|(?<==")[^"<>/]*(?=")'
        places = [found.span() for found in re.finditer(pattern, text)]
        begin, end = places[number % len(places)]
        text = text[:begin] + (other or "") + text[end:]
    with tempfile.TemporaryDirectory() as folder:
        try:
            found = read(Path(folder), text)
        except ValueError:
            return
    numbers = [number for file in found.files for number in (file.field, file.time, file.z)]
    assert all(0 <= number <= 100_000 for number in numbers)
    values = [found.facts.pixel_size, found.facts.magnification, *(c.exposure_ms for c in found.channels.values())]
    assert all(value is None or 0 < value <= 1e9 for value in values)


VALUES = st.recursive(
    st.from_regex(r"[A-Za-z0-9][A-Za-z0-9 ().+-]{0,6}[A-Za-z0-9)]", fullmatch=True),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.from_regex(r"[A-Z][a-z]{0,5}", fullmatch=True), inner)
    ),
    max_leaves=8,
)


def notation(value: Any, quote: str) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name}: {notation(one, quote)}" for name, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(notation(one, quote) for one in value) + "]"
    return f"{quote}{value}{quote}"


@given(VALUES, st.sampled_from(["", '"']))
def test_acapella_is_read_back(value: Any, quote: str) -> None:
    assert acapella(notation(value, quote)) == value


def test_acapella_words_keep_what_belongs_to_them() -> None:
    text = (
        '{Name: Fluorescein (FITC), "Other, one": "405ex, [a]", Version: Acapella:2013, None: "", Empty: {}, List: []}'
    )
    assert acapella(text) == {
        "Name": "Fluorescein (FITC)", "Other, one": "405ex, [a]", "Version": "Acapella:2013", "None": "", "Empty": {},
        "List": [],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "a value is expected at character 0"),
        ("{a: 1", "`,` or `}` is expected at character 5"),
        ("{a 1}", "`name: value` is expected"),
        ("{a: }", "a value is expected"),
        ("{a: 1,}", "`name: value` is expected"),
        ("[1, 2", r"`,` or `\]` is expected"),
        ("[1 {", r"`,` or `\]` is expected"),
        ("[1}", r"`,` or `\]` is expected"),
        ("{a: 1} b", "nothing more is expected after character 7"),
        ('{a: "b', "a value is expected"),
        ("[" * 10_000, "more than 20 levels deep"),
        ("{a:" * 10_000, "more than 20 levels deep"),
        ("{" + " " * 200_000, "`name: value` is expected"),
    ],
)
def test_acapella_says_what_is_wrong(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        acapella(text)


def test_a_profile_has_pairs_y_first_and_rows_by_degree() -> None:
    """Pairs are written x first: 2000 pixels wide, 1000 high."""
    found = profile(POLYNOMIAL)
    assert found == Profile(((1.5,), (-0.25, 2.0), (3.0, -4.0, 0.5)), origin=(499.5, 999.5), scale=(0.002, 0.001))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("Character: NonFlat", "Character: Flat"),
        ("Character: NonFlat", "Character: Null"),
        ("Type: Polynomial", "Type: Identity"),
        ("Foreground:", "Middleground:"),
    ],
)
def test_no_profile_where_the_field_is_flat(old: str, new: str) -> None:
    assert profile(POLYNOMIAL.replace(old, new)) is None
    assert profile("word") is None
