"""segment: images of a batch of wells to label images inside the raw plate."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipeline_lib.arrays.pyramid import level_steps, pyramid
from pipeline_lib.arrays.resample import shrink_labels
from pipeline_lib.compartments import Compartments, grow, otsu_threshold, pair
from pipeline_lib.io.commit import committed, discard, sweep
from pipeline_lib.io.plate import (
    fields_of,
    read_attributes,
    read_field,
    read_info,
    stored_fingerprint,
    write_labels,
)
from pipeline_lib.io.records import read_json
from pipeline_lib.io.weights import checksums
from pipeline_lib.paths import labels_path
from pipeline_lib.settings import GrowLabels, NetworkLabels, SegmentSettings
from pipeline_lib.stages._job import Job, make_current

if TYPE_CHECKING:
    from pipeline_lib.segmentation import Network

IMAGES_AT_ONCE = 8  # fields or time points of a well that are in memory together

Image = NDArray[Any]
Labels = NDArray[np.uint32]


def segment(job: Job) -> None:
    """Make the label images of a batch of wells current."""
    assert isinstance(job.settings, SegmentSettings)
    work = Segment(job, job.settings)
    make_current(job, work, work.about)


def labels_fingerprint(job: Job, well: str) -> str | None:
    """The fingerprint that all label images of a well carry; None where a field has none or another one."""
    raw = job.plate.raw_well(well)
    if not read_attributes(raw):
        return None
    found = {stored_fingerprint(raw / labels_path(field)) for field in fields_of(job.plate.raw, well)}
    return found.pop() if len(found) == 1 else None


@dataclass(frozen=True)
class Segment:
    """How one well is segmented and committed: one rename per field; a well counts once all its fields agree."""

    job: Job
    settings: SegmentSettings

    @cached_property
    def weights(self) -> dict[str, str]:
        """Label image -> checksum of the weights of its network."""
        return checksums(self.settings.labels.weights())

    @cached_property
    def calibration(self) -> dict[str, Any]:
        return read_json(self.job.plate.calibration)

    @cached_property
    def networks(self) -> dict[str, Network]:
        """The networks, loaded when the first well needs them and kept for the whole job."""
        from pipeline_lib.stages._network import load_network

        return {name: load_network(made, self.settings) for name, made in self.settings.labels.networks().items()}

    def about(self) -> dict[str, Any]:
        """What the record says of the networks; where and how they ran only if they did."""
        used = self.networks if "networks" in vars(self) else {}
        ran = {name: f"{network.predict.device}, {network.predict.precision}" for name, network in used.items()}
        return {"weights": self.weights, "ran_on": ran}

    def wanted(self, well: str) -> str | None:
        raw = stored_fingerprint(self.job.plate.raw_well(well))
        return raw and self.job.fingerprint(raw=raw, weights=self.weights, calibration=self.calibration)

    def stored(self, well: str) -> str | None:
        return labels_fingerprint(self.job, well)

    def discard(self, well: str) -> None:
        for field in self._fields(well):
            discard(self.job.plate.raw_well(well) / labels_path(field))

    def compute(self, well: str, wanted: str) -> Mapping[str, Any]:
        counts = []
        for field, made in groupby(self._made(well), key=lambda one: one[0]):
            frames = [frame for _, frame in made]
            self._commit(self.job.plate.raw_well(well) / labels_path(field), frames, wanted)
            counts += [_counts(frame) for frame in frames]
        return {name: sum(of_frame[name] for of_frame in counts) for name in counts[0]}

    def _made(self, well: str) -> Iterator[tuple[int, Compartments]]:
        """Each field with its compartments, time point by time point; several images share the network's batches."""
        info = read_info(self.job.plate.raw)
        places = [(field, time) for field in self._fields(well) for time in range(info.times)]
        for start in range(0, len(places), IMAGES_AT_ONCE):
            some = places[start : start + IMAGES_AT_ONCE]
            images = [read_field(self.job.plate.raw, well, field, time) for field, time in some]
            frames = self._compartments(images, info.channel_names)
            yield from zip([field for field, _ in some], frames, strict=True)

    def _fields(self, well: str) -> list[int]:
        return fields_of(self.job.plate.raw, well) if read_attributes(self.job.plate.raw_well(well)) else []

    def _compartments(self, images: Sequence[Image], names: Sequence[str]) -> list[Compartments]:
        """Nuclei, cells and cytoplasm of every image (C, Y, X)."""
        made = self.settings.labels
        nuclei = self._network_labels("nuclei", made.nuclei, images, names)
        if isinstance(made.cells, GrowLabels):
            cells = [_grown(seeds, image, names, made.cells) for seeds, image in zip(nuclei, images, strict=True)]
        else:
            cells = self._network_labels("cells", made.cells, images, names)
        return [pair(n, c, made.cytoplasm_gap) for n, c in zip(nuclei, cells, strict=True)]

    def _network_labels(
        self, name: str, made: NetworkLabels | None, images: Sequence[Image], names: Sequence[str]
    ) -> list[Labels]:
        """The label image a network makes of every image; empty ones where it is not wanted."""
        if made is None:
            return [np.zeros(image.shape[1:], np.uint32) for image in images]
        from pipeline_lib.segmentation import segment_fields
        from pipeline_lib.stages._network import mask_settings, network_input

        ranges, diameter = self.calibration["ranges"], self.calibration["diameters"][name]
        inputs = [network_input(image, names, made, self.settings, ranges) for image in images]
        return list(segment_fields(self.networks[name], inputs, diameter, mask_settings(made)))

    def _commit(self, target: Path, frames: Sequence[Compartments], wanted: str) -> None:
        sweep(target)
        ours = {**self.job.provenance(wanted), "counts": [_counts(frame) for frame in frames]}
        steps = level_steps(*frames[0].nuclei.shape)
        stacks = {name: np.stack([getattr(frame, name) for frame in frames]) for name in self._names()}
        with committed(target) as temporary:
            levels = {name: _levels(stack) for name, stack in stacks.items()}
            write_labels(temporary, levels, steps, read_info(self.job.plate.raw), ours)

    def _names(self) -> list[str]:
        """The label images that are kept."""
        made = self.settings.labels
        wanted = {"nuclei": made.nuclei, "cells": made.cells, "cytoplasm": made.nuclei and made.cells}
        return [name for name, settings in wanted.items() if settings is not None]


def _grown(nuclei: Labels, image: Image, names: Sequence[str], made: GrowLabels) -> Labels:
    """Cells around nuclei, in an image (C, Y, X) with channels called `names`."""
    if made.channel is None:
        return grow(nuclei, None, made.distance, None)
    intensity = image[names.index(made.channel)].astype(np.float32)
    threshold = otsu_threshold(intensity) if made.threshold == "otsu" else made.threshold
    return grow(nuclei, intensity, made.distance, threshold)


def _levels(stack: Labels) -> list[Labels]:
    """Pyramid of (T, Y, X)."""
    return pyramid(stack, lambda level, step: np.stack([shrink_labels(frame, step) for frame in level]))


def _counts(frame: Compartments) -> dict[str, int]:
    return {
        "nuclei": _count(frame.nuclei),
        "cells": _count(frame.cells),
        "nuclei_without_cell": frame.nuclei_without_cell,
        "cells_without_nucleus": frame.cells_without_nucleus,
    }


def _count(labels: Labels) -> int:
    """The number of objects: ids may have gaps, since compartments share them."""
    found = np.unique(labels)
    return int(np.count_nonzero(found))
