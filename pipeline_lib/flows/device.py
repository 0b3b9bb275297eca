"""Flows to labels on a torch device: what `masks_from_flow` does, number for number, without copying flows to the host.

Whole numbers, fixed-point positions and sums in a fixed order give the same bits on every device. Each operation on
floating-point numbers is a torch operation of its own, so none is fused with the next and rounded only once.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch.nn.functional import max_pool2d, pad

from pipeline_lib.flows.follow import BITS, LONGEST, ONE, ROUND
from pipeline_lib.flows.masks import (
    SEED_COUNT,
    SEED_RADIUS,
    SINK_COUNT,
    SINK_RADIUS,
    check_values,
    drop_small,
    fill_holes,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from pipeline_lib.flows.masks import MaskSettings

# Worked on at once: enough to keep a device busy, with 0.3 GB of scratch memory.
BLOCK = 1 << 20  # points or pixels
SINKS = 1 << 16

# The nine pixels around and including one, as (column, row): their heat is summed in this order, see `_sum`.
BESIDE = (-1, 1, 0)
MIDDLE = BESIDE.index(0)


@torch.inference_mode()
def masks_on_device(flow: Tensor, logit: Tensor, settings: MaskSettings, steps: int = 200) -> NDArray[np.uint32]:
    """Find the objects of a field, exactly as `masks_from_flow` does.

    The device needs up to 100 bytes per foreground pixel, 40 bytes per pixel of the image, and 0.3 GB.

    Args:
        flow: (2, Y, X) float32, y first, of about unit length inside objects.
        logit: (Y, X) float32 cell logits, on the same device, which must know float64.
        settings: thresholds.
        steps: steps along the flow, unless ``settings.niter`` sets them.

    Returns:
        The (Y, X) label image on the host, 1..n in the raster order of the objects' first pixels.

    Raises:
        ValueError: shapes that do not fit, or values that are not finite.
    """
    _refuse(flow, logit)
    foreground = logit > float(np.float32(settings.cellprob_threshold))
    places = foreground.flatten().nonzero()[:, 0]
    if len(places) == 0:
        return np.zeros(tuple(logit.shape), dtype=np.uint32)
    ends = _end_places(torch.where(foreground, flow, 0), places, settings.niter or steps)
    owners = _paint_sinks(_count(ends, foreground)).flatten()[ends].long()
    owners = _drop_large(owners, settings.max_size_fraction * foreground.numel())
    if settings.flow_threshold:
        owners = _drop_inconsistent(owners, places, flow, settings.flow_threshold)
    labels = torch.zeros(foreground.numel(), dtype=torch.int32, device=flow.device)
    labels[places] = owners.int()
    return _finish(labels.view(logit.shape).cpu().numpy().view(np.uint32), settings)


def _refuse(flow: Tensor, logit: Tensor) -> None:
    """Look on the device; copy faulty values to the host to have them refused there."""
    fits = logit.ndim == 2 and flow.shape == (2, *logit.shape)
    if not fits or not bool(flow.isfinite().all() & logit.isfinite().all()):
        check_values(flow.cpu().numpy(), logit.cpu().numpy())


def _finish(labels: NDArray[np.uint32], settings: MaskSettings) -> NDArray[np.uint32]:
    """Do on the host what is a small part of the work; this also numbers the objects."""
    labels = drop_small(labels, settings.min_size)
    return drop_small(fill_holes(labels, settings.enclosed), settings.min_size)


def _end_places(field: Tensor, places: Tensor, steps: int) -> Tensor:
    """Find where the paths from raster positions (N,) end, as raster positions; see `follow` for what a step is."""
    height, width = field.shape[1:]
    # A view of the 2 x 2 pixels from each pixel on, (component, row, column, Y, X); the rim is repeated outwards.
    squares = pad(field[None], (0, 1, 0, 1), mode="replicate")[0].unfold(1, 2, 1).unfold(2, 2, 1).permute(0, 3, 4, 1, 2)
    rim = torch.tensor([[[0], [0]], [[height - 1], [width - 1]]], device=field.device) << BITS
    points = torch.stack((places // width, places % width)) << BITS
    points = _walk(squares, rim, points, steps % ROUND)
    moving = torch.arange(len(places), device=field.device)
    for _ in range(steps // ROUND):
        before = points[:, moving]
        after = _walk(squares, rim, before, ROUND)
        points[:, moving] = after
        moving = moving[(after != before).any(dim=0)]
        if len(moving) == 0:
            break
    ends = points >> BITS
    return ends[0] * width + ends[1]


def _walk(squares: Tensor, rim: Tensor, points: Tensor, steps: int) -> Tensor:
    """Take all steps with all points (2, N), block by block."""
    blocks = []
    for block in torch.split(points, BLOCK, dim=1):
        walked = block
        for _ in range(steps):
            walked = _step(squares, rim, walked)
        blocks.append(walked)
    return torch.cat(blocks, dim=1)


def _step(squares: Tensor, rim: Tensor, points: Tensor) -> Tensor:
    y, x = points >> BITS
    far = (points & (ONE - 1)).float().div_(ONE)
    sides = torch.stack((1 - far, far))
    shares = squares[..., y, x].mul_(sides[:, None, 0] * sides[None, :, 1])
    step = shares[:, 0, 0].add_(shares[:, 0, 1]).add_(shares[:, 1, 0]).add_(shares[:, 1, 1])
    step = step.clamp_(-float(LONGEST), float(LONGEST)).mul_(ONE).round_().long()
    return torch.clamp(step.add_(points), rim[0], rim[1])


def _count(ends: Tensor, foreground: Tensor) -> Tensor:
    """Count the end points on each pixel of the image."""
    return torch.bincount(ends, minlength=foreground.numel()).view(foreground.shape)


def _paint_sinks(counts: Tensor) -> Tensor:
    """Paint the (Y, X) map of sinks as `paint_sinks` does, all at once: where they overlap, the greatest label wins."""
    seeds = _find_seeds(counts)
    size = 2 * SINK_RADIUS + 1
    busy = pad(counts > SINK_COUNT, (SINK_RADIUS,) * 4)
    windows = busy.unfold(0, size, 1).unfold(1, size, 1)
    places = torch.arange(busy.numel(), device=counts.device).view(busy.shape).unfold(0, size, 1).unfold(1, size, 1)
    sinks = torch.zeros(busy.numel(), dtype=torch.int32, device=counts.device)
    for start in range(0, len(seeds), SINKS):
        y, x = seeds[start : start + SINKS].unbind(dim=1)
        numbers = torch.arange(start + 1, start + len(y) + 1, dtype=torch.int32, device=counts.device)
        painted = numbers[:, None, None] * _reached(windows[y, x])
        sinks.scatter_reduce_(0, places[y, x].flatten(), painted.flatten(), "amax")
    return sinks.view(busy.shape)[SINK_RADIUS:-SINK_RADIUS, SINK_RADIUS:-SINK_RADIUS]


def _find_seeds(counts: Tensor) -> Tensor:
    """List the (N, 2) seeds, the least busy first, those of equal count in raster order."""
    # Pooling needs floating-point numbers; counts are exact as float64.
    highest = max_pool2d(counts.double()[None], 2 * SEED_RADIUS + 1, stride=1, padding=SEED_RADIUS)[0]
    seeds = ((counts > SEED_COUNT) & (counts == highest)).nonzero()
    return seeds[counts[seeds[:, 0], seeds[:, 1]].argsort(stable=True)]


def _reached(busy: Tensor) -> Tensor:
    """Mark what can be reached from the middles of (N, size, size) windows over busy pixels, as 0 and 1."""
    open_ = busy.float()
    reached = torch.zeros_like(open_)
    reached[:, SINK_RADIUS, SINK_RADIUS] = 1
    for _ in range(SINK_RADIUS):
        reached = max_pool2d(reached, 3, stride=1, padding=1).mul_(open_)
    return reached.int()


def _drop_large(owners: Tensor, max_area: float) -> Tensor:
    """Set the pixels of too large objects to 0; ``owners`` is (N,), the object of each foreground pixel or 0."""
    return owners * (owners.bincount().double() <= max_area)[owners]


def _drop_inconsistent(owners: Tensor, places: Tensor, flow: Tensor, max_error: float) -> Tensor:
    """Set the pixels of objects whose own flow differs from the predicted one to 0."""
    owned = owners > 0
    if not bool(owned.any()):
        return owners
    objects = _list_objects(owners[owned], places[owned], (flow.shape[1], flow.shape[2]))
    middles = _middles(objects)
    neighbours = _neighbours(objects)
    heat = _heat(objects, middles, neighbours)
    errors = _errors(heat, neighbours, flow.flatten(1)[:, objects.places])
    return owners * _consistent(errors, objects, max_error)[owners]


class _Objects(NamedTuple):
    """The pixels of all objects in one list, those of objects that take more turns first, otherwise in raster order.

    Attributes:
        places: (M,) raster positions.
        owners: (M,) labels.
        areas: (highest label + 1,) numbers of pixels.
        turns: (highest label + 1,) how often heat spreads, 0 for absent labels.
        shape: (Y, X) of the image.
    """

    places: Tensor
    owners: Tensor
    areas: Tensor
    turns: Tensor
    shape: tuple[int, int]


def _list_objects(owners: Tensor, places: Tensor, shape: tuple[int, int]) -> _Objects:
    areas = owners.bincount()
    height, width = (_extent(axis, owners, len(areas)) for axis in (places // shape[1], places % shape[1]))
    turns = torch.where(areas > 0, 2 * ((height + 2) + (width + 2)), 0)  # the box has a rim of 1 pixel
    order = turns[owners].argsort(descending=True, stable=True)
    return _Objects(places[order], owners[order], areas, turns, shape)


def _extent(axis: Tensor, owners: Tensor, count: int) -> Tensor:
    """Measure the objects' bounding boxes along an axis, given the coordinate of each pixel."""
    zeros = axis.new_zeros(count)
    first = zeros.scatter_reduce(0, owners, axis, "amin", include_self=False)
    return zeros.scatter_reduce(0, owners, axis, "amax", include_self=False) - first + 1


