"""Flows to labels of an image of any size, block by block, without seams: the labels are those of `masks_from_flow`.

Memory holds a few blocks and a table of 48 bytes per object, whatever the size of the image. Three facts make
the blocks fit together. Paths depend on the flow along them only; one that comes to the rim of its window is followed
again in a wider one. Seeds and sinks depend on a few pixels around. Everything else is about one object at a time, and
each object is read as a whole.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline_lib.flows.block_objects import (
    empty_table,
    fill_all,
    inspect_all,
    number_all,
    of_right_size,
    tally,
)
from pipeline_lib.flows.block_run import Run
from pipeline_lib.flows.blocks import Blocks, Box, Grid, Readable, Writable
from pipeline_lib.flows.follow import BITS, OpenSides, follow_in_window
from pipeline_lib.flows.masks import (
    SEED_RADIUS,
    SINK_RADIUS,
    MaskSettings,
    count_ends,
    count_not_finite,
    faults_of_values,
    find_seeds,
    paint_sinks,
)

NOWHERE = -1  # end point of a background pixel


@dataclass(frozen=True)
class FlowField:
    """What a network says about an image: flow (2, Y, X), y first, and cell logit (Y, X), both float32."""

    flow: Readable
    logit: Readable


@dataclass(frozen=True)
class Report:
    """What was found and what it took.

    Attributes:
        objects: how many were found.
        blocks: how many cores the image has.
        wider_windows: how often paths were followed again in a wider window.
        largest_window: pixels of the largest piece that was read.
        pixels_read: sum over all pieces.
    """

    objects: int
    blocks: int
    wider_windows: int
    largest_window: int
    pixels_read: int


def label_blocks(pixels: FlowField, target: Writable, settings: MaskSettings, steps: int, blocks: Blocks) -> Report:
    """Write the labels that `masks_from_flow` gives, whatever the size of the image, of the blocks and of the halo.

    Args:
        pixels: what the network says.
        target: (Y, X) uint32; holds labels of unfinished objects until the last pass.
        settings: thresholds.
        steps: steps along the flow, unless ``settings.niter`` sets them.
        blocks: how to cut the image.

    Raises:
        ValueError: shapes that do not fit, or values that are not finite.
    """
    height, width = _checked_shape(pixels, target)
    run = Run(settings, settings.niter or steps, blocks, Grid((height, width), blocks.core))
    ends, counts = _follow_all(run, pixels)
    seeds = _list_seeds(run, counts)
    sinks = _paint_all(run, counts, seeds)
    table = _label_all(run, ends, sinks, target, len(seeds))
    kept = of_right_size(table, settings, height * width)
    kept, enclosed = inspect_all(run, pixels.flow, target, table, kept)
    fill_all(run, target, table, kept, enclosed)
    count = number_all(run, target, kept)
    work = run.work
    return Report(count, len(run.grid), work.wider_windows, work.largest_window, work.pixels_read)


def _checked_shape(pixels: FlowField, target: Writable) -> tuple[int, int]:
    flow, logit = tuple(pixels.flow.shape), tuple(pixels.logit.shape)
    if len(logit) != 2 or flow != (2, *logit) or tuple(target.shape) != logit:
        raise ValueError(
            f"flow has shape {flow}, logit {logit} and target {tuple(target.shape)}; (2, Y, X), (Y, X) and (Y, X) are "
            "needed"
        )
    return logit


# Paths


@dataclass(frozen=True)
class _View:
    """The field in a window."""

    box: Box
    flow: NDArray[np.float32]
    logit: NDArray[np.float32]

    def starts(self, core: Box, threshold: float) -> NDArray[np.int64]:
        """List the foreground pixels (2, N) of a core, in raster order."""
        return np.stack(np.nonzero(self.logit[core.within(self.box)] > threshold)) + _corner(core)

    def not_finite(self, core: Box) -> NDArray[np.int64]:
        """Count, in a core, the flow values and the logits that are not finite."""
        place = core.within(self.box)
        return np.array([count_not_finite(self.flow[:, *place]), count_not_finite(self.logit[place])])


def _corner(box: Box) -> NDArray[np.int64]:
    return np.array([[box.top], [box.left]])


def _follow_all(run: Run, pixels: FlowField) -> tuple[Writable, Writable]:
    """Write for each pixel where its path ends, as an index or `NOWHERE`, and how many paths end there."""
    ends, counts = run.scratch("ends", np.int64), run.scratch("counts", np.int32)
    bad = np.zeros(2, dtype=np.int64)
    for core in run.each(run.grid):
        view = _view(run, pixels, core.grown(run.blocks.halo, run.grid.shape))
        bad += view.not_finite(core)
        starts = view.starts(core, run.settings.cellprob_threshold)
        reached = _follow_far(run, pixels, view, starts)
        ends[core.slices] = _draw(core, starts, run.index(reached))
        _add_counts(run, counts, reached)
    size = run.grid.shape[0] * run.grid.shape[1]
    faults = faults_of_values("flow", int(bad[0]), 2 * size) + faults_of_values("logit", int(bad[1]), size)
    if faults:
        raise ValueError("; ".join(faults))
    return ends, counts


def _view(run: Run, pixels: FlowField, box: Box) -> _View:
    return _View(box, run.read(pixels.flow, box), run.read(pixels.logit, box))


def _follow_far(run: Run, pixels: FlowField, view: _View, starts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Find the pixels where paths end; those that leave the view are followed again in wider and wider windows."""
    ends, escaped = _follow_within(run, view, starts)
    halo = run.blocks.halo
    while escaped.any():
        halo *= 2
        run.work.wider_windows += 1
        far = starts[:, escaped]
        window = Box.around(np.concatenate([far, far + 1]).T).grown(halo, run.grid.shape)
        ends[:, escaped], escaped[escaped] = _follow_within(run, _view(run, pixels, window), far)
    return ends


