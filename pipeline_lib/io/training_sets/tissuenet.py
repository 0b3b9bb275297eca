"""TissueNet's .npz files: images X and truth y, both (N, Y, X, 2), read one image at a time.

X holds nuclei and membranes, y whole cells and nuclei. Whatever else is in the file, such as `meta`, is not opened.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import IO, Any
from zipfile import BadZipFile, ZipFile

import numpy as np
from numpy.typing import NDArray

from pipeline_lib.core.labelled import Labelled
from pipeline_lib.io.training_sets.base import Found, SetSource, TrainingSetError, some_of
from pipeline_lib.io.training_sets.pixels import as_labels, channel_faults, labelled, two_channels

_CHANNELS = ("nuclear", "membrane")
_TRUTHS = {"cells": (0, (2, 1)), "nuclei": (1, (1,))}
"""Truth -> its place in y, and the channels that are used for it unless others are asked for."""
_DAMAGE = (BadZipFile, zlib.error, EOFError, ValueError)
_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


@dataclass(frozen=True)
class _Stack:
    """An array in a zip file, up to its first number."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    stream: IO[bytes]

    def images(self) -> Iterator[NDArray[Any]]:
        """One after the other, (Y, X, C)."""
        size = prod(self.shape[1:]) * self.dtype.itemsize
        for _ in range(self.shape[0]):
            image = np.frombuffer(self.stream.read(size), self.dtype).reshape(self.shape[1:])
            yield image.astype(self.dtype.newbyteorder("="), copy=False)


def find(source: SetSource, faults: list[str]) -> Found:
    """The images of an .npz file, or of the only one in a folder; what is wrong is added to `faults`."""
    paths = sorted(source.folder.glob("*.npz")) if source.folder.is_dir() else [source.folder]
    if len(paths) != 1:
        found = some_of([path.name for path in paths])
        faults.append(f"{source.folder}: expected one .npz file, found {found}; name the file itself as the folder")
    if source.labels not in ("", *_TRUTHS):
        faults.append(f"labels {source.labels!r} given; allowed are {', '.join(_TRUTHS)}")
    faults += channel_faults(_CHANNELS, source.channels)
    count = _count(paths[0], faults) if len(paths) == 1 else 0
    return Found(count, lambda: _read(paths[0], source))


def _count(path: Path, faults: list[str]) -> int:
    """The number of images, by the headers of the arrays."""
    try:
        with _stacks(path) as (images, truths):
            shapes = images.shape, truths.shape
    except _DAMAGE as error:
        faults.append(f"{path}: cannot be read as .npz file with arrays X and y ({error}); download it again")
        return 0
    if shapes[0] != shapes[1] or len(shapes[0]) != 4 or shapes[0][-1] != 2:
        faults.append(f"{path}: X has the shape {shapes[0]}, y {shapes[1]}; both must be (N, Y, X, 2)")
    return shapes[0][0] if shapes[0] else 0


def _read(path: Path, source: SetSource) -> Iterator[Labelled]:
    place, usual = _TRUTHS[source.labels or "cells"]
    channels = source.channels or usual
    number = 0
    try:
        with _stacks(path) as (images, truths):
            for image, truth in zip(images.images(), truths.images(), strict=True):
                name = f"{path.stem}/{number:05d}"
                where = f"{path}, image {number}"
                pixels = two_channels(np.moveaxis(image, -1, 0), _CHANNELS, channels, where)
                yield labelled(name, pixels, as_labels(truth[..., place], where), where)
                number += 1
    except TrainingSetError:
        raise
    except _DAMAGE as error:
        raise TrainingSetError(f"{path}: damaged at image {number} ({error}); download it again") from error


@contextmanager
def _stacks(path: Path) -> Iterator[tuple[_Stack, _Stack]]:
    """X and y."""
    with ZipFile(path) as archive:
        if lacking := [name for name in ("X.npy", "y.npy") if name not in archive.namelist()]:
            raise ValueError(f"no {' or '.join(lacking)} among {some_of(archive.namelist())}")
        with archive.open("X.npy") as images, archive.open("y.npy") as truths:
            yield _stack(images), _stack(truths)


def _stack(stream: IO[bytes]) -> _Stack:
    version = np.lib.format.read_magic(stream)
    if version not in _HEADERS:
        raise ValueError(f"array format {version}; known are {', '.join(map(str, _HEADERS))}")
    shape, is_fortran, dtype = _HEADERS[version](stream)
    if is_fortran or dtype.kind not in "biuf":
        raise ValueError(
            f"an array of {dtype}{' in Fortran order' if is_fortran else ''}; save real numbers in C order"
        )
    return _Stack(shape, dtype, stream)
