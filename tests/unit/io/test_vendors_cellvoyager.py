"""CellVoyager folders: a real one of a CV8000, and made ones for what it does not have."""

from __future__ import annotations

import re
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline_lib.core.manifest import ChannelFacts, Manifest, PlateFacts, Profile
from pipeline_lib.io.vendors import READERS, scan_plate
from pipeline_lib.io.vendors.base import Scan, list_folder

HEAD = '<?xml version="1.0" encoding="utf-8"?>\n'
SCHEMA = 'xmlns:bts="http://www.yokogawa.co.jp/BTS/BTSSchema/1.0"'
FAILED = (  # as a CV8000 writes a failed autofocus: no field, no plane, no channel
    '<bts:MeasurementRecord bts:Type="ERR" bts:Time="2020-01-01T11:00:00.000+01:00" bts:Column="3" bts:Row="2" '
    'bts:TimePoint="1" bts:TimelineIndex="1" bts:X="-20.0" bts:Y="25.0">AF Error at B03 No. {}</bts:MeasurementRecord>'
)
DETAIL = f"""{HEAD}<bts:MeasurementDetail bts:BeginTime="2021-02-03T04:05:06.7890123+02:00" bts:RowCount="16"
 bts:ColumnCount="24" bts:MeasurementSettingFileName="my.mes" bts:TargetSystem="CV7000" {SCHEMA}>
 <bts:MeasurementSamplePlate bts:Name="x" bts:WellPlateProductFileName="42_Greiner_781.wpp"/>
 <bts:MeasurementChannel bts:Ch="1" bts:HorizontalPixelDimension="0.1625" bts:VerticalPixelDimension="0.1625"
  bts:CameraNumber="1" bts:ShadingCorrectionSource="SC_1.tif"/>
 <bts:MeasurementChannel bts:Ch="2" bts:HorizontalPixelDimension="0.1625" bts:VerticalPixelDimension="0.1625"
  bts:CameraNumber="12" bts:ShadingCorrectionSource="SC_2.tif"/>
</bts:MeasurementDetail>"""
SETTINGS = f"""{HEAD}<bts:MeasurementSetting bts:Columns="24" bts:Rows="16" {SCHEMA}>
 <bts:Timelapse><bts:Timeline bts:Period="7200" bts:Interval="600"><bts:WellSequence>
  <bts:TargetWell bts:Column="1" bts:Row="1">true</bts:TargetWell>
  <bts:TargetWell bts:Column="2" bts:Row="16">true</bts:TargetWell>
  <bts:TargetWell bts:Column="3" bts:Row="16">false</bts:TargetWell></bts:WellSequence>
  <bts:ActionList><bts:ActionAcquire3D bts:SliceLength="0.25"><bts:Ch>1</bts:Ch></bts:ActionAcquire3D>
  <bts:ActionAcquire><bts:Ch>2</bts:Ch></bts:ActionAcquire></bts:ActionList></bts:Timeline></bts:Timelapse>
 <bts:LightSourceList><bts:LightSource bts:Name="blue" bts:WaveLength="405"/>
  <bts:LightSource bts:Name="red" bts:WaveLength="640"/>
  <bts:LightSource bts:Name="Lamp" bts:WaveLength="0"/></bts:LightSourceList>
 <bts:ChannelList><bts:Channel bts:Ch="1" bts:Target="DNA" bts:Magnification="40" bts:Acquisition="BP447.5/45(Dual)"
   bts:ExposureTime="100.5" bts:Fluorophore="Hoechst"><bts:LightSourceName>blue</bts:LightSourceName></bts:Channel>
  <bts:Channel bts:Ch="2" bts:Target="BF" bts:Magnification="40" bts:Acquisition="Through" bts:ExposureTime="7"
   bts:Fluorophore=""><bts:LightSourceName>Lamp</bts:LightSourceName></bts:Channel></bts:ChannelList>
</bts:MeasurementSetting>"""
PRODUCT = f'{HEAD}<bts:WellPlateProduct bts:Name="µClear 781" bts:Manufacturer="Greiner" {SCHEMA}/>'


