"""The images that a manifest names, whatever their format."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from pipeline_lib.core.manifest import ImageFile, Manifest, Position
from pipeline_lib.io.vendors import READERS, ImageInfo


def path_of(manifest: Manifest, file: ImageFile) -> Path:
    """Where a file lies."""
    return Path(manifest.folder) / file.path


def read_image(manifest: Manifest, file: ImageFile) -> NDArray[Any]:
    """The planes of one file of a plate, (Z, Y, X).

    Raises:
        UnreadableImage: See `pipeline_lib.io.images.read_planes`.
    """
    return READERS[manifest.format].read(path_of(manifest, file), file.page)


def describe_image(manifest: Manifest, file: ImageFile) -> ImageInfo:
    """What one file says of itself.

    Raises:
        UnreadableImage: See `pipeline_lib.io.images.read_planes`.
    """
    return READERS[manifest.format].describe(path_of(manifest, file))


def read_labels_beside(manifest: Manifest, file: ImageFile) -> Mapping[str, NDArray[Any]]:
    """Name -> pages (N, Y, X), over time points and then planes, of the label images that came with an image.

    Raises:
        UnreadableImage: See `pipeline_lib.io.images.read_planes`.
    """
    return READERS[manifest.format].read_labels(Path(manifest.folder), file.path)


def copy_tables(manifest: Manifest, file: ImageFile, target: Path) -> None:
    """Copy the tables that came with an image, as they are; where there are none, nothing is made."""
    source = READERS[manifest.format].tables(Path(manifest.folder), file.path)
    if source is not None:
        shutil.copytree(source, target, symlinks=True)


def position_of(manifest: Manifest, file: ImageFile) -> Position | None:
    """Where the field of a file lies: as the index says, else as the file does; None where nobody says.

    Raises:
        UnreadableImage: See `pipeline_lib.io.images.read_planes`.
    """
    told = manifest.positions.get(file.well, {}).get(file.field)
    return told if told is not None else describe_image(manifest, file).stage_position
