"""restore: raw images of a batch of wells to restored ones, in a plate of the same layout.

What is restored is what later stages read: planes along z are projected first.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipeline_lib.arrays.normalise import scale, to_dtype
from pipeline_lib.arrays.pyramid import level_steps, pyramid
from pipeline_lib.arrays.resample import shrink
from pipeline_lib.core.histograms import merge, percentiles
from pipeline_lib.io.commit import committed, discard, sweep
from pipeline_lib.io.ngff import PlateInfo
from pipeline_lib.io.plate import (
    fields_of,
    read_field,
    read_histograms,
    read_info,
    stored_fingerprint,
    write_field,
    write_well,
)
from pipeline_lib.io.weights import checksums
from pipeline_lib.settings import RestoreSettings
from pipeline_lib.stages._images import WellImages, at_size, portions
from pipeline_lib.stages._job import Job, make_current

if TYPE_CHECKING:
    from pipeline_lib.restoration import Restorer

Plane = NDArray[Any]
Ranges = Mapping[str, Sequence[float]]


def restore(job: Job) -> None:
    """Make the restored wells of a batch current."""
    assert isinstance(job.settings, RestoreSettings)
    work = Restore(job, job.settings)
    make_current(job, work, work.about)


@dataclass(frozen=True)
class Frame:
    """A field at a time point. image: (C, Y, X); ranges: channel -> intensities of 0 and 1."""

    field: int
    image: NDArray[Any]
    ranges: Ranges


@dataclass(frozen=True)
class Restore:
    """How one well is restored and committed."""

    job: Job
    settings: RestoreSettings

    @cached_property
    def images(self) -> WellImages:
        """The restored images as they should be."""
        return WellImages(self.job.plate, "restored")

    @cached_property
    def info(self) -> PlateInfo:
        """What holds for the restored plate."""
        return read_info(self.job.plate.restored)

    @cached_property
    def weights(self) -> dict[str, str]:
        """Channel -> checksum of the weights of its network."""
        return checksums(self.settings.weights())

    @cached_property
    def restorers(self) -> dict[str, Restorer]:
        """Channel -> its network, loaded when the first well needs it and kept for the whole job."""
        from pipeline_lib.stages._network import load_restorer

        loaded = {weights: load_restorer(weights, self.settings) for weights in set(self.settings.weights().values())}
        return {name: loaded[weights] for name, weights in self.settings.weights().items()}

    def about(self) -> dict[str, Any]:
        """What the record says of the networks; where and how they ran only if they did."""
        used = self.restorers if "restorers" in vars(self) else {}
        ran = {name: f"{one.predict.device}, {one.predict.precision}" for name, one in used.items()}
        return {"weights": self.weights, "ran_on": ran}

    def wanted(self, well: str) -> str | None:
        return self.images.fingerprint(well)

    def stored(self, well: str) -> str | None:
        return stored_fingerprint(self.job.plate.restored_well(well))

    def discard(self, well: str) -> None:
        discard(self.job.plate.restored_well(well))

    def read(self, well: str) -> Iterator[list[Frame]]:
        raw = self.job.plate.raw
        fields = fields_of(raw, well)
        ranges = dict(zip(fields, self._ranges(well), strict=True))
        for some in portions(fields, self.info.times, self.info.shape):
            yield [Frame(field, read_field(raw, well, field, time), ranges[field]) for field, time in some]

    def compute(self, piece: list[Frame]) -> list[tuple[int, NDArray[Any]]]:
        """Field and restored image (C, Y, X) of each frame."""
        channels = [self._channel(name, index, piece) for index, name in enumerate(self.info.channel_names)]
        return [(frame.field, np.stack(planes)) for frame, *planes in zip(piece, *channels, strict=True)]

    def commit(self, well: str, made: Iterable[list[tuple[int, NDArray[Any]]]], wanted: str) -> Mapping[str, Any]:
        target, fields = self.job.plate.restored_well(well), []
        sweep(target)
        with committed(target) as temporary:
            for field, frames in groupby(chain.from_iterable(made), key=lambda frame: frame[0]):
                self._write(temporary, field, [image for _, image in frames])
                fields.append(field)
            write_well(temporary, fields, self.job.provenance(wanted))
        return {"fields": len(fields)}

    def _ranges(self, well: str) -> list[Ranges]:
        """Per field: channel -> intensities of 0 and 1, over the pixels that `scaling` names."""
        histograms = read_histograms(self.job.plate.raw, well)
        if self.settings.scaling == "plate":
            return [self.images.restoration["ranges"]] * len(histograms)
        names = {name: self.info.channel_names.index(name) for name in self.settings.weights()}
        taken_over = [histograms if self.settings.scaling == "well" else [field] for field in histograms]
        wanted = self.settings.percentiles
        return [
            {name: percentiles(merge(field[index] for field in fields), wanted) for name, index in names.items()}
            for fields in taken_over
        ]

    def _channel(self, name: str, index: int, frames: Sequence[Frame]) -> list[Plane]:
        """One channel (Y, X) of each frame, restored or copied, at the size and in the number type of the plate."""
        raw = [frame.image[index] for frame in frames]
        if name not in self.settings.weights():
            return [self._stored(plane) for plane in raw]
        from pipeline_lib.restoration import restore_fields

        restorer, diameter = self.restorers[name], self.images.restoration["diameters"][name]
        enlarge = self.settings.channels[name].kind == "upsample" and diameter < restorer.diam_mean
        ranges = [frame.ranges[name] for frame in frames]
        scaled = [scale(plane, low, high) for plane, (low, high) in zip(raw, ranges, strict=True)]
        restored = restore_fields(restorer, scaled, diameter, enlarge=enlarge)
        return [self._stored(low + plane * (high - low)) for plane, (low, high) in zip(restored, ranges, strict=True)]

    def _stored(self, plane: Plane) -> Plane:
        """A plane (Y, X) of raw intensities as the plate keeps it: integers are rounded and clipped to their type."""
        return to_dtype(at_size(plane[None], self.info.shape)[0], np.dtype(self.info.dtype))

    def _write(self, well: Path, field: int, frames: Sequence[NDArray[Any]]) -> None:
        """Write one field, with one plane per time point and channel."""
        levels = [np.stack(level)[:, :, None] for level in zip(*(pyramid(i, shrink) for i in frames), strict=True)]
        write_field(well, field, levels, level_steps(*self.info.shape), self.info)
