"""segment-image: label images of single pictures, outside of any plate."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline_lib.arrays.normalise import check_by_ranges
from pipeline_lib.arrays.resample import shrink_labels
from pipeline_lib.io.canvases import Canvas, canvas
from pipeline_lib.io.pictures import Picture, Plane, open_picture
from pipeline_lib.io.pixel_sizes import PixelSize
from pipeline_lib.io.weights import find_weights
from pipeline_lib.stages._image_words import SEGMENT, Task, add_flags, misplaced, read_flags, task_faults, tasks
from pipeline_lib.stages._noted import all_of, noted
from pipeline_lib.stages._single import (
    Progress,
    check_finite,
    each,
    machine,
    of_labels,
    progress_line,
    save_flat,
    save_pyramid,
    scaling,
)

if TYPE_CHECKING:
    from pipeline_lib.api import ImageSettings
    from pipeline_lib.segmentation import Network

LARGEST_WHOLE = 4096 * 4096  # pixels of a plane; larger ones are segmented block by block, on disk
MASKS = ("cellprob_threshold", "flow_threshold", "min_size", "max_size_fraction", "niter", "enclosed")


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
    add_flags(parser, SEGMENT)


def run(parsed: argparse.Namespace) -> int:
    """Segment every image; one that fails does not stop the others. Returns the exit code."""
    todo = tasks(parsed.images, parsed.output, SEGMENT)
    order = _order(parsed, todo)
    return each("segment-image", todo, lambda task: _segment_file(order, task))


def _order(parsed: argparse.Namespace, todo: Sequence[Task]) -> Order:
    """Read the flags and load the network. Raises ValueError with everything that is wrong."""
    faults: list[str] = []
    values = read_flags(parsed, SEGMENT, faults)
    faults += [*misplaced(values), *task_faults(todo, overwrite=parsed.overwrite)]
    noted(faults, lambda: find_weights(parsed.weights))
    settings = noted(faults, lambda: _image_settings(values, inverted=parsed.invert))
    if faults or settings is None:
        raise all_of(faults)
    from pipeline_lib.api import RunSettings, load_network

    how = RunSettings(augment=parsed.augment, **machine(values))
    return Order(load_network(parsed.weights, how), parsed.weights, settings, values)


def _image_settings(values: Mapping[str, Any], *, inverted: bool) -> ImageSettings:
    """How an image becomes objects; its channels are chosen when it is opened. Raises ValueError for what cannot be."""
    from pipeline_lib.api import ImageSettings
    from pipeline_lib.flows.masks import MaskSettings

    return ImageSettings(
        diameter=values.get("diameter"),
        normalise=scaling(values, inverted=inverted),
        masks=MaskSettings(**{field: values[field] for field in MASKS if field in values}),
    )


def _segment_file(order: Order, task: Task) -> str:
    """Segment one image, save its labels, and say how it went."""
    started = time.monotonic()
    with open_picture(task.source, order.values.get("axes")) as picture:
        channels = _channels(picture, order)
        lengths = [picture.length(axis) for axis in "TZYX"]
        flat = _is_flat(picture, order)
        with canvas(task.target, lengths) as labels, progress_line() as progress:
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
        check_finite(picture, channels, image)
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
        check_finite(picture, channels, image)
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


def _save(labels: Canvas, target: Path, highest: int, size: PixelSize) -> None:
    """Save in the format that the file name asks for; TIFF has uint16 if the `highest` label allows."""
    if target.suffix.lower() == ".zarr":
        save_pyramid(labels, target, size, shrink_labels, of_labels)
    else:
        save_flat(labels, target, np.uint16 if highest <= np.iinfo(np.uint16).max else np.uint32, size)
