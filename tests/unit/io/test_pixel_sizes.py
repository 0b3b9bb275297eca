"""The size of a pixel: from every place where files tell it, and from none where they do not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from pipeline_lib.io.pixel_sizes import PixelSize, size_in_tiff, size_in_zarr

OME = {"axes": "ZYX", "PhysicalSizeX": 250, "PhysicalSizeXUnit": "nm", "PhysicalSizeY": 0.5, "PhysicalSizeZ": 2}


@pytest.mark.parametrize(
    ("written", "size"),
    [
        ({"metadata": OME, "ome": True}, PixelSize(0.5, 0.25, 2)),
        (
            {"imagej": True, "resolution": (4, 2), "metadata": {"axes": "ZYX", "unit": "micron", "spacing": 2}},
            PixelSize(0.5, 0.25, 2),
        ),
        ({"imagej": True, "resolution": (4, 2), "metadata": {"axes": "ZYX", "unit": "pixel"}}, PixelSize()),
        ({"resolution": (40_000, 20_000), "resolutionunit": "CENTIMETER", "metadata": None}, PixelSize(0.5, 0.25)),
        ({"resolution": (101_600, 50_800), "resolutionunit": "INCH", "metadata": None}, PixelSize(0.5, 0.25)),
        ({"resolution": (72, 72), "resolutionunit": "INCH", "metadata": None}, PixelSize()),
        ({"resolution": (4, 2), "resolutionunit": "NONE", "metadata": None}, PixelSize()),
        ({"metadata": None}, PixelSize()),
        ({"metadata": None, "description": "<OME> </OME"}, PixelSize()),
    ],
)
def test_tiff(written: dict[str, Any], size: PixelSize, tmp_path: Path) -> None:
    options = {"photometric": "minisblack", **written}
    tifffile.imwrite(tmp_path / "i.tif", np.zeros((3, 20, 30), np.uint8), **options)
    with tifffile.TiffFile(tmp_path / "i.tif") as tif:
        assert size_in_tiff(tif) == size


def zarr_image(unit: str | None, changes: list[Any], whole: list[Any]) -> dict[str, Any]:
    axes = [{"name": "c"}, *({"name": name, "unit": unit} for name in "zyx")]
    return {
        "axes": axes,
        "datasets": [{"path": "0", "coordinateTransformations": changes}],
        "coordinateTransformations": whole,
    }


def test_zarr() -> None:
    fine = [{"type": "scale", "scale": [1, 2, 0.5, 0.25]}, {"type": "translation", "translation": [0, 0, 0, 9]}]
    doubled = [{"type": "scale", "scale": [1, 2, 2, 2]}]
    assert size_in_zarr(zarr_image("micrometer", fine, [])) == PixelSize(0.5, 0.25, 2)
    assert size_in_zarr(zarr_image("millimeter", fine, doubled)) == PixelSize(1000, 500, 4000)
    assert size_in_zarr(zarr_image(None, fine, [])) == PixelSize()
    assert size_in_zarr({"axes": ["y", "x"], "datasets": [{"path": "0"}]}) == PixelSize()
    assert size_in_zarr(zarr_image("micrometer", [{"type": "scale", "scale": [0, 0, 0, -1]}], [])) == PixelSize()
