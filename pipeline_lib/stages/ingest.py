"""ingest: vendor files of a batch of wells to wells of the OME-Zarr plate."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline_lib.arrays.illumination import Illumination, correct
from pipeline_lib.arrays.projection import projected
from pipeline_lib.arrays.pyramid import level_steps, pyramid
from pipeline_lib.arrays.quality import quality
from pipeline_lib.arrays.resample import shrink, shrink_labels
from pipeline_lib.core.errors import DataTrouble, FaultyWell, MissingImages, NoImages, UnequalImages
from pipeline_lib.core.histograms import Histogram, histogram, merge
from pipeline_lib.core.layout import Layout
from pipeline_lib.core.manifest import ImageFile, Manifest
from pipeline_lib.io.commit import committed, discard, sweep
from pipeline_lib.io.illumination import read_illumination, told_of_illumination
from pipeline_lib.io.manifests import read_manifest
from pipeline_lib.io.ngff import PlateInfo
from pipeline_lib.io.plate import (
    commit_labels,
    read_info,
    read_layout,
    stored_fingerprint,
    write_field,
    write_histograms,
    write_well,
)
from pipeline_lib.io.raw_images import copy_tables, describe_image, path_of, position_of, read_image, read_labels_beside
from pipeline_lib.paths import labels_path
from pipeline_lib.settings import IngestSettings
from pipeline_lib.stages._job import Job, make_current


def ingest(job: Job) -> None:
    """Make the raw wells of a batch current."""
    assert isinstance(job.settings, IngestSettings)
    layout = read_layout(job.plate.raw)
    fields = Ingest(job, read_manifest(job.plate.manifest), read_info(job.plate.raw), job.settings, layout)
    if layout is None:
        make_current(job, fields)
    else:
        _make_montages(fields, layout)


def _make_montages(fields: Ingest, layout: Layout) -> None:
    from pipeline_lib.stages._montage import Montage

    montage = Montage(fields, layout)
    make_current(fields.job, montage, hands=montage.hands)


IMPORTED = "imported"  # the analysis that label images belong to which came with the raw plate


@dataclass(frozen=True)
class Ingest:
    """How one well is read and committed, field by field. layout: of the plate, where fields make one image."""

    job: Job
    manifest: Manifest
    info: PlateInfo
    settings: IngestSettings
    layout: Layout | None = None

    @property
    def field_shape(self) -> tuple[int, int]:
        """(Y, X) of a field."""
        return self.layout.field if self.layout else self.info.shape

    @cached_property
    def depth(self) -> int:
        """Planes that are kept of every field."""
        if self.settings.projection != "keep":
            return 1
        return len({file.z for file in self.manifest.files}) * self._pages()

    def _pages(self) -> int:
        """Planes of a file of the plate, as the first that can be read has them; 1 if none can."""
        for file in self.manifest.files:
            if file.page is not None:
                return 1
            try:
                return describe_image(self.manifest, file).shape[0]
            except DataTrouble:
                continue
        return 1

    def channel_id(self, name: str | None) -> str:
        """The id of the channel with this name; of the first one for None."""
        ids = {channel.name: channel.id for channel in self.info.channels}
        return self.manifest.channels[0] if name is None else ids[name]

    @cached_property
    def planes(self) -> list[tuple[str, int]]:
        """(channel, z) of the plate: every field has all of them at every time point."""
        return sorted({(file.channel, file.z) for file in self.manifest.files})

    @cached_property
    def light_checksum(self) -> str | None:
        """That of the plate's illumination, by which images are corrected."""
        told: str | None = told_of_illumination(self.job.plate.illumination).get("checksum")
        return told

    @cached_property
    def lights(self) -> dict[str, Illumination]:
        """Channel id -> the light its images are corrected for; empty where they are not."""
        if not self.settings.illumination.is_on:
            return {}
        stored = read_illumination(self.job.plate.illumination)
        return {channel: Illumination(flat, dark) for channel, (flat, dark) in stored.items()}

    def wanted(self, well: str) -> str:
        files = [(file.path, *_size_and_time(path_of(self.manifest, file))) for file in self.manifest.of_well(well)]
        light = {"light": self.light_checksum} if self.settings.illumination.is_on else {}
        layout = {"layout": self.layout.to_json()} if self.layout else {}
        return self.job.fingerprint(files=files, info=self.info.of_wells(), **light, **layout)

    def stored(self, well: str) -> str | None:
        return stored_fingerprint(self.job.plate.raw_well(well))

    def discard(self, well: str) -> None:
        discard(self.job.plate.raw_well(well))

    def read(self, well: str) -> Iterator[Pixels]:
        files = self.complete(well)
        for field in sorted({file.field for file in files}):
            yield self._pixels([file for file in files if file.field == field])

    def compute(self, piece: Pixels) -> Measured:
        image = piece.image
        # (T, C, Y, X), what objects are found in:
        projected = image[:, :, 0] if image.shape[2] == 1 else image.max(axis=2)
        channels = [[(frame, histogram(frame)) for frame in projected[:, index]] for index in range(projected.shape[1])]
        seen = [[asdict(quality(frame, counted)) for frame, counted in channel] for channel in channels]
        told = {"field": piece.first.field, "stage_position_um": piece.stage_position, "quality": seen}
        histograms = [merge(counted for _, counted in channel) for channel in channels]
        labels = {name: pyramid(frames, shrink_labels) for name, frames in piece.labels.items()}
        return Measured(piece.first, pyramid(piece.image, shrink), histograms, told, labels)

    def commit(self, well: str, made: Iterable[Measured], wanted: str) -> Mapping[str, Any]:
        target = self.job.plate.raw_well(well)
        sweep(target)
        histograms, told, size = [], [], 0
        with committed(target) as temporary:
            for field in made:
                self._write(temporary, field)
                histograms.append(field.histograms)
                told.append(field.told)
                size += field.levels[0].nbytes
            write_histograms(temporary, histograms)
            fields = [field["field"] for field in told]
            write_well(temporary, fields, {**self.job.provenance(wanted), "fields": told})
        return {"fields": len(fields), "megabytes": round(size / 1e6, 3)}

    def _write(self, well: Path, made: Measured) -> None:
        """Write one field, and what came with it."""
        finest, number = made.levels[0], made.first.field
        field, steps = well / str(number), level_steps(*finest.shape[-2:])
        write_field(well, number, made.levels, steps, self.info)
        copy_tables(self.manifest, made.first, field / "tables")
        if made.labels:
            commit_labels(well / labels_path(number), IMPORTED, made.labels, steps, self.info, {})

    def complete(self, well: str) -> tuple[ImageFile, ...]:
        """The files of a well, if every field and time point has every channel and plane of the plate."""
        if reason := self.manifest.faulty.get(well):
            raise FaultyWell(f"well {well}: {reason}")
        files = self.manifest.of_well(well)
        if not files:
            raise NoImages(f"well {well} has no image in {self.manifest.folder}")
        there = {(file.field, file.time, (file.channel, file.z)) for file in files}
        fields = sorted({file.field for file in files})
        wanted = product(fields, range(self.info.times), self.planes)
        lacking = [
            f"field {field + 1}, time {time + 1}, channel {channel}, plane {z + 1}"
            for field, time, (channel, z) in wanted
            if (field, time, (channel, z)) not in there
        ]
        if lacking:
            some = "; ".join(lacking[:5]) + ("; ..." if len(lacking) > 5 else "")
            raise MissingImages(
                f"well {well} lacks {len(lacking)} image(s) that its plate has (counted from 1): {some}"
            )
        return files

    def _pixels(self, files: Sequence[ImageFile]) -> Pixels:
        """Read and check one field."""
        frames = [self.frame([file for file in files if file.time == time]) for time in range(self.info.times)]
        counts = [frame.shape[1] for frame in frames]
        if len(set(counts)) > 1:
            raise MissingImages(f"{files[0].path}: its time points have {counts} planes; they must be equal")
        image = frames[0][None] if len(frames) == 1 else np.stack(frames)
        return Pixels(files[0], image, position_of(self.manifest, files[0]), self._labels(files[0]))

    def _labels(self, file: ImageFile) -> dict[str, NDArray[np.uint32]]:
        """Name -> (T, Y, X) of the label images that came with a field; planes along z become their highest label."""
        found = {}
        for name, pages in read_labels_beside(self.manifest, file).items():
            if pages.shape[1:] != self.field_shape or len(pages) % self.info.times:
                raise UnequalImages(
                    f"{file.path}: its labels {name} are {pages.shape}; {self.info.times} time points of "
                    f"{self.field_shape} are expected"
                )
            found[name] = pages.reshape(self.info.times, -1, *self.field_shape).max(axis=1).astype(np.uint32)
        return found

    def frame(self, files: Sequence[ImageFile]) -> NDArray[np.generic]:
        """One time point of a field as (C, Z, Y, X)."""
        stacks = [self.stack([file for file in files if file.channel == c]) for c in self.manifest.channels]
        planes = max(len(stack) for stack in stacks)
        short = [c for c, s in zip(self.manifest.channels, stacks, strict=True) if len(s) not in (1, planes)]
        if short:
            raise MissingImages(f"{files[0].path}: channel(s) {', '.join(short)} have fewer than {planes} planes")
        # A channel taken in one plane beside stacks belongs to all their planes.
        return np.stack([np.broadcast_to(stack, (planes, *stack.shape[1:])) for stack in stacks])

    def stack(self, files: Sequence[ImageFile]) -> NDArray[np.generic]:
        """The planes (Z, Y, X) of one channel, corrected and projected as the settings say."""
        read = [self._planes(file) for file in sorted(files, key=lambda file: file.z)]
        planes = read[0] if len(read) == 1 else np.concatenate(read)
        light = self.lights.get(files[0].channel)
        return projected(planes if light is None else correct(planes, light), self.settings.projection)

    def _planes(self, file: ImageFile) -> NDArray[np.generic]:
        planes = read_image(self.manifest, file)
        expected = (*self.field_shape, self.info.dtype)
        if (*planes.shape[1:], planes.dtype.name) != expected:
            raise UnequalImages(
                f"{file.path} is {planes.shape[1:]} {planes.dtype.name}; its plate is {expected[:2]} {expected[2]}"
            )
        return planes


@dataclass(frozen=True)
class Pixels:
    """One field as the files hold it.

    first: the first of its files. image: (T, C, Z, Y, X). stage_position: (y, x) in micrometres. labels: name ->
    (T, Y, X), if any came with it.
    """

    first: ImageFile
    image: NDArray[np.generic]
    stage_position: tuple[float, float] | None
    labels: Mapping[str, NDArray[np.uint32]]


@dataclass(frozen=True)
class Measured:
    """One field ready to be written.

    levels: its pyramid, (T, C, Z, Y, X) each. histograms: per channel. told: for the well's attributes; quality is
    [channel][time]. labels: name -> pyramid of (T, Y, X), of label images that came with the field.
    """

    first: ImageFile
    levels: list[NDArray[np.generic]]
    histograms: list[Histogram]
    told: dict[str, Any]
    labels: Mapping[str, list[NDArray[np.uint32]]]


def _size_and_time(path: Path) -> tuple[int, int]:
    """Size in bytes and modification time in ns; zeros for a file that is gone, which reading then reports."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return (0, 0)
    return (status.st_size, status.st_mtime_ns)
