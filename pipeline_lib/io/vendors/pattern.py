r"""Any folder whose file names say what they hold, read with a regular expression of the user's.

The expression is searched in each file's path relative to the plate's folder (forward slashes) and must reach its end;
it may begin anywhere, unless it starts with `^`. Its named groups are the well (`well`, or `row` and `column`; a row is
letters or a number from 1) and optionally `channel` (the text is the channel's id; "1" without the group), `field` or
`site`, `z` and `time` (whole numbers; only their order counts). Files that do not match are left aside.

A plate with `Channel1-01-A-01.tif` is read with
`Channel(?P<channel>[0-9])-[0-9]+-(?P<row>[A-H])-(?P<column>[0-9]+)\.tif`.
"""

from __future__ import annotations

import re
from pathlib import Path

from pipeline_lib.core.manifest import ImageFile
from pipeline_lib.core.wells import parse_well, well_name
from pipeline_lib.io.vendors.base import Listing, Reader, Scan, refuse

_GROUPS = {"well", "row", "column", "channel", "field", "site", "z", "time"}


def scan(folder: Path, listing: Listing, pattern: str) -> Scan:
    """The files of `folder` whose relative path ends with a match of `pattern`.

    Raises:
        ValueError: The expression is not usable, or what it captures is not a well or a number; all faults at once.
    """
    expression = compile_pattern(pattern)
    files, faults = [], []
    for path in listing.paths:
        if match := expression.search(path):
            try:
                files.append(_image_file(path, match.groupdict()))
            except ValueError as error:
                faults.append(f"{path}: {error}")
    refuse(
        f"the pattern {pattern!r} matches {len(files) + len(faults)} files in {folder}, but cannot be right for "
        f"{len(faults)} of them:",
        faults,
    )
    return Scan(tuple(files))


def compile_pattern(pattern: str) -> re.Pattern[str]:
    """The expression, anchored at the end of the path.

    Raises:
        ValueError: It does not compile, or its named groups are not those above.
    """
    try:
        names = set(re.compile(pattern).groupindex)
        expression = re.compile(rf"(?:{pattern})\Z")
    except re.error as error:
        raise ValueError(f"the pattern {pattern!r} is not a regular expression: {error}") from error
    faults = []
    if names & {"well", "row", "column"} not in ({"well"}, {"row", "column"}):
        faults.append("it needs either `well`, or `row` and `column`")
    if names >= {"field", "site"}:
        faults.append("`field` and `site` mean the same: keep one")
    if unknown := names - _GROUPS:
        faults.append(f"unknown groups: {', '.join(sorted(unknown))}")
    if faults:
        raise ValueError(
            f"the pattern {pattern!r} has the named groups {', '.join(sorted(names)) or '(none)'}: "
            f"{'; '.join(faults)}. "
            r"A group is written (?P<well>[A-P][0-9]{2}); allowed are well (or row and column), channel, field (or "
            "site), z and time"
        )
    return expression


def _image_file(path: str, groups: dict[str, str | None]) -> ImageFile:
    """One match. A group that took no part counts as not given."""
    given = {name: text for name, text in groups.items() if text is not None}
    return ImageFile(
        well=_well(given),
        field=_number(given, "site" if "site" in given else "field"),
        channel=given.get("channel", "1"),
        time=_number(given, "time"),
        z=_number(given, "z"),
        path=path,
    )


def _well(given: dict[str, str]) -> str:
    if "well" in given:
        return parse_well(given["well"])
    row, column = given.get("row", ""), given.get("column", "")
    if row.isdecimal() and column.isdecimal():
        return well_name(int(row) - 1, int(column) - 1)
    return parse_well(row + column)


def _number(given: dict[str, str], name: str) -> int:
    text = given.get(name, "0")
    if not text.isdecimal():
        raise ValueError(f"{name} {text!r} is not a whole number")
    return int(text)


def recognises(_: Listing) -> bool:
    """Never: only the user knows that file names are to be read by an expression."""
    return False


READER = Reader(scan, recognises, expects="the paths that the setting `ingest.pattern` matches")
