"""Plate maps: every column has a meaning, every fault a line."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from pipeline_lib.core.platemap import PlateMap, PlateMapColumns, check, parse_plate_map

DEFAULT = PlateMapColumns()


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(text.strip().splitlines()))


def faults(text: str, columns: PlateMapColumns = DEFAULT) -> list[str]:
    return check(parse_plate_map(rows(text), columns), 8, 12)


GOOD = """
Well,ROLE,Dose,compound,Batch No
a1,Negative,,DMSO,7
B03, positive ,1e-3,wortmannin,8
H12,,0.5,"drug, new",9
C4,sample,2,x,
"""


def test_each_column_becomes_metadata_under_its_canonical_well() -> None:
    assert parse_plate_map(rows(GOOD), DEFAULT) == PlateMap(
        {
            "A01": {
                "Metadata_Role": "negative",
                "Metadata_Dose": None,
                "Metadata_Compound": "DMSO",
                "Metadata_Batch No": "7",
            },
            "B03": {
                "Metadata_Role": "positive",
                "Metadata_Dose": 0.001,
                "Metadata_Compound": "wortmannin",
                "Metadata_Batch No": "8",
            },
            "H12": {
                "Metadata_Role": "",
                "Metadata_Dose": 0.5,
                "Metadata_Compound": "drug, new",
                "Metadata_Batch No": "9",
            },
            "C04": {
                "Metadata_Role": "treatment",
                "Metadata_Dose": 2.0,
                "Metadata_Compound": "x",
                "Metadata_Batch No": "",
            },
        }
    )
    assert faults(GOOD) == []


@pytest.mark.parametrize(
    "place", ["well\nB03", "row,column\nB,3", "Row,Column\nb,03", "ROW,COLUMN\n2,3", "Row,Column\n02,03"]
)
def test_a_place_is_a_well_or_a_row_and_a_column(place: str) -> None:
    assert list(parse_plate_map(rows(place), DEFAULT).wells) == ["B03"]


def test_a_map_without_controls_and_doses_is_a_map() -> None:
    assert faults("well\nA01") == []
    assert parse_plate_map(rows("well\nA01"), DEFAULT).wells["A01"] == {
        "Metadata_Role": "",
        "Metadata_Dose": None,
        "Metadata_Compound": "",
    }


def test_columns_that_say_where_the_well_is_do_not_become_metadata() -> None:
    columns = PlateMapColumns(control="kind", negative=("n",), positive=("p",))
    wells = parse_plate_map(rows("well,Row,Plate,Field,kind,role\nA01,A,P1,2,n,boss\nA02,A,P1,2,p,boss"), columns).wells
    assert wells["A01"] == {"Metadata_Role": "negative", "Metadata_Dose": None, "Metadata_Compound": ""}


def test_all_faults_are_told_at_once() -> None:
    text = """
    well,role,dose
    A01,positive,1 uM
    B99,x,2
    I01,x,nan
    a1,x,4
    """.replace("    ", "")
    assert faults(text) == [
        "not names of wells such as B03: 'B99'",
        "wells listed more than once: A01",
        "doses in column 'dose' that are not plain numbers: '1 uM' (A01), 'nan' (I01)",
        "no negative control: column 'role' holds 'positive', 'x', and the setting 'negative' is 'negative'",
        "not on a plate of 8 x 12 wells (A01 to H12): I01",
    ]


def test_a_well_that_is_listed_twice_keeps_its_first_row() -> None:
    assert (
        parse_plate_map(rows("well,compound\nB02,first\nA01,a\nB02,second"), DEFAULT).wells["B02"]["Metadata_Compound"]
        == "first"
    )


def test_a_map_without_a_well_column_says_what_it_has() -> None:
    assert faults("place;role\nA01;negative") == [
        "no column 'well', nor 'row' and 'column'; its columns are: place;role"
    ]


def test_a_column_that_the_user_named_must_be_there() -> None:
    columns = PlateMapColumns(control="Controls", compound="Drug")
    assert faults("well,Control\nA01,negative", columns) == [
        "no column 'Controls', which the setting 'control' names; its columns are: well, Control",
        "no column 'Drug', which the setting 'compound' names; its columns are: well, Control",
    ]


@pytest.mark.parametrize("text", ["", "well,role", "well,role\n,\n , "])
def test_an_empty_map_is_a_fault(text: str) -> None:
    assert faults(text) == ["it has no rows"]


def test_rows_may_be_shorter_or_longer_than_the_header() -> None:
    wells = parse_plate_map(rows("well,compound,dose\nA01\nA02,x,1,surplus"), DEFAULT).wells
    assert wells["A01"]["Metadata_Compound"] == ""
    assert wells["A02"] == {"Metadata_Role": "", "Metadata_Dose": 1.0, "Metadata_Compound": "x"}


def test_the_map_of_a_published_screen(shared: Path) -> None:
    columns = PlateMapColumns(control="SBS_Controls", negative=("-1",), positive=("1",), dose="SBS_Doses")
    with (shared / "data" / "plates" / "bbbc013" / "platemap.csv").open(newline="") as lines:
        plate_map = parse_plate_map(list(csv.DictReader(lines)), columns)
    assert check(plate_map, 8, 12) == []
    roles = [well["Metadata_Role"] for well in plate_map.wells.values()]
    assert {role: roles.count(role) for role in set(roles)} == {"negative": 16, "positive": 8, "treatment": 72}
    assert plate_map.wells["A03"] == {
        "Metadata_Role": "treatment",
        "Metadata_Dose": 1.0,
        "Metadata_Compound": "",
        "Metadata_ImageNumber": "3",
    }
    assert check(plate_map, 4, 6)[0].startswith("not on a plate of 4 x 6 wells (A01 to D06): A07,")
