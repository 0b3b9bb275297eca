"""segment-image: label images of single pictures, outside of any plate."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipeline_lib.arrays.normalise import check_by_ranges
from pipeline_lib.arrays.pyramid import STEP, level_steps
from pipeline_lib.arrays.resample import shrink_labels
from pipeline_lib.io.label_files import CHUNK, Canvas, View, canvas, new_canvas, save_numpy, save_tiff, save_zarr
from pipeline_lib.io.pictures import Picture, Plane, open_picture
from pipeline_lib.io.pixel_sizes import PixelSize
from pipeline_lib.io.weights import find_weights
from pipeline_lib.stages._image_words import Task, add_flags, misplaced, read_flags, task_faults, tasks
from pipeline_lib.stages._noted import all_of, noted

if TYPE_CHECKING:
    from pipeline_lib.api import ImageSettings
    from pipeline_lib.segmentation import Network

LARGEST_WHOLE = 4096 * 4096  # pixels of a plane; larger ones are segmented block by block, on disk
MASKS = ("cellprob_threshold", "flow_threshold", "min_size", "max_size_fraction", "niter", "enclosed")
RUN = ("device", "precision", "batch_size")
NORMALISE = {
    "normalise": "percentiles",
    "lowhigh": "lowhigh",
    "tile": "tile_size",
    "smooth": "smooth_radius",
    "sharpen": "sharpen_radius",
}
FAILURES = (ValueError, OSError, MemoryError, RuntimeError)  # of one image; anything else is a defect and ends the run

SHOWN = {  # on the terminal, of what is being done
    "preparing": "preparing (the first run compiles for half a minute)",
    "image": "image: {:,} of {:,}",
    "volume": "volume: {:,} of {:,}",
    "network": "network: {:,} of {:,} rows",
    "labels": "labels: {:,} of {:,} blocks",
    "saving": "saving",
}

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Order:
    """What to do with every image. values: the flags that were said, by field."""

    network: Network
    weights: str
    settings: ImageSettings
    values: Mapping[str, Any]


@dataclass(frozen=True)
class Found:
    """What was found in a plane or stack. diameter: that was used, in pixels; None: estimated within."""

    objects: int
    diameter: float | None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's flags."""
    add_flags(parser)


def run(parsed: argparse.Namespace) -> int:
    """Segment every image; one that fails does not stop the others.

    Returns 0; 2 if the only image failed; 1 if any of several did.
    """
    todo = tasks(parsed.images, parsed.output)
    order = _order(parsed, todo)
    failed = {}
    for task in todo:
        try:
            _tell(f"{task.source}: {_segment_file(order, task)} -> {task.target}")
        except FAILURES as error:
            failed[task.source] = error
            _tell(f"wellpose segment-image: {task.source}: {error}")
    if failed and len(todo) > 1:
        _tell(f"{len(failed)} of {len(todo)} images failed: {', '.join(map(str, failed))}")
    return 0 if not failed else 1 if len(todo) > 1 else 2


def _order(parsed: argparse.Namespace, todo: Sequence[Task]) -> Order:
    """Read the flags and load the network. Raises ValueError with everything that is wrong."""
    faults: list[str] = []
    values = read_flags(parsed, faults)
    faults += [*misplaced(values), *task_faults(todo, overwrite=parsed.overwrite)]
    noted(faults, lambda: find_weights(parsed.weights))
    settings = noted(faults, lambda: _image_settings(values, inverted=parsed.invert))
    if faults or settings is None:
        raise all_of(faults)
    from pipeline_lib.api import RunSettings, load_network

    how = RunSettings(augment=parsed.augment, **{field: values[field] for field in RUN if field in values})
    return Order(load_network(parsed.weights, how), parsed.weights, settings, values)


def _image_settings(values: Mapping[str, Any], *, inverted: bool) -> ImageSettings:
    """How an image becomes objects; its channels are chosen when it is opened. Raises ValueError for what cannot be."""
    from pipeline_lib.api import ImageSettings
    from pipeline_lib.arrays.normalise import NormaliseSettings
    from pipeline_lib.flows.masks import MaskSettings

    scaling = {name: values[field] for field, name in NORMALISE.items() if values.get(field) is not None}
    enabled = values.get("normalise", ()) is not None  # None was said: off
    return ImageSettings(
        diameter=values.get("diameter"),
        normalise=NormaliseSettings(enabled=enabled, invert=inverted, **scaling),
        masks=MaskSettings(**{field: values[field] for field in MASKS if field in values}),
    )


def _segment_file(order: Order, task: Task) -> str:
    """Segment one image, save its labels, and say how it went."""
    started = time.monotonic()
    with open_picture(task.source, order.values.get("axes")) as picture:
        channels = _channels(picture, order)
        lengths = [picture.length(axis) for axis in "TZYX"]
        flat = _is_flat(picture, order)
        with canvas(task.target, lengths) as labels, _progress() as progress:
            segment = _planes if flat else _stacks
            found = list(segment(order, picture, channels, labels, progress))
            progress("saving", 0, 1)
            _save(labels, task.target, max(one.objects for one in found), picture.size)
    return f"{_summary(order, found)}, {time.monotonic() - started:.1f} s"


def _summary(order: Order, found: Sequence[Found]) -> str:
    """Objects, diameters and network in words."""
    used = sorted(one.diameter for one in found if one.diameter is not None)
    sizes = " to ".join(dict.fromkeys(f"{diameter:.4g}" for diameter in (*used[:1], *used[-1:])))
    how = "given" if order.settings.diameter else "estimated"
    diameter = f"diameter {sizes} ({how})" if used else f"diameter {how}"
    run = order.network.predict
    precision = str(run.precision).removeprefix("torch.")
    return f"{sum(one.objects for one in found):,} objects, {diameter}, {order.weights} on {run.device} in {precision}"


