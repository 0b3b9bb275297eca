"""What `wellpose doctor` finds, and how it says so: one line per finding."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

Level = Literal["ok", "warn", "FAIL"]
LEVELS: tuple[Level, ...] = ("ok", "warn", "FAIL")
SHOWN = 5  # files, wells or names in one line


@dataclass(frozen=True)
class Finding:
    """One line. level: FAIL stops a run or wastes it. about: what was looked at. advice: what to do; of ok: nothing."""

    level: Level
    about: str
    found: str
    advice: str = ""

    def line(self) -> str:
        """For a terminal. Messages of other programs may span lines; here they do not."""
        told = f"{self.found} -> {self.advice}" if self.advice else self.found
        return f"{self.level:<4}  {self.about}: {one_line(told)}"


def ok(about: str, found: str) -> Finding:
    """All is well."""
    return Finding("ok", about, found)


def warn(about: str, found: str, advice: str) -> Finding:
    """The run will go, with losses or not as meant."""
    return Finding("warn", about, found, advice)


def fail(about: str, found: str, advice: str) -> Finding:
    """It stops the run, or wastes it."""
    return Finding("FAIL", about, found, advice)


def counted(findings: Iterable[Finding]) -> dict[str, int]:
    """Level -> how many findings; every level is there."""
    counts = Counter(finding.level for finding in findings)
    return {level: counts[level] for level in LEVELS}


def as_json(findings: Sequence[Finding]) -> dict[str, Any]:
    """The same for programs."""
    return {"findings": [asdict(finding) for finding in findings], "counts": counted(findings)}


def few(items: Sequence[str]) -> str:
    """The first five, joined."""
    return ", ".join(items[:SHOWN]) + (f", ... ({len(items):,} in all)" if len(items) > SHOWN else "")


def one_line(text: str) -> str:
    """The same text without line breaks."""
    return " ".join(text.split())
