"""complete: make the plate's well list exactly the committed wells, so that a plate with holes is valid too.

`fields.csv` tells where each field lies: on the stage, and in the image of its well, where fields make one.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd

from pipeline_lib.io.commit import sweep_folder
from pipeline_lib.io.plate import OURS, list_wells, read_attributes
from pipeline_lib.io.tables import write_csv
from pipeline_lib.paths import PlatePaths
from pipeline_lib.stages._job import Clock, Job, write_record
from pipeline_lib.stages._plate import committed_of

FIELD_COLUMNS = ("well", "field", "stage_y_um", "stage_x_um", "y", "x", "told_y", "told_x", "corner_y", "corner_x")

log = logging.getLogger("wellpose")


def complete(job: Job) -> None:
    """List the committed ones of the plate's wells in its metadata; what killed jobs left beside them goes."""
    clock = Clock()
    for row in job.plate.raw.iterdir():
        sweep_folder(row)
    wells = committed_of(job)
    list_wells(job.plate.raw, wells)
    write_csv(pd.DataFrame(_fields(job.plate, wells), columns=list(FIELD_COLUMNS)), job.plate.fields)
    log.info("complete %s: %d wells committed", job.name, len(wells))
    write_record(job, clock, {"committed": wells})


def _fields(plate: PlatePaths, wells: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    """Rows of `fields.csv`: micrometres on the stage; pixels of the well's image, found, told, and used."""
    nowhere = (None, None)
    for well in wells:
        for field in read_attributes(plate.raw_well(well)).get(OURS, {}).get("fields", ()):
            places = (field.get(name) or nowhere for name in ("stage_position_um", "place", "told", "corner"))
            yield (well, field["field"], *(number for place in places for number in place))
