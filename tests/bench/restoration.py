"""Restored images against cellpose 3.1.1.2, and memory for large ones. `make bench-restoration`.

Both restore the same image with the same weights, random ones, taking turns; a large plane goes from Zarr to Zarr in a
process of its own. Writes `tests/bench/results/restoration-<device>-<number type>.json` and the table in
`docs/benchmarks.md`. On a machine that others share only ratios within one run mean something.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
import zarr

sys.path.insert(0, str(Path(__file__).parents[1]))
os.environ["CELLPOSE_LOCAL_MODELS_PATH"] = tempfile.mkdtemp()  # the peer makes a folder where it is imported

from bench.document import update_document
from bench.machine import number_type, read, write
from bench.turns import take_turns

from pipeline_lib.api import (
    Restorer,
    RestoreSettings,
    RunSettings,
    load_restorer,
    restore_image,
    restore_large,
    restored_like,
)
from pipeline_lib.nets.flownet import FlowNet
from pipeline_lib.synthesis import Optics, Population, draw_field

SIDE, LARGE = 2048, 16384
PATTERN = 2048  # drawn once, then repeated
WEIGHTS = "denoise_random"
CHUNKS = (1, 1024, 1024)
CASES = {"objects of 30 px, network at full size": 30.0, "objects of 50 px, network at 0.6 of the size": 50.0}


def main() -> None:
    """Measure every case and the large plane, write the figures, bring the document up to date."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="0: only the large plane; other figures stay")
    parser.add_argument("--side", type=int, default=SIDE, help="of the image that both restore")
    parser.add_argument("--large", type=int, default=LARGE, help="side of the plane whose memory is measured; 0: none")
    parser.add_argument("--rows", type=int, help="of that plane, if not as many as columns: a band of it is quicker")
    parser.add_argument("--diameter", type=float, default=30.0, help="of the objects in that plane, in pixels (30)")
    parser.add_argument("--alone", type=Path, help=argparse.SUPPRESS)  # folder: this is the process of the large plane
    asked = parser.parse_args()
    torch.set_num_threads(os.cpu_count() or 1)
    if asked.alone:
        sys.stdout.write(json.dumps(_large(asked.alone, asked.diameter)))
        return
    warnings.filterwarnings("ignore")  # the peer warns of today's numpy and torch
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = _checkpoint(Path(folder))
        used = load_restorer(checkpoint).predict
        kept = read(f"restoration-{used.device.type}-{number_type(used.precision)}")
        cases = {name: _case(checkpoint, diameter, asked) for name, diameter in CASES.items() if asked.rounds}
        shape = (asked.rows or asked.large, asked.large)
        large = _in_a_process(Path(folder), shape, asked.diameter) if asked.large else {}
    device = used.device.type
    compared = {"shape": [asked.side] * 2, "rounds": asked.rounds, "device": device, "cases": cases}
    figures = {**(compared if asked.rounds else kept), "large": {**kept.get("large", {}), **large}}
    write(f"restoration-{device}-{number_type(used.precision)}", figures)
    update_document()


def _checkpoint(folder: Path) -> Path:
    """Random weights, in the official layout."""
    torch.manual_seed(0)
    net, path = FlowNet(1, 1), folder / WEIGHTS
    torch.nn.init.normal_(net.output[2].weight, 0, 0.5)  # so that the image shows in what comes out
    torch.save(net.state_dict(), path)
    return path


def _case(checkpoint: Path, diameter: float, asked: argparse.Namespace) -> dict[str, Any]:
    """Ratio of the times for one image, and how far what comes out differs."""
    from cellpose import denoise

    image, how = _field(asked.side), RestoreSettings(diameter)
    fast, exact = load_restorer(checkpoint), load_restorer(checkpoint, RunSettings(precision="float32"))
    model = denoise.DenoiseModel(pretrained_model=str(checkpoint), device=fast.predict.device)

    def ours(restorer: Restorer = fast) -> np.ndarray:
        return restore_image(restorer, image, how)

    def theirs() -> np.ndarray:
        return np.asarray(model.eval(image, channels=[0, 0], diameter=diameter)).squeeze()

    wanted, found = theirs(), ours()
    return {
        "precision": number_type(fast.predict.precision),
        **take_turns(ours, theirs, asked.rounds),
        "largest difference": {
            "fast": float(np.abs(found - wanted).max()),
            "float32": float(np.abs(ours(exact) - wanted).max()),
        },
    }


def _field(side: int) -> np.ndarray:
    """A drawn image (Y, X), (side, side)."""
    population = Population(cells=side * side / 2800, nucleus_px=28, clustering=0.1)
    field = draw_field((side, side), population, Optics(), 0.0, np.random.default_rng(0))
    return field.image[0].astype(np.float32)


def _in_a_process(folder: Path, shape: tuple[int, int], diameter: float) -> dict[str, dict[str, Any]]:
    """Restore a drawn uint16 plane (1, *shape) in a process of its own, whose memory counts: its name -> figures."""
    image = zarr.create_array(folder / "image", shape=(1, *shape), chunks=CHUNKS, dtype=np.uint16)
    height, width = shape
    pattern = _field(min(width, PATTERN)).astype(np.uint16)
    for top in range(0, height, PATTERN):
        for left in range(0, width, PATTERN):
            rows, columns = slice(top, min(top + PATTERN, height)), slice(left, min(left + PATTERN, width))
            image[0, rows, columns] = pattern[: rows.stop - top, : columns.stop - left]
    command = [sys.executable, __file__, "--alone", str(folder), "--diameter", str(diameter)]
    figures = json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)
    return {f"{height} x {width}, objects of {diameter:g} px": figures}


def _large(folder: Path, diameter: float) -> dict[str, Any]:
    """Peak memory and time from Zarr to Zarr, and the peak before it began: Python, torch and the network."""
    image = zarr.open_array(folder / "image", mode="r")
    restorer, how = load_restorer(folder / WEIGHTS), RestoreSettings(diameter, keep_range=True)
    shape, dtype = restored_like(restorer, image, how)
    target = zarr.create_array(folder / "restored", shape=shape, chunks=CHUNKS, dtype=dtype)
    before, started = _peak_mib(), time.perf_counter()
    restore_large(restorer, image, target, how)
    seconds = time.perf_counter() - started
    return {
        "peak_mib": _peak_mib(),
        "of_it_before_mib": before,
        "seconds": round(seconds, 1),
    }


def _peak_mib() -> int:
    """The most memory this program has held (Linux); `getrusage` would count what its parent held when it forked."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return round(int(line.split()[1]) / 1024)


if __name__ == "__main__":
    main()
