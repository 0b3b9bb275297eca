"""complete: make the plate's well list exactly the committed wells, so that a plate with holes is valid too."""

from __future__ import annotations

import logging

from pipeline_lib.io.commit import sweep_folder
from pipeline_lib.io.plate import list_wells
from pipeline_lib.stages._job import Clock, Job, write_record
from pipeline_lib.stages._plate import committed_of

log = logging.getLogger("wellpose")


def complete(job: Job) -> None:
    """List the committed ones of the plate's wells in its metadata; what killed jobs left beside them goes."""
    clock = Clock()
    for row in job.plate.raw.iterdir():
        sweep_folder(row)
    wells = committed_of(job)
    list_wells(job.plate.raw, wells)
    log.info("complete %s: %d wells committed", job.name, len(wells))
    write_record(job, clock, {"committed": wells})
