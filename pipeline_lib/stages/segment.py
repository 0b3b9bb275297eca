"""segment: images of a batch of wells to label images inside the raw plate.

Label images have the size of raw ones, and diameters are in raw pixels, whatever the images they are found in.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain, groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipeline_lib.arrays.pyramid import level_steps, pyramid
from pipeline_lib.arrays.resample import resize_labels, shrink_labels
from pipeline_lib.compartments import Compartments, grow, otsu_threshold, pair
from pipeline_lib.io.ngff import PlateInfo
from pipeline_lib.io.plate import (
    commit_labels,
    fields_of,
    labels_of,
    read_attributes,
    read_info,
    withdraw_labels,
)
from pipeline_lib.io.records import read_json
from pipeline_lib.io.weights import checksums
from pipeline_lib.paths import PlatePaths, labels_path
from pipeline_lib.settings import GrowLabels, NetworkLabels, SegmentSettings
from pipeline_lib.stages._images import WellImages, at_size, portions
from pipeline_lib.stages._job import Job, make_current

if TYPE_CHECKING:
    from pipeline_lib.flows.masks import MaskSettings
    from pipeline_lib.segmentation import Network

Image = NDArray[Any]
Labels = NDArray[np.uint32]


def segment(job: Job) -> None:
    """Make the label images of a batch of wells current."""
    assert isinstance(job.settings, SegmentSettings)
    work = Segment(job, job.settings)
    make_current(job, work, work.about)


def labels_fingerprint(plate: PlatePaths, well: str) -> str | None:
    """The fingerprint that all label images of a well carry; None where a field has none or another one."""
    if not read_attributes(plate.raw_well(well)):
        return None
    fields = fields_of(plate.raw, well)
    found = {labels_of(plate.raw, well, field, plate.analysis).get("fingerprint") for field in fields}
    return found.pop() if len(found) == 1 else None


LARGE = 6144 * 6144  # pixels of an image, above which its flows lie on disk; the labels are the same


@dataclass(frozen=True)
class Frame:
    """A field at a time point. image: (C, Y, X), larger than the raw one if it was enlarged."""

    field: int
    image: Image


@dataclass(frozen=True)
class Labelled:
    """What was found in a frame: name -> pyramid levels (Y, X), finest first; and how many objects."""

    field: int
    labels: dict[str, list[Labels]]
    counts: dict[str, int]


@dataclass(frozen=True)
class Segment:
    """How one well is segmented and committed: field by field; a well counts once all its fields agree."""

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
    def info(self) -> PlateInfo:
        return read_info(self.job.plate.raw)

    @cached_property
    def images(self) -> WellImages:
        return WellImages(self.job.plate, self.settings.images)

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
        images = self.images.fingerprint(well)
        return images and self.job.fingerprint(raw=images, weights=self.weights, calibration=self.calibration)

    def stored(self, well: str) -> str | None:
        return labels_fingerprint(self.job.plate, well)

    def discard(self, well: str) -> None:
        for field in self._fields(well):
            withdraw_labels(self.job.plate.raw_well(well) / labels_path(field), self.job.plate.analysis)

    def read(self, well: str) -> Iterator[list[Frame]]:
        for some in portions(self._fields(well), self.info.times, self.info.shape):
            yield [Frame(field, self.images.read(well, field, time)) for field, time in some]

    def compute(self, piece: list[Frame]) -> list[Labelled]:
        found = self._compartments([frame.image for frame in piece], self.info.channel_names)
        return [self._labelled(frame.field, made) for frame, made in zip(piece, found, strict=True)]

    def commit(self, well: str, made: Iterable[list[Labelled]], wanted: str) -> Mapping[str, Any]:
        counts = []
        for field, of_field in groupby(chain.from_iterable(made), key=lambda frame: frame.field):
            frames = list(of_field)
            self._commit(self.job.plate.raw_well(well) / labels_path(field), frames, wanted)
            counts += [frame.counts for frame in frames]
        return {name: sum(of_frame[name] for of_frame in counts) for name in counts[0]}

    def _fields(self, well: str) -> list[int]:
        return fields_of(self.job.plate.raw, well) if read_attributes(self.job.plate.raw_well(well)) else []

    def _compartments(self, images: Sequence[Image], names: Sequence[str]) -> list[Compartments]:
        """Nuclei, cells and cytoplasm of every image (C, Y, X), at the size of raw ones."""
        made, shape = self.settings.labels, self.info.shape
        nuclei = self._network_labels("nuclei", made.nuclei, images, names)
        if isinstance(made.cells, GrowLabels):
            cells = [
                _grown(seeds, at_size(image, shape), names, made.cells)
                for seeds, image in zip(nuclei, images, strict=True)
            ]
        else:
            cells = self._network_labels("cells", made.cells, images, names)
        ring = made.cytoplasm_gap, made.cytoplasm_reach
        return [pair(n, c, *ring) for n, c in zip(nuclei, cells, strict=True)]

    def _network_labels(
        self, name: str, made: NetworkLabels | None, images: Sequence[Image], names: Sequence[str]
    ) -> list[Labels]:
        """The label image a network makes of every image, at raw size; empty ones where it is not wanted."""
        if made is None:
            return [np.zeros(self.info.shape, np.uint32) for _ in images]
        from pipeline_lib.segmentation import segment_fields
        from pipeline_lib.stages._network import mask_settings, network_input

        ranges, ratio = self.calibration["ranges"], self.images.ratio
        inputs = [network_input(image, names, made, self.settings, ranges) for image in images]
        masks = replace(mask_settings(made), min_size=round(made.min_size * ratio**2))
        diameter = self.calibration["diameters"][name] * ratio
        if inputs[0][0].size > LARGE:
            found: Iterable[Labels] = (_in_blocks(self.networks[name], one, diameter, masks) for one in inputs)
        else:
            found = segment_fields(self.networks[name], inputs, diameter, masks)
        return [resize_labels(labels, self.info.shape) if ratio > 1 else labels for labels in found]

    def _labelled(self, field: int, made: Compartments) -> Labelled:
        levels = {name: list(pyramid(getattr(made, name), shrink_labels)) for name in self._names()}
        return Labelled(field, levels, _counts(made))

    def _commit(self, target: Path, frames: Sequence[Labelled], wanted: str) -> None:
        ours = {**self.job.provenance(wanted), "counts": [frame.counts for frame in frames]}
        stacks = {
            name: [np.stack(level) for level in zip(*(frame.labels[name] for frame in frames), strict=True)]
            for name in self._names()
        }
        steps = level_steps(*frames[0].labels[self._names()[0]][0].shape)
        commit_labels(target, self.job.plate.analysis, stacks, steps, self.info, ours)

    def _names(self) -> list[str]:
        """The label images that are kept."""
        made = self.settings.labels
        wanted = {"nuclei": made.nuclei, "cells": made.cells, "cytoplasm": made.nuclei and made.cells}
        return [name for name, settings in wanted.items() if settings is not None]


def _in_blocks(network: Network, image: Image, diameter: float, masks: MaskSettings) -> Labels:
    """The label image (Y, X) that `segment_fields` makes of a scaled image (C, Y, X), with its flows on disk."""
    from pipeline_lib.api.segmentation import label_large

    labels = np.zeros(image.shape[1:], np.uint32)
    label_large(network, image, labels, diameter, masks)
    return labels


def _grown(nuclei: Labels, image: Image, names: Sequence[str], made: GrowLabels) -> Labels:
    """Cells around nuclei, in an image (C, Y, X) with channels called `names`."""
    if made.channel is None:
        return grow(nuclei, None, made.distance, None)
    intensity = image[names.index(made.channel)].astype(np.float32)
    threshold = otsu_threshold(intensity) if made.threshold == "otsu" else made.threshold
    return grow(nuclei, intensity, made.distance, threshold)


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
