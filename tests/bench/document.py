"""`docs/benchmarks.md`, written from the results that the benchmarks left."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
DOCUMENT = Path(__file__).parents[2] / "docs" / "benchmarks.md"

HEAD = """# Benchmarks

Written by the `make bench*` targets from `tests/bench/results/*.json`; do not edit. Times depend on the machine and on
what else it does; ratios are medians over rounds in which both programs take turns.
"""
STAGES = ("image to labels", "image to flows", "flows to labels")


def update_document() -> None:
    """Write the page anew from all results there are."""
    parts = [HEAD, *_segmentation(), *_restoration(), *_memory(), *_ingest(), *_montage()]
    DOCUMENT.write_text("\n".join(parts), encoding="utf-8")


def _segmentation() -> Iterator[str]:
    for found in _found("segmentation-*.json"):
        yield f"## Segmentation against cellpose 3.1.1.2, {_computing(found)}\n"
        yield f"{_machine(found)}. Image (C, Y, X): {tuple(found['shape'])}; {found['rounds']} rounds.\n"
        yield "| image | stage | times faster | ours, s | cellpose, s |\n|---|---|---|---|---|"
        for name, case in found["cases"].items():
            for stage in STAGES:
                timed = case[stage]
                best = min(timed["our_seconds"]), min(timed["their_seconds"])
                objects = f"{name}, {case['objects']} objects"
                yield f"| {objects} | {stage} | {timed['times_faster']} | {best[0]} | {best[1]} |"
        yield "\nSeconds are the best of the rounds. Average precision at IoU 0.9:\n"
        for name, case in found["cases"].items():
            agreement = case["average precision at IoU 0.9"]
            told = ", ".join(f"{pair} {value}" for pair, value in agreement.items())
            yield f"* {name}: {told}"
        yield ""


def _restoration() -> Iterator[str]:
    for found in _found("restoration-*.json"):
        yield f"## Restoration against cellpose 3.1.1.2, {_computing(found)}\n"
        yield f"{_machine(found)}. Image (Y, X): {tuple(found['shape'])}; {found['rounds']} rounds.\n"
        yield "| image | times faster | ours, s | cellpose, s | largest difference in float32 |\n|---|---|---|---|---|"
        for name, case in found["cases"].items():
            best = min(case["our_seconds"]), min(case["their_seconds"])
            difference = case["largest difference"]["float32"]
            yield f"| {name} | {case['times_faster']} | {best[0]} | {best[1]} | {difference:.1e} |"
        for plane, large in found["large"].items():
            yield (
                f"\nA plane of {plane}, from Zarr to Zarr: {large['peak_mib']} MiB at most, "
                f"{large['of_it_before_mib']} of them before it began, {large['seconds']} s."
            )
        yield ""


def _memory() -> Iterator[str]:
    for found in _found("memory.json"):
        yield "## Images of any size: memory and time, from flows in Zarr to labels in Zarr\n"
        yield f"{_machine(found)}.\n"
        yield from _table(
            ("image", "objects", "peak memory, MiB", "seconds"),
            (
                (f"{run['side']} x {run['side']}, {run['what']}", run["objects"], run["peak_mib"], run["seconds"])
                for run in found["runs"]
            ),
        )
        yield ""


def _ingest() -> Iterator[str]:
    for found in _found("ingest.json"):
        plate, ratios = found["plate"], found["ratios"]
        yield "## Ingest against what it must cost at least, and against ngio's way of writing\n"
        yield f"{_machine(found)}; {found['cores']} used."
        yield f"{plate['wells']} wells of {plate['fields']} fields of (T, C, Z, Y, X) {tuple(plate['image'])}, "
        yield f"{found['raw_mb']} MB as decoded.\n"
        yield from _table(
            ("way", "MB/s", "processor seconds", "peak memory, MiB"),
            (
                (name, way["mb_per_second"], min(way["processor_seconds"]), way["peak_mib"])
                for name, way in found["ways"].items()
            ),
        )
        yield f"\nThat is {ratios['of_limit']} of the limit (decode, compress, write, nothing else)"
        yield f"and {ratios['times_ngio']} times ngio."
        yield ""


def _montage() -> Iterator[str]:
    for found in _found("montage.json"):
        yield "## Ingest of wells put together from overlapping fields\n"
        wells = f"{found['wells']} wells of {found['channels']} channels"
        yield f"{_machine(found)}; one process with one thread, {wells}.\n"
        yield from _table(
            ("fields of a well", "image (Y, X)", "MB/s", "peak memory, MiB"),
            ((run["fields"], tuple(run["image"]), run["mb_per_second"], run["peak_mib"]) for run in found["runs"]),
        )
        yield ""


def _found(names: str) -> Iterator[dict[str, Any]]:
    """The results in files with such names."""
    for path in sorted(RESULTS.glob(names)):
        yield json.loads(path.read_text(encoding="utf-8"))


def _table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterator[str]:
    yield f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}"
    for row in rows:
        yield f"| {' | '.join(map(str, row))} |"


def _computing(found: dict[str, Any]) -> str:
    (precision,) = {case["precision"] for case in found["cases"].values()}
    return f"{found['device']}, {precision}"


def _machine(found: dict[str, Any]) -> str:
    about = found["machine"]
    gpu = f", {about['gpu']}" if about["gpu"] else ""
    versions = f"torch {about['software']['torch']}, commit {about['commit']}"
    return f"{about['processor']}, {about['cores']} cores{gpu}, {versions}"
