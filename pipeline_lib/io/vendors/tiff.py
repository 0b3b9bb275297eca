"""Metadata of one TIFF file: MetaSeries or OME XML, ImageJ text, or the plain resolution tags, in this order."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from xml.etree import ElementTree

from pipeline_lib.io.pixel_sizes import COARSEST, MICROMETRES, TAG_UNITS
from pipeline_lib.io.vendors.base import ImageInfo

if TYPE_CHECKING:
    import tifffile


class Facts(NamedTuple):
    """What one kind of metadata tells; see `ImageInfo` for units."""

    pixel_size: float | None = None
    stage_position: tuple[float, float] | None = None
    wavelength: float | None = None
    channel_name: str | None = None


def describe(path: Path) -> ImageInfo:
    """The metadata of one TIFF file.

    Raises:
        UnreadableImage: See `pipeline_lib.io.images.read_planes`.
    """
    from pipeline_lib.io.images import checked_pages, open_tiff  # heavy, and not needed to scan names

    with open_tiff(path) as tif:
        pages = checked_pages(tif)
        facts = _facts(tif, pages[0])
        height, width = pages[0].shape
        return ImageInfo(
            shape=(len(pages), height, width),
            dtype=str(pages[0].dtype),
            bit_depth=pages[0].bitspersample,
            pixel_size=facts.pixel_size,
            stage_position=facts.stage_position,
            wavelength=facts.wavelength,
            channel_name=facts.channel_name,
        )


def _facts(tif: tifffile.TiffFile, page: tifffile.TiffPage) -> Facts:
    """From the richest kind of metadata the file has."""
    description = page.description
    if tif.is_ome:
        return ome(description)
    if "<MetaData>" in description[:200]:
        return metaseries(description)
    if tif.imagej_metadata:
        return Facts(pixel_size=_tag_pixel_size(page, str(tif.imagej_metadata.get("unit", ""))))
    size = _tag_pixel_size(page, TAG_UNITS.get(page.resolutionunit, ""))
    return Facts(pixel_size=size if size and size <= COARSEST else None)


def metaseries(xml: str) -> Facts:
    """The properties MetaMorph and MetaXpress write: `<prop id="..." value="..."/>`."""
    root = _parse(xml)
    if root is None:
        return Facts()
    values = {prop.get("id", ""): prop.get("value", "") for prop in root.iter("prop")}
    calibrated = values.get("spatial-calibration-state", "on") == "on"
    unit = values.get("spatial-calibration-units", "") if calibrated else ""
    return Facts(
        pixel_size=_square(
            _length(values.get("spatial-calibration-y"), unit), _length(values.get("spatial-calibration-x"), unit)
        ),
        stage_position=_position(_number(values.get("stage-position-y")), _number(values.get("stage-position-x"))),
        wavelength=_number(values.get("wavelength")) or None,
        channel_name=values.get("_IllumSetting_") or values.get("image-name") or None,
    )


def ome(xml: str) -> Facts:
    """The first image of an OME-XML description: its first channel and first plane."""
    root = _parse(xml)
    pixels = None if root is None else root.find(".//{*}Pixels")
    if pixels is None:
        return Facts()
    channel, plane = pixels.find("{*}Channel"), pixels.find("{*}Plane")
    name = {} if channel is None else channel.attrib
    place = {} if plane is None else plane.attrib
    wavelength = _ome_length(name, "EmissionWavelength", "nm")
    return Facts(
        pixel_size=_square(_ome_length(pixels.attrib, "PhysicalSizeY"), _ome_length(pixels.attrib, "PhysicalSizeX")),
        stage_position=_position(_ome_length(place, "PositionY"), _ome_length(place, "PositionX")),
        wavelength=wavelength and wavelength * 1000,
        channel_name=name.get("Name") or None,
    )


def _ome_length(attributes: Mapping[str, str], key: str, unit: str = "µm") -> float | None:
    """In micrometres; `unit` is what OME assumes where the attribute has none. Reference frames have no length."""
    return _length(attributes.get(key), attributes.get(f"{key}Unit", unit))


def _parse(xml: str) -> ElementTree.Element | None:
    """The root of a description, None where it is damaged: an image is worth more than its metadata."""
    try:
        return ElementTree.fromstring(xml.strip("\0 \r\n"))
    except ElementTree.ParseError:
        return None


def _tag_pixel_size(page: tifffile.TiffPage, unit: str) -> float | None:
    """From the resolution tags, which count pixels per `unit`."""
    sizes = []
    for tag in ("YResolution", "XResolution"):
        pixels, units = page.tags.valueof(tag, (0, 0))
        sizes.append(_length(str(units / pixels), unit) if pixels and units else None)
    return _square(*sizes)


def _square(y: float | None, x: float | None) -> float | None:
    """The one pixel size, None where the two directions differ or one is not known."""
    return x if x and y and abs(x - y) <= 1e-3 * x else None


def _position(y: float | None, x: float | None) -> tuple[float, float] | None:
    return None if y is None or x is None else (y, x)


def _length(text: str | None, unit: str) -> float | None:
    """In micrometres; None without a number or a known physical unit."""
    number, scale = _number(text), MICROMETRES.get(unit.lower())
    return None if number is None or scale is None else number * scale


def _number(text: str | None) -> float | None:
    try:
        return float(text or "")
    except ValueError:
        return None
