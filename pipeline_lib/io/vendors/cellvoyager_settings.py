"""What lies beside the index of a Yokogawa CellVoyager: `.mrf`, `.mes`, `.wpp` and the images of bright and dark field.

Standard library only. See `cellvoyager` for what is known of the format.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import TypeVar
from xml.etree import ElementTree

from pipeline_lib.core.manifest import ChannelFacts, Profile
from pipeline_lib.core.wells import PLATE_FORMATS, well_name
from pipeline_lib.io.markup import attributes, local_name, read_tree
from pipeline_lib.io.vendors.base import Listing, beside, number_in, refuse

_DETAIL = "MeasurementDetail.mrf"
_MOST = 100_000  # fields, time points, planes, channels; a larger number is damage
_DIGITS = 9
_LARGEST = 1e9  # of lengths, times and wavelengths in their units
_FILTER = re.compile(r"BP\s*([0-9]+(?:\.[0-9]+)?)")
_UNNAMED = {"", "Microscope Image"}  # what the software writes for a channel that nobody named

Attributes = Mapping[str, str]
T = TypeVar("T")


@dataclass(frozen=True)
class Camera:
    """What the `.mrf` says of a channel."""

    pixel: tuple[float | None, float | None] = (None, None)
    number: str = ""
    shading: str = ""


@dataclass(frozen=True)
class Detail:
    """The part of a `.mrf` file that is used."""

    shape: tuple[int, int] | None = None
    began: str | None = None
    """ISO 8601, as it is written."""
    instrument: str | None = None
    cameras: Mapping[str, Camera] = field(default_factory=dict)
    """By channel."""
    settings: str = ""
    """Name of the `.mes` file."""
    product: str = ""
    """Name of the `.wpp` file."""


@dataclass(frozen=True)
class Optics:
    """What the `.mes` says of a channel."""

    facts: ChannelFacts = field(default_factory=ChannelFacts)
    target: str = ""
    fluorophore: str = ""
    magnification: float | None = None


@dataclass(frozen=True)
class Settings:
    """The part of a `.mes` file that is used."""

    shape: tuple[int, int] | None = None
    wells: tuple[str, ...] = ()
    optics: Mapping[str, Optics] = field(default_factory=dict)
    slices: tuple[float, ...] = ()
    """Micrometres between planes, of each action."""
    intervals: tuple[float, ...] = ()
    """Seconds between time points, of each timeline."""


def read_detail(folder: Path, listing: Listing, index: str) -> Detail:
    """The `.mrf` beside the index; empty where there is none."""
    path = _named(listing, beside(index, _DETAIL))
    if path is None:
        return Detail()
    root = read_tree(folder / path)
    told = attributes(root)
    began = told.get("BeginTime", "").strip()
    cameras = each(path, "MeasurementChannel", _below(root, "MeasurementChannel"), _camera)
    plates = [attributes(element) for element in _below(root, "MeasurementSamplePlate")]
    return Detail(
        shape=_shape(path, root, "RowCount", "ColumnCount"),
        began=began if _is_time(began) else None,
        instrument=told.get("TargetSystem", "").strip() or None,
        settings=told.get("MeasurementSettingFileName", "").strip(),
        cameras=dict(cameras),
        product=next((plate.get("WellPlateProductFileName", "").strip() for plate in plates), ""),
    )


def _camera(element: ElementTree.Element) -> tuple[str, Camera]:
    told = attributes(element)
    pixel = (positive(told, "VerticalPixelDimension"), positive(told, "HorizontalPixelDimension"))
    return channel_of(told), Camera(
        pixel, told.get("CameraNumber", "").strip(), told.get("ShadingCorrectionSource", "").strip()
    )


def read_settings(folder: Path, listing: Listing, index: str, detail: Detail) -> Settings:
    """The `.mes` that the `.mrf` names, or the only one beside an index without `.mrf`; empty where there is none."""
    home = index.rpartition("/")[0]
    near = [path for path in listing.ending(".mes") if path.rpartition("/")[0] == home]
    path = _named(listing, beside(index, detail.settings)) if detail.settings else near[0] if len(near) == 1 else None
    if path is None:
        return Settings()
    root = read_tree(folder / path)
    sources = dict(each(path, "LightSource", _below(root, "LightSource"), _light_source))
    actions = [element for element in root.iter() if local_name(element).startswith("ActionAcquire")]
    slices = each(path, "action", actions, lambda element: real(attributes(element), "SliceLength"))
    intervals = each(path, "Timeline", _below(root, "Timeline"), lambda element: real(attributes(element), "Interval"))
    chosen = [element for element in _below(root, "TargetWell") if (element.text or "").strip().lower() == "true"]
    return Settings(
        shape=_shape(path, root, "Rows", "Columns"),
        wells=tuple(each(path, "TargetWell", chosen, lambda element: well_of(attributes(element)))),
        optics=dict(each(path, "Channel", _below(root, "Channel"), lambda element: _optics(element, sources))),
        slices=tuple(step for step in slices if step is not None),
        intervals=tuple(step for step in intervals if step is not None),
    )


def _light_source(element: ElementTree.Element) -> tuple[str, float | None]:
    told = attributes(element)
    return told.get("Name", ""), positive(told, "WaveLength")


def _optics(element: ElementTree.Element, sources: Mapping[str, float | None]) -> tuple[str, Optics]:
    told = attributes(element)
    names = [(source.text or "").strip() for source in _below(element, "LightSourceName")]
    passed = _FILTER.match(told.get("Acquisition", "").strip())
    facts = ChannelFacts(
        excitation_nm=common([sources.get(name) for name in names]),
        emission_nm=positive({"Acquisition": passed[1]}, "Acquisition") if passed else None,
        exposure_ms=positive(told, "ExposureTime"),
    )
    return channel_of(told), Optics(
        facts, told.get("Target", "").strip(), told.get("Fluorophore", "").strip(), positive(told, "Magnification")
    )


def channel_facts(used: Mapping[str, str], optics: Mapping[str, Optics]) -> dict[str, ChannelFacts]:
    """Channel id -> what the settings say. A channel is called by its target, or fluorophore, where these differ."""
    known = {number: optics[number] for number in used.values() if number in optics}
    choices = [
        {number: name for number, name in names.items() if name not in _UNNAMED}
        for names in ({n: o.target for n, o in known.items()}, {n: o.fluorophore for n, o in known.items()})
    ]
    names = next((names for names in choices if names and len(set(names.values())) == len(names)), {})
    return {
        channel: replace(known[number].facts, name=names[number] + channel.removeprefix(number))
        if number in names
        else known[number].facts
        for channel, number in used.items()
        if number in known
    }


def pixel_size(cameras: Iterable[Camera]) -> float | None:
    """The one size of square pixels; None where channels differ."""
    sizes = [size for camera in cameras for size in camera.pixel]
    numbers = [size for size in sizes if size is not None]
    same = len(numbers) == len(sizes) and max(numbers) - min(numbers) <= 1e-3 * max(numbers)
    return numbers[-1] if same else None


def plate_type(folder: Path, listing: Listing, index: str, product: str) -> str | None:
    """Manufacturer and name in the `.wpp` file, else the name of that file."""
    if not product:
        return None
    path = _named(listing, beside(index, product))
    if path is None:
        return Path(product).stem or None
    told = attributes(read_tree(folder / path))
    return " ".join(filter(None, (told.get(name, "").strip() for name in ("Manufacturer", "Name")))) or None


def profiles(
    used: Mapping[str, str], cameras: Mapping[str, Camera], listing: Listing, index: str
) -> dict[str, Profile]:
    """The files of the bright field and of the dark one, where they are there."""
    start = beside(index, "DC_").lower()
    darks = [path for path in listing.ending(".tif", ".tiff") if path.lower().startswith(start)]
    found = {}
    for channel, number in used.items():
        camera = cameras.get(number, Camera())
        flat = camera.shading and _named(listing, beside(index, camera.shading))
        name = re.compile(rf"DC_.*_CAM0*{re.escape(camera.number)}\.tiff?", re.IGNORECASE)
        dark = [path for path in darks if camera.number and name.fullmatch(path.rpartition("/")[2])]
        if flat or dark:
            found[channel] = Profile(flat=flat or "", dark=dark[0] if len(dark) == 1 else "")
    return found


def _named(listing: Listing, path: str) -> str | None:
    """The file of this path, in whatever case."""
    return next((found for found in listing.paths if found.lower() == path.lower()), None)


def _below(root: ElementTree.Element, name: str) -> list[ElementTree.Element]:
    return [element for element in root.iter() if local_name(element) == name]


def each(
    index: str, what: str, found: Iterable[ElementTree.Element], parse: Callable[[ElementTree.Element], T]
) -> list[T]:
    """Every element of a file parsed.

    Raises:
        ValueError: `parse` raised one for some of them: the first three faults, and how many more there are.
    """
    parsed, faults = [], []
    for number, element in enumerate(found, 1):
        try:
            parsed.append(parse(element))
        except ValueError as error:
            faults.append(f"{what} {number}: {error}")
    raise_faults(
        index, "elements that cannot be read", "Copy the file again from the microscope, or correct it", faults
    )
    return parsed


def raise_faults(index: str, what: str, advice: str, faults: Sequence[str]) -> None:
    """Nothing without faults.

    Raises:
        ValueError: There are faults.
    """
    refuse(f"{index}: {what}: {len(faults)}. {advice}", faults)


def whole(told: Attributes, name: str, default: str | None = None, low: int = 0, high: int = _MOST) -> int:
    """A whole number.

    Raises:
        ValueError: There is none and no default, or it is no number from `low` to `high`.
    """
    text = told.get(name, default)
    if text is None:
        raise ValueError(f"it has no {name}; a whole number from {low} to {high} is expected")
    if not (text.isascii() and text.isdigit() and len(text) <= _DIGITS and low <= int(text) <= high):
        raise ValueError(f"its {name} is {text[:40]!r}; a whole number from {low} to {high} is expected")
    return int(text)


def real(told: Attributes, name: str) -> float | None:
    """A number, None where there is none.

    Raises:
        ValueError: What is there is not a number, or not a finite one of a sane size.
    """
    text = told.get(name, "").strip()
    if not text:
        return None
    number = number_in(text)
    if not abs(number) <= _LARGEST:
        raise ValueError(f"its {name} is {text[:40]!r}; a number is expected")
    return number


def positive(told: Attributes, name: str) -> float | None:
    """A number above 0; None where there is none, or 0, which stands for none.

    Raises:
        ValueError: As `real`, or it is below 0.
    """
    number = real(told, name)
    if number is not None and number < 0:
        raise ValueError(f"its {name} is {told[name][:40]!r}; a number above 0 is expected")
    return number or None


def well_of(told: Attributes) -> str:
    """The well at the row and column, counted from 1.

    Raises:
        ValueError: One of them is missing, or no plate has such a well.
    """
    return well_name(whole(told, "Row") - 1, whole(told, "Column") - 1)


def channel_of(told: Attributes) -> str:
    """The number of the channel, as text.

    Raises:
        ValueError: There is none.
    """
    return str(whole(told, "Ch"))


def common(values: Sequence[float | None]) -> float | None:
    """The one value; None where there are several, or none."""
    return values[0] if values and len(set(values)) == 1 else None


def _shape(path: str, root: ElementTree.Element, rows: str, columns: str) -> tuple[int, int] | None:
    """(rows, columns) of the plate in the head of a file, None where it is not told."""

    def parse(element: ElementTree.Element) -> tuple[int, int]:
        told, (most_rows, most_columns) = attributes(element), PLATE_FORMATS[1536]
        return whole(told, rows, low=1, high=most_rows), whole(told, columns, low=1, high=most_columns)

    return each(path, "head", [root], parse)[0] if {rows, columns} & set(attributes(root)) else None


def _is_time(text: str) -> bool:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True
