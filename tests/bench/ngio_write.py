"""The plate of `tests/bench/ingest.py` written as ngio's documents show it: one `create_ome_zarr_from_array` per field.

Runs in the Python of envs/ngio.txt and knows nothing of ours. All is left as ngio chooses it (levels, chunks, codec,
display window); only the NGFF version is the one we write.
"""

from __future__ import annotations

import argparse
import json
import warnings
from pathlib import Path

import numpy as np
import tifffile
from ngio import create_empty_plate, create_ome_zarr_from_array


def main() -> None:
    """Decode and write, field by field."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("plan", type=Path, help="what `ingest.py` says of the plate")
    parser.add_argument("plate", type=Path, help="OME-Zarr plate to be written")
    parser.add_argument("wells", nargs="+", help="such as A/01")
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    plan = json.loads(asked.plan.read_text(encoding="utf-8"))
    plate = create_empty_plate(asked.plate, name="bench", ngff_version="0.5", overwrite=True)
    for field in plan["fields"]:
        if f"{field['row']}/{field['column']}" not in asked.wells:
            continue
        image = np.stack([tifffile.imread(path) for path in field["files"]])
        place = plate.add_image(row=field["row"], column=field["column"], image_path=str(field["field"]))
        create_ome_zarr_from_array(
            asked.plate / place,
            image,
            pixelsize=plan["pixel_size"],
            axes_names="cyx",
            channels_meta=plan["channels"],
            ngff_version="0.5",
            overwrite=True,
        )


if __name__ == "__main__":
    main()
