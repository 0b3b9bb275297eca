"""Well names and plate formats: "B03" is row 1, column 2, counted from zero."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from string import ascii_uppercase

PLATE_FORMATS: dict[int, tuple[int, int]] = {
    6: (2, 3),
    12: (3, 4),
    24: (4, 6),
    48: (6, 8),
    96: (8, 12),
    384: (16, 24),
    1536: (32, 48),
}
"""Wells of a plate -> (rows, columns), smallest first."""

_ROWS, _COLUMNS = PLATE_FORMATS[1536]
_ROW_NAMES = (*ascii_uppercase, *(f"A{letter}" for letter in ascii_uppercase))[:_ROWS]
_ROW_INDEX = {name: index for index, name in enumerate(_ROW_NAMES)}
_WELL = re.compile(r"([A-Za-z]{1,2})0*([1-9][0-9]?)")


def well_name(row: int, column: int) -> str:
    """The canonical name of the well at `row`, `column` (from zero): row letters, then a two-digit column.

    Raises:
        ValueError: Outside 32 rows x 48 columns.
    """
    if not (0 <= row < _ROWS and 0 <= column < _COLUMNS):
        raise ValueError(
            f"no plate has a well at row {row}, column {column}: rows run from 0 to {_ROWS - 1} "
            f"(A to {_ROW_NAMES[-1]}), columns from 0 to {_COLUMNS - 1} (01 to {_COLUMNS})"
        )
    return f"{_ROW_NAMES[row]}{column + 1:02d}"


@lru_cache(maxsize=4096)
def row_column(well: str) -> tuple[int, int]:
    """(row, column) of a well, counted from zero; accepts every spelling `parse_well` does.

    As a sort key it puts wells in row-major order, AA after Z.

    Raises:
        ValueError: Not the name of a well.
    """
    match = _WELL.fullmatch(well.strip())
    row = _ROW_INDEX.get(match[1].upper()) if match else None
    if match is None or row is None or int(match[2]) > _COLUMNS:
        raise ValueError(
            f"{well!r} is not a well: expected a row A to Z or AA to {_ROW_NAMES[-1]}, then a column 1 to {_COLUMNS}, "
            "for example B03"
        )
    return row, int(match[2]) - 1


def parse_well(well: str) -> str:
    """The canonical name of a well: "b3", "B03" and " B003 " are all "B03".

    Raises:
        ValueError: Not the name of a well.
    """
    return well_name(*row_column(well))


def well_list(text: str) -> tuple[str, ...]:
    """Canonical well names out of "A1,B03".

    Raises:
        ValueError: One of them is not the name of a well.
    """
    return tuple(parse_well(name) for name in text.split(",") if name.strip())


def plate_shape(wells: Iterable[str]) -> tuple[int, int]:
    """(rows, columns) of the smallest plate format that holds all `wells`.

    Raises:
        ValueError: One of them is not the name of a well.
    """
    places = [row_column(well) for well in wells]
    return next(
        (rows, columns)
        for rows, columns in PLATE_FORMATS.values()
        if all(row < rows and column < columns for row, column in places)
    )