def image(name: str, well: tuple[int, int] = (1, 1), **told: object) -> str:
    """A record of an image; `told` changes or adds attributes, None leaves one out."""
    usual: dict[str, Any] = {
        "Column": well[1],
        "Row": well[0],
        "TimePoint": 1,
        "FieldIndex": 1,
        "ZIndex": 1,
        "TimelineIndex": 1,
    }
    usual |= {"ActionIndex": 1, "Action": "2D", "X": 0.0, "Y": 0.0, "Z": 0.0, "Ch": 1}
    words = {"Type": "IMG", **usual, **told}
    written = " ".join(f'bts:{key}="{value}"' for key, value in words.items() if value is not None)
    return f"<bts:MeasurementRecord {written}>{name}</bts:MeasurementRecord>"


def index(*records: str) -> str:
    return f"{HEAD}<bts:MeasurementData {SCHEMA}>\n" + "\n".join(records) + "\n</bts:MeasurementData>"


def put(folder: Path, content: str, *empty: str, **others: str) -> Path:
    """Write a folder: the index, empty files, and `mrf`, `mes`, `wpp`."""
    (folder / "MeasurementData.mlf").write_text(content, encoding="utf-8")
    names = {"mrf": "MeasurementDetail.mrf", "mes": "my.mes", "wpp": "42_Greiner_781.wpp"}
    for kind, text in others.items():
        (folder / names[kind]).write_text(text, encoding="utf-8-sig")
    for name in (*re.findall(r">([^<>]+\.tif)<", content), *empty):
        if ".." not in name:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).touch()
    return folder


def scan(folder: Path) -> Manifest:
    return scan_plate("P", folder, "cellvoyager", "")


def bare(folder: Path) -> Scan:
    """What the reader itself says, before fields are ranked and absent wells left out."""
    return READERS["cellvoyager"].scan(folder, list_folder(folder), "")


def planes(folder: Path) -> list[tuple[str, int, str, int, int, str]]:
    return sorted((f.well, f.field, f.channel, f.time, f.z, f.path) for f in bare(folder).files)


@pytest.fixture
def real(shared: Path) -> Path:
    [path] = (shared / "data" / "plates" / "cv8000").glob("*/*/MeasurementData.mlf")
    return path.parent


def test_the_real_plate_as_its_index_says(real: Path) -> None:
    """Compared with plain expressions over the text of the index."""
    text = (real / "MeasurementData.mlf").read_text()
    rows = re.findall(
        r'Column="(\d+)" bts:Row="(\d+)" bts:TimePoint="1" bts:FieldIndex="(\d+)" bts:ZIndex="(\d+)".*?'
        r'bts:X="([-.\d]+)" bts:Y="([-.\d]+)".*?bts:Ch="(\d)">([^<]+)<',
        text,
    )
    manifest = scan_plate("real", real.parents[1], "auto", "")
    assert (manifest.format, len(rows), len(manifest.files)) == ("cellvoyager", 96, 96)
    home = real.relative_to(real.parents[1]).as_posix()
    wanted = {
        (f"{'ABCDEFGH'[int(row) - 1]}{int(column):02d}", int(field) - 1, channel, 0, int(z) - 1, f"{home}/{name}")
        for column, row, field, z, _, _, channel, name in rows
    }
    assert {(f.well, f.field, f.channel, f.time, f.z, f.path) for f in manifest.files} == wanted
    assert all((real.parents[1] / file.path).is_file() for file in manifest.files)
    for column, row, field, _, x, y, _, _ in rows:
        well = f"{'ABCDEFGH'[int(row) - 1]}{int(column):02d}"
        assert manifest.positions[well][int(field) - 1] == (-float(y), float(x))
    assert (manifest.wells, manifest.missing, manifest.faulty) == (("D08", "E03", "F08"), (), {})


