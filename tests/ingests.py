"""The plates of a sheet taken as far as ingest by the stages themselves, and what then lies in them, for tests."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from pipeline_lib.io.manifests import write_manifest
from pipeline_lib.io.vendors import scan_plate
from pipeline_lib.paths import PlatePaths
from pipeline_lib.settings import IngestSettings
from pipeline_lib.stages._job import Job
from pipeline_lib.stages.complete import complete
from pipeline_lib.stages.ingest import ingest
from pipeline_lib.stages.skeleton import skeleton
from pipeline_lib.workflow import Plate, load_workflow

Arrays = Mapping[str, NDArray[np.generic]]
"""Path of an array in its plate -> all it holds."""


def planned(folder: Path, **ingest: object) -> list[Plate]:
    """The plates of a folder's sheet, read as the Snakefile does. ingest: settings of that section."""
    places = {"plates": str(folder / "plates.tsv"), "results": str(folder / "results")}
    return list(load_workflow({**places, "ingest": ingest}).plates.values())


def ingested(plate: Plate) -> PlatePaths:
    """A plate of a sheet as OME-Zarr."""
    return take(plate.paths, plate.settings.ingest, plate.wells)


def ingested_folder(results: Path, raw: Path, format: str, settings: IngestSettings) -> PlatePaths:  # noqa: A002
    """A raw folder as OME-Zarr, whatever its channels are called."""
    paths = PlatePaths(results / "P1")
    manifest = scan_plate("P1", raw, format, settings.pattern)
    write_manifest(manifest, paths.manifest)
    return take(paths, settings, (*manifest.wells, *manifest.missing))


def take(paths: PlatePaths, settings: IngestSettings, wells: tuple[str, ...]) -> PlatePaths:
    """A plate with a manifest, taken to OME-Zarr with all its wells in one batch."""
    skeleton(Job("skeleton", paths, settings, paths.record("skeleton", "plate")))
    ingest(Job("ingest", paths, settings, paths.record("ingest", "all"), wells))
    complete(Job("complete", paths, settings, paths.record("complete", "plate"), wells))
    return paths


def arrays(store: Path) -> Arrays:
    """Every array of a plate: all levels of all fields, and histograms."""
    found = (path.parent for path in store.rglob("zarr.json") if _content(path)["node_type"] == "array")
    return {path.relative_to(store).as_posix(): np.asarray(zarr.open_array(path, mode="r")[:]) for path in found}


def assert_same(found: Arrays, wanted: Arrays) -> None:
    """The same arrays, of the same number types."""
    assert set(found) == set(wanted)
    for path, array in wanted.items():
        np.testing.assert_array_equal(found[path], array, strict=True, err_msg=path)


def _content(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content
