"""The plate report: well thumbnails and one HTML page that opens offline."""

from __future__ import annotations

from pipeline_lib.reporting.render import ReportData, WellEntry, render_report
from pipeline_lib.reporting.thumbnails import OUTLINE_COLOURS, encode_webp, thumbnail

__all__ = ["OUTLINE_COLOURS", "ReportData", "WellEntry", "encode_webp", "render_report", "thumbnail"]
