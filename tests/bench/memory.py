"""Images of any size: peak memory and time from flows in Zarr to labels in Zarr. `make bench-memory`.

Every size runs in a process of its own. The flows are those of a drawn field, repeated; a crop goes through the real
network. Writes `tests/bench/results/memory.json` and the table in `docs/benchmarks.md`.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import zarr

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.document import update_document
from bench.machine import write

from pipeline_lib.flows.blocked import FlowField, label_blocks
from pipeline_lib.flows.blocks import Blocks
from pipeline_lib.flows.masks import MaskSettings
from pipeline_lib.flows.targets import flows_from_labels
from pipeline_lib.io.scratch import scratch_arrays
from pipeline_lib.synthesis import Optics, Population, draw_field

PATTERN = 2048
SIDES = (8192, 16384)
NETWORK_SIDE = 6144
CORE = (1024, 1024)


def main() -> None:
    """Run each size in its own process; write the figures."""
    if len(sys.argv) > 1:
        sys.stdout.write(json.dumps(_one(sys.argv[1], int(sys.argv[2]))))
        return
    runs = [_in_a_process("stored flows", side) for side in SIDES]
    runs.append(_in_a_process("network and all", NETWORK_SIDE))
    growth = round(runs[1]["peak_mib"] / runs[0]["peak_mib"] - 1, 3)
    write("memory", {"runs": runs, "growth_of_peak": growth})
    update_document()


def _in_a_process(what: str, side: int) -> dict[str, Any]:
    done = subprocess.run([sys.executable, __file__, what, str(side)], stdout=subprocess.PIPE, text=True, check=True)
    return dict(json.loads(done.stdout))


def _one(what: str, side: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        objects, seconds = (_stored_flows if what == "stored flows" else _network)(Path(folder), side)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"what": what, "side": side, "objects": objects, "peak_mib": round(peak), "seconds": round(seconds, 1)}


def _stored_flows(folder: Path, side: int) -> tuple[int, float]:
    """Draw flows of about 1,500 nuclei in 2048 x 2048, repeat them on disk, and label them block by block."""
    flow, logit = (_repeated(folder / name, values, side) for name, values in _pattern().items())
    labels = _empty_labels(folder, side)
    started = time.perf_counter()
    with scratch_arrays(folder) as scratch:
        report = label_blocks(FlowField(flow, logit), labels, MaskSettings(), 200, Blocks(CORE, 64, scratch))
    return report.objects, time.perf_counter() - started


def _network(folder: Path, side: int) -> tuple[int, float]:
    """The same from the image on, with the shipped weights."""
    from pipeline_lib.api import ImageSettings, load_network, segment_large

    image = _repeated(folder / "image", _field().image[:1].astype(np.float32), side)
    started = time.perf_counter()
    report = segment_large(load_network(), image, _empty_labels(folder, side), ImageSettings(diameter=28.0))
    return report.objects, time.perf_counter() - started


def _field() -> Any:
    population = Population(cells=1550, nucleus_px=28, clustering=0.1)
    return draw_field((PATTERN, PATTERN), population, Optics(), 0.0, np.random.default_rng(0))


def _pattern() -> dict[str, np.ndarray]:
    """What a good network would say about the drawn nuclei, with some noise."""
    nuclei, rng = _field().nuclei, np.random.default_rng(1)
    flow = flows_from_labels(nuclei) + rng.normal(0, 0.1, (2, *nuclei.shape))
    return {"flow": flow.astype(np.float32), "logit": np.where(nuclei > 0, 4, -4).astype(np.float32)}


def _repeated(place: Path, pattern: np.ndarray, side: int) -> zarr.Array:
    """The pattern side by side until it fills (..., side, side)."""
    leading = pattern.shape[:-2]
    array = zarr.create_array(
        place, shape=(*leading, side, side), chunks=(*[1] * len(leading), *CORE), dtype=pattern.dtype
    )
    for top in range(0, side, PATTERN):
        for left in range(0, side, PATTERN):
            array[..., top : top + PATTERN, left : left + PATTERN] = pattern
    return array


def _empty_labels(folder: Path, side: int) -> zarr.Array:
    return zarr.create_array(folder / "labels", shape=(side, side), chunks=CORE, dtype=np.uint32)


if __name__ == "__main__":
    main()
