"""MetaXpress folders: `[TimePoint_<t>/][ZStep_<z>/]<plate>_<well>[_s<site>][_w<wavelength>]<GUID>.tif` and an `.HTD`.

Series of one time point or one plane have no such folders, lone sites and wavelengths no number. Beside each image lies
its thumbnail, beside a stack its projection. Each image says of itself what the `.HTD` has no words for. `EXPORT` are
the same images as they leave the database: no GUIDs, no `.HTD`, no thumbnails and projections.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import product
from pathlib import Path
from uuid import NAMESPACE_OID, uuid5
from xml.sax.saxutils import quoteattr

from pipeline_lib.core.manifest import ChannelFacts, Position
from pipeline_lib.core.wells import row_column
from pipeline_lib.io.commit import committed
from pipeline_lib.io.layouts.base import Image, Layout, Measurement, write_plane

_THUMBNAIL = 4  # pixels of the image per pixel of its thumbnail
_FOCUS = 9000.0  # micrometres, of the lowest plane
_A01: Position = (11240.0, 14380.0)  # micrometres from the corner of the plate, for 96 wells
_PITCH = 9000.0 * 8  # micrometres between wells, times rows

_Told = Mapping[str, str | float | None]
"""Names of properties -> their values; None: left out."""


@dataclass(frozen=True)
class _Shot:
    """One plane, or the projection of all."""

    well: str
    field: int
    channel: int
    time: int
    z: int | None
    """None: projected."""


def write_field(raw: Path, plate: Measurement, well: str, field: int, image: Image) -> list[Path]:
    """One file per channel, time point and plane, and their thumbnails; of several planes their brightest, too."""
    times, channels, planes, _, _ = plate.shape
    written = []
    for channel, time in product(range(channels), range(times)):
        if planes > 1:
            _write(raw, plate, _Shot(well, field, channel, time, None), image[time, channel].max(axis=0))
        shots = [_Shot(well, field, channel, time, z) for z in range(planes)]
        written += [_write(raw, plate, shot, image[time, channel, shot.z]) for shot in shots]
    return written


def _write(raw: Path, plate: Measurement, shot: _Shot, plane: Image) -> Path:
    """A plane and its thumbnail; the path of the plane."""
    folder, stem = raw / _folder(plate, shot), _stem(plate, shot)
    small = plane[::_THUMBNAIL, ::_THUMBNAIL]
    place = (folder.relative_to(raw) / stem).as_posix()
    write_plane(folder / f"{stem}_thumb{_guid(place, 'thumbnail')}.tif", small, description=_thumbnail(small))
    return write_plane(folder / f"{stem}{_guid(place)}.tif", plane, description=_description(plate, shot, plane))


def write_exported_field(raw: Path, plate: Measurement, well: str, field: int, image: Image) -> list[Path]:
    """One file per channel, time point and plane; wells in lower case, and always a folder of the time point."""
    times, channels, planes, _, _ = plate.shape
    written = []
    for channel, time, z in product(range(channels), range(times), range(planes)):
        shot = _Shot(well, field, channel, time, z)
        folder = raw / f"TimePoint_{time + 1}" / (f"ZStep_{z + 1}" if planes > 1 else "")
        path = folder / f"{plate.plate}_{well.lower()}_s{field + 1}_w{channel + 1}.TIF"
        plane = image[time, channel, z]
        written.append(write_plane(path, plane, description=_description(plate, shot, plane)))
    return written


def _folder(plate: Measurement, shot: _Shot) -> Path:
    time = f"TimePoint_{shot.time + 1}" if plate.shape[0] > 1 else ""
    return Path(time) / (f"ZStep_{shot.z + 1}" if plate.shape[2] > 1 and shot.z is not None else "")


def _stem(plate: Measurement, shot: _Shot) -> str:
    site = f"_s{shot.field + 1}" if len(plate.positions) > 1 else ""
    return f"{plate.plate}_{shot.well}{site}" + (f"_w{shot.channel + 1}" if plate.shape[1] > 1 else "")


def _guid(*of: str) -> str:
    return str(uuid5(NAMESPACE_OID, "/".join(of))).upper()


def _description(plate: Measurement, shot: _Shot, plane: Image) -> str:
    """MetaSeries XML; numbers nobody knows are left out."""
    facts, channel = plate.facts, plate.channels[shot.channel]
    (y, x), (middle_y, middle_x) = _stage_position(plate, shot), _middle(plate, shot.well)
    step = facts.z_step or 1.0
    calibrated = "on" if facts.pixel_size else "off"
    return _metaseries(
        _first_lines(plate, shot, channel),
        plane,
        {
            "spatial-calibration-state": calibrated,
            "spatial-calibration-x": facts.pixel_size or 1.0,
            "spatial-calibration-y": facts.pixel_size or 1.0,
            "spatial-calibration-units": "um" if facts.pixel_size else "pixel",
            "image-name": channel.name,
            "acquisition-time-local": _clock(plate, shot.time),
            "stage-position-x": x,
            "stage-position-y": y,
            "stage-label": f"{shot.well} : Site {shot.field + 1}",
            "z-position": _FOCUS + step * ((plate.shape[2] - 1) / 2 if shot.z is None else shot.z),
            "wavelength": channel.emission_nm or 0.0,
            "_IllumSetting_": channel.name,
            "_MagNA_": facts.numerical_aperture,
            "_MagSetting_": facts.magnification and f"{_short(facts.magnification)}X Plan Apo",
        },
        {
            "Exposure Time": channel.exposure_ms and f"{_short(channel.exposure_ms)} ms",
            "Instrument Serial Number": facts.instrument,
            "OffsetFromWellCenterUmX": round(x - middle_x, 3),
            "OffsetFromWellCenterUmY": round(y - middle_y, 3),
            "Z Projection Method": "Maximum" if shot.z is None else None,
            "Z Projection Step Size": facts.z_step if plate.shape[2] > 1 else None,
            "Z Step": None if shot.z is None or plate.shape[2] == 1 else shot.z + 1,
            "Timepoint": shot.time + 1 if plate.shape[0] > 1 else None,
        },
    )


def _thumbnail(small: Image) -> str:
    return _metaseries("thumbnail image", small, {"image-name": "HTSThumbHTS"}, {})


def _metaseries(description: str, plane: Image, told: _Told, custom: _Told) -> str:
    size: _Told = {"plane-type": "plane", "pixel-size-x": plane.shape[1], "pixel-size-y": plane.shape[0]}
    head: _Told = {"Description": description, "MetaDataVersion": 1.0, "ApplicationName": "MetaMorph"}
    lines = [
        "<MetaData>",
        *_properties("prop", head),
        "<PlaneInfo>",
        *_properties("prop", {**size, **told}),
        *_properties("custom-prop", custom),
        "</PlaneInfo>",
        "<SetInfo>",
        *_properties("prop", {"number-of-planes": 1}),
        "</SetInfo>",
        "</MetaData>",
    ]
    return "\r\n".join(lines).encode("ascii", "xmlcharrefreplace").decode("ascii")  # all that TIFF has room for


def _properties(tag: str, values: _Told) -> list[str]:
    breaks = {"\r": "&#13;", "\n": "&#10;"}
    return [
        f'<{tag} id="{name}" type="{_kind(value)}" value={quoteattr(_short(value), breaks)}/>'
        for name, value in values.items()
        if value is not None
    ]


def _kind(value: str | float) -> str:
    return {str: "string", int: "int"}.get(type(value), "float")


def _short(value: str | float) -> str:
    """Whole numbers without a point, as MetaXpress writes them; others in full."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _first_lines(plate: Measurement, shot: _Shot, channel: ChannelFacts) -> str:
    lines = [f"Plate Name: {plate.plate}", "Folder Name: wellpose", ""]
    lines += [f"Timepoint: {shot.time + 1}"] if plate.shape[0] > 1 else []
    lines += [f"Exposure: {_short(channel.exposure_ms)} ms"] if channel.exposure_ms else []
    return "\r\n".join([*lines, "Binning: 1 x 1", "Shading: Off"])


