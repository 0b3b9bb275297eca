"""complete: make the plate's well list exactly the committed wells, so that a plate with holes is valid too."""

from __future__ import annotations

import logging

from pipeline_lib.io.plate import committed_wells, list_wells
from pipeline_lib.stages._job import Clock, Job, write_record

log = logging.getLogger("wellpose")


def complete(job: Job) -> None:
    """List the committed wells in the plate's metadata."""
    clock = Clock()
    wells = committed_wells(job.plate.raw)
    list_wells(job.plate.raw, wells)
    log.info("complete %s: %d wells committed", job.name, len(wells))
    write_record(job, clock, {"committed": wells})