def test_the_facts_of_the_real_plate(real: Path) -> None:
    manifest = scan(real)
    detail = (real / "MeasurementDetail.mrf").read_text(encoding="utf-8-sig")
    [settings_file] = real.glob("*.mes")
    [slice_length] = set(re.findall(r'SliceLength="(\d+)"', settings_file.read_text(encoding="utf-8-sig")))
    [began] = re.findall(r'BeginTime="([^"]+)"', detail)
    assert set(re.findall(r'PixelDimension="([^"]+)"', detail)) == {"0.325"}
    assert manifest.facts == PlateFacts(
        0.325, float(slice_length), None, 20.0, None, "Cellvis #P96-1.5H-N", began, "CV8000"
    )
    assert (manifest.rows, manifest.columns) == (8, 12)
    assert manifest.channel_facts == {
        "1": ChannelFacts("405", 405.0, 445.0, 100.0),
        "2": ChannelFacts("488", 488.0, 525.0, 100.0),
    }
    assert manifest.profiles == {
        "1": Profile(flat="SC_BP445-45_20x v2_M01_CH01.tif", dark="DC_DCAM#1_CAM3.tif"),
        "2": Profile(flat="SC_BP525-50_20x v2_M01_CH02.tif", dark="DC_DCAM#1_CAM3.tif"),
    }
    assert all((real / path).is_file() for told in manifest.profiles.values() for path in (told.flat, told.dark))


def test_facts_of_a_made_plate(tmp_path: Path) -> None:
    """10 min between time points by the settings, by the clock of the images 600.5 s; Z is rounded to 0.1."""
    records = [
        image(f"{t}{z}{c}.tif", TimePoint=t, ZIndex=z, Ch=c, Z=round(0.25 * z, 1), X=1.5, Y=-2.5,
              Time=f"2021-02-03T04:{10 * t:02d}:00.{5 * (t - 1)}00+02:00")
        for t in (1, 2) for z in (1, 2, 3) for c in (1, 2)
    ]  # fmt: skip
    put(tmp_path, index(*records), "SC_1.tif", "DC_x_CAM1.tif", "dc_y_CAM12.TIF", mrf=DETAIL, mes=SETTINGS, wpp=PRODUCT)
    manifest = scan(tmp_path)
    assert manifest.facts == PlateFacts(
        0.1625, 0.25, 600.0, 40.0, None, "Greiner µClear 781", "2021-02-03T04:05:06.7890123+02:00", "CV7000"
    )
    assert manifest.channel_facts == {
        "1": ChannelFacts("DNA", 405.0, 447.5, 100.5),
        "2": ChannelFacts("BF", None, None, 7.0),
    }
    assert manifest.positions == {"A01": {0: (2.5, 1.5)}}
    assert (manifest.rows, manifest.columns, manifest.missing) == (16, 24, ("P02",))
    assert manifest.profiles == {
        "1": Profile(flat="SC_1.tif", dark="DC_x_CAM1.tif"),
        "2": Profile(dark="dc_y_CAM12.TIF"),
    }


def test_an_index_alone_is_read(tmp_path: Path) -> None:
    put(tmp_path, index(image("a.tif", (2, 3)), image("b.tif", (2, 3), FieldIndex=7, X=None)))
    manifest = scan(tmp_path)
    assert planes(tmp_path) == [("B03", 1, "1", 1, 1, "a.tif"), ("B03", 7, "1", 1, 1, "b.tif")]
    assert (manifest.facts, manifest.channel_facts, manifest.profiles) == (PlateFacts(), {}, {})
    assert (manifest.rows, manifest.columns) == (2, 3)
    assert manifest.positions == {"B03": {0: (0.0, 0.0)}}
    assert str(manifest.positions["B03"][0][0]) == "0.0"