def _clock(plate: Measurement, time: int) -> str | None:
    """When a time point was taken, in the microscope's local time: the format has no zones."""
    if plate.facts.acquired is None:
        return None
    moment = datetime.fromisoformat(plate.facts.acquired) + timedelta(seconds=(plate.facts.time_step or 0.0) * time)
    return f"{moment:%Y%m%d %H:%M:%S}.{moment.microsecond // 1000:03d}"


def _middle(plate: Measurement, well: str) -> Position:
    """Of a well, from the upper left corner of the plate, in micrometres."""
    row, column = row_column(well)
    return _A01[0] + row * _PITCH / plate.rows, _A01[1] + column * _PITCH / plate.rows


def _stage_position(plate: Measurement, shot: _Shot) -> Position:
    """From the upper left corner of the plate: y grows downwards, x to the right."""
    (y, x), (off_y, off_x) = _middle(plate, shot.well), plate.positions[shot.field]
    return round(y + off_y, 3), round(x + off_x, 3)


def write_index(raw: Path, plate: Measurement) -> None:
    """`<plate>.HTD`."""
    times, channels, planes, _, _ = plate.shape
    across = sorted({x for _, x in plate.positions})
    down = sorted({y for y, _ in plate.positions})
    chosen = {row_column(well) for well in plate.wells}
    lines = [
        '"HTSInfoFile", Version 1.0',
        _line("Description", f"{plate.plate} of Wellpose"),
        _line("PlateType", 6),
        _line("TimePoints", times),
        _line("ZSeries", planes > 1),
        _line("ZSteps", planes),
        _line("ZProjection", planes > 1),
        _line("XWells", plate.columns),
        _line("YWells", plate.rows),
        *_grid("WellsSelection", [[(r, c) in chosen for c in range(plate.columns)] for r in range(plate.rows)]),
        _line("Sites", len(plate.positions) > 1),
        _line("XSites", len(across)),
        _line("YSites", len(down)),
        *_grid("SiteSelection", [[(y, x) in plate.positions for x in across] for y in down]),
        _line("Waves", channels > 1),
        _line("NWavelengths", channels),
        *(_line(f"WaveName{n}", channel.name or f"w{n}") for n, channel in enumerate(plate.channels, 1)),
        *(_line(f"WaveCollect{n}", 1) for n in range(1, channels + 1)),
        _line("UniquePlateIdentifier", _guid(plate.plate)),
        '"EndFile"',
    ]
    with committed(raw / f"{plate.plate}.HTD") as temporary:
        temporary.write_bytes("".join(f"{line}\r\n" for line in lines).encode())


def _grid(key: str, rows: Sequence[Sequence[bool]]) -> list[str]:
    return [_line(f"{key}{number}", *row) for number, row in enumerate(rows, 1)]


def _line(key: str, *values: str | int) -> str:
    return ", ".join([f'"{key}"', *map(_value, values)])


def _value(value: str | int) -> str:
    if isinstance(value, str):
        return '"' + value.replace('"', '""') + '"'
    return str(value).upper()


def _no_index(raw: Path, plate: Measurement) -> None:
    """An export has none."""


LAYOUT = Layout("imagexpress", write_field, write_index)
EXPORT = Layout("imagexpress", write_exported_field, _no_index)
