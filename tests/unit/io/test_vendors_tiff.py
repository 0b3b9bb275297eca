"""Metadata of single TIFF files, from each of the places it may stand in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from pipeline_lib.io.images import UnreadableImage
from pipeline_lib.io.vendors.tiff import Facts, describe, metaseries, ome

PLANE = np.zeros((6, 8), np.uint16)


def described(path: Path, **options: Any) -> Facts:
    tifffile.imwrite(path, PLANE, **options)
    info = describe(path)
    assert (info.shape, info.dtype, info.bit_depth) == ((1, 6, 8), "uint16", 16)
    return Facts(info.pixel_size, info.stage_position, info.wavelength, info.channel_name)


def prop(**values: str) -> str:
    """MetaSeries XML with these properties; underscores inside names stand for hyphens."""
    lines = [f'<prop id="{name.replace("__", "-")}" type="x" value="{value}"/>' for name, value in values.items()]
    return f"<MetaData>\n{''.join(lines[:1])}<PlaneInfo>{''.join(lines[1:])}</PlaneInfo></MetaData>\r\n\0"


def test_ome(tmp_path: Path) -> None:
    metadata = {
        "axes": "YX", "PhysicalSizeX": 325.0, "PhysicalSizeXUnit": "nm", "PhysicalSizeY": 0.325,
        "Channel": {"Name": "GFP", "EmissionWavelength": 509.0, "EmissionWavelengthUnit": "nm"},
        "Plane": {"PositionX": 1.5, "PositionXUnit": "mm", "PositionY": -20.0, "PositionYUnit": "µm"},
    }  # fmt: skip
    facts = described(tmp_path / "image.ome.tif", ome=True, metadata=metadata)
    assert facts.pixel_size == pytest.approx(0.325)
    assert facts.stage_position == pytest.approx((-20.0, 1500.0))
    assert facts.wavelength == pytest.approx(509.0)
    assert facts.channel_name == "GFP"


def test_ome_says_little_or_is_broken() -> None:
    xmlns = "http://www.openmicroscopy.org/Schemas/OME/2016-06"
    place = '<Plane PositionX="1" PositionXUnit="reference frame" PositionY="2" PositionYUnit="reference frame"/>'
    assert ome(f'<OME xmlns="{xmlns}"><Image><Pixels PhysicalSizeX="2">{place}</Pixels></Image></OME>') == Facts()
    assert ome(f'<OME xmlns="{xmlns}"/>') == ome("<OME") == Facts()


def test_metaseries() -> None:
    values = {
        "Description": "Exposure: 15 ms&#13;&#10;", "spatial__calibration__state": "on",
        "spatial__calibration__x": "0.65", "spatial__calibration__y": "0.65", "spatial__calibration__units": "um",
        "stage__position__x": "-10.5", "stage__position__y": "20", "wavelength": "447", "image__name": "DAPI-2",
    }  # fmt: skip
    assert metaseries(prop(**values)) == Facts(0.65, (20.0, -10.5), 447.0, "DAPI-2", exposure_ms=15.0)
    assert metaseries(prop(**values, _IllumSetting_="DAPI")).channel_name == "DAPI"
    assert metaseries(prop(**values | {"spatial__calibration__state": "off"})).pixel_size is None
    assert metaseries(prop(**values | {"spatial__calibration__units": "pixel"})).pixel_size is None
    assert metaseries(prop(**values | {"spatial__calibration__y": "1.3"})).pixel_size is None


@pytest.mark.parametrize(
    "xml", ["<MetaData>", "<MetaData></MetaData>", prop(a="b", wavelength="0", stage__position__x="x")]
)
def test_metaseries_says_little_or_is_broken(xml: str) -> None:
    assert metaseries(xml) == Facts()


@pytest.mark.parametrize(
    ("unit", "size"), [("micron", 0.5), ("um", 0.5), (r"\u00B5m", 0.5), ("nm", 0.0005), ("pixel", None)]
)
def test_imagej(tmp_path: Path, unit: str, size: float | None) -> None:
    facts = described(tmp_path / "image.tif", imagej=True, resolution=(2.0, 2.0), metadata={"unit": unit, "axes": "YX"})
    assert facts.pixel_size == (size and pytest.approx(size))


@pytest.mark.parametrize(
    ("resolution", "unit", "size"),
    [((20_000, 20_000), "CENTIMETER", 0.5), ((50_800, 50_800), "INCH", 0.5), ((72, 72), "INCH", None),
     ((1550.3, 1550.3), "CENTIMETER", None), ((20_000, 20_000), "NONE", None), ((20_000, 10_000), "CENTIMETER", None),
     ((0, 0), "CENTIMETER", None)],
)  # fmt: skip
def test_plain_tags_count_only_where_they_can_mean_a_sample(
    tmp_path: Path, resolution: tuple[float, float], unit: str, size: float | None
) -> None:
    facts = described(tmp_path / "image.tif", resolution=resolution, resolutionunit=unit)
    assert facts == Facts(facts.pixel_size)
    assert facts.pixel_size == (size and pytest.approx(size))


def test_an_unreadable_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "image.tif").write_text("no image")
    with pytest.raises(UnreadableImage, match="not a TIFF file"):
        describe(tmp_path / "image.tif")