def _follow_within(run: Run, view: _View, starts: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Find the pixels (2, N) where paths end, and the paths (N,) of which the view does not show the end."""
    box, (height, width) = view.box, run.grid.shape
    sides = OpenSides(box.top > 0, box.left > 0, box.bottom < height, box.right < width)
    masked = np.where(view.logit > run.settings.cellprob_threshold, view.flow, np.float32(0))
    ends, escaped = follow_in_window(masked, (starts - _corner(box)) << BITS, run.steps, sides)
    return (ends >> BITS) + _corner(box), escaped


def _draw(core: Box, pixels: NDArray[np.int64], values: NDArray[np.int64]) -> NDArray[np.int64]:
    drawn = np.full(core.shape, NOWHERE)
    y, x = pixels - _corner(core)
    drawn[y, x] = values
    return drawn


def _add_counts(run: Run, counts: Writable, ends: NDArray[np.int64]) -> None:
    """Add end points (2, N), wherever they are, core by core."""
    for core, own in run.grid.split(*ends):
        counts[core.slices] = run.read(counts, core) + count_ends(ends[:, own] - _corner(core), core.shape)


# Seeds and sinks


def _list_seeds(run: Run, counts: Writable) -> NDArray[np.int64]:
    """List the indices of all seeds, ascending."""
    found = [np.zeros(0, dtype=np.int64)]
    for core in run.each(run.grid):
        window = core.grown(SEED_RADIUS, run.grid.shape)
        seeds = find_seeds(run.read(counts, window)) + window[:2]
        own = (seeds >= core[:2]).all(axis=1) & (seeds < core[2:]).all(axis=1)
        found.append(run.index(seeds[own].T))
    return np.sort(np.concatenate(found))


def _paint_all(run: Run, counts: Writable, seeds: NDArray[np.int64]) -> Writable:
    """Paint every sink with the rank of its seed among all seeds, from 1."""
    sinks = run.scratch("sinks", np.uint32)
    for core in run.each(run.grid):
        window = core.grown(SEED_RADIUS + SINK_RADIUS, run.grid.shape)
        part = run.read(counts, window)
        near = find_seeds(part)
        # What only looks like a seed, at the rim of the window, has a rank too, but its sink does not reach the core.
        ranks = np.searchsorted(seeds, run.index((near + window[:2]).T)) + 1
        sinks[core.slices] = np.append(0, ranks).astype(np.uint32)[paint_sinks(part, near)[core.within(window)]]
    return sinks


# Objects


def _label_all(run: Run, ends: Writable, sinks: Writable, target: Writable, count: int) -> NDArray[np.int64]:
    """Give every pixel the sink in which its path ends; return the table of the objects."""
    table = empty_table(count)
    for core in run.each(run.grid):
        reached = run.read(ends, core)
        labels = np.zeros(core.shape, dtype=np.uint32)
        labels[reached != NOWHERE] = _look_up(run, sinks, reached[reached != NOWHERE])
        target[core.slices] = labels
        tally(labels, core.top, core.left, run.grid.shape[1], table)
    return table


def _look_up(run: Run, sinks: Writable, ends: NDArray[np.int64]) -> NDArray[np.uint32]:
    """Read the sinks at end points, wherever they are, core by core."""
    y, x = np.divmod(ends, run.grid.shape[1])
    found = np.zeros(len(ends), dtype=np.uint32)
    for core, own in run.grid.split(y, x):
        found[own] = run.read(sinks, core)[y[own] - core.top, x[own] - core.left]
    return found
