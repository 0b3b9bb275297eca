"""Fill the tables of `docs/restoration.md` from what `wellpose evaluate-restoration` wrote; numbers are never typed.

Copies tables and pictures to `docs/restoration/`, and replaces what stands between `<!-- begin X -->` and
`<!-- end X -->`.
"""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

import pandas as pd

DOCUMENT = Path(__file__).parents[2] / "docs" / "restoration.md"
KEPT = ("images.csv", "summary.csv", "verdicts.csv", "curves.png", "pictures.png")
BARS = {"True": "pass", "False": "**fail**"}


def main() -> None:
    """Copy, render, replace."""
    source, target = Path(sys.argv[1]), DOCUMENT.with_suffix("")
    for name in KEPT:
        shutil.copy(source / name, target)
    text = DOCUMENT.read_text(encoding="utf-8")
    tables = {"verdicts": verdicts(pd.read_csv(target / "verdicts.csv"))}
    tables["levels"] = levels(pd.read_csv(target / "summary.csv"))
    for name, table in tables.items():
        pattern = rf"(<!-- begin {name} -->\n).*?(<!-- end {name} -->)"
        text = re.sub(pattern, lambda found, table=table: f"{found[1]}{table}\n{found[2]}", text, flags=re.DOTALL)
    DOCUMENT.write_text(text, encoding="utf-8")


def verdicts(found: pd.DataFrame) -> str:
    """One line for each set, network and kind of damage that was heavy for some image."""
    lines = []
    for _, row in found[found["levels"].notna()].iterrows():
        what = [str(row[name]) for name in ("set", "method", "kind", "levels", "images")]
        means = [f"{row[name]:.3f}" for name in ("degraded", "restored")]
        ratio = f"{row['ratio']:.2f} {_bar(row['gains'])}"
        lead = f"{row['difference']:+.3f} ({row['low']:+.3f} to {row['high']:+.3f}) {_bar(row['wins'])}"
        clean = f"{row['clean']:.3f} → {row['clean_restored']:.3f} {_bar(row['spares'])}"
        lines.append([*what, *means, ratio, lead, clean])
    heads = [
        "set",
        "network",
        "damage",
        "heavy at",
        "images",
        "degraded",
        "restored",
        "ratio",
        "over the best rival",
        "clean images",
    ]
    return _table(heads, lines)


def levels(summary: pd.DataFrame) -> str:
    """AP at 0.5: a line for each set and level, a column for each method."""
    methods = list(summary["method"].unique())
    lines = []
    for (name, level), rows in summary.groupby(["set", "level"], sort=False):
        by_method = rows.set_index("method")
        cells = [f"{by_method['ap_0.50'][one]:.3f}" if one in by_method.index else "" for one in methods]
        counts = [str(rows[column].iloc[0]) for column in ("images", "heavy")]
        lines.append([str(name), str(level), *counts, *cells])
    return _table(["set", "level", "images", "heavily degraded", *methods], lines)


def _bar(value: object) -> str:
    """CSV tells bars as True, False, or nothing."""
    return BARS.get(str(value), "")


def _table(heads: list[str], lines: list[list[str]]) -> str:
    rows = [heads, ["---"] * len(heads), *lines]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


if __name__ == "__main__":
    main()
