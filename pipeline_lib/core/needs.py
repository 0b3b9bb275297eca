"""What a job of each stage needs of the machine: the rules ask for it, and grow it with every try."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Need:
    """Of one job.

    memory: MB. minutes: time limit. gpu: whether it runs a network. seconds_per_field: how long its work takes, guessed
    for fields of some megapixels, until a job has told.
    """

    memory: int
    minutes: int
    threads: int = 1
    gpu: bool = False
    seconds_per_field: float = 0.1


NEEDS = {
    "skeleton": Need(2000, 30),
    "illuminate": Need(2000, 60),
    "ingest": Need(3000, 60, seconds_per_field=1.5),
    "complete": Need(1000, 10),
    "calibrate": Need(4000, 30, threads=4, gpu=True),
    "prepare": Need(3000, 30),
    "restore": Need(6000, 120, threads=4, gpu=True, seconds_per_field=3.0),
    "segment": Need(6000, 120, threads=4, gpu=True, seconds_per_field=3.0),
    "measure": Need(3000, 120, seconds_per_field=5.0),
    "aggregate": Need(3000, 30),
    "report": Need(3000, 30),
    "conclude": Need(1000, 10),
}

TRAINING = Need(16000, 600, threads=8, gpu=True)  # belongs to no plate