def _neighbours(objects: _Objects) -> list[Tensor]:
    """Number the neighbours of each pixel in the list of pixels, M for those outside its object.

    Returns blocks, flat (3 columns x 3 rows x up to `BLOCK` pixels), both in the order of `BESIDE`.
    """
    height, width = objects.shape
    wide = width + 2
    outside = len(objects.places)
    padded = (objects.places // width + 1) * wide + objects.places % width + 1
    numbers = torch.full(((height + 2) * wide,), outside, dtype=torch.int32, device=padded.device)
    numbers[padded] = torch.arange(outside, dtype=torch.int32, device=padded.device)
    around = torch.tensor([[row * wide + column] for column in BESIDE for row in BESIDE], device=padded.device)
    owner_of = pad(objects.owners, (0, 1))
    blocks = []
    for owners, here in zip(torch.split(objects.owners, BLOCK), torch.split(padded, BLOCK), strict=True):
        beside = numbers[here + around]
        blocks.append(torch.where(owner_of[beside.long()] == owners, beside, outside).flatten())
    return blocks


def _heat(objects: _Objects, middles: Tensor, neighbours: list[Tensor]) -> Tensor:
    """Let heat spread in all objects at once as in `targets`; an object whose turns are over keeps its heat.

    Returns (M + 1,): the heat of each pixel, and 0 for what is outside.
    """
    heat = torch.zeros(len(objects.places) + 1, dtype=torch.float64, device=middles.device)
    one = torch.ones_like(middles, dtype=torch.float64)
    for turns, count, pixels in _schedule(objects):
        spread = heat.clone()
        for _ in range(turns):
            heat.index_add_(0, middles[:count], one[:count])
            for block, target in zip(neighbours, torch.split(spread[:pixels], BLOCK), strict=False):
                torch.mul(_sum(heat, block)[: len(target)], 1 / 9, out=target)
            heat, spread = spread, heat
    return heat


def _schedule(objects: _Objects) -> list[tuple[int, int, int]]:
    """List for how many turns how many objects, of how many pixels, still take part."""
    turns, areas = torch.stack((objects.turns, objects.areas)).cpu().numpy()
    ends = np.unique(turns[turns > 0]).tolist()
    return [
        (end - start, int((turns >= end).sum()), int(areas[turns >= end].sum())) for start, end in pairwise([0, *ends])
    ]


def _sum(heat: Tensor, neighbours: Tensor) -> Tensor:
    """Add 3 x 3 pixels in the order of `targets`: above and below, here; then left and right, middle."""
    columns = heat.index_select(0, neighbours).view(3, 3, -1)
    sums = columns[:, 0].add_(columns[:, 1]).add_(columns[:, 2])
    return sums[0].add_(sums[1]).add_(sums[2])


def _middles(objects: _Objects) -> Tensor:
    """Number the pixel nearest to each object's mean position, in ascending order; see `targets` for ties."""
    places, owners, areas, _, shape = objects
    distance = torch.zeros(len(places), dtype=torch.float64, device=places.device)
    for axis in (places // shape[1], places % shape[1]):
        total = torch.zeros_like(areas).index_add_(0, owners, axis)
        distance += (areas[owners] * axis - total[owners]).double().square()
    least = distance.new_zeros(len(areas)).scatter_reduce_(0, owners, distance, "amin", include_self=False)
    nearest = (distance == least[owners]).nonzero()[:, 0]
    first = torch.full_like(areas, len(places)).scatter_reduce_(0, owners[nearest], nearest, "amin")
    return first[areas > 0].sort().values


def _errors(heat: Tensor, neighbours: list[Tensor], flow: Tensor) -> Tensor:
    """Square the difference between the flow (2, M) that was predicted and the one that climbs the heat."""
    errors = []
    for block, predicted in zip(neighbours, torch.split(flow, BLOCK, dim=1), strict=True):
        around = heat.index_select(0, block).view(3, 3, -1)
        climb = torch.stack((around[MIDDLE, 1] - around[MIDDLE, 0], around[1, MIDDLE] - around[0, MIDDLE]))
        squares = climb.square()
        climb /= (squares[0] + squares[1]).sqrt() + 1e-60
        squares = (climb.float() - predicted).square()
        errors.append(squares[0] + squares[1])
    return torch.cat(errors)


def _consistent(errors: Tensor, objects: _Objects, max_error: float) -> Tensor:
    """Say for each label whether the mean of its pixels' errors is small enough.

    `flow_errors` adds float32 numbers one after the other, which a device cannot do fast. Where rounding in that sum
    could matter, it is repeated on the host.
    """
    _, owners, areas, _, _ = objects
    total = torch.zeros(len(areas), dtype=torch.float64, device=errors.device).index_add_(0, owners, errors.double())
    mean = total / areas.clamp(min=1)
    consistent = mean <= max_error
    rounding = mean * areas * 2**-23  # each of the additions is off by at most 2**-24 of the sum
    for label in ((mean - max_error).abs() <= rounding).logical_and_(mean.isfinite()).nonzero()[:, 0].tolist():
        some = errors[owners == label].cpu().numpy()
        consistent[label] = bool(np.add.accumulate(some)[-1] / np.int64(some.size) <= max_error)
    return consistent