def test_settings_without_details_are_used_where_they_are_the_only_ones(tmp_path: Path) -> None:
    put(tmp_path, index(image("a.tif")), mes=SETTINGS)
    assert scan(tmp_path).channel_facts["1"].name == "DNA"
    (tmp_path / "other.mes").write_text(SETTINGS)
    assert scan(tmp_path).channel_facts == {}


def test_steps_are_measured_where_the_settings_say_something_else(tmp_path: Path) -> None:
    records = [
        image(f"{t}{z}.tif", TimePoint=t, ZIndex=z, Z=-2 * z, Time=f"2021-02-03T0{t}:00:00")
        for t in (1, 3) for z in (1, 2)
    ]  # fmt: skip
    put(tmp_path, index(*records), mrf=DETAIL, mes=SETTINGS)
    assert (bare(tmp_path).facts.z_step, bare(tmp_path).facts.time_step) == (2.0, 3600.0)
    put(tmp_path, re.sub(r' bts:(Time|Z)="[^"]*"', "", index(*records)))
    assert (bare(tmp_path).facts.z_step, bare(tmp_path).facts.time_step) == (0.25, 600.0)


def test_the_clock_knows_time_zones(tmp_path: Path) -> None:
    """Summer time ends between the two: an hour on the clock is two."""
    put(
        tmp_path,
        index(
            image("a.tif", Time="2021-10-31T02:30:00+02:00"),
            image("b.tif", TimePoint=2, Time="2021-10-31T03:30:00+01:00"),
        ),
    )
    assert scan(tmp_path).facts.time_step == 7200.0


def test_failed_images_make_their_well_faulty(tmp_path: Path) -> None:
    put(tmp_path, index(FAILED.format(1), image("a.tif"), image("b.tif", (2, 3)), FAILED.format(2)))
    manifest = scan(tmp_path)
    assert manifest.faulty == {"B03": "the microscope reports 2 failed images here, the first: AF Error at B03 No. 1"}
    assert manifest.wells == ("A01", "B03")
    put(tmp_path, index(image("a.tif"), '<MeasurementRecord Type="ERR" Column="4" Row="1" />'))
    assert bare(tmp_path).faulty == {"A04": "the microscope reports 1 failed images here"}
    assert scan(tmp_path).missing == ("A04",)
    put(tmp_path, index(FAILED.format(1)))
    with pytest.raises(ValueError, match=r"mlf lists no image and 1 failed ones: AF Error at B03 No. 1"):
        scan(tmp_path)


def test_lost_files_are_kept_and_lost_wells_are_missing(tmp_path: Path) -> None:
    put(tmp_path, index(image("a.tif"), image("b.tif", FieldIndex=2), image("c.tif", (8, 12))))
    for name in ("b.tif", "c.tif"):
        (tmp_path / name).unlink()
    manifest = scan(tmp_path)
    assert [file.path for file in manifest.files] == ["a.tif", "b.tif"]
    assert manifest.missing == ("H12",)


def test_a_folder_of_images_beside_the_index_and_endings_in_other_case(tmp_path: Path) -> None:
    put(tmp_path, index(image("a.tif"), image("b.tif", FieldIndex=2), image(r"sub\c.tif", FieldIndex=3)))
    (tmp_path / "Image" / "sub").mkdir(parents=True)
    (tmp_path / "a.tif").rename(tmp_path / "Image" / "a.TIF")
    (tmp_path / r"sub\c.tif").rename(tmp_path / "Image" / "sub" / "c.tif")
    assert [path for *_, path in planes(tmp_path)] == ["Image/a.TIF", "b.tif", "Image/sub/c.tif"]


