"""Raw plate folders written as microscopes write them: one `Layout` per format.

A new one is a module with a `LAYOUT` and a line in `LAYOUTS`.
"""

from __future__ import annotations

from pipeline_lib.io.layouts.base import Layout, Measurement
from pipeline_lib.io.layouts.pattern import LAYOUT as PATTERN

__all__ = ["LAYOUTS", "Layout", "Measurement"]

LAYOUTS: dict[str, Layout] = {
    "pattern": PATTERN,
}
