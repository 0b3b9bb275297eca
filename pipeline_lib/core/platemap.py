"""Plate maps: what the experimenter put into each well."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pipeline_lib.core.wells import parse_well, row_column, well_name

Metadata = Mapping[str, str | float | None]
Row = Mapping[str, str]

_PLACE = ("well", "row", "column", "plate", "field", "timepoint", "status", "reason")
_ROLE = ("role", "dose", "compound")


@dataclass(frozen=True)
class PlateMapColumns:
    """Columns of a plate map, in any case, and the values in `control` that make a well a control.

    A column whose name is not the default is one the user counts on: a map without it is at fault.
    """

    control: str = "role"
    negative: tuple[str, ...] = ("negative",)
    positive: tuple[str, ...] = ("positive",)
    dose: str = "dose"
    compound: str = "compound"


@dataclass(frozen=True)
class PlateMap:
    """A plate map that has been read.

    Attributes:
        wells: Canonical well name to its metadata: ``Metadata_Role`` ("negative", "positive", "treatment", or "" where
            none is told), ``Metadata_Dose`` (None where none is told), ``Metadata_Compound``, and ``Metadata_<name>``
            for every other column that does not say where the well is.
        faults: What is wrong with the map itself; see `check`.
    """

    wells: Mapping[str, Metadata]
    faults: tuple[str, ...] = ()


def parse_plate_map(rows: Sequence[Mapping[str, str]], columns: PlateMapColumns) -> PlateMap:
    """Read the rows of a plate map, as `csv.DictReader` gives them.

    Wells stand in a column ``well``, or in ``row`` (letters, or numbers from 1) and ``column``. Faults are gathered,
    not raised; a well that is listed twice keeps its first row.
    """
    spelled = {_key(name): name.strip() for row in rows for name in row if name}
    table = [cleaned for row in rows if any((cleaned := _clean(row)).values())]
    if not table:
        return PlateMap({}, ("it has no rows",))
    if missing := _missing_columns(spelled, columns):
        return PlateMap({}, missing)
    placed = [(_well(row), row) for row in table]
    wells = {well: _metadata(row, spelled, columns) for well, row in reversed(placed) if well}
    return PlateMap(dict(reversed(wells.items())), (*_place_faults(placed), *_content_faults(table, columns)))


def check(plate_map: PlateMap, rows: int, columns: int) -> list[str]:
    """Everything that is wrong with a plate map for a plate of `rows` x `columns` wells; empty if it can be used."""
    places = {well: row_column(well) for well in plate_map.wells}
    outside = [well for well, (row, column) in places.items() if row >= rows or column >= columns]
    last = well_name(rows - 1, columns - 1)
    misplaced = [f"not on a plate of {rows} x {columns} wells (A01 to {last}): {', '.join(outside)}"] if outside else []
    return [*plate_map.faults, *misplaced]


def _key(name: str) -> str:
    return name.strip().casefold()


def _clean(row: Mapping[str, str]) -> Row:
    """Lower-case names, trimmed values, "" for cells that a short row lacks; cells beyond the header are dropped."""
    return {_key(name): (value or "").strip() for name, value in row.items() if name}


def _missing_columns(spelled: Mapping[str, str], columns: PlateMapColumns) -> tuple[str, ...]:
    asked = {"control": columns.control, "dose": columns.dose, "compound": columns.compound}
    default = PlateMapColumns()
    found = f"its columns are: {', '.join(spelled.values())}"
    absent = [
        f"no column {name!r}, which the setting {setting!r} names; {found}"
        for setting, name in asked.items()
        if name != getattr(default, setting) and _key(name) not in spelled
    ]
    if "well" not in spelled and not {"row", "column"} <= spelled.keys():
        absent.append(f"no column 'well', nor 'row' and 'column'; {found}")
    return tuple(absent)


def _place(row: Row) -> str:
    """The well as it is written."""
    return row.get("well") or row.get("row", "") + row.get("column", "")


def _well(row: Row) -> str | None:
    """Canonical name of the well; None if it is not one."""
    try:
        if not row.get("well") and row.get("row", "").isdecimal():
            return well_name(int(row["row"]) - 1, int(row["column"]) - 1)
        return parse_well(_place(row))
    except ValueError:
        return None


def _metadata(row: Row, spelled: Mapping[str, str], columns: PlateMapColumns) -> Metadata:
    used = {*_PLACE, *_ROLE, _key(columns.control), _key(columns.dose), _key(columns.compound)}
    return {
        "Metadata_Role": _role(row, columns),
        "Metadata_Dose": _number(row.get(_key(columns.dose), "")),
        "Metadata_Compound": row.get(_key(columns.compound), ""),
    } | {f"Metadata_{name}": row.get(key, "") for key, name in spelled.items() if key not in used}


def _role(row: Row, columns: PlateMapColumns) -> str:
    value = row.get(_key(columns.control), "").casefold()
    for role, values in (("negative", columns.negative), ("positive", columns.positive)):
        if value in map(_key, values):
            return role
    return "treatment" if value else ""


def _number(text: str) -> float | None:
    """The finite number that `text` is, if any."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _place_faults(placed: Iterable[tuple[str | None, Row]]) -> list[str]:
    placed = list(placed)
    wrong = [repr(_place(row)) for well, row in placed if well is None]
    twice = [well for well, count in Counter(well for well, _ in placed if well).items() if count > 1]
    listed = {"not names of wells such as B03": wrong, "wells listed more than once": twice}
    return [f"{what}: {', '.join(names)}" for what, names in listed.items() if names]


def _content_faults(table: Sequence[Row], columns: PlateMapColumns) -> list[str]:
    faults = []
    doses = [row.get(_key(columns.dose), "") for row in table]
    wrong = [
        f"{dose!r} ({_place(row)})" for dose, row in zip(doses, table, strict=True) if dose and _number(dose) is None
    ]
    if wrong:
        faults.append(f"doses in column {columns.dose!r} that are not plain numbers: {', '.join(wrong)}")
    if not any(_key(columns.control) in row for row in table):
        return faults
    seen = sorted({row.get(_key(columns.control), "") for row in table})
    roles = {_role(row, columns) for row in table}
    for role, values in (("negative", columns.negative), ("positive", columns.positive)):
        if values and role not in roles:
            faults.append(
                f"no {role} control: column {columns.control!r} holds {', '.join(map(repr, seen))}, "
                f"and the setting {role!r} is {', '.join(map(repr, values))}"
            )
    return faults
