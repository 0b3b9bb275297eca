"""Wells whose fields are put together to one image: read field by field, compared, blended band by band."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline_lib.arrays.montage import Comparison, blended, compare, neighbours, settle, shared_windows
from pipeline_lib.arrays.normalise import to_dtype
from pipeline_lib.arrays.pyramid import STEP, level_steps
from pipeline_lib.arrays.quality import quality
from pipeline_lib.arrays.resample import shrink
from pipeline_lib.core.histograms import Histogram, histogram, merge
from pipeline_lib.core.layout import Layout, Place, Places, corners
from pipeline_lib.core.manifest import ImageFile
from pipeline_lib.io.bands import BandedImage, bands, create_banded
from pipeline_lib.io.commit import committed, sweep
from pipeline_lib.io.plate import write_histograms, write_well
from pipeline_lib.stages._layout import places_of_well, stage_positions
from pipeline_lib.stages.ingest import Ingest

IMAGE = 0  # the one image of a well
DIM = 1.0  # percentile of a field by which places without any field are filled

Frame = NDArray[np.generic]


@dataclass(frozen=True)
class Placed:
    """Where a field came to lie, (y, x) in pixels of the well's image: of its upper left corner.

    told: as the microscope says; place: as its neighbours say; corner: the pixel it was put at.
    """

    field: int
    told: Place
    place: Place
    corner: tuple[int, int]
    stage_position_um: tuple[float, float] | None


@dataclass(frozen=True)
class Band:
    """Rows of a well's image at a time point, before they are blended.

    frames: field -> (C, Z, Y, X), of the fields that reach into it; new: those of which no band before had any.
    dim: of each channel, what places without any field are filled with.
    """

    time: int
    top: int
    rows: int
    placed: Mapping[int, Placed]
    frames: Mapping[int, Frame]
    new: tuple[int, ...]
    dim: Sequence[float]


@dataclass(frozen=True)
class BandMade:
    """A band that can be written. image: (C, Z, rows, X); quality: field -> of each channel."""

    time: int
    top: int
    placed: Mapping[int, Placed]
    image: NDArray[Any]
    histograms: list[Histogram | None]
    quality: Mapping[int, list[dict[str, Any]]]


@dataclass(frozen=True)
class Coarse:
    """The second finest level of an image, made from its bands: finished rows, and those too few to be shrunk yet."""

    done: tuple[NDArray[Any], ...] = ()
    rest: NDArray[Any] | None = None

    def and_then(self, band: NDArray[Any]) -> Coarse:
        """With a further band (C, Z, rows, X) below."""
        rows = band if self.rest is None else np.concatenate([self.rest, band], axis=-2)
        whole = rows.shape[-2] // STEP * STEP
        done = (*self.done, shrink(rows[..., :whole, :], STEP)) if whole else self.done
        return Coarse(done, rows[..., whole:, :])

    def whole(self) -> NDArray[Any]:
        """The level, when no band follows."""
        rest = [] if self.rest is None or not self.rest.shape[-2] else [shrink(self.rest, STEP)]
        return np.concatenate([*self.done, *rest], axis=-2)


@dataclass(frozen=True)
class Montage:
    """How a well is put together and committed. fields: how its fields are read."""

    fields: Ingest
    layout: Layout

    def wanted(self, well: str) -> str:
        return self.fields.wanted(well)

    def stored(self, well: str) -> str | None:
        return self.fields.stored(well)

    def discard(self, well: str) -> None:
        self.fields.discard(well)

    def read(self, well: str) -> Iterator[Band]:
        files = self.fields.complete(well)
        placed = self._placed(well, files)
        for time in range(self.fields.info.times):
            yield from self._bands(time, placed, [file for file in files if file.time == time])

    def compute(self, piece: Band) -> BandMade:
        width = self.layout.canvas[1]
        where = {number: piece.placed[number].corner for number in piece.frames}
        channels, planes = self._shape[1:3]
        image = np.zeros((channels, planes, piece.rows, width), self.fields.info.dtype)
        covered = np.zeros((piece.rows, width), np.bool_)
        for channel in range(channels if piece.frames else 0):
            some = {number: frame[channel] for number, frame in piece.frames.items()}
            total, covered = blended((piece.top, piece.rows, width), some, where)
            total[:, ~covered] = piece.dim[channel]
            image[channel] = to_dtype(total, image.dtype)
        seen = [histogram(channel.max(axis=0)[covered]) if covered.any() else None for channel in image]
        told = {number: _quality(piece.frames[number]) for number in piece.new}
        return BandMade(piece.time, piece.top, piece.placed, image, seen, told)

    def commit(self, well: str, made: Iterable[BandMade], wanted: str) -> Mapping[str, Any]:
        target = self.fields.job.plate.raw_well(well)
        sweep(target)
        with committed(target) as temporary:
            steps = level_steps(*self.layout.canvas)
            image = create_banded(temporary, IMAGE, self._shape, steps, self.fields.info)
            counted, told = self._write(image, made)
            write_histograms(temporary, [counted])
            ours = {**self.fields.job.provenance(wanted), "fields": told}
            write_well(temporary, [IMAGE], ours)
        size = math.prod(self._shape) * np.dtype(self.fields.info.dtype).itemsize
        return {"fields": len(told), "megabytes": round(size / 1e6, 3)}

    def _write(self, image: BandedImage, made: Iterable[BandMade]) -> tuple[list[Histogram], list[dict[str, Any]]]:
        """Write the bands as they come, and the coarser levels of each time point when its last band is written."""
        counted: list[list[Histogram]] = [[] for _ in range(self._shape[1])]
        told: dict[int, dict[str, Any]] = {}
        coarse = Coarse()
        for band in made:
            image.write(0, band.time, band.top, band.image)
            coarse = coarse.and_then(band.image)
            for channel, of_band in zip(counted, band.histograms, strict=True):
                channel += [of_band] if of_band else []
            for number, seen in band.quality.items():
                place = asdict(band.placed[number])
                known = told.setdefault(number, {**place, "quality": [[] for _ in seen]})
                known["quality"] = [[*before, now] for before, now in zip(known["quality"], seen, strict=True)]
            if band.top + band.image.shape[-2] == self.layout.canvas[0]:
                _write_coarse(image, band.time, coarse.whole())
                coarse = Coarse()
        return [merge(channel) for channel in counted], [told[number] for number in sorted(told)]

    @cached_property
    def _shape(self) -> tuple[int, ...]:
        """(T, C, Z, Y, X) of a well's image."""
        info = self.fields.info
        return (info.times, len(info.channels), self.fields.depth, *self.layout.canvas)

    def _bands(self, time: int, placed: Mapping[int, Placed], files: list[ImageFile]) -> Iterator[Band]:
        """The bands of one time point from top to bottom; each field is read once, and let go below its last band."""
        tops = {number: one.corner[0] for number, one in placed.items()}
        frames: dict[int, Frame] = {}
        dim: Sequence[float] = ()
        height = self.layout.field[0]
        for top, rows in bands(self._shape, self.fields.info):
            reaching = [number for number, corner in tops.items() if corner < top + rows and corner + height > top]
            new = [number for number in reaching if number not in frames]
            kept = {number: frame for number, frame in frames.items() if number in reaching}
            read = {number: self._frame(number, files) for number in new}
            frames = {**kept, **read}
            dim = dim or [float(np.percentile(channel, DIM)) for channel in next(iter(read.values()), ())]
            yield Band(time, top, rows, placed, frames, tuple(new), dim)

    def _frame(self, number: int, files: list[ImageFile]) -> Frame:
        return self.fields.frame([file for file in files if file.field == number])

    def _placed(self, well: str, files: tuple[ImageFile, ...]) -> dict[int, Placed]:
        """Where each field lies, as its neighbours say."""
        settings, stage = self.fields.settings, stage_positions(self.fields.manifest, well)
        told = places_of_well(well, stage, settings, self.layout, self.fields.info.pixel_size)
        places = told if settings.montage.largest_move == 0 else settle(told, self._comparisons(told, files))
        pixels = corners(places)
        return {n: Placed(n, told[n], places[n], pixels[n], stage[n]) for n in told}

    def _comparisons(self, told: Places, files: tuple[ImageFile, ...]) -> Iterator[Comparison]:
        """Every two neighbours at the first time point. Of a field only what it shares with others is kept."""
        pairs = list(neighbours(told, self.layout.field))
        largest = self.fields.settings.montage.largest_move
        windows = {pair: shared_windows(told[pair[0]], told[pair[1]], self.layout.field) for pair in pairs}
        parts: dict[tuple[tuple[int, int], int], NDArray[np.float32]] = {}
        for number in told:
            own = [(pair, side) for pair in pairs for side in (0, 1) if pair[side] == number]
            if own:
                plane = self._compared(number, files)
                parts |= {(pair, side): plane[windows[pair][side]].astype(np.float32) for pair, side in own}
        for pair in pairs:
            first, second = pair
            move, likeness = compare(parts[pair, 0], parts[pair, 1], largest)
            steps = [round(told[second][axis] - told[first][axis]) + move[axis] for axis in (0, 1)]
            yield Comparison(first, second, (steps[0], steps[1]), likeness)

    def _compared(self, number: int, files: tuple[ImageFile, ...]) -> Frame:
        """The plane (Y, X) of a field that is compared with those of its neighbours."""
        channel = self.fields.channel_id(self.fields.settings.montage.channel)
        stack = self.fields.stack([f for f in files if (f.field, f.time, f.channel) == (number, 0, channel)])
        return np.asarray(stack.max(axis=0))


def _quality(frame: Frame) -> list[dict[str, Any]]:
    """Of each channel of a field (C, Z, Y, X)."""
    projected = frame.max(axis=1)
    return [asdict(quality(channel, histogram(channel))) for channel in projected]


def _write_coarse(image: BandedImage, time: int, level: NDArray[Any]) -> None:
    """Write all levels but the finest. level: the second finest, whole."""
    for number in range(1, len(image.shapes)):
        image.write(number, time, 0, level)
        level = shrink(level, STEP)
