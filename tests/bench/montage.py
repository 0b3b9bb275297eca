"""Wells put together from ever more fields: peak memory and speed of one ingest job. `make bench-montage`.

The fields of a well are cut from one picture, which repeats itself every 4,096 pixels, and overlap by a tenth. Writes
`tests/bench/results/montage.json`; exits with 1 where the memory exceeds the bar.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.document import update_document
from bench.ingest import (
    BARS,
    PIXEL_SIZE,
    camera_images,
    decoded_megabytes,
    loaded,
    measurement,
    side_by_side,
    stage_command,
)
from bench.machine import write

from pipeline_lib.io.layouts import LAYOUTS, Measurement
from pipeline_lib.io.plate import read_info
from pipeline_lib.paths import WHOLE_PLATE

PERIOD = 4096
OVERLAP = 0.1


def main() -> None:
    """One plate after the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fields", type=int, nargs="+", default=[3, 6, 10], help="of a well, each way")
    parser.add_argument("--wells", type=int, default=3)
    parser.add_argument("--channels", type=int, default=2)
    parser.add_argument("--side", type=int, default=2160, help="pixels of a field, each way")
    parser.add_argument("--folder", type=Path, help="where the plates are written for the time of the run")
    asked = parser.parse_args()
    runs = []
    for count in asked.fields:
        with tempfile.TemporaryDirectory(dir=asked.folder) as name:
            runs.append(measured(Path(name), asked, count))
    peak = max(run["peak_mib"] for run in runs)
    write("montage", {"wells": asked.wells, "channels": asked.channels, "runs": runs, "bar_mib": BARS["peak_mib"]})
    update_document()
    if peak > BARS["peak_mib"]:
        sys.exit(f"bar not met: {peak} MiB, the bar {BARS['peak_mib']}")


def measured(folder: Path, asked: argparse.Namespace, count: int) -> dict[str, Any]:
    """What wells of count x count fields cost."""
    step = round(asked.side * (1 - OVERLAP))
    places = [(row * step, column * step) for row, column in product(range(count), repeat=2)]
    plate = measurement(asked, tuple((y * PIXEL_SIZE, x * PIXEL_SIZE) for y, x in places))
    draw(folder / "raw", plate, places)
    ours = loaded(folder, "operetta", fields="montage")
    side_by_side([stage_command(ours, "skeleton", WHOLE_PLATE)], 0)
    megabytes = decoded_megabytes(plate, plate.wells)
    ran = side_by_side([[*stage_command(ours, "ingest", "0"), "--wells", ",".join(plate.wells)]], megabytes)
    return {
        "fields": len(places),
        "image": read_info(ours.paths.raw).shape,
        "raw_mb": round(megabytes),
        "mb_per_second": round(megabytes / ran.seconds, 1),
        "peak_mib": ran.peak_mib,
    }


def draw(raw: Path, plate: Measurement, places: list[tuple[int, int]]) -> None:
    """The fields of every well, the same in all of them."""
    [picture] = camera_images((1, len(plate.channels), 1, PERIOD, PERIOD), 1)
    layout, side = LAYOUTS["operetta"], plate.shape[-1]
    for field, (y, x) in enumerate(places):
        image = np.roll(picture, (-y, -x), axis=(3, 4))[..., :side, :side]
        for well in plate.wells:
            layout.write_field(raw, plate, well, field, image)
    layout.write_index(raw, plate)


if __name__ == "__main__":
    main()
