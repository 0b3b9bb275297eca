"""complete: make the plate's well list exactly the committed wells, so that a plate with holes is valid too."""

from __future__ import annotations

import logging

from pipeline_lib.io.plate import committed_wells, list_wells
from pipeline_lib.stages._job import Clock, Job, write_record

log = logging.getLogger("wellpose")


def complete(job: Job) -> None:
    """List the committed ones of the plate's wells in its metadata."""
    clock = Clock()
    wells = [well for well in committed_wells(job.plate.raw) if well in set(job.wells)]
    list_wells(job.plate.raw, wells)
    log.info("complete %s: %d wells committed", job.name, len(wells))
    write_record(job, clock, {"committed": wells})
