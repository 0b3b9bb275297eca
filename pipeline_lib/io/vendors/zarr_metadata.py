"""The JSON of Zarr groups and arrays, v2 and v3, read with the standard library only, and checked values out of it.

A v3 group or array has `zarr.json`; in v2 a group has `.zgroup` and its attributes in `.zattrs`, an array `.zarray`.
"""

from __future__ import annotations

import errno
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline_lib.io.vendors.base import beside

LARGEST = 100_000
_LONGEST_NAME, _LONGEST_PATH = 255, 1000  # bytes
_MISSING = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR)
_V2_TYPE = re.compile(r"[<>|=]([biuf])([1248])")
_KINDS = {"b": "bool", "i": "int", "u": "uint", "f": "float"}


@dataclass(frozen=True)
class ArrayFacts:
    """What an array says of itself. dtype: such as uint16."""

    shape: tuple[int, ...]
    dtype: str


@contextmanager
def damage_of(path: Path | str) -> Iterator[None]:
    """A ValueError inside gets the name of the file that it is about."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{path}: {error}. The metadata are damaged, or no OME-NGFF 0.4 or 0.5") from error


def attributes_file(folder: Path, group: str) -> str:
    """Where the attributes of a group stand, relative to the folder like the group itself."""
    name = ".zattrs" if (folder / group / ".zattrs").is_file() else "zarr.json"
    return f"{group}/{name}" if group else name


def read_attributes(folder: Path, group: str) -> dict[str, Any] | None:
    """The attributes of a group, of v3 those of OME; None where there is no group.

    Raises:
        ValueError: Damaged JSON.
        OSError: A file cannot be read though it is there.
    """
    version_3 = _read_json(folder / group / "zarr.json")
    if version_3 is None:
        version_2 = _read_json(folder / group / ".zattrs")
        return {} if version_2 is None and (folder / group / ".zgroup").is_file() else version_2
    attributes = version_3.get("attributes", {})
    attributes = attributes.get("ome", attributes) if isinstance(attributes, dict) else None
    if not isinstance(attributes, dict):
        raise ValueError(f"{folder / group / 'zarr.json'}: its attributes are no JSON object")
    return attributes


def read_array_facts(folder: Path, array: str) -> ArrayFacts | None:
    """Shape and number type of an array; None where there is none.

    Raises:
        ValueError: Damaged JSON, or a shape that no image has.
        OSError: A file cannot be read though it is there.
    """
    for name, key in (("zarr.json", "data_type"), (".zarray", "dtype")):
        path = folder / array / name
        content = _read_json(path)
        if content is None:
            continue
        with damage_of(path):
            if not content.get("shape"):
                raise ValueError("it is no array: it has no `shape`")
            shape = tuple(whole({"shape": size}, "shape", 1) for size in a_list(content, "shape"))
            dtype = text(content, key)
            match = _V2_TYPE.fullmatch(dtype)
            return ArrayFacts(shape, f"{_KINDS[match[1]]}{int(match[2]) * 8}" if match else dtype)
    return None


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        if error.errno in _MISSING:
            return None
        raise
    except RecursionError as error:
        raise ValueError(f"{path} is no JSON of Zarr: it is nested too deep") from error
    except ValueError as error:
        raise ValueError(f"{path} is not whole JSON: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds no JSON object")
    return content


def a_list(content: Mapping[str, Any], key: str) -> list[Any]:
    """A list that must be there.

    Raises:
        ValueError: It is not, like the functions below.
    """
    value = content.get(key)
    if not isinstance(value, list):
        raise ValueError(f"`{key}` is {_shown(value)}: a list is expected")
    return value


def objects(content: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    """A list of objects, at least one."""
    found = a_list(content, key)
    if not found or not all(isinstance(one, dict) for one in found):
        raise ValueError(f"`{key}` is {_shown(found)}: a list of objects is expected")
    return found


def text(content: Mapping[str, Any], key: str) -> str:
    """A text that is not empty."""
    value = content.get(key)
    if not isinstance(value, str) or not value:
        raise ValueError(f"`{key}` is {_shown(value)}: a text is expected")
    return value


def below(group: str, content: Mapping[str, Any], key: str) -> str:
    """The path of what `content` names inside a group, relative like the group's own.

    Raises:
        ValueError: It leads out of the group, or can be no name of a folder.
    """
    path = text(content, key)
    parts = [part.encode("utf-8") for part in path.split("/")]
    if max(map(len, parts)) > _LONGEST_NAME or sum(map(len, parts)) > _LONGEST_PATH:
        raise ValueError(f"`{key}` is {_shown(path)}: the name of a folder is expected")
    return beside(f"{group}/zarr.json" if group else "zarr.json", path)


def whole(content: Mapping[str, Any], key: str, least: int = 0, largest: int = LARGEST) -> int:
    """A whole number."""
    value = content.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= largest:
        raise ValueError(f"`{key}` is {_shown(value)}: a whole number {least} to {largest:,} is expected")
    return value


def numbers(content: Mapping[str, Any], key: str, count: int) -> tuple[float, ...]:
    """So many numbers, none of them infinite."""
    values = a_list(content, key)
    if len(values) != count or not all(_is_number(value) for value in values):
        raise ValueError(f"`{key}` is {_shown(values)}: {count} numbers are expected")
    return tuple(float(value) for value in values)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e12  # NaN is not


def _shown(value: object) -> str:
    told = "missing" if value is None else repr(value[:3] if isinstance(value, Sequence) and len(value) > 40 else value)
    return told if len(told) <= 60 else f"{told[:60]}..."
