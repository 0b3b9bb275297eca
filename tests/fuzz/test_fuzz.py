"""Damaged plates: whatever is wrong with a file, the answer is a readable message or a quarantined well.

A case is a layout and a number, its seed. `WELLPOSE_FUZZ="17 23" pytest tests/fuzz -k ngff` does those cases again;
`make fuzz` does 1,000 of each layout and tells what came of them.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from fuzz.cases import QUARANTINED, READ, REFUSED, Result, folders_of, run_case

from pipeline_lib.io.layouts import LAYOUTS

FEW, MANY = 40, 1000
_SHOWN = 10
every_layout = pytest.mark.parametrize("layout", sorted(LAYOUTS))


@every_layout
def test_a_few_damaged_plates(layout: str, tmp_path: Path) -> None:
    told = os.environ.get("WELLPOSE_FUZZ", "").replace(",", " ").split()
    seeds = [int(seed) for seed in told] or range(FEW)
    _check(layout, _results(layout, tmp_path, seeds))


@pytest.mark.fuzz
@every_layout
def test_many_damaged_plates(layout: str, tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    results = _results(layout, tmp_path, range(MANY))
    counts = Counter(result.outcome for result in results)
    told = ", ".join(f"{counts[outcome]} {outcome}" for outcome in (REFUSED, QUARANTINED, READ))
    record_property("fuzz", f"{layout}: {told}, {sum(bool(result.faults) for result in results)} wrong")
    assert MANY // 20 < counts[READ] < MANY - MANY // 20  # else the damage is always too much, or none
    _check(layout, results)


def _results(layout: str, home: Path, seeds: Iterable[int]) -> list[Result]:
    folders = folders_of(layout, home)
    for folder in folders:  # a first reading imports what is imported late, and warms up
        run_case([folder], 0)
    return [run_case(folders, seed) for seed in seeds]


def _check(layout: str, results: Iterable[Result]) -> None:
    wrong = [result for result in results if result.faults]
    lines = [f"seed {one.seed} ({one.damage}): {'; '.join(one.faults)[:1500]}" for one in wrong[:_SHOWN]]
    seeds = " ".join(str(one.seed) for one in wrong)
    assert not wrong, f'WELLPOSE_FUZZ="{seeds}" pytest tests/fuzz -k {layout}\n' + "\n".join(lines)
