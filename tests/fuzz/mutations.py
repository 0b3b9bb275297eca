"""Damage done to index files and TIFF files, by a seeded generator: the same seed does the same damage."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import BytesIO
from itertools import islice
from random import Random

import tifffile

Damage = Callable[[Random, bytes], bytes]

EXPANDED = "EXPANDED-BY-WELLPOSE"
"""What an expanded entity would put into a text. No index holds it as it stands here."""
_HIDDEN = "EXPANDED&#45;BY&#45;WELLPOSE"
_LAUGHS = 8  # levels, each ten times the one below
_LONG = 200_000
_SEARCHED = 40_000  # bytes: damage done before can have made a file long

_NUMBER = re.compile(rb"[-+]?[0-9]+(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?")
_VALUE = re.compile(rb"\"([^\"\r\n]{1,299})\"|>([^<>\r\n]{1,299})<")
_PIECE = re.compile(rb"<[^<>]{1,299}>[^<]{0,99}|[^\r\n]{0,299}\r?\n|\"[^\"]{1,99}\"\s{0,9}:[^,]{1,99},")
_ATTRIBUTE = re.compile(rb"\s[A-Za-z:_]{1,99}=\"[^\"]{0,299}\"")
_DECLARATION = re.compile(rb"^(?:\xef\xbb\xbf)?\s*(?:<\?xml[^>]*\?>)?")
NUMBERS = (
    "-1", "0", "-0", "0.0", "1", "2", "1.5", "33", "49", "99999", "100000", "100001", "999999", "1e5", "1e-320",
    "1e308", "-1e308", "1e400", "9" * 11, "9" * 5000, "2147483648", "18446744073709551616", "NaN", "nan", "inf",
    "-Infinity", "", " ", " 1 ", "1_0", "0x10", "007", "+1", "٣", "²", "Ⅷ", "１", "one", "1,5", "true", "null", "[]",
    "{}", "1\x00",
)  # fmt: skip
TEXTS = (
    "../../secret.tif", "../secret.tif", "..", ".", "/", "/etc/passwd", "file:///etc/passwd", r"..\..\secret.tif",
    r"C:\Windows\win.ini", r"\\server\share\a.tif", "//server/share/a.tif", "a/../../../../secret.tif",
    "a/./b/../../..", "~/.ssh/id_rsa", "$HOME", "%2e%2e/secret.tif", "http://localhost:9/a.tif", "|cat", "-", "",
    " ", "a\tb", "\x00", "a\x00.tif", "&#0;", "&lt;", "&unknown;", "<", ">", "\"", "]]>", "x" * 300 + ".tif",
    "x/" * 3000 + "a.tif", "x" * _LONG, "é" * 200, "\U0001f52c", "\u202e", "Z99", "A0", "AG01",
    "2023-02-30T99:99:99", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "[[[[", "{a: [1, {b: 2}",
    "(" * 2000,
)  # fmt: skip
ENCODINGS = (
    "utf-16",
    "utf-16-le",
    "utf-32",
    "latin-1",
    "cp1252",
    "utf-7",
    "cp037",
    "big5",
    "rot13",
    "idna",
    "hex",
    "x" * 90,
)


def damaged_text(rng: Random, content: bytes) -> tuple[str, bytes]:
    """An index file after one to three kinds of damage, and their names."""
    return _damaged(rng, content, TEXT)


def damaged_image(rng: Random, content: bytes) -> tuple[str, bytes]:
    """An image file after one to three kinds of damage, and their names; the file need not be TIFF."""
    return _damaged(rng, content, IMAGE if content[:2] in (b"II", b"MM") else BYTES)


def _damaged(rng: Random, content: bytes, kinds: Sequence[Damage]) -> tuple[str, bytes]:
    chosen = [rng.choice(kinds) for _ in range(rng.choice((1, 1, 1, 2, 3)))]
    for kind in chosen:
        content = kind(rng, content)
    return "+".join(kind.__name__ for kind in chosen), content


def _span(rng: Random, content: bytes) -> tuple[int, int]:
    start = rng.randrange(len(content) + 1)
    longest = rng.choice((1, 4, 40, 400, 4000))
    return start, min(len(content), start + 1 + rng.randrange(longest))


def _places(pattern: re.Pattern[bytes], content: bytes) -> list[tuple[int, int]]:
    """Where the first group that has matched, or else the whole match, stands."""
    return [match.span(match.lastindex or 0) for match in pattern.finditer(content[:_SEARCHED])]


def flip_bytes(rng: Random, content: bytes) -> bytes:
    found = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 8, 64)) if found else 0):
        found[rng.randrange(len(found))] ^= rng.choice((1, 2, 0x20, 0x80, 0xFF, rng.randrange(1, 256)))
    return bytes(found)


def delete_span(rng: Random, content: bytes) -> bytes:
    start, stop = _span(rng, content)
    return content[:start] + content[stop:]


def duplicate_span(rng: Random, content: bytes) -> bytes:
    start, stop = _span(rng, content)
    return content[:stop] + content[start:stop] * rng.choice((1, 1, 2, 50)) + content[stop:]


def swap_spans(rng: Random, content: bytes) -> bytes:
    (start, stop), (later, end) = sorted((_span(rng, content), _span(rng, content)))
    if later < stop:
        return content
    return content[:start] + content[later:end] + content[stop:later] + content[start:stop] + content[end:]


def zero_span(rng: Random, content: bytes) -> bytes:
    start, stop = _span(rng, content)
    return content[:start] + bytes(stop - start) + content[stop:]


def random_span(rng: Random, content: bytes) -> bytes:
    start, stop = _span(rng, content)
    return content[:start] + rng.randbytes(stop - start) + content[stop:]


def cut_off(rng: Random, content: bytes) -> bytes:
    return content[: rng.choice((0, 1, 8, rng.randrange(len(content) + 1), max(0, len(content) - 1)))]


def grow(rng: Random, content: bytes) -> bytes:
    return content + rng.choice((b"\x00", b"\n", rng.randbytes(100), bytes(100_000), content))


def replace_all(rng: Random, content: bytes) -> bytes:
    choices = (b"\x89PNG\r\n\x1a\n" + bytes(50), b"<html></html>", b"{}", b"[]", b"null", b"II*\x00", b"MM\x00+")
    return rng.choice((*choices, rng.randbytes(500)))


def _replaced(rng: Random, content: bytes, found: Sequence[tuple[int, int]], text: bytes) -> bytes:
    """One of the places replaced; sometimes all places of the same text."""
    if not found:
        return content
    start, stop = rng.choice(found)
    if rng.random() < 0.2:
        return content.replace(content[start:stop], text)
    return content[:start] + text + content[stop:]


def replace_number(rng: Random, content: bytes) -> bytes:
    found = _places(_NUMBER, content)
    return _replaced(rng, content, found, rng.choice(NUMBERS).encode())


def replace_value(rng: Random, content: bytes) -> bytes:
    found = _places(_VALUE, content)
    number = rng.choice(NUMBERS)
    return _replaced(rng, content, found, rng.choice((*TEXTS, number, number)).encode())


def swap_values(rng: Random, content: bytes) -> bytes:
    found = _places(_VALUE, content)
    start, stop = rng.choice(found or [(0, 0)])
    return _replaced(rng, content, found, content[start:stop])


def delete_attribute(rng: Random, content: bytes) -> bytes:
    return _replaced(rng, content, _places(_ATTRIBUTE, content), b"")


def delete_piece(rng: Random, content: bytes) -> bytes:
    """An element, a line or a member."""
    return _replaced(rng, content, _places(_PIECE, content), b"")


def repeat_piece(rng: Random, content: bytes) -> bytes:
    found = _places(_PIECE, content)
    if not found:
        return content
    start, stop = rng.choice(found)
    return content[:stop] + content[start:stop] * rng.choice((1, 1, 3, 3000)) + content[stop:]


def nest_deeply(rng: Random, content: bytes) -> bytes:
    opened, closed = rng.choice(
        ((b"<a>", b"</a>"), (b"[", b"]"), (b'{"a":', b"}"), (b"<Image>", b"</Image>"), (b"{a:[", b"]}"))
    )
    depth = rng.choice((30, 1000, 20_000))
    nested = opened * depth + rng.choice((b"", closed * depth))
    found = _places(_VALUE, content)
    if found and rng.random() < 0.5:
        return _replaced(rng, content, found, nested)
    found = _places(_PIECE, content)
    at = rng.choice(found)[1] if found else len(content)
    return content[:at] + nested + content[at:]


def _with_entity(rng: Random, content: bytes, document_type: str, entity: str) -> bytes:
    declaration = _DECLARATION.match(content)
    head = declaration.end() if declaration else 0
    body = content[head:]
    found = _places(_VALUE, body)
    return content[:head] + document_type.encode() + _replaced(rng, body, found, f"&{entity};".encode())


def billion_laughs(rng: Random, content: bytes) -> bytes:
    levels = [f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, _LAUGHS + 1)]
    kind = f'<!DOCTYPE a [<!ENTITY l0 "{_HIDDEN}">{"".join(levels)}]>'
    return _with_entity(rng, content, kind, rng.choice(("l0", "l1", f"l{_LAUGHS}")))


def external_entity(rng: Random, content: bytes) -> bytes:
    place = rng.choice(("file:///etc/passwd", "../secret.tif", "../../secret.tif", "http://localhost:9/a", "/dev/zero"))
    declared = rng.choice(("<!ENTITY e SYSTEM '{}'>", "<!ENTITY % p SYSTEM '{}'>%p;<!ENTITY e 'x'>"))
    kinds = (f"<!DOCTYPE a [{declared.format(place)}]>", f"<!DOCTYPE a SYSTEM '{place}'>")
    return _with_entity(rng, content, rng.choice(kinds), "e")


def change_encoding(rng: Random, content: bytes) -> bytes:
    text = content.decode("utf-8", "replace").removeprefix("\ufeff")
    name = rng.choice(ENCODINGS)
    declared = re.sub(r"<\?xml[^>]*\?>", "", text, count=1)
    declared = f'<?xml version="1.0" encoding="{name}"?>{declared}' if text.lstrip().startswith("<") else text
    try:
        changed = declared.encode(name, "replace")
    except (LookupError, ValueError):
        changed = declared.encode()
    return rng.choice((changed, declared.encode(), text.encode(name) if name.startswith("utf") else changed))


def insert_strange(rng: Random, content: bytes) -> bytes:
    strange = (
        b"\x00",
        b"\xff\xfe",
        b"\xc3\x28",
        b"\xed\xa0\x80",
        b"\r",
        b"\x1b[31m",
        b"<![CDATA[",
        b"<!--",
        b"&",
        b"<?xml?>",
    )
    start, _ = _span(rng, content)
    return content[:start] + rng.choice(strange) + content[start:]


BYTES: tuple[Damage, ...] = (
    flip_bytes, flip_bytes, delete_span, duplicate_span, swap_spans, zero_span, random_span, cut_off, cut_off, grow,
    replace_all,
)  # fmt: skip
TEXT: tuple[Damage, ...] = (
    flip_bytes, delete_span, duplicate_span, swap_spans, cut_off, grow, replace_all, replace_number, replace_number,
    replace_number, replace_number, replace_value, replace_value, replace_value, replace_value, swap_values,
    delete_attribute, delete_piece, repeat_piece, nest_deeply, billion_laughs, external_entity, change_encoding,
    insert_strange,
)  # fmt: skip


@dataclass(frozen=True)
class _Entry:
    """One tag of a TIFF file, where it stands. size: of its count and of its value, each."""

    place: int
    size: int
    order: str


def _entries(content: bytes) -> list[_Entry]:
    """The tags of the first pages; none of a file that is damaged already."""
    try:
        with tifffile.TiffFile(BytesIO(content)) as tif:
            size, order = tif.tiff.offsetsize, "little" if tif.byteorder == "<" else "big"
            return [_Entry(tag.offset, size, order) for page in tif.pages[:3] for tag in page.aspage().tags]
    except Exception:
        return []


def change_tag(rng: Random, content: bytes) -> bytes:
    """Number, type, count or value of a tag; a value may be the place of the real one."""
    entries = _entries(content)
    if not entries:
        return flip_bytes(rng, content)
    entry, found = rng.choice(entries), bytearray(content)
    start, size = rng.choice(((0, 2), (2, 2), (4, entry.size), *[(4 + entry.size, rng.choice((2, entry.size)))] * 4))
    most = 256**size - 1
    small = (0, 1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 32, 64, 255, 256, 273, 700, 4096, 32773, 34892, 50000, 50002, 65535)
    value = rng.choice(
        (*small, 99_999, 1 << 24, 1 << 31, most, most - 1, entry.place, len(content) - 1, rng.randrange(most))
    )
    found[entry.place + start : entry.place + start + size] = (value & most).to_bytes(size, entry.order)  # type: ignore[arg-type]
    return bytes(found)


def change_size(rng: Random, content: bytes) -> bytes:
    """Width, height, rows of a strip or size of a tile: the image claims to be larger or smaller than it is."""
    try:
        with tifffile.TiffFile(BytesIO(content)) as tif:
            page = tif.pages[rng.choice((0, -1))].aspage()
            tags = [tag for code in (256, 257, 258, 277, 278, 322, 323) if (tag := page.tags.get(code))]
            places, order = [tag.valueoffset for tag in tags], "little" if tif.byteorder == "<" else "big"
    except Exception:
        return flip_bytes(rng, content)
    found = bytearray(content)
    for place in rng.sample(places, min(len(places), rng.choice((1, 1, 2)))):
        found[place : place + 2] = rng.choice((0, 1, 23, 25, 33, 1000, 10_000, 60_000, 65_535)).to_bytes(2, order)  # type: ignore[arg-type]
    return bytes(found)


def loop_pages(rng: Random, content: bytes) -> bytes:
    """The last page points to one before it, or to itself."""
    try:
        with tifffile.TiffFile(BytesIO(content)) as tif:
            places, size = [page.aspage().offset for page in islice(tif.pages, 8)], tif.tiff.offsetsize
            order = "little" if tif.byteorder == "<" else "big"
    except Exception:
        return flip_bytes(rng, content)
    if not places:
        return flip_bytes(rng, content)
    count, entry = (2, 12) if size == 4 else (8, 20)  # bytes: the number of tags, then each tag, then the next page
    tags = int.from_bytes(content[places[-1] : places[-1] + count], order)  # type: ignore[arg-type]
    at = places[-1] + count + tags * entry
    target = rng.choice((*places, 8, len(content) - 2))
    return content[:at] + target.to_bytes(size, order) + content[at + size :]  # type: ignore[arg-type]


def damage_description(rng: Random, content: bytes) -> bytes:
    """The text of the first page, damaged as an index file is."""
    file = BytesIO(content)
    try:
        with tifffile.TiffFile(file) as tif:
            tag = tif.pages[0].aspage().tags.get(270)
            text = b"" if tag is None else content[tag.valueoffset : tag.valueoffset + tag.count].rstrip(b"\x00")
            order, size = "little" if tif.byteorder == "<" else "big", tif.tiff.offsetsize
            place = None if tag is None else tag.offset
    except Exception:
        return flip_bytes(rng, content)
    if place is None or not text:
        return change_tag(rng, content)
    _, changed = _damaged(rng, text, TEXT)
    changed += bytes(size + 1)
    head = content[: place + 4] + len(changed).to_bytes(size, order) + len(content).to_bytes(size, order)  # type: ignore[arg-type]
    return head + content[place + 4 + 2 * size :] + changed


IMAGE: tuple[Damage, ...] = (
    *BYTES, change_tag, change_tag, change_tag, change_tag, change_size, change_size, loop_pages, damage_description,
    damage_description,
)  # fmt: skip