@pytest.mark.parametrize(
    ("first", "second", "channel"),
    [
        ({"ActionIndex": 1}, {"ActionIndex": 2}, "1-A02"),
        ({"ActionIndex": 3}, {"ActionIndex": 12}, "1-A12"),
        ({"TimelineIndex": 1}, {"TimelineIndex": 2}, "1-L02"),
        ({"ZImageProcessing": "Maximum"}, {"ZImageProcessing": "Sum"}, "1-Sum"),
        ({"ZImageProcessing": "Maximum"}, {"ZImageProcessing": "my sum", "ZIndex": None}, "1-my_sum"),
    ],
)
def test_one_channel_taken_twice_is_two(
    tmp_path: Path, first: dict[str, Any], second: dict[str, Any], channel: str
) -> None:
    put(tmp_path, index(image("b.tif", **second), image("a.tif", **first)), mrf=DETAIL, mes=SETTINGS)
    manifest = scan(tmp_path)
    assert [(file.channel, file.path) for file in manifest.files] == [("1", "a.tif"), (channel, "b.tif")]
    assert manifest.channel_names == {"1": "DNA", channel: "DNA" + channel.removeprefix("1")}
    assert manifest.channel_facts[channel].exposure_ms == 100.5


def test_two_actions_in_each_of_two_timelines(tmp_path: Path) -> None:
    records = [
        image(f"{line}{action}.tif", TimelineIndex=line, ActionIndex=action) for line in (1, 2) for action in (1, 2)
    ]
    put(tmp_path, index(*records))
    assert [(file.channel, file.path) for file in scan(tmp_path).files] == [
        ("1", "11.tif"), ("1-L01A02", "12.tif"), ("1-L02A01", "21.tif"), ("1-L02A02", "22.tif")
    ]  # fmt: skip


def test_timelines_and_actions_that_share_no_plane_are_one_channel(tmp_path: Path) -> None:
    """A timeline for each well, the second counting its time points on; two actions for halves of the stack."""
    put(
        tmp_path,
        index(
            image("a1.tif", (1, 1), TimePoint=1), image("a2.tif", (1, 1), TimePoint=2),
            image("b1.tif", (1, 2), TimePoint=3, TimelineIndex=2),
            image("b2.tif", (1, 2), TimePoint=4, TimelineIndex=2),
            image("a3.tif", (1, 1), ZIndex=2, ActionIndex=2),
        ),
    )  # fmt: skip
    assert planes(tmp_path) == [
        ("A01", 1, "1", 1, 1, "a1.tif"), ("A01", 1, "1", 1, 2, "a3.tif"), ("A01", 1, "1", 2, 1, "a2.tif"),
        ("A02", 1, "1", 1, 1, "b1.tif"), ("A02", 1, "1", 2, 1, "b2.tif"),
    ]  # fmt: skip


