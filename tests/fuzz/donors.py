"""TIFF files of kinds that microscopes, their software and its users write, as large as the images of the plate."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import tifffile

_OWN = {"UUID": "12345678-0000-0000-0000-000000000000"}  # else it is another each time


def _donors() -> dict[str, bytes]:
    """TIFF files of other kinds, of the size of the plate's own; of stacks both the pages that fit and more."""
    pixels = np.random.default_rng(3).integers(100, 4000, (4, 24, 32)).astype(np.uint16)
    names = "".join(
        f'<TiffData FirstZ="{z}" IFD="0" PlaneCount="1">'
        f'<UUID FileName="{name}">urn:uuid:{z:08d}-0000-0000-0000-000000000000</UUID></TiffData>'
        for z, name in enumerate(("../secret.tif", "../../secret.tif", "/etc/passwd", "a.tif"))
    )
    elsewhere = (
        '<?xml version="1.0" encoding="UTF-8"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" '
        'UUID="urn:uuid:99999999-0000-0000-0000-000000000000"><Image ID="Image:0"><Pixels ID="Pixels:0" '
        'DimensionOrder="XYZCT" Type="uint16" SizeX="32" SizeY="24" SizeZ="4" SizeC="1" SizeT="1">'
        f'<Channel ID="Channel:0" SamplesPerPixel="1"/>{names}</Pixels></Image></OME>'
    )
    kinds: dict[str, tuple[np.ndarray, dict[str, object]]] = {
        "plain": (pixels[0], {}),
        "OME": (
            pixels,
            {"ome": True, "metadata": {**_OWN, "axes": "ZYX", "PhysicalSizeX": 0.65, "PhysicalSizeXUnit": "µm"}},
        ),
        "OME that names other files": (pixels, {"description": elsewhere.encode(), "metadata": None}),
        "ImageJ": (pixels, {"imagej": True, "metadata": {"axes": "ZYX", "unit": "um"}, "resolution": (1.5, 1.5)}),
        "shaped": (pixels, {"metadata": {"axes": "ZYX"}}),
        "big": (pixels[0], {"bigtiff": True}),
        "big-endian": (pixels[0], {"byteorder": ">"}),
        "float": (pixels[0].astype(np.float32), {}),
        "tiled": (pixels[0], {"tile": (16, 16)}),
        **{name: (pixels[0], {"compression": name}) for name in ("zlib", "lzw", "packbits", "zstd", "jpeg2000")},
        "jpeg": (pixels[0].astype(np.uint8), {"compression": "jpeg"}),
        "predicted": (pixels[0], {"compression": "zlib", "predictor": True, "rowsperstrip": 5}),
    }
    made = {}
    for name, (image, how) in kinds.items():
        file = BytesIO()
        tifffile.imwrite(file, image, photometric="minisblack", **how)
        made[name] = file.getvalue()
    return made


DONORS = _donors()
