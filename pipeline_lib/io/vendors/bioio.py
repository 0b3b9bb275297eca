"""Files of microscopes that `bioio` reads through its plug-ins: .nd2 (Nikon), .czi (Zeiss), .lif (Leica).

Their index is inside, so that they are opened when the folder is scanned. A scene of a file is a field of a well, which
the scene's name tells (`B03`, `B3`, `Well B03`, `P2-B03`), else the file's; fields are counted in the order of scenes.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline_lib.core.manifest import ChannelFacts, ImageFile, PlateFacts
from pipeline_lib.core.wells import parse_well
from pipeline_lib.io.vendors.base import ImageInfo, Listing, Reader, Scan, refuse

if TYPE_CHECKING:
    from numpy.typing import NDArray

ENDINGS = (".nd2", ".czi", ".lif")
INSTALL = "pip install bioio bioio-nd2 bioio-czi bioio-lif"
_WELL = re.compile(r"(?:^|[^A-Za-z0-9])(?:P[0-9]+-)?(?:[Ww]ell[ _-]?)?([A-Z]{1,2}0*[1-9][0-9]?)(?![A-Za-z0-9])")
_LARGEST = 100_000


def scan(folder: Path, listing: Listing, pattern: str) -> Scan:  # noqa: ARG001 - the scenes name the wells
    """The images of all such files. `pattern` is not used.

    Raises:
        ValueError: `bioio` is not installed, a file cannot be read, or a scene names no well.
    """
    files, faults, fields = list[ImageFile](), list[str](), dict[str, int]()
    facts, channels = PlateFacts(), dict[str, ChannelFacts]()
    for path in listing.ending(*ENDINGS):
        try:
            image = _opened(folder / path)
            for scene, name in enumerate(image.scenes):
                well = _well(name, path)
                image.set_scene(scene)
                files.extend(_planes(image, scene, ImageFile(well, fields.get(well, 0), "", 0, 0, path)))
                fields[well] = fields.get(well, 0) + 1
                if scene == 0 and not channels:
                    names = enumerate(image.channel_names or ())
                    facts, channels = _facts(image), {str(n): ChannelFacts(str(name)) for n, name in names}
        except ValueError as error:
            faults.append(f"{path}: {error}")
    refuse(f"{folder}: {len(faults)} files are not usable:", faults)
    return Scan(tuple(files), selected=tuple(fields), channels=channels, facts=facts)


def _opened(path: Path) -> Any:
    """The file as `bioio` gives it, checked to hold planes. What goes wrong with it becomes a ValueError."""
    try:
        library = importlib.import_module("bioio")
    except ImportError as error:
        raise ValueError(f"files of this kind are read with `bioio`, which is not installed: {INSTALL}") from error
    try:
        image = library.BioImage(path)
        order = str(image.dims.order)
    except (OSError, MemoryError):
        raise
    except Exception as error:  # each plug-in has its own
        raise ValueError(f"bioio cannot read it ({_told(error)[:200]}). Is its plug-in installed? {INSTALL}") from error
    if order != "TCZYX":
        raise ValueError(f"its axes are {order}: grey planes (TCZYX) are expected, not colour")
    return image


def _told(error: Exception) -> str:
    return " ".join(str(error).split()) or repr(error)


def _well(scene: str, path: str) -> str:
    """The well that a scene's name tells, else the file's."""
    for name in (scene, Path(path).stem):
        if match := _WELL.search(name):
            return parse_well(match[1])
    raise ValueError(f"neither the scene {scene!r} nor the file's name has a well in it, such as B03, B3 or Well B03")


def _planes(image: Any, scene: int, field: ImageFile) -> Iterator[ImageFile]:
    """The planes of one scene. A page counts scenes first, so that it is found without the sizes of other scenes."""
    sizes = [int(getattr(image.dims, axis)) for axis in "TCZ"]
    if not all(0 < size <= _LARGEST for size in sizes):
        raise ValueError(f"its sizes (T, C, Z) are {sizes}: 1 to {_LARGEST:,} are expected")
    for plane, (t, c, z) in enumerate(product(*map(range, sizes))):
        page = plane * len(image.scenes) + scene
        yield ImageFile(field.well, field.field, str(c), t, z, field.path, page)


def _facts(image: Any) -> PlateFacts:
    """Of one scene; `bioio` gives micrometres."""
    sizes = image.physical_pixel_sizes
    square = sizes.X and sizes.Y and abs(sizes.X - sizes.Y) <= 1e-3 * sizes.X
    return PlateFacts(pixel_size=sizes.X if square else None, z_step=sizes.Z or None)


def recognises(listing: Listing) -> bool:
    """Names of microscopes' own containers."""
    return bool(listing.ending(*ENDINGS))


def describe(path: Path) -> ImageInfo:
    """What the first scene of a file is: each of its planes is a page, (1, Y, X).

    Raises:
        UnreadableImage: The file is missing or cannot be read.
    """
    image = _checked(path)
    return ImageInfo((1, int(image.dims.Y), int(image.dims.X)), str(image.dtype), 8 * image.dtype.itemsize)


def read(path: Path, page: int | None) -> NDArray[Any]:
    """(1, Y, X): one plane of a file; the first one without a page.

    Raises:
        UnreadableImage: The file is missing, cannot be read, or has no such plane.
    """
    import numpy as np

    from pipeline_lib.io.images import UnreadableImage

    image = _checked(path)
    plane, scene = divmod(page or 0, len(image.scenes))
    try:
        image.set_scene(scene)
        t, c, z = map(int, np.unravel_index(plane, (image.dims.T, image.dims.C, image.dims.Z)))
        return np.asarray(image.get_image_dask_data("YX", T=t, C=c, Z=z))[None]
    except (OSError, MemoryError):
        raise
    except Exception as error:
        raise UnreadableImage(f"{path}: {_told(error)}") from error


def _checked(path: Path) -> Any:
    from pipeline_lib.io.images import UnreadableImage

    try:
        return _opened(path)
    except (FileNotFoundError, ValueError) as error:
        raise UnreadableImage(f"{path}: {error}") from error


READER = Reader(scan, recognises, expects=f"{', '.join(ENDINGS)} files", describe=describe, read=read)