def test_projections_give_way_to_their_planes(tmp_path: Path) -> None:
    put(
        tmp_path,
        index(
            image("z2.tif", ZIndex=2), image("z3.tif", ZIndex=3), image("m.tif", ZIndex=1, ZImageProcessing="Maximum"),
            image("n.tif", Ch=2, ZIndex=1, ZImageProcessing="Maximum"),
            image("o.tif", FieldIndex=2, ZIndex=3, ZImageProcessing="Maximum"),
        ),
    )  # fmt: skip
    assert planes(tmp_path) == [
        ("A01", 1, "1", 1, 2, "z2.tif"), ("A01", 1, "1", 1, 3, "z3.tif"), ("A01", 1, "2", 1, 2, "n.tif"),
        ("A01", 2, "1", 1, 3, "o.tif"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("targets", "fluorophores", "names"),
    [
        (("Microscope Image", "Microscope Image"), ("DAPI", "GFP"), {"1": "DAPI", "2": "GFP"}),
        (("x", "x"), ("DAPI", ""), {"1": "DAPI"}),
        (("x", "x"), ("y", "y"), {}),
        (("", "Mito"), ("DAPI", "GFP"), {"2": "Mito"}),
    ],
)
def test_names_that_tell_nothing_are_not_used(
    tmp_path: Path, targets: tuple[str, str], fluorophores: tuple[str, str], names: dict[str, str]
) -> None:
    channels = "".join(
        f'<bts:Channel bts:Ch="{number}" bts:Target="{target}" bts:Fluorophore="{fluorophore}"/>'
        for number, target, fluorophore in zip((1, 2), targets, fluorophores, strict=True)
    )
    put(tmp_path, index(image("a.tif"), image("b.tif", Ch=2)), mes=f"<bts:S {SCHEMA}>{channels}</bts:S>")
    assert scan(tmp_path).channel_names == names


def test_facts_that_differ_or_are_not_clear_are_left_out(tmp_path: Path) -> None:
    two_lasers = SETTINGS.replace(">blue<", ">blue</bts:LightSourceName><bts:LightSourceName>red<", 1)
    differing = DETAIL.replace("0.1625", "0.325", 1).replace("2021-02-03T04", "yesterday")
    put(
        tmp_path, index(image("a.tif"), image("b.tif", Ch=2)), mrf=differing,
        mes=two_lasers.replace('Magnification="40"', 'Magnification="20"', 1),
    )  # fmt: skip
    manifest = scan(tmp_path)
    assert manifest.facts == PlateFacts(plate_type="42_Greiner_781", instrument="CV7000")
    assert manifest.channel_facts["1"] == ChannelFacts("DNA", None, 447.5, 100.5)


def test_pixel_sizes_of_channels_that_were_not_taken_do_not_matter(tmp_path: Path) -> None:
    put(tmp_path, index(image("b.tif", Ch=2)), mrf=DETAIL.replace("0.1625", "0.325", 2))
    assert scan(tmp_path).facts.pixel_size == 0.1625


def test_a_plane_named_twice(tmp_path: Path) -> None:
    twice = [image(f"{name}{field}.tif", (16, 24), FieldIndex=field) for name in "ab" for field in range(1, 6)]
    put(tmp_path, index(*twice))
    with pytest.raises(ValueError, match=r"(?s)MeasurementData.mlf: planes with several images: 5. .*") as caught:
        scan(tmp_path)
    assert "well P24, field 1, channel 1, time 1, z 1: a1.tif, b1.tif" in str(caught.value)
    assert str(caught.value).endswith("and 2 more")
    assert "field 4" not in str(caught.value)


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"Row": None}, "it has no Row; a whole number from 0 to 100000 is expected"),
        ({"Row": 0}, "no plate has a well at row -1"),
        ({"Row": 33}, "no plate has a well at row 32"),
        ({"Column": 49}, "no plate has a well at row 0, column 48"),
        ({"Column": "1e3"}, "its Column is '1e3'"),
        ({"FieldIndex": None}, "it has no FieldIndex"),
        ({"FieldIndex": -1}, "its FieldIndex is '-1'"),
        ({"TimePoint": "9" * 5000}, "its TimePoint is '9999"),
        ({"TimePoint": 100_001}, "its TimePoint is '100001'"),
        ({"ZIndex": None}, "it has no ZIndex"),
        ({"ZIndex": "٣"}, "its ZIndex is '٣'"),
        ({"Ch": ""}, "its Ch is ''"),
        ({"Ch": None}, "it has no Ch"),
        ({"TimelineIndex": "x"}, "its TimelineIndex is 'x'"),
        ({"ActionIndex": "1.5"}, "its ActionIndex is '1.5'"),
        ({"X": "NaN"}, "its X is 'NaN'; a number is expected"),
        ({"Y": "inf"}, "its Y is 'inf'"),
        ({"Z": "1e300"}, "its Z is '1e300'"),
        ({"Z": "1,5"}, "its Z is '1,5'"),
        ({"Type": "XYZ"}, "its Type is 'XYZ'; IMG and ERR are known"),
        ({"Type": None}, "its Type is None"),
    ],
)
def test_damaged_records(tmp_path: Path, told: dict[str, Any], message: str) -> None:
    put(tmp_path, index(image("a.tif"), image("b.tif", FieldIndex=2), image("c.tif", **told)))
    with pytest.raises(ValueError, match=r"MeasurementData.mlf: elements that cannot be read: 1. Copy") as caught:
        scan(tmp_path)
    assert "record 3: " + message in str(caught.value)


