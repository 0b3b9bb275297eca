"""Two results folders of one plate, array by array and table by table."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import zarr
from pandas.testing import assert_frame_equal
from plates import Run

from pipeline_lib.io.commit import is_temporary
from pipeline_lib.io.plate import committed_wells
from pipeline_lib.paths import PlatePaths, well_path

TABLES = ("wells.parquet", "profiles.parquet")
TEXTS = ("zprime.csv", "wells.csv")
KEPT = (".lock",)  # hidden files that belong there
KEY = ("Metadata_Well", "Metadata_Field", "Metadata_Timepoint", "ObjectNumber")  # of a row, as far as a table has them


def differences(found: PlatePaths, expected: PlatePaths) -> list[str]:
    """Everything by which a finished plate is not what it should be."""
    wells, wanted = committed_wells(found.raw), committed_wells(expected.raw)
    faults = [] if wells == wanted else [f"wells {set(wells) ^ set(wanted)} are in one plate only"]
    faults += _unequal_nodes(found.raw, expected.raw)
    names = {path.name for plate in (found, expected) for path in (plate.folder / "cells").iterdir()}
    tables = [*TABLES, *(f"cells/{name}" for name in sorted(names) if name.endswith(".parquet"))]
    faults += [fault for name in tables for fault in _unequal_tables(found.folder / name, expected.folder / name)]
    faults += [f"{name} differs" for name in TEXTS if _text(found.folder / name) != _text(expected.folder / name)]
    return [*faults, *leftovers(found), *repeated_rows(found)]


def torn(found: PlatePaths, expected: PlatePaths) -> list[str]:
    """Whatever is committed in an unfinished plate and is not what it should be."""
    faults = []
    for well in committed_wells(found.raw):
        for node in _nodes(found.raw / well_path(well)):
            path = node.relative_to(found.raw)
            faults += _unequal(found.raw / path, expected.raw / path)
    cells = (found.folder / "cells").glob("[!.]*.parquet")
    return faults + [fault for path in cells for fault in _unequal_tables(path, expected.folder / "cells" / path.name)]


def leftovers(plate: PlatePaths) -> list[str]:
    """Temporary and other hidden things in a results folder."""
    hidden = [path for path in plate.folder.rglob(".*") if path.name not in KEPT]
    return [f"{path.relative_to(plate.folder)} was left behind" for path in hidden]


def repeated_rows(plate: PlatePaths) -> list[str]:
    """Tables that tell of one cell or well twice."""
    faults = []
    for path in [*(plate.folder / "cells").glob("*.parquet"), *(plate.folder / name for name in TABLES)]:
        table = pd.read_parquet(path)
        if table.duplicated([key for key in KEY if key in table]).any():
            faults.append(f"{path.relative_to(plate.folder)} has a row twice")
    return faults


def computed(run: Run) -> Counter[tuple[str, str]]:
    """How often each (stage, well) was computed, by the logs of all jobs of a run, whoever started them."""
    texts = [path.read_text(encoding="utf-8", errors="replace") for path in (run.folder / "slurm").rglob("*.log")]
    done = re.compile(rf"(ingest|segment|measure) {run.plate_name} ([A-Z]+[0-9]+) \(\d+/\d+\) done ")
    return Counter(found for text in texts or [run.told] for found in done.findall(text))


def _unequal_nodes(found: Path, expected: Path) -> list[str]:
    here, there = ({path.relative_to(plate) for path in _nodes(plate)} for plate in (found, expected))
    faults = [f"{path} is in one plate only" for path in sorted(here ^ there)]
    return faults + [fault for path in sorted(here & there) for fault in _unequal(found / path, expected / path)]


def _nodes(group: Path) -> Iterator[Path]:
    """Groups and arrays below a group, and the group; temporary ones are none."""
    paths = (path.parent for path in group.rglob("zarr.json"))
    return (path for path in paths if not any(map(is_temporary, path.parts)))


def _unequal(found: Path, expected: Path) -> Iterable[str]:
    """How a group or an array differs: by its metadata, our own provenance among it, or by its values."""
    here, there = (_metadata(path) for path in (found, expected))
    if here != there:
        yield f"metadata of {found} differ"
    elif here["node_type"] == "array":
        try:
            values = zarr.open_array(found, mode="r")[:]
        except Exception as error:  # any trouble is what is looked for
            yield f"{found} cannot be read: {error}"
            return
        if not np.array_equal(values, zarr.open_array(expected, mode="r")[:]):
            yield f"values of {found} differ"


def _metadata(node: Path) -> dict[str, object]:
    try:
        content: dict[str, object] = json.loads((node / "zarr.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        return {"trouble": repr(error)}
    return content


def _unequal_tables(found: Path, expected: Path) -> list[str]:
    try:
        assert_frame_equal(pd.read_parquet(found), pd.read_parquet(expected), check_exact=True)
    except (AssertionError, OSError) as error:
        return [f"{found.name}: {str(error)[:300]}"]
    return []


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else "missing"
