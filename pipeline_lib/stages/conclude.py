"""conclude: the restored plate lists exactly its committed wells; those that are temporary are deleted.

Groups and `restoration.json` stay: from them the fingerprints of what was made from deleted images can be told, and a
stage that needs the images again gets them.
"""

from __future__ import annotations

import logging

from pipeline_lib.io.commit import discard, sweep_folder
from pipeline_lib.io.plate import committed_wells, list_wells
from pipeline_lib.settings import RestoreSettings
from pipeline_lib.stages._folders import deleted_wells
from pipeline_lib.stages._job import Clock, Job, write_record

log = logging.getLogger("wellpose")


def conclude(job: Job) -> None:
    """List the restored ones of the plate's wells, or delete them all; what killed jobs left beside them goes."""
    clock = Clock()
    assert isinstance(job.settings, RestoreSettings)
    plate = job.plate.restored
    for row in plate.glob("[A-Z]*"):
        sweep_folder(row)
    there = committed_wells(plate)
    listed = [well for well in there if well in set(job.wells)] if job.settings.keep is True else []
    if plate.exists():
        list_wells(plate, listed)
    for well in there if job.settings.keep == "temporary" else ():
        discard(job.plate.restored_well(well))
    deleted = sorted({*there, *deleted_wells(job.plate)} - {*committed_wells(plate)})
    log.info("conclude %s: %d restored wells listed, %d deleted", job.name, len(listed), len(deleted))
    write_record(job, clock, {"committed": listed, "deleted": deleted})
