"""The text of a TIFF file's first page, read with the standard library only: it may be the index of a whole plate.

A TIFF file begins with its byte order, a magic number and the place of the first page's list of tags. Each tag has a
number, a type, a count, and its value or the place of it. Classic files have places of 4 bytes (magic number 42),
BigTIFF files of 8 (43).
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

LONGEST = 1 << 29  # bytes
_DESCRIPTION, _ASCII = 270, 2
_MOST_TAGS = 1 << 16
_ORDERS = {b"II": "<", b"MM": ">"}


@dataclass(frozen=True)
class _Kind:
    """How numbers stand in one file. Letters are those of `struct`."""

    order: str
    offset: str
    count: str

    @property
    def entry(self) -> struct.Struct:
        """Number, type, count and value (or its place) of one tag."""
        return struct.Struct(f"{self.order}HH{self.offset}{struct.calcsize(self.order + self.offset)}s")


def description(path: Path) -> str:
    """The ImageDescription of the first page; "" where it has none. UTF-8, or Latin-1 where it is not that.

    Raises:
        ValueError: Not a TIFF file, or damaged: a place outside the file, or more text than 512 MB.
        OSError: The file cannot be read.
    """
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        try:
            content = _description(file, size)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("latin-1")


def _description(file: BinaryIO, size: int) -> bytes:
    kind, first = _header(file, size)
    (tags,) = struct.unpack(kind.order + kind.count, _part(file, first, struct.calcsize(kind.order + kind.count), size))
    if tags > _MOST_TAGS:
        raise ValueError(f"its first page claims {tags} tags: the file is damaged")
    start = first + struct.calcsize(kind.order + kind.count)
    for number, type_, count, value in kind.entry.iter_unpack(_part(file, start, tags * kind.entry.size, size)):
        if number == _DESCRIPTION and type_ == _ASCII:
            return _text(file, kind, count, value, size).strip(b"\0 \r\n\t")
    return b""


def _header(file: BinaryIO, size: int) -> tuple[_Kind, int]:
    """The kind of the file, and the place of its first page."""
    head = _part(file, 0, 8, size)
    order = _ORDERS.get(head[:2], "")
    magic = struct.unpack(f"{order}H", head[2:4])[0] if order else 0
    if magic == 42:
        return _Kind(order, "I", "H"), struct.unpack(f"{order}I", head[4:])[0]
    if magic == 43 and struct.unpack(f"{order}HH", head[4:]) == (8, 0):
        return _Kind(order, "Q", "Q"), struct.unpack(f"{order}Q", _part(file, 8, 8, size))[0]
    raise ValueError(f"it begins with {head[:4]!r}, which no TIFF file does")


def _text(file: BinaryIO, kind: _Kind, count: int, value: bytes, size: int) -> bytes:
    """The value of a tag of `count` bytes: short ones stand in the tag itself."""
    if count <= len(value):
        return value[:count]
    if count > LONGEST:
        raise ValueError(f"its description claims {count} bytes; at most {LONGEST} are read")
    return _part(file, struct.unpack(kind.order + kind.offset, value)[0], count, size)


def _part(file: BinaryIO, start: int, length: int, size: int) -> bytes:
    """Some bytes of the file, all of which must be there."""
    if start + length > size:
        raise ValueError(f"it has {size} bytes, and bytes {start} to {start + length} are needed: the file is cut off")
    file.seek(start)
    return file.read(length)
