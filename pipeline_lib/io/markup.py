"""XML files of microscopes: read piece by piece, and without document types, through which a file could be a trap.

A document type can name other files and let a few bytes grow to gigabytes. No index file has one.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn
from xml.etree import ElementTree
from xml.parsers import expat

CHUNK = 1 << 16  # bytes
_LONGEST = 200  # characters of the parser's message, which may hold a word of the file


def elements(path: Path, *tags: str) -> Iterator[ElementTree.Element]:
    """Every element of one of these names (without namespace), whole, in the order of their ends.

    An element is emptied when the next one is asked for, so that memory does not grow with the file; ask for elements
    that do not lie inside each other.

    Raises:
        ValueError: Not XML, cut off, or with a document type.
        OSError: The file cannot be read.
    """
    _refuse_document_type(path)
    opened: list[ElementTree.Element] = []
    try:
        for event, element in ElementTree.iterparse(path, events=("start", "end")):
            if event == "start":
                opened.append(element)
                continue
            opened.pop()
            if local_name(element) in tags:
                yield element
                element.clear()
                if opened:
                    opened[-1].remove(element)
    except (ElementTree.ParseError, LookupError, ValueError) as error:  # the last two: encodings that cannot be read
        raise ValueError(f"{path} is not whole XML: {str(error)[:_LONGEST]}") from error


def read_tree(path: Path) -> ElementTree.Element:
    """The root element of a small file.

    Raises:
        ValueError, OSError: As `elements`.
    """
    _refuse_document_type(path)
    try:
        return ElementTree.parse(path).getroot()
    except (ElementTree.ParseError, LookupError, ValueError) as error:
        raise ValueError(f"{path} is not whole XML: {str(error)[:_LONGEST]}") from error


def local_name(element: ElementTree.Element) -> str:
    """The name of an element without its namespace."""
    return element.tag.rpartition("}")[2]


def child_text(element: ElementTree.Element, name: str) -> str:
    """The text of the first child of this name, without its namespace; "" where there is none."""
    return (element.findtext(f"{{*}}{name}") or "").strip()


def attributes(element: ElementTree.Element) -> dict[str, str]:
    """The attributes of an element, their names without namespace."""
    return {name.rpartition("}")[2]: value for name, value in element.attrib.items()}


class _Begun(Exception):
    """The root element has been reached."""


class _DocumentType(Exception):
    """A document type has been reached."""


def _refuse_document_type(path: Path) -> None:
    """Look at what comes before the root element, where a document type would be."""

    def refuse(*_: object) -> NoReturn:
        raise _DocumentType

    def end(*_: object) -> NoReturn:
        raise _Begun

    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = refuse
    parser.StartElementHandler = end
    with path.open("rb") as file:
        try:
            while chunk := file.read(CHUNK):
                parser.Parse(chunk)
        except _DocumentType:
            raise ValueError(f"{path} has a document type (<!DOCTYPE ...>), which no microscope writes") from None
        except (_Begun, expat.ExpatError, LookupError, ValueError):  # damage is told by who reads the rest
            return
