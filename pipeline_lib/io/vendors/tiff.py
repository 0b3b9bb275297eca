"""Metadata of one TIFF file: MetaSeries or OME XML, ImageJ text, or the plain resolution tags, in this order."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from xml.etree import ElementTree

from pipeline_lib.io.pixel_sizes import COARSEST, MICROMETRES, TAG_UNITS
from pipeline_lib.io.vendors.base import ImageInfo

if TYPE_CHECKING:
    import tifffile


_MILLISECONDS = {"us": 1e-3, "µs": 1e-3, "ms": 1.0, "s": 1e3, "sec": 1e3}
_EXPOSURE = re.compile(rf"([0-9]{{1,9}}(?:\.[0-9]+)?) *({'|'.join(_MILLISECONDS)})\b")


class Facts(NamedTuple):
    """What one kind of metadata tells: the fields of `ImageInfo` of the same names."""

    pixel_size: float | None = None
    stage_position: tuple[float, float] | None = None
    wavelength: float | None = None
    channel_name: str | None = None
    exposure_ms: float | None = None
    magnification: float | None = None
    numerical_aperture: float | None = None
    z_position: float | None = None
    z_step: float | None = None
    acquired: str | None = None
    instrument: str | None = None


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
            **facts._asdict(),
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
    """The properties MetaMorph and MetaXpress write: `<prop id="..." value="..."/>`, and `<custom-prop>` alike.

    `stage-position-x` and `-y` (micrometres) grow to the right and downwards in the image, as they do on the plate seen
    from above: in real plates y grows with the row of the well and x with its column, neighbouring sites join at the
    edges this says, and a well's wall is seen as its upper arc at the smaller y. `wavelength` is the emission. The
    exposure is a line of the `Description`, "Exposure: 15 ms". `_MagSetting_` is the objective's name, "20X Plan Apo".
    `Z Projection Step Size` is the distance of planes: each projection has it, and most planes of a stack.
    """
    root = _parse(xml)
    if root is None:
        return Facts()
    values = {prop.get("id", ""): prop.get("value", "") for prop in root.iter("prop")}
    custom = {prop.get("id", ""): prop.get("value", "") for prop in root.iter("custom-prop")}
    calibrated = values.get("spatial-calibration-state", "on") == "on"
    unit = values.get("spatial-calibration-units", "") if calibrated else ""
    return Facts(
        pixel_size=_square(
            _length(values.get("spatial-calibration-y"), unit), _length(values.get("spatial-calibration-x"), unit)
        ),
        stage_position=_position(_number(values.get("stage-position-y")), _number(values.get("stage-position-x"))),
        wavelength=_positive(values.get("wavelength")),
        channel_name=values.get("_IllumSetting_") or values.get("image-name") or None,
        exposure_ms=_exposure(values.get("Description", ""), custom.get("Exposure Time", "")),
        magnification=_magnification(values.get("_MagSetting_", "")),
        numerical_aperture=_positive(values.get("_MagNA_")),
        z_position=_number(values.get("z-position")),
        z_step=_positive(custom.get("Z Projection Step Size")),
        acquired=_iso_time(values.get("acquisition-time-local", "")),
        instrument=custom.get("Instrument Serial Number") or None,
    )


def _exposure(description: str, alone: str) -> float | None:
    """In milliseconds: from the line of a description, else from a property of its own."""
    lines = [line.strip() for line in description.splitlines()]
    told = [line.removeprefix("Exposure:").strip() for line in lines if line.startswith("Exposure:")]
    match = next(filter(None, map(_EXPOSURE.match, [*told, alone.strip()])), None)
    time = _positive(match[1]) if match else None
    return round(time * _MILLISECONDS[match[2]], 9) if match and time else None


def _magnification(objective: str) -> float | None:
    """From the name of an objective, "20X Plan Apo Lambda"."""
    match = re.match(r"\s*([0-9]+(?:\.[0-9]+)?) *[xX]\b", objective)
    return _positive(match[1]) if match else None


def _iso_time(text: str) -> str | None:
    """ISO 8601 from "20230221 10:41:58.061", the microscope's local time; no zone is told."""
    for form in ("%Y%m%d %H:%M:%S.%f", "%Y%m%d %H:%M:%S"):
        try:
            return datetime.strptime(text.strip(), form).isoformat(timespec="milliseconds")
        except ValueError:
            continue
    return None


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
    """The root of a description, None where it is damaged: an image is worth more than its metadata.

    None too with a document type, by which a few bytes could grow to gigabytes.
    """
    if "<!DOCTYPE" in xml:
        return None
    try:
        return ElementTree.fromstring(xml.strip("\0 \r\n"))
    except (ElementTree.ParseError, ValueError):  # ValueError: text that is no Unicode
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
    """A finite number."""
    try:
        number = float(text or "")
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _positive(text: str | None) -> float | None:
    number = _number(text)
    return number if number is not None and number > 0 else None
