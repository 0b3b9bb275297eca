"""SHA-256 sums of files, and lists of them in the format of `sha256sum`."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from pipeline_lib.io.commit import committed

_LINE = re.compile(r"([0-9a-fA-F]{64}) [ *](.+)")


def checksum(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def read_sums(path: Path) -> dict[str, str]:
    """File name (without its folder) -> SHA-256 in lower case. Blank lines and lines that start with # are skipped.

    Raises ValueError, which lists the lines that are not of this format, or that contradict each other.
    """
    sums: dict[str, str] = {}
    odd: list[str] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        found = _LINE.fullmatch(line.rstrip())
        if found is None or sums.setdefault(Path(found[2]).name, found[1].lower()) != found[1].lower():
            odd.append(f"line {number}: {line[:80]!r}")
    if odd:
        raise ValueError(
            f"{path}: expected lines '<64 hexadecimal digits>  <file name>', one per file; found {'; '.join(odd)}"
        )
    return sums


def write_sum(beside: Path, sha256: str) -> None:
    """Write `<file>.sha256` beside a file, which `sha256sum -c` reads."""
    with committed(sum_file(beside)) as temporary:
        temporary.write_text(f"{sha256}  {beside.name}\n", encoding="utf-8")


def sum_file(path: Path) -> Path:
    """Where the checksum of a file is kept."""
    return path.with_name(f"{path.name}.sha256")
