"""The GPUs of this machine: how many there are, and which of them a job may take.

Under SLURM a job sees its own GPUs only. Without it, jobs that run side by side on one machine agree by locks: each
takes the first GPU that no other has. Standard library only: the Snakefile asks too.
"""

from __future__ import annotations

import logging
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from pipeline_lib.io.locks import Taken, hold

VISIBLE = "CUDA_VISIBLE_DEVICES"
LOOK = 2.0  # seconds between two looks for a free GPU

log = logging.getLogger("wellpose")


def visible_gpus() -> list[str]:
    """The GPUs this process may use, by the names CUDA knows them by."""
    if VISIBLE in os.environ:
        return [name for name in os.environ[VISIBLE].split(",") if name.strip() and name != "-1"]
    nodes = [path.name.removeprefix("nvidia") for path in Path("/dev").glob("nvidia[0-9]*")]
    return sorted(nodes, key=int)


def take_gpu(names: Sequence[str], folder: Path | None = None) -> tuple[str, TextIO]:
    """One of several GPUs for this process, and the lock that holds it while it stays open; waits until one is free.

    folder: where the locks lie, the same for all jobs of a user on a machine; others could not open them.
    """
    folder = folder or Path(tempfile.gettempdir()) / f"wellpose-gpus-{os.getuid()}"
    folder.mkdir(exist_ok=True)
    waiting = False
    while True:
        for name in names:
            try:
                return name, hold(folder / f"{name.strip().replace('/', '_')}.lock")
            except Taken:
                continue
        if not waiting:
            log.info("all of the GPUs %s are taken by other jobs; waiting", ", ".join(names))
            waiting = True
        time.sleep(LOOK)
