"""prepare: what must hold for all restored wells of a plate: groups, intensity ranges, object diameters, size.

The choice is kept in `restoration.json`: a well that is repaired and added later changes no other well.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from pipeline_lib.io.commit import sweep
from pipeline_lib.io.ngff import PlateInfo
from pipeline_lib.io.plate import create_plate, read_info, stored_fingerprint
from pipeline_lib.io.records import read_json, write_json
from pipeline_lib.io.weights import checksums, find_weights, load_weights
from pipeline_lib.settings import RestoreSettings
from pipeline_lib.stages._job import Clock, Job, write_record
from pipeline_lib.stages._plate import committed_of, plate_ranges

log = logging.getLogger("wellpose")


def prepare(job: Job) -> None:
    """Write `restoration.json`, unless it is there and of the same making, and the groups of the restored plate."""
    clock = Clock()
    assert isinstance(job.settings, RestoreSettings)
    sweep(job.plate.restoration)
    weights = checksums(job.settings.weights())
    kept = read_json(job.plate.restoration)
    if wells := committed_of(job):
        wanted = preparation(job, job.settings, weights, stored_fingerprint(job.plate.raw))
        if kept.get("fingerprint") != wanted:
            kept = {"fingerprint": wanted, **_choose(job, job.settings, wells)}
            write_json(job.plate.restoration, kept)
        create_plate(job.plate.restored, enlarged(read_info(job.plate.raw), kept["ratio"]), wanted)
    log.info("prepare %s: ranges %s, diameters %s", job.name, kept.get("ranges"), kept.get("diameters"))
    write_record(job, clock, {**kept, "weights": weights})


def preparation(job: Job, settings: RestoreSettings, weights: Mapping[str, str], plate: str | None) -> str:
    """The fingerprint the choice should have. weights: channel -> checksum; plate: the raw plate's own fingerprint."""
    return job.fingerprint(plate=plate, weights=weights, diameters=_told_diameters(job, settings))


def enlarged(info: PlateInfo, ratio: float) -> PlateInfo:
    """What holds for a plate whose images have `ratio` times as many pixels along each side, rounded down."""
    height, width = (int(length * ratio) for length in info.shape)
    return replace(info, shape=(height, width), pixel_size=info.pixel_size and info.pixel_size / ratio)


def _told_diameters(job: Job, settings: RestoreSettings) -> dict[str, float | None]:
    """Channel -> object diameter in pixels, as given or as the plate's; None: the network's own."""
    of_labels = read_json(job.plate.calibration).get("diameters", {})
    return {
        name: of_labels.get(made.diameter) if isinstance(made.diameter, str) else made.diameter
        for name, made in settings.channels.items()
        if made.network
    }


def _choose(job: Job, settings: RestoreSettings, wells: Sequence[str]) -> dict[str, Any]:
    at_work = {name: load_weights(find_weights(weights)).diam_mean for name, weights in settings.weights().items()}
    diameters = {name: told or at_work[name] for name, told in _told_diameters(job, settings).items()}
    ratios = [at_work[name] / diameters[name] for name in at_work if settings.channels[name].kind == "upsample"]
    ranges = None
    if settings.scaling == "plate":
        ranges = plate_ranges(job.plate, wells, settings.weights(), settings.percentiles)
    return {"ranges": ranges, "diameters": diameters, "ratio": max([1.0, *ratios])}
