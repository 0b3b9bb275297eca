"""How large the pixels of an image file are, in micrometres, as far as its metadata tell."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

if TYPE_CHECKING:
    import tifffile

MICROMETRES = {
    **dict.fromkeys(("um", "µm", "μm", "\\u00b5m", "micron", "microns", "micrometer", "micrometre"), 1.0),
    **dict.fromkeys(("nm", "nanometer"), 1e-3),
    **dict.fromkeys(("mm", "millimeter"), 1e3),
    **dict.fromkeys(("cm", "centimeter"), 1e4),
    **dict.fromkeys(("m", "meter"), 1e6),
    **dict.fromkeys(("å", "angstrom"), 1e-4),
    "inch": 25400.0,
}
TAG_UNITS = {2: "inch", 3: "cm"}
COARSEST = 5.0  # µm. Plain tags above hold a printing resolution (72 dpi) or the pitch of the camera's own pixels


@dataclass(frozen=True)
class PixelSize:
    """In micrometres; None where nobody knows it. z: from plane to plane."""

    y: float | None = None
    x: float | None = None
    z: float | None = None


UNKNOWN = PixelSize()


def size_in_tiff(tif: tifffile.TiffFile) -> PixelSize:
    """From OME XML, ImageJ's text, or the plain resolution tags, in this order. What is damaged tells nothing."""
    page = tif.pages.first
    if tif.ome_metadata:
        return _size_in_ome(tif.ome_metadata)
    if tif.imagej_metadata:
        unit = str(tif.imagej_metadata.get("unit", ""))
        z = _length(tif.imagej_metadata.get("spacing"), unit)
        return PixelSize(_tag_size(page, "YResolution", unit), _tag_size(page, "XResolution", unit), z)
    unit = TAG_UNITS.get(page.resolutionunit, "")
    y, x = (_tag_size(page, tag, unit) for tag in ("YResolution", "XResolution"))
    return PixelSize(y, x) if max(y or 0, x or 0) <= COARSEST else UNKNOWN


def size_in_zarr(image: Mapping[str, Any]) -> PixelSize:
    """Of the finest level of an OME-Zarr image, one of the `multiscales`: its scales, where its axes have units."""
    axes = [axis if isinstance(axis, dict) else {} for axis in image.get("axes", ())]
    scale = [1.0] * len(axes)
    for described in (image["datasets"][0], image):
        for change in described.get("coordinateTransformations", ()):
            if change.get("type") == "scale" and len(change.get("scale", ())) == len(scale):
                scale = [before * step for before, step in zip(scale, change["scale"], strict=True)]
    sizes = {axis.get("name"): _length(step, axis.get("unit")) for axis, step in zip(axes, scale, strict=True)}
    return PixelSize(sizes.get("y"), sizes.get("x"), sizes.get("z"))


def _size_in_ome(xml: str) -> PixelSize:
    """Of the first image; lengths without a unit are micrometres."""
    try:
        pixels = ElementTree.fromstring(xml).find(".//{*}Pixels")
    except ElementTree.ParseError:
        return UNKNOWN
    told = {} if pixels is None else pixels.attrib
    names: Sequence[str] = [f"PhysicalSize{axis}" for axis in "YXZ"]
    return PixelSize(*(_length(told.get(name), told.get(f"{name}Unit", "µm")) for name in names))


def _tag_size(page: tifffile.TiffPage, tag: str, unit: str) -> float | None:
    """From a resolution tag, which counts pixels per `unit`."""
    pixels, units = page.tags.valueof(tag, (0, 0))
    return _length(units / pixels, unit) if pixels else None


def _length(told: Any, unit: Any) -> float | None:
    """In micrometres; None without a positive number or a known physical unit."""
    try:
        length = float(told) * MICROMETRES[str(unit).lower()]
    except (TypeError, ValueError, KeyError):
        return None
    return length if math.isfinite(length) and length > 0 else None
