"""Wells whose fields are put together to one image: read field by field, compared, blended band by band."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline_lib.arrays.montage import Comparison, blended, compare, neighbours, settle, shared_windows
from pipeline_lib.arrays.projection import projected
from pipeline_lib.arrays.pyramid import STEP, level_steps
from pipeline_lib.arrays.quality import quality
from pipeline_lib.arrays.resample import shrink
from pipeline_lib.core.errors import MissingImages
from pipeline_lib.core.histograms import Histogram, histogram, merge
from pipeline_lib.core.layout import Layout, Place, Places, corners
from pipeline_lib.core.manifest import ImageFile
from pipeline_lib.io.bands import BandedChannel, BandedImage, bands, create_banded
from pipeline_lib.io.commit import committed, sweep
from pipeline_lib.io.plate import write_histograms, write_well
from pipeline_lib.stages._job import HANDS
from pipeline_lib.stages._layout import places_of_well, stage_positions
from pipeline_lib.stages.ingest import Ingest

IMAGE = 0  # the one image of a well
ROOM = 768 * 2**20  # bytes for bands and the fields they are made of
BLENDED = 16  # bytes of a pixel while it is blended, counted and written
DIM = 1.0  # percentile of a field by which places without any field are filled

Stack = NDArray[Any]


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
    """Rows of one channel of a well's image at a time point, before they are blended.

    frames: field -> (Z, Y, X), of the fields that reach into it; new: those of which no band before had any. dim: what
    places without any field are filled with.
    """

    time: int
    channel: int
    top: int
    rows: int
    placed: Mapping[int, Placed]
    frames: Mapping[int, Stack]
    new: tuple[int, ...]
    dim: float


@dataclass(frozen=True)
class BandMade:
    """A band that can be written. image: (Z, rows, X); histogram: None without any field; quality: field -> told."""

    time: int
    channel: int
    top: int
    placed: Mapping[int, Placed]
    image: NDArray[Any]
    histogram: Histogram | None
    quality: Mapping[int, dict[str, Any]]


@dataclass(frozen=True)
class Montage:
    """How a well is put together and committed. fields: how its fields are read."""

    fields: Ingest
    layout: Layout

    @property
    def hands(self) -> int:
        """How many wells are in hand at a time: at least one, more while their bands and planes along z fit `ROOM`."""
        width, (height, _) = self.layout.canvas[1], self.layout.field
        rows = max(rows for _, rows in bands(self._shape, self.fields.info))
        read = (rows + 2 * height) * np.dtype(self.fields.info.dtype).itemsize
        blended_rows = rows * BLENDED
        return max(1, min(HANDS, ROOM // (width * self._shape[2] * (read + blended_rows))))

    def wanted(self, well: str) -> str:
        return self.fields.wanted(well)

    def stored(self, well: str) -> str | None:
        return self.fields.stored(well)

    def discard(self, well: str) -> None:
        self.fields.discard(well)

    def read(self, well: str) -> Iterator[Band]:
        files = self.fields.complete(well)
        placed = self._placed(well, files)
        for time, (number, channel) in product(range(self._shape[0]), enumerate(self.fields.manifest.channels)):
            own = [file for file in files if (file.time, file.channel) == (time, channel)]
            of_fields = {field: [file for file in own if file.field == field] for field in placed}
            yield from self._bands(time, number, placed, of_fields)

    def compute(self, piece: Band) -> BandMade:
        where = {number: piece.placed[number].corner for number in piece.frames}
        width = self.layout.canvas[1]
        if piece.frames:
            image, covered = blended((piece.top, piece.rows, width), piece.frames, where, piece.dim)
            seen = projected(image, "max")[0][covered]
        else:
            image = np.full((self._shape[2], piece.rows, width), piece.dim, self.fields.info.dtype)
            seen = image[:0]
        told = {number: _quality(piece.frames[number]) for number in piece.new}
        counted = histogram(seen) if seen.size else None
        return BandMade(piece.time, piece.channel, piece.top, piece.placed, image, counted, told)

    def commit(self, well: str, made: Iterable[BandMade], wanted: str) -> Mapping[str, Any]:
        target = self.fields.job.plate.raw_well(well)
        sweep(target)
        with committed(target) as temporary:
            steps = level_steps(*self.layout.canvas)
            image = create_banded(temporary, IMAGE, self._shape, steps, self.fields.info)
            counted, told = self._write(image, made)
            image.finish()
            write_histograms(temporary, [counted])
            ours = {**self.fields.job.provenance(wanted), "fields": told}
            write_well(temporary, [IMAGE], ours)
        size = math.prod(self._shape) * np.dtype(self.fields.info.dtype).itemsize
        return {"fields": len(told), "megabytes": round(size / 1e6, 3)}

    def _write(self, image: BandedImage, made: Iterable[BandMade]) -> tuple[list[Histogram], list[dict[str, Any]]]:
        """Write the bands as they come. Returns the channels' histograms, and what is told of the fields."""
        counted: list[list[Histogram]] = [[] for _ in range(self._shape[1])]
        told: dict[int, dict[str, Any]] = {}
        for band in made:
            if band.top == 0:
                channel = BandedChannel(image, (band.time, band.channel), shrink, STEP)
            channel.add(band.image, last=band.top + band.image.shape[1] == self.layout.canvas[0])
            counted[band.channel] += [band.histogram] if band.histogram else []
            for number, seen in band.quality.items():
                new = {**asdict(band.placed[number]), "quality": [[] for _ in counted]}
                told.setdefault(number, new)["quality"][band.channel].append(seen)
        return [merge(histograms) for histograms in counted], [told[number] for number in sorted(told)]

    @cached_property
    def _shape(self) -> tuple[int, ...]:
        """(T, C, Z, Y, X) of a well's image."""
        info = self.fields.info
        return (info.times, len(info.channels), self.fields.depth, *self.layout.canvas)

    def _bands(
        self, time: int, channel: int, placed: Mapping[int, Placed], files: Mapping[int, list[ImageFile]]
    ) -> Iterator[Band]:
        """The bands of a channel from top to bottom; each field is read once, and let go below its last band.

        files: of each field, of this channel and time.
        """
        tops = {number: one.corner[0] for number, one in placed.items()}
        highest = min(tops, key=lambda number: tops[number])
        frames = {highest: self._stack(files[highest])}
        dim = float(np.percentile(frames[highest], DIM, method="nearest"))
        height, seen = self.layout.field[0], set[int]()
        for top, rows in bands(self._shape, self.fields.info):
            reaching = [number for number, corner in tops.items() if corner < top + rows and corner + height > top]
            new = tuple(number for number in reaching if number not in seen)
            seen.update(new)
            kept = {n: frame for n, frame in frames.items() if n in reaching or n not in seen}
            frames = kept | {number: self._stack(files[number]) for number in new if number not in kept}
            yield Band(time, channel, top, rows, placed, {n: frames[n] for n in reaching}, new, dim)

    def _stack(self, files: Sequence[ImageFile]) -> Stack:
        """The planes (Z, Y, X) of one channel of a field."""
        depth, planes = self._shape[2], self.fields.stack(files)
        if len(planes) not in (1, depth):
            raise MissingImages(f"{files[0].path}: it has {len(planes)} planes of {depth}")
        # A channel taken in one plane beside stacks belongs to all their planes.
        return np.broadcast_to(planes, (depth, *planes.shape[1:]))

    def _placed(self, well: str, files: tuple[ImageFile, ...]) -> dict[int, Placed]:
        """Where each field lies, as its neighbours say."""
        settings, stage = self.fields.settings, stage_positions(self.fields.manifest, well)
        told = places_of_well(well, stage, settings, self.layout, self.fields.info.pixel_size)
        places = told if settings.montage.largest_move == 0 else settle(told, self._comparisons(told, files))
        pixels = corners(places)
        return {n: Placed(n, told[n], places[n], pixels[n], stage[n]) for n in told}

    def _comparisons(self, told: Places, files: tuple[ImageFile, ...]) -> Iterator[Comparison]:
        """Every two neighbours at the first time point. What a field shares with others is kept until they come."""
        pairs = list(neighbours(told, self.layout.field))
        largest = self.fields.settings.montage.largest_move
        windows = {pair: shared_windows(told[pair[0]], told[pair[1]], self.layout.field) for pair in pairs}
        parts: dict[tuple[int, int], NDArray[np.float32]] = {}
        for number in sorted(told, key=lambda number: told[number]):
            own = [pair for pair in pairs if number in pair]
            if not own:
                continue
            plane = self._compared(number, files)
            for first, second in own:
                part = plane[windows[first, second][number == second]].astype(np.float32)
                other = parts.pop((first, second), None)
                if other is None:
                    parts[first, second] = part
                    continue
                move, likeness = compare(*((other, part) if number == second else (part, other)), largest)
                steps = [round(told[second][axis] - told[first][axis]) + move[axis] for axis in (0, 1)]
                yield Comparison(first, second, (steps[0], steps[1]), likeness)

    def _compared(self, number: int, files: tuple[ImageFile, ...]) -> NDArray[Any]:
        """The plane (Y, X) of a field that is compared with those of its neighbours."""
        channel = self.fields.channel_id(self.fields.settings.montage.channel)
        stack = self.fields.stack([f for f in files if (f.field, f.time, f.channel) == (number, 0, channel)])
        return np.asarray(projected(stack, "max")[0])


def _quality(frame: Stack) -> dict[str, Any]:
    """Of one channel of a field (Z, Y, X)."""
    [flat] = projected(frame, "max")
    return asdict(quality(flat, histogram(flat)))
