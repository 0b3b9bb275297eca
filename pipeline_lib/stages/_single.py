"""What commands for single images share: flags to settings, one image after the other, progress, saving."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from pipeline_lib.arrays.normalise import NormaliseSettings
from pipeline_lib.arrays.pyramid import STEP, level_steps
from pipeline_lib.io.canvases import CHUNK, LABELS, Canvas, View, new_canvas, save_numpy, save_tiff, save_zarr
from pipeline_lib.io.pictures import Picture, Plane
from pipeline_lib.io.pixel_sizes import PixelSize
from pipeline_lib.stages._image_words import Task

FAILURES = (ValueError, OSError, MemoryError, RuntimeError)  # of one image; anything else is a defect and ends the run

SHOWN = {  # on the terminal, of what is being done
    "preparing": "preparing (the first run compiles for half a minute)",
    "image": "image: {:,} of {:,}",
    "volume": "volume: {:,} of {:,}",
    "network": "network: {:,} of {:,} rows",
    "labels": "labels: {:,} of {:,} blocks",
    "saving": "saving",
}

RUN = ("device", "precision", "batch_size")
NORMALISE = {
    "normalise": "percentiles",
    "lowhigh": "lowhigh",
    "tile": "tile_size",
    "smooth": "smooth_radius",
    "sharpen": "sharpen_radius",
}

Progress = Callable[[str, int, int], None]
Shrink = Callable[[NDArray[Any], int], NDArray[Any]]


def each(verb: str, todo: Sequence[Task], work: Callable[[Task], str]) -> int:
    """Do the work for every image and say how it went; one that fails does not stop the others.

    Returns 0; 2 if the only image failed; 1 if any of several did.
    """
    failed = {}
    for task in todo:
        try:
            _tell(f"{task.source}: {work(task)} -> {task.target}")
        except FAILURES as error:
            failed[task.source] = error
            _tell(f"wellpose {verb}: {task.source}: {error}")
    if failed and len(todo) > 1:
        _tell(f"{len(failed)} of {len(todo)} images failed: {', '.join(map(str, failed))}")
    return 0 if not failed else 1 if len(todo) > 1 else 2


def scaling(values: Mapping[str, Any], *, inverted: bool) -> NormaliseSettings:
    """How intensities are scaled, from the values of flags. Raises ValueError for what cannot be."""
    said = {name: values[field] for field, name in NORMALISE.items() if values.get(field) is not None}
    enabled = values.get("normalise", ()) is not None  # None was said: off
    return NormaliseSettings(enabled=enabled, invert=inverted, **said)


def machine(values: Mapping[str, Any]) -> dict[str, Any]:
    """Where and how the network runs, as far as flags say."""
    return {field: values[field] for field in RUN if field in values}


def check_finite(picture: Picture, channels: Sequence[int], image: Plane | NDArray[Any]) -> None:
    """Raise ValueError, naming each channel, for pixels (C, ...) that are NaN or infinite."""
    if image.dtype.kind != "f":
        return
    faults = []
    for place, number in enumerate(channels):
        parts = (image[place, top : top + CHUNK] for top in range(0, image.shape[1], CHUNK))
        if bad := sum(part.size - np.count_nonzero(np.isfinite(part)) for part in parts):
            name = f"channel {number + 1} {picture.channels[number]}".rstrip()
            faults.append(f"{name}: {bad:,} of {int(np.prod(image.shape[1:])):,} pixels are NaN or infinite")
    if faults:
        raise ValueError(f"{'; '.join(faults)}; replace them, for instance by 0")


def save_flat(made: Canvas, target: Path, dtype: DTypeLike, size: PixelSize, names: Sequence[str] = ()) -> None:
    """Save as NumPy or TIFF file, whichever the file name asks for."""
    if target.suffix.lower() == ".npy":
        save_numpy(made, target)
    else:
        save_tiff(made, target, dtype, size, names)


def save_pyramid(
    made: Canvas, target: Path, size: PixelSize, shrink: Shrink, told: Callable[[Canvas], Mapping[str, Any]]
) -> None:
    """Save as OME-Zarr. shrink: makes a coarser plane; told: from the coarsest level to what else the file tells."""
    steps = level_steps(*made.lengths[2:])
    levels = _levels(made, len(steps), shrink)
    folders = dict(zip(steps, (level.folder for level in levels), strict=True))
    save_zarr(folders, target, made.axes, size, told(levels[-1]))


def of_labels(_: Canvas) -> Mapping[str, Any]:
    """What an OME-Zarr file tells of labels: that they are some."""
    return LABELS


def _levels(finest: Canvas, count: int, shrink: Shrink) -> list[Canvas]:
    """A pyramid, finest level first, each made beside the one before, by bands of rows."""
    levels = [finest]
    channels = finest.channels if "c" in finest.axes else None
    for number in range(1, count):
        times, planes, *sizes = levels[-1].lengths
        shape = (times, planes, *(-(-size // STEP) for size in sizes))
        folder = finest.folder.with_name(str(number))
        levels.append(new_canvas(folder, shape, channels, finest.array.dtype))
        for place in np.ndindex(times, planes, finest.channels):
            _shrink(levels[-2].plane(*place), levels[-1].plane(*place), shrink)
    return levels


def _shrink(fine: View, coarse: View, shrink: Shrink) -> None:
    """Fill a plane with what a finer one says."""
    for top in range(0, coarse.shape[0], CHUNK // STEP):
        bottom = min(top + CHUNK // STEP, coarse.shape[0])
        coarse[top:bottom] = shrink(fine[top * STEP : bottom * STEP], STEP)


@contextmanager
def progress_line() -> Iterator[Progress]:
    """A line on the terminal that says how far the work is, and vanishes at the end; nothing without a terminal."""
    if not sys.stderr.isatty():
        yield lambda _what, _done, _total: None
        return

    def show(what: str, done: int, total: int) -> None:
        sys.stderr.write(f"\r\x1b[K{SHOWN[what].format(done, total)}")
        sys.stderr.flush()

    show("preparing", 0, 1)
    try:
        yield show
    finally:
        sys.stderr.write("\r\x1b[K")


def _tell(line: str) -> None:
    sys.stderr.write(f"{line}\n")
