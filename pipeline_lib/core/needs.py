"""What a job of each stage needs of the machine: the rules ask for it, and grow it with every try."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Need:
    """Of one job. memory: MB; minutes: time limit; gpu: whether it runs a network."""

    memory: int
    minutes: int
    threads: int = 1
    gpu: bool = False

    def on_try(self, attempt: int) -> Need:
        """More memory and time for the second and later tries (counted from 1)."""
        return Need(self.memory * attempt, self.minutes * attempt, self.threads, self.gpu)


NEEDS = {
    "skeleton": Need(2000, 30),
    "ingest": Need(3000, 60),
    "complete": Need(1000, 10),
    "calibrate": Need(4000, 30, threads=4, gpu=True),
    "segment": Need(6000, 120, threads=4, gpu=True),
    "measure": Need(3000, 120),
    "aggregate": Need(3000, 30),
    "report": Need(3000, 30),
}
