"""OME-NGFF 0.5 metadata as plain dictionaries: what a plate, a well, an image and a label image say of themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pipeline_lib.core.wells import row_column, well_name
from pipeline_lib.paths import well_path

VERSION = "0.5"
TYPES = {"t": "time", "c": "channel", "z": "space", "y": "space", "x": "space"}
UNITS = {"t": "second", "z": "micrometer", "y": "micrometer", "x": "micrometer"}

Sizes = Mapping[str, float | None]
"""Axis -> how far one step along it is, in its unit of `UNITS`; None, or no entry, where nobody knows."""


@dataclass(frozen=True)
class Channel:
    """One channel of a plate. colour: RRGGBB; window: the intensities shown as black and as full colour."""

    id: str
    name: str
    colour: str
    window: tuple[float, float]
    wavelength_nm: float | None = None


@dataclass(frozen=True)
class PlateInfo:
    """What holds for every field of a plate.

    shape: (Y, X). pixel_size and z_step: micrometres; time_step: seconds; None where nobody knows them.
    """

    name: str
    rows: int
    columns: int
    fields: int
    times: int
    channels: tuple[Channel, ...]
    pixel_size: float | None
    shape: tuple[int, int]
    dtype: str
    z_step: float | None = None
    time_step: float | None = None

    @property
    def sizes(self) -> Sizes:
        """How far one step along each axis is."""
        return {"t": self.time_step, "z": self.z_step, "y": self.pixel_size, "x": self.pixel_size}

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def of_wells(self) -> dict[str, Any]:
        """What each well depends on: not the plate's name and size, which change when wells are added."""
        return {key: value for key, value in asdict(self).items() if key not in {"name", "rows", "columns", "fields"}}

    @staticmethod
    def from_json(content: Mapping[str, Any]) -> PlateInfo:
        channels = tuple(Channel(**{**c, "window": tuple(c["window"])}) for c in content["channels"])
        return PlateInfo(**{**content, "channels": channels, "shape": tuple(content["shape"])})

    @property
    def channel_names(self) -> tuple[str, ...]:
        return tuple(channel.name for channel in self.channels)


def plate_metadata(info: PlateInfo, wells: Sequence[str]) -> dict[str, Any]:
    """The plate: its geometry and the wells it holds."""
    rows = [{"name": well_name(row, 0).rstrip("0123456789")} for row in range(info.rows)]
    columns = [{"name": f"{column + 1:02d}"} for column in range(info.columns)]
    listed = [
        {"path": well_path(well), "rowIndex": row_column(well)[0], "columnIndex": row_column(well)[1]} for well in wells
    ]
    acquisition = {"id": 0, "name": info.name, "maximumfieldcount": info.fields}
    plate = {
        "version": VERSION,
        "name": info.name,
        "rows": rows,
        "columns": columns,
        "wells": listed,
        "field_count": info.fields,
        "acquisitions": [acquisition],
    }
    return {"version": VERSION, "plate": plate}


def well_metadata(fields: Sequence[int]) -> dict[str, Any]:
    """A well and its fields."""
    images = [{"path": str(field), "acquisition": 0} for field in fields]
    return {"version": VERSION, "well": {"images": images}}


def image_metadata(name: str, axes: str, steps: Sequence[float], sizes: Sizes) -> dict[str, Any]:
    """A pyramid. axes: such as "cyx"; steps: size of a pixel of each level, in pixels of level 0."""
    return {"version": VERSION, "multiscales": [_multiscale(name, axes, steps, sizes)]}


def display_metadata(info: PlateInfo) -> dict[str, Any]:
    """Channel names, colours and display windows (the `omero` block)."""
    channels = [
        {"label": channel.name, "color": channel.colour, "active": True, "window": _window(channel, info.dtype)}
        for channel in info.channels
    ]
    return {"channels": channels, "rdefs": {"model": "color"}}


def _window(channel: Channel, dtype: str) -> dict[str, float]:
    """The display window, within the range of 8 and 16 bit images; for others it is its own range."""
    start, end = channel.window
    low, high = {"uint8": (0, 255), "uint16": (0, 65535)}.get(dtype, (start, end))
    return {"min": low, "max": high, "start": start, "end": end}


def label_metadata(name: str, axes: str, steps: Sequence[float], sizes: Sizes) -> dict[str, Any]:
    """A label image, which belongs to the image two groups above."""
    described = image_metadata(name, axes, steps, sizes)
    return {**described, "image-label": {"source": {"image": "../../"}}}


def _multiscale(name: str, axes: str, steps: Sequence[float], sizes: Sizes) -> dict[str, Any]:
    datasets = [
        {"path": str(level), "coordinateTransformations": _transformations(axes, step, sizes)}
        for level, step in enumerate(steps)
    ]
    return {"name": name, "axes": [_axis(axis, sizes) for axis in axes], "datasets": datasets}


def _axis(axis: str, sizes: Sizes) -> dict[str, str]:
    unit = {"unit": UNITS[axis]} if sizes.get(axis) else {}
    return {"name": axis, "type": TYPES[axis], **unit}


def _transformations(axes: str, step: float, sizes: Sizes) -> list[dict[str, Any]]:
    """From pixels of a level to the world. A coarse pixel lies in the middle of those it stands for."""
    known = [sizes.get(axis) or 1.0 for axis in axes]
    steps = [step if axis in "yx" else 1.0 for axis in axes]
    scale = {"type": "scale", "scale": [size * own for size, own in zip(known, steps, strict=True)]}
    middles = [(own - 1) / 2 * size for size, own in zip(known, steps, strict=True)]
    return [scale, {"type": "translation", "translation": middles}] if step > 1 else [scale]
