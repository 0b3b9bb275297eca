"""Flows to labels: an object is the set of pixels whose paths end in one sink of the flow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from pipeline_lib.core.compiled import compiled
from pipeline_lib.core.labels import areas, bounding_boxes, keep, renumber
from pipeline_lib.flows.follow import BITS, follow
from pipeline_lib.flows.targets import flow_errors

if TYPE_CHECKING:
    from numpy.typing import NDArray

SEED_COUNT = 10  # more points than this must end on a pixel to make it a seed
SEED_RADIUS = 2  # a seed has no busier pixel this near, in pixels along each axis
SINK_COUNT = 2  # more points than this must end on a pixel to make it part of a sink
SINK_RADIUS = 5  # a sink reaches this far from its seed, in pixels along each axis

Enclosed: TypeAlias = Literal["absorb", "keep"]


@dataclass(frozen=True)
class MaskSettings:
    """How flows become objects.

    Attributes:
        cellprob_threshold: pixels whose cell logit is above are foreground.
        flow_threshold: objects whose flow error (see `flow_errors`) is above are dropped; None or 0: no check.
        min_size: smaller objects, in pixels, are dropped; 0: none.
        max_size_fraction: objects that fill more than this fraction of the image are dropped.
        niter: steps along the flow; None leaves the number to the caller.
        enclosed: whether an object that encloses others absorbs them, as in Cellpose 3, or keeps to background pixels.
    """

    cellprob_threshold: float = 0.0
    flow_threshold: float | None = 0.4
    min_size: int = 15
    max_size_fraction: float = 0.4
    niter: int | None = None
    enclosed: Enclosed = "absorb"


def masks_from_flow(
    flow: NDArray[np.float32], logit: NDArray[np.float32], settings: MaskSettings, steps: int = 200
) -> NDArray[np.uint32]:
    """Find the objects of a field.

    The result depends on nothing but the arguments: not on the number of threads, nor on earlier calls.

    Args:
        flow: (2, Y, X), y first, of about unit length inside objects.
        logit: (Y, X) cell logits.
        settings: thresholds.
        steps: steps along the flow, unless ``settings.niter`` sets them.

    Returns:
        The (Y, X) label image, 1..n in the raster order of the objects' first pixels.

    Raises:
        ValueError: shapes that do not fit, or values that are not finite.
    """
    check_values(flow, logit)
    foreground = logit > settings.cellprob_threshold
    ends = end_points(flow, foreground, settings.niter or steps)
    labels = label_by_sink(foreground, ends)
    labels = drop_large(labels, settings.max_size_fraction)
    if settings.flow_threshold:
        labels = drop_inconsistent(labels, flow, settings.flow_threshold)
    labels = drop_small(labels, settings.min_size)
    return drop_small(fill_holes(labels, settings.enclosed), settings.min_size)


def check_values(flow: NDArray[np.float32], logit: NDArray[np.float32], axes: str = "YX") -> None:
    """Refuse what is no flow (N, ...) and logit (...), of N axes, of finite values: ValueError with all faults."""
    faults, lengths = [], ", ".join(axes)
    if logit.ndim != len(axes) or flow.shape != (len(axes), *logit.shape):
        needed = f"({len(axes)}, {lengths}) and ({lengths}) are needed"
        faults.append(f"flow has shape {flow.shape} and logit {logit.shape}; {needed}")
    for name, values in {"flow": flow, "logit": logit}.items():
        faults += faults_of_values(name, count_not_finite(values), values.size)
    if faults:
        raise ValueError("; ".join(faults))


def count_not_finite(values: NDArray[np.float32]) -> int:
    """Count NaNs and infinities."""
    return values.size - int(np.count_nonzero(np.isfinite(values)))


def faults_of_values(name: str, not_finite: int, count: int) -> list[str]:
    """Say what is wrong with an array of which so many values are not finite; an empty list if nothing is."""
    if not_finite == 0:
        return []
    return [f"{not_finite} of {count} {name} values are not finite; look at the image and the weights"]


def end_points(flow: NDArray[np.float32], foreground: NDArray[np.bool_], steps: int) -> NDArray[np.int32]:
    """Find the pixels (2, N) where the paths of the foreground pixels, in raster order, end; outside nothing moves."""
    starts = np.stack(np.nonzero(foreground)).astype(np.int64) << BITS
    return (follow(np.where(foreground, flow, np.float32(0)), starts, steps) >> BITS).astype(np.int32)


def label_by_sink(foreground: NDArray[np.bool_], ends: NDArray[np.int32]) -> NDArray[np.uint32]:
    """Give each foreground pixel the sink that holds its end point; pixels that end elsewhere become background."""
    counts = count_ends(ends, foreground.shape)
    sinks = paint_sinks(counts, find_seeds(counts))
    labels = np.zeros(foreground.shape, dtype=np.uint32)
    labels[foreground] = sinks[ends[0], ends[1]]
    return renumber(labels)


def count_ends(ends: NDArray[np.integer[Any]], shape: tuple[int, ...]) -> NDArray[np.int32]:
    """Count the (2, N) end points on each pixel of an image of a shape (Y, X)."""
    counts = np.zeros(shape, dtype=np.int32)
    np.add.at(counts.reshape(-1), np.ravel_multi_index((ends[0], ends[1]), shape), np.int32(1))
    return counts


def find_seeds(counts: NDArray[np.int32]) -> NDArray[np.int64]:
    """List the (N, 2) pixels where the most paths of their surroundings end, fewest paths first.

    Seeds of equal count keep their raster order. Equal neighbours are seeds both.
    """
    seeds = _peaks(counts)
    order = np.argsort(counts[seeds[:, 0], seeds[:, 1]], kind="stable")
    return seeds[order]


@compiled
def _peaks(counts: NDArray[np.int32]) -> NDArray[np.int64]:
    busy = np.argwhere(counts > SEED_COUNT)
    highest = np.zeros(len(busy), dtype=np.bool_)
    for i, (y, x) in enumerate(busy):
        around = counts[max(y - SEED_RADIUS, 0) : y + SEED_RADIUS + 1, max(x - SEED_RADIUS, 0) : x + SEED_RADIUS + 1]
        highest[i] = counts[y, x] == around.max()
    return busy[highest]


@compiled
def paint_sinks(counts: NDArray[np.int32], seeds: NDArray[np.int64]) -> NDArray[np.uint32]:
    """Paint a (Y, X) map of the sinks 1..N of N seeds; where sinks overlap, the later seed wins.

    A sink is the busy pixels connected to its seed, diagonals included, by at most `SINK_RADIUS` moves.
    """
    sinks = np.zeros(counts.shape, dtype=np.uint32)
    for i, (y, x) in enumerate(seeds):
        reached = [(y, x)]
        sinks[y, x] = i + 1
        for _ in range(SINK_RADIUS):
            reached = _grow_sink(counts, sinks, reached)
    return sinks


@compiled
def _grow_sink(
    counts: NDArray[np.int32], sinks: NDArray[np.uint32], rim: list[tuple[int, int]]
) -> list[tuple[int, int]]:
    """Paint the busy neighbours of the rim with its label, in place; return the newly painted pixels."""
    added = []
    for y, x in rim:
        for ny in range(max(y - 1, 0), min(y + 2, counts.shape[0])):
            for nx in range(max(x - 1, 0), min(x + 2, counts.shape[1])):
                if counts[ny, nx] > SINK_COUNT and sinks[ny, nx] != sinks[y, x]:
                    sinks[ny, nx] = sinks[y, x]
                    added.append((ny, nx))
    return added


def drop_large(labels: NDArray[np.uint32], max_fraction: float) -> NDArray[np.uint32]:
    """Drop the objects that fill more than a fraction of the image."""
    return keep(labels, areas(labels) <= max_fraction * labels.size)


def drop_inconsistent(labels: NDArray[np.uint32], flow: NDArray[np.float32], max_error: float) -> NDArray[np.uint32]:
    """Drop the objects whose own flow differs from the flow that was predicted."""
    return keep(labels, flow_errors(labels, flow) <= max_error)


def drop_small(labels: NDArray[np.uint32], min_size: int) -> NDArray[np.uint32]:
    """Drop the objects of fewer pixels."""
    return keep(labels, areas(labels) >= min_size)


def fill_holes(labels: NDArray[np.uint32], enclosed: Enclosed = "absorb") -> NDArray[np.uint32]:
    """Fill what an object encloses, with edges for borders.

    "absorb": what lies in there, other objects too, becomes its own; objects are filled in the order of their numbers.
    "keep": only background does; the innermost object takes it, as objects are filled in the opposite order.
    """
    boxes = bounding_boxes(labels)
    return fill_these(labels, np.arange(1, len(boxes) + 1), boxes, enclosed)


def fill_these(
    labels: NDArray[np.uint32], numbers: NDArray[np.int64], boxes: NDArray[np.int32], enclosed: Enclosed
) -> NDArray[np.uint32]:
    """Fill the holes of N objects, in the order given, as `fill_holes` does; ``boxes`` (N, 4) bound them."""
    if enclosed == "keep":
        return _fill_holes(labels, numbers[::-1].copy(), boxes[::-1].copy(), np.uint32(0))
    return _fill_holes(labels, numbers, boxes, np.uint32(labels.max(initial=0)))


@compiled
def _fill_holes(
    labels: NDArray[np.uint32], numbers: NDArray[np.int64], boxes: NDArray[np.int32], highest: np.uint32
) -> NDArray[np.uint32]:
    """Fill holes in the order given, over labels up to the highest one."""
    filled = labels.copy()
    for i, (top, left, bottom, right) in enumerate(boxes):
        number = numbers[i]
        box = filled[top:bottom, left:right]
        for y, x in np.argwhere(_holes(box == number)):
            if box[y, x] <= highest:
                box[y, x] = number
    return filled


@compiled
def find_enclosed(
    labels: NDArray[np.uint32], numbers: NDArray[np.int64], boxes: NDArray[np.int32]
) -> list[tuple[np.int64, np.int64]]:
    """List pairs of an object and a label, 0 too, that lies in its holes; each at least once.

    Args:
        labels: (Y, X).
        numbers: (N,) the objects to look at.
        boxes: (N, 4) their bounding boxes.
    """
    pairs = []
    for i, (top, left, bottom, right) in enumerate(boxes):
        number = previous = numbers[i]
        box = labels[top:bottom, left:right]
        for y, x in np.argwhere(_holes(box == number)):
            if box[y, x] != previous:
                previous = np.int64(box[y, x])
                pairs.append((number, previous))
    return pairs


@compiled
def _holes(inside: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Mark what cannot be reached from around the box over edges: close the object, then all that is reached."""
    closed = np.ones((inside.shape[0] + 4, inside.shape[1] + 4), dtype=np.bool_)
    closed[1:-1, 1:-1] = False
    closed[2:-2, 2:-2] = inside
    closed[1, 1] = True
    pending = [(1, 1)]
    while pending:
        y, x = pending.pop()
        for ny, nx in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
            if not closed[ny, nx]:
                closed[ny, nx] = True
                pending.append((ny, nx))
    return ~closed[2:-2, 2:-2]
