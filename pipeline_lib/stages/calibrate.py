"""calibrate: choose, once per plate, what makes its wells comparable: intensity ranges and object diameters.

The choice is kept in `calibration.json`. A well that is repaired and added later is segmented with the same numbers,
so that it changes no other well; `wellpose reset <plate> --stage calibrate` chooses anew.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pipeline_lib.io.commit import sweep
from pipeline_lib.io.plate import fields_of, read_field, read_info, stored_fingerprint
from pipeline_lib.io.records import read_json, write_json
from pipeline_lib.io.weights import checksums, size_checksums
from pipeline_lib.settings import NetworkLabels, SegmentSettings
from pipeline_lib.stages._job import Clock, Job, write_record
from pipeline_lib.stages._plate import committed_of, plate_ranges

log = logging.getLogger("wellpose")


def calibrate(job: Job) -> None:
    """Write `calibration.json`, unless it is there and made with the same settings from the same kind of plate.

    A plate without any committed well has nothing to choose from, and gets none.
    """
    clock = Clock()
    assert isinstance(job.settings, SegmentSettings)
    sweep(job.plate.calibration)
    named = job.settings.labels.weights()
    weights = checksums(named) | size_checksums(named)
    wanted = calibration(job, weights, stored_fingerprint(job.plate.raw))
    kept = read_json(job.plate.calibration)
    wells = committed_of(job)
    if kept.get("fingerprint") != wanted and wells:
        kept = {"fingerprint": wanted, **_choose(job, job.settings, wells)}
        write_json(job.plate.calibration, kept)
    log.info("calibrate %s: ranges %s, diameters %s", job.name, kept.get("ranges"), kept.get("diameters"))
    write_record(job, clock, {**kept, "weights": weights})


def calibration(job: Job, weights: Mapping[str, str], plate: str | None) -> str:
    """The fingerprint the choice should have.

    weights: what -> checksum, of weights and size models; plate: the raw plate's own fingerprint.
    """
    return job.fingerprint(plate=plate, weights=weights)


def _choose(job: Job, settings: SegmentSettings, wells: Sequence[str]) -> dict[str, Any]:
    ranges = None
    if settings.scaling == "plate":
        ranges = plate_ranges(job.plate, wells, settings.labels.channel_names(), settings.percentiles)
    networks = settings.labels.networks()
    given = {name: made.diameter for name, made in networks.items() if made.diameter is not None}
    estimated = {
        name: _estimate(job, settings, made, ranges, wells) for name, made in networks.items() if name not in given
    }
    return {"ranges": ranges, "diameters": given | estimated}


def _estimate(
    job: Job,
    settings: SegmentSettings,
    made: NetworkLabels,
    ranges: dict[str, list[float]] | None,
    wells: Sequence[str],
) -> float:
    """The median object diameter, in pixels, on the first field of a sample of wells spread over the plate."""
    from pipeline_lib.segmentation import estimate_diameter
    from pipeline_lib.stages._network import load_network, mask_settings, network_input

    network = load_network(made, settings)
    chosen = [wells[index] for index in _spread(len(wells), settings.calibration_wells)]
    names = read_info(job.plate.raw).channel_names
    images = [
        network_input(read_field(job.plate.raw, well, fields_of(job.plate.raw, well)[0]), names, made, settings, ranges)
        for well in chosen
    ]
    return round(estimate_diameter(network, images, mask_settings(made)), 2)


def _spread(length: int, count: int) -> list[int]:
    """At most `count` evenly spaced indices below `length`, without the ends, where controls often lie."""
    count = min(length, count)
    return [int(index) for index in np.linspace(0, length, count + 2)[1:-1]] if count else []
