"""A Yokogawa CellVoyager CV8000: one file per plane, `MeasurementData.mlf` and the files of settings beside it.

Channel n is taken by action n of the only timeline. Numbers are written in full where the microscope rounds them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from itertools import product
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

from pipeline_lib.core.manifest import ChannelFacts
from pipeline_lib.core.wells import row_column
from pipeline_lib.io.commit import committed
from pipeline_lib.io.layouts.base import Image, Layout, Measurement, write_plane

_SCHEMA = "http://www.yokogawa.co.jp/BTS/BTSSchema/1.0"
_BEGIN = "2026-01-01T00:00:00+00:00"  # of a plate whose beginning nobody knows: images have a time each
_PRODUCT = "1009680001"
_PRODUCT_FILE = f"{_PRODUCT}_plate.wpp"


Attributes = Mapping[str, str | float | None]
"""None: the attribute is left out."""


def write_field(raw: Path, plate: Measurement, well: str, field: int, image: Image) -> list[Path]:
    """One file per channel, time point and plane, with the pixel size in its resolution tags."""
    times, channels, planes, _, _ = plate.shape
    return [
        write_plane(
            raw / plate.plate / _name(plate, well, field, channel, time, z),
            image[time, channel, z],
            plate.facts.pixel_size,
        )
        for channel, time, z in product(range(channels), range(times), range(planes))
    ]


def write_index(raw: Path, plate: Measurement) -> None:
    """The list of images (`.mlf`), details (`.mrf`), settings (`.mes`), plate (`.wpi`) and plate type (`.wpp`)."""
    home = raw / plate.plate
    _write(home / "MeasurementData.mlf", "\n".join(_records(plate)), "utf-8")
    _write(home / "MeasurementDetail.mrf", _detail(plate))
    _write(home / f"{plate.plate}.mes", _settings(plate))
    size = {"Columns": plate.columns, "Rows": plate.rows}
    _write(
        home / f"{plate.plate}.wpi",
        _element("WellPlate", _head() | {"Name": plate.plate, "ProductID": _PRODUCT, "Usage": "SamplePlate"} | size),
    )
    _write(
        home / _PRODUCT_FILE,
        _element("WellPlateProduct", _head() | {"Name": plate.facts.plate_type, "ProductID": _PRODUCT} | size),
    )


def _write(path: Path, content: str, encoding: str = "utf-8-sig") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with committed(path) as temporary:
        temporary.write_text(f'<?xml version="1.0" encoding="utf-8"?>\n{content}', encoding=encoding, newline="\n")


def _name(plate: Measurement, well: str, field: int, channel: int, time: int, z: int) -> str:
    return (
        f"{plate.plate}_{well}_T{time + 1:04d}F{field + 1:03d}L01A{channel + 1:02d}Z{z + 1:02d}C{channel + 1:02d}.tif"
    )


def _records(plate: Measurement) -> Iterator[str]:
    """The lines of the `.mlf`: well by well as the microscope takes them, y upwards."""
    times, channels, planes, _, _ = plate.shape
    yield f'<bts:MeasurementData bts:Version="1.0" xmlns:bts="{_SCHEMA}">'
    for time, well, field, channel, z in product(
        range(times), plate.wells, range(len(plate.positions)), range(channels), range(planes)
    ):
        row, column = row_column(well)
        y, x = plate.positions[field]
        told: Attributes = {
            "Type": "IMG",
            "Time": _moment(plate, time).isoformat(timespec="milliseconds"),
            "Column": column + 1,
            "Row": row + 1,
            "TimePoint": time + 1,
            "FieldIndex": field + 1,
            "ZIndex": z + 1,
            "TimelineIndex": 1,
            "ActionIndex": channel + 1,
            "Action": "3D" if planes > 1 else "2D",
            "X": x,
            "Y": 0.0 - y,
            "Z": None if plate.facts.z_step is None else z * plate.facts.z_step,
            "Ch": channel + 1,
        }
        yield _element("MeasurementRecord", told, escape(_name(plate, well, field, channel, time, z)))
    yield "</bts:MeasurementData>"


def _moment(plate: Measurement, time: int) -> datetime:
    return datetime.fromisoformat(plate.facts.acquired or _BEGIN) + timedelta(
        seconds=time * (plate.facts.time_step or 0.0)
    )


def _detail(plate: Measurement) -> str:
    times, channels, planes, height, width = plate.shape
    told = {
        "Title": plate.plate,
        "BeginTime": plate.facts.acquired,
        "MeasurementSettingFileName": f"{plate.plate}.mes",
        "ColumnCount": plate.columns,
        "RowCount": plate.rows,
        "TimePointCount": times,
        "FieldCount": len(plate.positions),
        "ZCount": planes,
        "TargetSystem": plate.facts.instrument,
    }
    sample = {
        "Name": plate.plate,
        "WellPlateFileName": f"{plate.plate}.wpi",
        "WellPlateProductFileName": _PRODUCT_FILE,
    }
    cameras = [
        _element(
            "MeasurementChannel",
            {
                "Ch": channel + 1,
                "HorizontalPixelDimension": plate.facts.pixel_size,
                "VerticalPixelDimension": plate.facts.pixel_size,
                "CameraNumber": 1,
                "InputBitDepth": 16,
                "HorizontalPixels": width,
                "VerticalPixels": height,
                "ShadingCorrectionSource": "",
            },
        )
        for channel in range(channels)
    ]
    return _element("MeasurementDetail", _head() | told, _element("MeasurementSamplePlate", sample), *cameras)


def _settings(plate: Measurement) -> str:
    size = {"Columns": plate.columns, "Rows": plate.rows}
    sources = {_source(channel): channel.excitation_nm for channel in plate.channels}
    lights = [
        _element("LightSource", {"Name": name, "Type": "Laser", "WaveLength": wave}) for name, wave in sources.items()
    ]
    return _element(
        "MeasurementSetting",
        _head() | {"ProductID": _PRODUCT} | size,
        _element("Timelapse", {}, _timeline(plate)),
        _element("LightSourceList", {}, *lights),
        _element("ChannelList", {}, *(_channel(plate, number) for number in range(len(plate.channels)))),
    )


def _timeline(plate: Measurement) -> str:
    times, channels, planes, _, _ = plate.shape
    step = plate.facts.time_step or 0.0
    wells = [
        _element("TargetWell", {"Column": column + 1, "Row": row + 1}, "true")
        for row, column in map(row_column, plate.wells)
    ]
    points = [_element("Point", {"X": x, "Y": 0.0 - y}) for y, x in plate.positions]
    fixed = _element("FixedPosition", {"IsProportional": "false"}, *points)
    action = "ActionAcquire3D" if planes > 1 else "ActionAcquire"
    slices = {"SliceLength": plate.facts.z_step} if planes > 1 else {}
    actions = [_element(action, slices, _element("Ch", {}, str(channel + 1))) for channel in range(channels)]
    return _element(
        "Timeline",
        {"Name": "Time Line 1", "InitialTime": 0, "Period": step * times, "Interval": step if times > 1 else 0},
        _element("WellSequence", {"IsSelected": "true"}, *wells),
        _element("PointSequence", {"Method": "FixedPosition"}, fixed),
        _element("ActionList", {"RunMode": "sequential"}, *actions),
    )


def _channel(plate: Measurement, number: int) -> str:
    facts = plate.channels[number]
    told = {
        "Ch": number + 1,
        "Target": facts.name,
        "Objective": None if plate.facts.magnification is None else f"{_text(plate.facts.magnification)}x",
        "Magnification": plate.facts.magnification,
        "Acquisition": None if facts.emission_nm is None else f"BP{_text(facts.emission_nm)}/50",
        "ExposureTime": facts.exposure_ms,
        "Binning": 1,
        "Fluorophore": "",
    }
    return _element("Channel", told, _element("LightSourceName", {}, escape(_source(facts))))


def _source(channel: ChannelFacts) -> str:
    return "Lamp" if channel.excitation_nm is None else f"{_text(channel.excitation_nm)}nm"


def _head() -> dict[str, str | float | None]:
    return {"Version": "1.0"}


def _element(name: str, told: Attributes, *content: str) -> str:
    """An element of the microscope's namespace; the outermost one, which has a version, declares it."""
    written = [f" bts:{key}={quoteattr(_text(value))}" for key, value in told.items() if value is not None]
    start = f"<bts:{name}{''.join(written)}" + (f' xmlns:bts="{_SCHEMA}"' if "Version" in told else "")
    return f"{start}>{''.join(content)}</bts:{name}>" if content else f"{start} />"


def _text(value: str | float) -> str:
    """Numbers so that they come back as they are: 0.65, and 20 for 20.0."""
    return value if isinstance(value, str) else repr(value).removesuffix(".0")


LAYOUT = Layout("cellvoyager", write_field, write_index)
