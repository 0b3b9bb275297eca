"""The format `pattern`: its expression, and a real plate read with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline_lib.io.vendors import READERS, scan_plate
from pipeline_lib.io.vendors.pattern import compile_pattern

BBBC013_PATTERN = r"Channel(?P<channel>[0-9])-[0-9]+-(?P<row>[A-H])-(?P<column>[0-9]+)\.tif"


def wells_of(tmp_path: Path, pattern: str, *names: str) -> tuple[str, ...]:
    for name in names:
        (tmp_path / name).touch()
    return scan_plate("P", tmp_path, "pattern", pattern).wells


def test_bbbc013_is_96_wells_of_two_channels(shared: Path) -> None:
    folder = shared / "data" / "plates" / "bbbc013"
    manifest = scan_plate("bbbc013", folder, "pattern", BBBC013_PATTERN)
    assert len(manifest.files) == 192  # and platemap.csv, which is no image
    assert len(manifest.wells) == 96
    assert manifest.channels == ("1", "2")
    assert (manifest.rows, manifest.columns) == (8, 12)
    assert {(file.field, file.time, file.z) for file in manifest.files} == {(0, 0, 0)}
    assert [file.path for file in manifest.of_well("D05")] == ["Channel1-41-D-05.tif", "Channel2-41-D-05.tif"]
    info = READERS["pattern"].describe(folder / "Channel1-41-D-05.tif")
    assert (info.shape, info.dtype, info.bit_depth, info.pixel_size) == ((1, 640, 640), "uint8", 8, None)


def test_rows_may_be_numbers(tmp_path: Path) -> None:
    assert wells_of(tmp_path, r"r(?P<row>[0-9]+)c(?P<column>[0-9]+)\.tif", "r02c03.tif", "r32c48.tif") == (
        "B03",
        "AF48",
    )


def test_the_expression_must_reach_the_end_and_may_begin_anywhere(tmp_path: Path) -> None:
    assert wells_of(tmp_path, r"_(?P<well>[A-P][0-9]{2})\.tif", "x_B03.tif", "x_B04.tiff", "x_B05.tif.bak") == ("B03",)


def test_alternatives_are_anchored_as_a_whole(tmp_path: Path) -> None:
    pattern = r"(?P<row>[A-H])-(?P<column>[0-9]+)(?:\.tif|\.png)|none"
    assert wells_of(tmp_path, pattern, "A-1.tif.bak", "A-2.tif", "A-3.png") == ("A02", "A03")


def test_a_group_that_takes_no_part_is_not_given(tmp_path: Path) -> None:
    for name in ("B03.tif", "B03_s1.tif"):
        (tmp_path / name).touch()
    manifest = scan_plate("P", tmp_path, "pattern", r"(?P<well>[A-P][0-9]{2})(?:_s(?P<site>[0-9]+))?\.tif")
    assert [(file.path, file.field, file.channel) for file in manifest.files] == [
        ("B03.tif", 0, "1"),
        ("B03_s1.tif", 1, "1"),
    ]


@pytest.mark.parametrize(
    ("pattern", "faults"),
    [
        ("(?P<well>", ["is not a regular expression"]),
        (r"[A-P][0-9]{2}\.tif", ["(none)", "needs either `well`, or `row` and `column`"]),
        (r"(?P<row>[A-H])", ["needs either `well`"]),
        (r"(?P<well>.)(?P<column>.)", ["needs either `well`"]),
        (r"(?P<well>...)(?P<site>.)(?P<field>.)", ["keep one"]),
        (
            r"(?P<chanel>.)(?P<row>.)(?P<plane>.)",
            ["needs either `well`", "unknown groups: chanel, plane", "allowed are"],
        ),
    ],
)
def test_unusable_expressions_are_refused_with_all_their_faults(pattern: str, faults: list[str]) -> None:
    with pytest.raises(ValueError, match="the pattern") as caught:
        compile_pattern(pattern)
    assert all(fault in str(caught.value) for fault in [repr(pattern), *faults])


def test_captures_that_cannot_be_right_are_reported_together(tmp_path: Path) -> None:
    names = ("Q99_sx.tif", "A01_s1.tif", "A02_sy.tif", "A03_sz.tif", "A04_sz.tif")
    with pytest.raises(ValueError, match=r"matches 5 files .*cannot be right for 4 of them") as caught:
        wells_of(tmp_path, r"(?P<well>...)_s(?P<site>.)\.tif", *names)
    message = str(caught.value)
    assert "A02_sy.tif: site 'y' is not a whole number" in message
    assert "and 1 more" in message
    assert "A01_s1" not in message
