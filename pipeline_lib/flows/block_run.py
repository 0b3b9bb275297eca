"""What every step of the work on blocks needs: settings, the grid, pixels, and counts of what was done."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from pipeline_lib.flows.blocks import Blocks, Box, Grid, Readable, Reading, Writable, plan_readings
from pipeline_lib.flows.masks import MaskSettings

PASSES = 8  # over all blocks

Item = TypeVar("Item")


@dataclass
class Work:
    """What was done so far."""

    turns: int = 0
    wider_windows: int = 0
    largest_window: int = 0
    pixels_read: int = 0


@dataclass(frozen=True)
class Run:
    """What every step needs."""

    settings: MaskSettings
    steps: int
    blocks: Blocks
    grid: Grid
    work: Work = field(default_factory=Work)

    def each(self, items: Iterable[Item]) -> Iterator[Item]:
        """Pass on items, one for each core, and tell the progress after each."""
        for item in items:
            yield item
            self.work.turns += 1
            if self.blocks.progress:
                self.blocks.progress(self.work.turns, PASSES * len(self.grid))

    def scratch(self, name: str, dtype: type[np.integer[Any]]) -> Writable:
        """Make an array of zeros of the image's shape."""
        return self.blocks.scratch(name, self.grid.shape, np.dtype(dtype))

    def read(self, pixels: Readable, box: Box) -> NDArray[Any]:
        """Copy a box of the last two axes."""
        size = box.shape[0] * box.shape[1]
        self.work.largest_window = max(self.work.largest_window, size)
        self.work.pixels_read += size
        leading = [slice(None)] * (len(pixels.shape) - 2)
        return np.array(pixels[(*leading, *box.slices)], order="C")

    def read_objects(self, objects: NDArray[np.int64], boxes: NDArray[np.int64]) -> Iterator[Reading]:
        """Tell what to read to see each object as a whole."""
        for readings in self.each(plan_readings(self.grid, objects, boxes)):
            yield from readings

    def index(self, pixels: NDArray[np.int64]) -> NDArray[np.int64]:
        """Number the pixels (2, N) of the image in raster order."""
        return np.asarray(pixels[0] * self.grid.shape[1] + pixels[1])