def test_of_many_faults_three_are_told(tmp_path: Path) -> None:
    put(tmp_path, index(image("a.tif"), *(image(f"{n}.tif", Row=99) for n in range(5))))
    with pytest.raises(
        ValueError, match=r"(?s)be read: 5. .*record 2: .*record 3: .*record 4: .*and 2 more$"
    ) as caught:
        scan(tmp_path)
    assert "record 5" not in str(caught.value)


@pytest.mark.parametrize("name", ["../a.tif", "x/../../a.tif", "/etc/a.tif", "C:\\a.tif", "..\\a.tif", ""])
def test_files_outside_the_folder(tmp_path: Path, name: str) -> None:
    (tmp_path / "raw").mkdir()
    put(tmp_path / "raw", index(image("b.tif")))
    (tmp_path / "raw" / "MeasurementData.mlf").write_text(index(image("b.tif"), image(name, FieldIndex=2)))
    with pytest.raises(ValueError, match=r"record 2: .*a name below its own folder is expected"):
        scan(tmp_path / "raw")


@pytest.mark.parametrize(
    ("kind", "old", "new", "message"),
    [
        ("mrf", "SC_1.tif", "../SC_1.tif", "names the file '../SC_1.tif'"),
        ("mrf", "my.mes", "../my.mes", "names the file '../my.mes'"),
        ("mrf", "42_Greiner", "../42_Greiner", "names the file '../42_Greiner"),
        (
            "mrf",
            'Dimension="0.1625"',
            'Dimension="NaN"',
            r"mrf: elements that cannot be read: 1. .*MeasurementChannel 1: its Hor.* is 'NaN'",
        ),
        ("mrf", 'Dimension="0.1625"', 'Dimension="-1"', "is '-1'; a number above 0 is expected"),
        ("mrf", 'bts:Ch="2"', "", "MeasurementChannel 2: it has no Ch"),
        ("mrf", 'RowCount="16"', 'RowCount="0"', "head 1: its RowCount is '0'; a whole number from 1 to 32"),
        ("mrf", 'bts:RowCount="16"', "", "head 1: it has no RowCount"),
        ("mrf", "</bts:MeasurementDetail>", "", "is not whole XML"),
        ("mrf", "<bts:MeasurementDetail", '<!DOCTYPE a [<!ENTITY b "c">]><bts:MeasurementDetail', "document type"),
        (
            "mes",
            'SliceLength="0.25"',
            'SliceLength="thin"',
            "my.mes: elements .*: 1. .*action 1: its SliceLength is 'thin'",
        ),
        ("mes", 'Interval="600"', 'Interval="1e99"', "Timeline 1: its Interval is '1e99'"),
        ("mes", 'Row="16">true', 'Row="99">true', "TargetWell 2: no plate has a well at row 98"),
        ("mes", 'WaveLength="640"', 'WaveLength="-640"', "LightSource 2: its WaveLength is '-640'"),
        ("mes", 'ExposureTime="7"', 'ExposureTime="nan"', "Channel 2: its ExposureTime is 'nan'"),
        ("mes", "BP447.5", f"BP{'9' * 400}", "Channel 1: its Acquisition is '999"),
        ("mes", 'Columns="24"', 'Columns="100"', "head 1: its Columns is '100'"),
        ("mes", "</bts:ChannelList>", "", "is not whole XML"),
        ("wpp", "/>", "", "is not whole XML"),
    ],
)
def test_damage_beside_the_index(tmp_path: Path, kind: str, old: str, new: str, message: str) -> None:
    texts = {"mrf": DETAIL, "mes": SETTINGS, "wpp": PRODUCT}
    put(tmp_path, index(image("a.tif"), image("b.tif", Ch=2)), **texts)
    assert scan(tmp_path).facts.plate_type == "Greiner µClear 781"
    assert old in texts[kind]
    put(tmp_path, index(image("a.tif"), image("b.tif", Ch=2)), **{kind: texts[kind].replace(old, new, 1)})
    with pytest.raises(ValueError, match=f"(?s){message}"):
        scan(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is not whole XML"),
        ("\0\0\0", "is not whole XML"),
        (index(image("a.tif"))[:-10], "is not whole XML"),
        (index(), "lists no image and 0 failed ones"),
        (f'{HEAD}<!DOCTYPE x [<!ENTITY a "b">]><x>&a;</x>', "has a document type"),
        ('<?xml version="1.0" encoding="nonsense"?><x/>', "is not whole XML"),
        ('<MeasurementRecord Type="IMG">' * 5000, "is not whole XML"),
    ],
)
def test_damaged_indices(tmp_path: Path, content: str, message: str) -> None:
    put(tmp_path, content)
    with pytest.raises(ValueError, match=message):
        bare(tmp_path)


