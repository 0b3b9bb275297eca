"""Where a network's pixels come from: any image, in memory or on disk, read by rows so that it never has to fit."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline_lib.arrays.checks import check_image
from pipeline_lib.arrays.normalise import to_range
from pipeline_lib.arrays.resample import Interpolation
from pipeline_lib.flows.blocks import Readable


class Source(Protocol):
    """A (C, Y, X) image in float32 of which any rows can be had."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, Y, X)."""

    def rows(self, start: int, stop: int) -> Tensor:
        """The rows start..stop of all channels, (C, stop - start, X)."""


@dataclass(frozen=True)
class Pixels:
    """A scaled (C, Y, X) image, filled up with channels of zeros to as many as the network takes."""

    image: Readable
    channels: int
    device: torch.device

    def __post_init__(self) -> None:
        if len(self.image.shape) != 3 or not 1 <= self.image.shape[0] <= self.channels:
            raise ValueError(
                f"an image of shape {tuple(self.image.shape)} found; this network takes (C, Y, X) "
                f"with 1 to {self.channels} channels"
            )

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, Y, X)."""
        _, height, width = self.image.shape
        return self.channels, height, width

    def rows(self, start: int, stop: int) -> Tensor:
        """The rows start..stop."""
        found = np.asarray(self.image[:, start:stop], np.float32)
        filled = np.pad(found, ((0, self.channels - len(found)), (0, 0), (0, 0)))
        host = torch.from_numpy(filled)
        return host.pin_memory().to(self.device, non_blocking=True) if self.device.type == "cuda" else host


@dataclass(frozen=True)
class Scaled:
    """Some channels of a raw (C, Y, X) image, each brought from its range to 0 and 1 as its rows are read.

    ranges: as of `arrays.normalise.find_ranges`. invert: bright becomes dark.
    """

    image: Readable
    channels: Sequence[int]
    ranges: Sequence[tuple[float, float]]
    invert: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        """(number of chosen channels, Y, X)."""
        return (len(self.channels), *self.image.shape[1:])

    def __getitem__(self, place: tuple[slice, ...]) -> NDArray[np.float32]:
        """Scaled pixels; the first slice, over channels, must be whole. Raises ValueError for values not finite."""
        _, *box = place
        raw = np.concatenate([np.asarray(self.image[(slice(n, n + 1), *box)]) for n in self.channels])
        check_image(raw, len(self.channels))
        return np.stack(
            [to_range(pixels, span, invert=self.invert) for pixels, span in zip(raw, self.ranges, strict=True)]
        )


class Resized:
    """A source seen at another size (Y, X): bilinear, with pixel positions counted from the whole image's corner."""

    def __init__(self, source: Source, shape: tuple[int, int]) -> None:
        channels, height, width = source.shape
        self.shape = (channels, *shape)
        self._source = source
        self._rows = Interpolation.between(height, shape[0])
        self._columns = Interpolation.between(width, shape[1])

    def rows(self, start: int, stop: int) -> Tensor:
        """The rows start..stop."""
        needed, along = self._rows.part(start, stop)
        found = self._source.rows(needed.start, needed.stop)
        return interpolate(interpolate(found, 1, along), 2, self._columns)


def resized_bands(bands: Iterable[Tensor], old: tuple[int, int], new: tuple[int, int]) -> Iterator[Tensor]:
    """An image that comes in bands of rows (C, rows, X), at another size (Y, X), in bands as soon as they can be had.

    Equal to resizing the whole image; at most one band and two rows are held.
    """
    rows, columns = (Interpolation.between(*lengths) for lengths in zip(old, new, strict=True))
    held, first, done = torch.empty(0), 0, 0
    for band in bands:
        held = torch.cat([held, band], dim=1) if held.numel() else band
        ready = int(np.searchsorted(rows.after, first + held.shape[1]))
        if ready > done:
            needed, along = rows.part(done, ready)
            some = held[:, needed.start - first : needed.stop - first]
            yield interpolate(interpolate(some, 1, along), 2, columns)
            done = ready
        if done < new[0]:
            keep = min(int(rows.before[done]), first + held.shape[1])
            held, first = held[:, keep - first :], keep


def in_steps(bands: Iterable[Tensor], step: int) -> Iterator[tuple[slice, Tensor]]:
    """The same rows (C, rows, X), in bands that begin at multiples of `step`, each with its place."""
    held, top = torch.empty(0), 0
    for band in bands:
        held = torch.cat([held, band], dim=1) if held.numel() else band
        if ready := held.shape[1] // step * step:
            yield slice(top, top + ready), held[:, :ready]
            held, top = held[:, ready:], top + ready
    if held.numel():
        yield slice(top, top + held.shape[1]), held


def interpolate(image: Tensor, axis: int, along: Interpolation) -> Tensor:
    """Interpolate a (C, Y, X) tensor along one axis, with the very arithmetic of `arrays.resample.resize`."""
    before, after = (torch.from_numpy(index).to(image.device) for index in (along.before, along.after))
    first, second = image.index_select(axis, before), image.index_select(axis, after)
    share = torch.from_numpy(along.share).to(image.device).reshape([-1] + [1] * (image.ndim - axis - 1))
    return first + share * (second - first)