def _channels(picture: Picture, order: Order) -> tuple[int, ...]:
    """Numbers, from 0, of the channels to use; raises ValueError where they must be chosen, or are not there."""
    most = order.network.channels_in
    there = ", ".join(f"{number} {name}".rstrip() for number, name in enumerate(picture.channels, 1))
    chosen: tuple[int, ...] | None = order.values.get("channels")
    if chosen is None and len(picture.channels) > 1:
        raise ValueError(
            f"the image has the channels {there}; choose up to {most} of them with --channels, such as 2,1"
        )
    chosen = chosen or (0,)
    if max(chosen) >= len(picture.channels) or len(chosen) > most:
        said = ",".join(str(number + 1) for number in chosen)
        raise ValueError(
            f"--channels is {said}; the image has the channels {there}, and {order.weights} takes up to {most}"
        )
    return chosen


def _is_flat(picture: Picture, order: Order) -> bool:
    """Whether every plane is segmented for itself; raises ValueError for planes along z that nobody spoke of."""
    mode: str | None = order.values.get("z")
    if picture.length("Z") > 1 and mode is None:
        raise ValueError(
            f"the image has {picture.length('Z')} planes along z; say with --z what they are: one volume (volume), "
            "planes to be stitched (stitch), or images of their own (separate)"
        )
    return picture.length("Z") == 1 or mode == "separate"


def _planes(
    order: Order, picture: Picture, channels: Sequence[int], labels: Canvas, progress: Progress
) -> Iterator[Found]:
    """Segment each plane of each frame for itself."""
    from pipeline_lib.api import segment_image, segment_large

    frames = list(np.ndindex(labels.lengths[:2]))
    for number, (moment, z) in enumerate(frames):
        if number:
            progress("image", number, len(frames))
        image, target = picture.plane(channels, moment, z), labels.plane(moment, z)
        if _is_large(image):
            check_by_ranges(order.settings.normalise)  # before anything is read
        _check_finite(picture, channels, image)
        settings = _with_diameter(order, image)
        if _is_large(image):
            count = segment_large(order.network, image, target, settings, progress).objects
        else:
            target[:] = found = segment_image(order.network, image[:], settings)
            count = int(found.max())
        yield Found(count, settings.diameter)


def _stacks(
    order: Order, picture: Picture, channels: Sequence[int], labels: Canvas, progress: Progress
) -> Iterator[Found]:
    """Segment the planes of each frame together."""
    from pipeline_lib.api import VolumeSettings, segment_planes, segment_volume

    times, values = labels.lengths[0], order.values
    for moment in range(times):
        if moment:
            progress("volume", moment, times)
        image = picture.volume(channels, moment)
        _check_finite(picture, channels, image)
        if values["z"] == "volume":
            volume = VolumeSettings(anisotropy=values.get("anisotropy", 1.0))
            found = segment_volume(order.network, image, order.settings, volume)
        else:
            linked = {"threshold": values["stitch_threshold"]} if "stitch_threshold" in values else {}
            found = segment_planes(order.network, image, order.settings, **linked)
        labels.stack(moment)[:] = found
        yield Found(int(found.max()), order.settings.diameter)


def _with_diameter(order: Order, image: Plane) -> ImageSettings:
    """The settings with the diameter of this image's objects, found if it was not given."""
    from pipeline_lib.api import find_diameter

    if order.settings.diameter is not None:
        return order.settings
    return replace(order.settings, diameter=find_diameter(order.network, image, order.settings))


def _is_large(image: Plane) -> bool:
    return image.shape[1] * image.shape[2] > LARGEST_WHOLE


def _check_finite(picture: Picture, channels: Sequence[int], image: Plane | NDArray[Any]) -> None:
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


def _save(labels: Canvas, target: Path, highest: int, size: PixelSize) -> None:
    """Save in the format that the file name asks for."""
    ending = target.suffix.lower()
    if ending == ".zarr":
        steps = level_steps(*labels.lengths[2:])
        levels = dict(zip(steps, _levels(labels, len(steps)), strict=True))
        save_zarr(levels, target, labels.axes, size)
    elif ending == ".npy":
        save_numpy(labels, target)
    else:
        save_tiff(labels, target, highest, size)


def _levels(labels: Canvas, count: int) -> list[Path]:
    """The folders of a pyramid, finest first, each made beside the one before, by bands of rows."""
    levels = [labels]
    for number in range(1, count):
        times, planes, *sizes = levels[-1].lengths
        shape = (times, planes, *(-(-size // STEP) for size in sizes))
        levels.append(new_canvas(labels.folder.with_name(str(number)), shape))
        for moment, z in np.ndindex(times, planes):
            _shrink(levels[-2].plane(moment, z), levels[-1].plane(moment, z))
    return [level.folder for level in levels]


def _shrink(fine: View, coarse: View) -> None:
    """Fill a plane with what every STEP-th pixel of a finer one says."""
    for top in range(0, coarse.shape[0], CHUNK // STEP):
        bottom = min(top + CHUNK // STEP, coarse.shape[0])
        coarse[top:bottom] = shrink_labels(fine[top * STEP : bottom * STEP], STEP)


@contextmanager
def _progress() -> Iterator[Progress]:
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
