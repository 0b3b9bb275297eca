"""Raw plate folders written as microscopes write them: one `Layout` per format.

A new one is a module with a `LAYOUT` and a line in `LAYOUTS`.
"""

from __future__ import annotations

from pipeline_lib.io.layouts.base import Layout, Measurement
from pipeline_lib.io.layouts.cellinsight import LAYOUT as CELLINSIGHT
from pipeline_lib.io.layouts.cellvoyager import LAYOUT as CELLVOYAGER
from pipeline_lib.io.layouts.imagexpress import EXPORT as IMAGEXPRESS_EXPORT
from pipeline_lib.io.layouts.imagexpress import LAYOUT as IMAGEXPRESS
from pipeline_lib.io.layouts.incell import LAYOUT as INCELL
from pipeline_lib.io.layouts.ngff import LAYOUT as NGFF
from pipeline_lib.io.layouts.ome_tiff import LAYOUT as OME_TIFF
from pipeline_lib.io.layouts.operetta import LAYOUT as OPERETTA
from pipeline_lib.io.layouts.pattern import LAYOUT as PATTERN
from pipeline_lib.io.layouts.scanr import LAYOUT as SCANR

__all__ = ["LAYOUTS", "Layout", "Measurement"]

LAYOUTS: dict[str, Layout] = {
    "cellinsight": CELLINSIGHT,
    "cellvoyager": CELLVOYAGER,
    "imagexpress": IMAGEXPRESS,
    "imagexpress_export": IMAGEXPRESS_EXPORT,
    "incell": INCELL,
    "ngff": NGFF,
    "ome-tiff": OME_TIFF,
    "operetta": OPERETTA,
    "pattern": PATTERN,
    "scanr": SCANR,
}
