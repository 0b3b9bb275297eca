"""The plate report: well thumbnails and one HTML page that opens offline."""

from __future__ import annotations

from pipeline_lib.reporting.render import LightEntry, ReportData, WellEntry, render_report
from pipeline_lib.reporting.thumbnails import OUTLINE_COLOURS, encode_webp, grey_picture, thumbnail

__all__ = [
    "OUTLINE_COLOURS", "LightEntry", "ReportData", "WellEntry", "encode_webp", "grey_picture", "render_report",
    "thumbnail",
]  # fmt: skip