def test_two_measurements_are_not_mixed(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        put(tmp_path / name, index(image("a.tif")))
    with pytest.raises(ValueError, match=r"holds 2 index files.*one/MeasurementData.mlf, two/"):
        scan(tmp_path)
    assert scan(tmp_path / "two").wells == ("A01",)


def test_no_index(tmp_path: Path) -> None:
    (tmp_path / "p_A01_T0001F001L01A01Z01C01.tif").touch()
    with pytest.raises(ValueError, match="none of the 1 files"):
        scan(tmp_path)
    assert not READERS["cellvoyager"].recognises(list_folder(tmp_path))


@settings(max_examples=300)
@given(
    which=st.sampled_from(["mlf", "mrf", "mes", "wpp"]),
    cuts=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 12), st.binary(max_size=6)), min_size=1, max_size=4),
)
def test_any_damage_is_a_value_error_or_none(which: str, cuts: list[tuple[float, int, bytes]]) -> None:
    records = [
        image(f"{t}{c}.tif", TimePoint=t, Ch=c, Time="2021-02-03T04:00:00+02:00") for t in (1, 2) for c in (1, 2)
    ]
    with TemporaryDirectory() as name:
        folder = put(Path(name), index(*records, FAILED.format(1)), mrf=DETAIL, mes=SETTINGS, wpp=PRODUCT)
        [path] = folder.glob(f"*.{which}")
        content = path.read_bytes()
        for place, length, put_in in cuts:
            start = int(place * len(content))
            content = content[:start] + put_in + content[start + length :]
        path.write_bytes(content)
        try:
            files = scan(folder).files
        except ValueError as error:
            assert str(error)
        else:
            assert files


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(1, 2), st.integers(1, 2), st.integers(1, 2)),
        unique=True, min_size=1, max_size=20,
    )
)  # fmt: skip
def test_no_image_is_lost_and_no_plane_is_claimed_twice(taken: list[tuple[int, int, int, int, int]]) -> None:
    """Whatever timelines and actions take the same planes of the same channels."""
    records = [
        image(f"{n}.tif", FieldIndex=field, ZIndex=z, Ch=channel, TimelineIndex=line, ActionIndex=action)
        for n, (field, z, channel, line, action) in enumerate(taken)
    ]
    with TemporaryDirectory() as name:
        manifest = scan(put(Path(name), index(*records)))
    assert sorted(file.path for file in manifest.files) == sorted(f"{n}.tif" for n in range(len(taken)))
    assert len({(f.field, f.z, f.channel) for f in manifest.files}) == len(taken)
    vendor = {f"{n}.tif": str(channel) for n, (_, _, channel, _, _) in enumerate(taken)}
    assert all(file.channel.partition("-")[0] == vendor[file.path] for file in manifest.files)
