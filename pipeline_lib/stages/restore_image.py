"""restore-image: single pictures without noise or blur, or enlarged, outside of any plate."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipeline_lib.arrays.resample import shrink
from pipeline_lib.io.canvases import Canvas, View, canvas
from pipeline_lib.io.pictures import Picture, Plane, open_picture
from pipeline_lib.io.pixel_sizes import PixelSize
from pipeline_lib.io.weights import find_weights
from pipeline_lib.stages._image_words import RESTORE, Task, add_flags, read_flags, task_faults, tasks
from pipeline_lib.stages._noted import all_of, noted
from pipeline_lib.stages._single import (
    Progress,
    check_finite,
    each,
    machine,
    progress_line,
    save_flat,
    save_pyramid,
    scaling,
)

if TYPE_CHECKING:
    from pipeline_lib.api import Restorer, RestoreSettings


@dataclass(frozen=True)
class Order:
    """What to do with every image. axes, channels: as they were said, None if they were not."""

    restorer: Restorer
    weights: str
    settings: RestoreSettings
    axes: str | None
    channels: tuple[int, ...] | None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's flags."""
    add_flags(parser, RESTORE)


def run(parsed: argparse.Namespace) -> int:
    """Restore every image; one that fails does not stop the others. Returns the exit code."""
    todo = tasks(parsed.images, parsed.output, RESTORE)
    order = _order(parsed, todo)
    return each("restore-image", todo, lambda task: _restore_file(order, task))


def _order(parsed: argparse.Namespace, todo: Sequence[Task]) -> Order:
    """Read the flags and load the network. Raises ValueError with everything that is wrong."""
    faults: list[str] = []
    values = read_flags(parsed, RESTORE, faults)
    faults += task_faults(todo, overwrite=parsed.overwrite)
    if parsed.diameter is None:
        faults.append("--diameter is missing; give that of the objects, in pixels")
    noted(faults, lambda: find_weights(parsed.weights))
    settings = noted(faults, lambda: _settings(parsed, values)) if "diameter" in values else None
    if faults or settings is None:
        raise all_of(faults)
    from pipeline_lib.api import RunSettings, load_restorer

    restorer = load_restorer(parsed.weights, RunSettings(**machine(values)))
    return Order(restorer, parsed.weights, settings, values.get("axes"), values.get("channels"))


def _settings(parsed: argparse.Namespace, values: Mapping[str, Any]) -> RestoreSettings:
    """How images are restored; their channels are chosen when they are opened. Raises ValueError for what cannot be."""
    from pipeline_lib.api import RestoreSettings

    beyond = [f"--{flag}" for flag in ("tile", "smooth", "sharpen") if values.get(flag)]
    if beyond and not parsed.float:
        raise ValueError(f"{', '.join(beyond)} cannot be undone to keep the image's own intensities: add --float")
    return RestoreSettings(
        diameter=values["diameter"],
        normalise=scaling(values, inverted=parsed.invert),
        enlarge=parsed.enlarge,
        keep_range=not parsed.float,
    )


def _restore_file(order: Order, task: Task) -> str:
    """Restore one image, save it, and say how it went."""
    from pipeline_lib.api import restored_like

    started = monotonic()
    with open_picture(task.source, order.axes) as picture:
        channels = _channels(picture, order)
        (count, *shape), dtype = restored_like(order.restorer, picture.plane(channels), order.settings)
        lengths = (picture.length("T"), picture.length("Z"), *shape)
        with canvas(task.target, lengths, count, dtype) as made, progress_line() as progress:
            _restore_planes(order, picture, channels, made, progress)
            progress("saving", 0, 1)
            names = [picture.channels[number] for number in channels]
            _save(made, task.target, names, _pixel_size(picture, lengths))
    return f"{_summary(order, made)}, {monotonic() - started:.1f} s"


def _summary(order: Order, made: Canvas) -> str:
    """What was made, how and where, in words."""
    *_, height, width = made.lengths
    diameters = ", ".join(f"{diameter:.4g}" for diameter in order.settings.diameters)
    run = order.restorer.predict
    precision = str(run.precision).removeprefix("torch.")
    return (
        f"{made.channels} channel(s) of {height} x {width} pixels in {made.array.dtype}, diameter {diameters}, "
        f"{order.weights} on {run.device} in {precision}"
    )


def _channels(picture: Picture, order: Order) -> tuple[int, ...]:
    """Numbers, from 0, of the channels to restore; raises ValueError for those that are not there."""
    every = tuple(range(len(picture.channels)))
    chosen = order.channels or every
    if max(chosen) >= len(every):
        there = ", ".join(f"{number} {name}".rstrip() for number, name in enumerate(picture.channels, 1))
        said = ",".join(str(number + 1) for number in chosen)
        raise ValueError(f"--channels is {said}; the image has the channels {there}")
    return chosen


def _restore_planes(order: Order, picture: Picture, channels: Sequence[int], made: Canvas, progress: Progress) -> None:
    """Restore each plane of each frame for itself."""
    frames = list(np.ndindex(made.lengths[:2]))
    for number, frame in enumerate(frames):
        if number:
            progress("image", number, len(frames))
        image = picture.plane(channels, *frame)
        check_finite(picture, channels, image)
        _restore_plane(order, image, made.image(*frame), progress)


def _restore_plane(order: Order, image: Plane, target: View, progress: Progress) -> None:
    """Fill the target (C, Y, X), row by row where intensities are scaled by ranges alone."""
    from pipeline_lib.api import restore_image, restore_large

    if order.settings.normalise.by_ranges:
        restore_large(order.restorer, image, target, order.settings, progress)
    else:
        target[:] = restore_image(order.restorer, image[:], order.settings)


def _pixel_size(picture: Picture, lengths: Sequence[int]) -> PixelSize:
    """Of the restored image, whose ends are where those of the image are."""
    y, x = (
        size and size * picture.length(axis) / length
        for size, axis, length in zip((picture.size.y, picture.size.x), "YX", lengths[2:], strict=True)
    )
    return replace(picture.size, y=y, x=x)


def _save(made: Canvas, target: Path, names: Sequence[str], size: PixelSize) -> None:
    """Save in the format that the file name asks for."""
    if target.suffix.lower() == ".zarr":
        save_pyramid(made, target, size, _coarser, lambda coarsest: _display(coarsest, names))
    else:
        save_flat(made, target, made.array.dtype, size, names)


def _coarser(plane: NDArray[Any], factor: int) -> NDArray[Any]:
    """The mean of each block of a plane (Y, X)."""
    (coarse,) = shrink(plane[None], factor)
    return np.asarray(coarse)


def _display(coarsest: Canvas, names: Sequence[str]) -> dict[str, Any]:
    """What viewers are told of the channels: names, and the intensities to show as black and white."""
    windows = [_range_of(coarsest, number) for number in range(len(names))]
    channels = [
        {
            "label": name or f"channel {number}",
            "color": "FFFFFF",
            "active": True,
            "window": {"min": low, "max": high, "start": low, "end": high},
        }
        for number, (name, (low, high)) in enumerate(zip(names, windows, strict=True), 1)
    ]
    return {"omero": {"channels": channels, "rdefs": {"model": "color"}}}


def _range_of(made: Canvas, channel: int) -> tuple[float, float]:
    """The lowest and the highest intensity of one channel."""
    planes = [made.plane(time, z, channel)[:] for time, z in np.ndindex(made.lengths[:2])]
    return min(float(plane.min()) for plane in planes), max(float(plane.max()) for plane in planes)
