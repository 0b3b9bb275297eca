"""What a plate will take on disk, in bytes and in files, before it is there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np

from pipeline_lib.arrays.pyramid import level_steps
from pipeline_lib.io.arrays import LARGEST_SHARD
from pipeline_lib.io.plate import committed_wells, labels_of
from pipeline_lib.io.records import read_json
from pipeline_lib.settings import LabelSettings
from pipeline_lib.stages.doctor.raw_files import RawFile
from pipeline_lib.workflow import Plate

PYRAMID = 1.07  # all levels together, in sizes of the finest: 1 + 1/16 + 1/256
COMPRESSED = 0.5  # of the raw pixels, at best as a rule: 16-bit cameras leave noise (a synthetic plate: 0.54)
LABEL_BYTES = 0.15  # per pixel of one label image, all levels (a dense synthetic plate: 0.10)
TABLE_BYTES = 0.6  # per pixel of a field, of cell tables and report (the same, a cell per 3,700 pixels: 0.56)
PER_JOB = 3  # files: record, log, benchmark
PER_WELL = 4  # files: its group, the histograms with theirs, the table of its cells
PER_PLATE = 8  # files: manifest, calibration, lock, tables, report


@dataclass(frozen=True)
class Estimate:
    """Of what is still to be written. least, most: bytes. new: files; files: all the plate has in the end."""

    least: int = 0
    most: int = 0
    new: int = 0
    files: int = 0

    def __add__(self, other: Estimate) -> Estimate:
        return Estimate(
            self.least + other.least, self.most + other.most, self.new + other.new, self.files + other.files
        )


def estimate(plate: Plate, raw: Sequence[RawFile]) -> Estimate:
    """Of one plate, from the headers of its raw files; wells whose data are there already take no new space."""
    ingested = set(committed_wells(plate.paths.raw))
    labelled = {well for well in ingested if labels_of(plate.paths.raw, well, 0, plate.paths.analysis)}
    pixels = _bytes_of_pixels(plate, raw, ingested)
    label_count = label_images(plate.settings.segment.labels)
    beside = _pixels_of_frames(raw, labelled) * (label_count * LABEL_BYTES + TABLE_BYTES)
    fields = Counter(well for well, _ in {(one.file.well, one.file.field) for one in raw if one.info})
    per_image = files_of_image(_shape(raw), len({file.time for file in plate.manifest.files}))
    of_raw = {well: PER_WELL + count * per_image for well, count in fields.items()}
    of_labels = {well: count * (1 + label_count * per_image) for well, count in fields.items()}
    files = _files_beside_wells(plate) + sum(of_raw.values()) + sum(of_labels.values())
    there = sum(of_raw.get(well, 0) for well in ingested) + sum(of_labels.get(well, 0) for well in labelled)
    images = Estimate(round(COMPRESSED * pixels + beside), round(pixels + beside), files - there, files)
    return images + (_of_restored(plate, raw, fields) if plate.settings.restore.is_on else Estimate())


def _of_restored(plate: Plate, raw: Sequence[RawFile], fields: Mapping[str, int]) -> Estimate:
    """Of the restored plate, whose images may be larger: that is known once it has been prepared."""
    ratio = float(read_json(plate.paths.restoration).get("ratio", 1.0))
    restored = set(committed_wells(plate.paths.restored))
    pixels = ratio**2 * _bytes_of_pixels(plate, raw, restored)
    height, width = (int(length * ratio) for length in _shape(raw))
    per_image = files_of_image((height, width), len({file.time for file in plate.manifest.files}))
    of_wells = {well: 1 + count * per_image for well, count in fields.items()}
    files = _groups(plate) + sum(of_wells.values())
    there = sum(count for well, count in of_wells.items() if well in restored)
    return Estimate(round(COMPRESSED * pixels), round(pixels), files - there, files)


def label_images(labels: LabelSettings) -> int:
    """How many label images a field gets: where there are nuclei and cells, cytoplasm too."""
    made = [one for one in (labels.nuclei, labels.cells) if one is not None]
    return len(made) + (len(made) == 2)


def files_of_image(shape: tuple[int, int], times: int) -> int:
    """Files of one multiscale image: its group, then per level one metadata file and the shards of each time point."""
    height, width = shape
    shards = [
        ceil(height / step / LARGEST_SHARD) * ceil(width / step / LARGEST_SHARD) for step in level_steps(height, width)
    ]
    return 1 + sum(1 + times * of_level for of_level in shards)


def _bytes_of_pixels(plate: Plate, raw: Sequence[RawFile], without: set[str]) -> float:
    """Uncompressed bytes of the pyramids to be written; planes along z that are projected count once."""
    keep = plate.settings.ingest.projection == "keep"
    sizes: dict[tuple[object, ...], int] = {}
    for file, info in ((one.file, one.info) for one in raw):
        if info is None or file.well in without:
            continue
        planes, height, width = info.shape
        place = (file.well, file.field, file.channel, file.time, file.z if keep else 0)
        sizes[place] = height * width * np.dtype(info.dtype).itemsize * (planes if keep else 1)
    return PYRAMID * sum(sizes.values())


def _pixels_of_frames(raw: Sequence[RawFile], without: set[str]) -> int:
    """Pixels of all fields and time points that will get label images."""
    frames = {
        (one.file.well, one.file.field, one.file.time): one.info.shape[1] * one.info.shape[2]
        for one in raw
        if one.info and one.file.well not in without
    }
    return sum(frames.values())


def _shape(raw: Sequence[RawFile]) -> tuple[int, int]:
    """(Y, X) of most files; the smallest picture if none is readable."""
    shapes = Counter(one.info.shape[1:] for one in raw if one.info)
    return shapes.most_common(1)[0][0] if shapes else (1, 1)


def _files_beside_wells(plate: Plate) -> int:
    """The plate's groups, what its jobs leave, tables and report."""
    jobs = len(plate.plate_stages) + sum(len(plate.batches(stage)) for stage in plate.batch_stages)
    return _groups(plate) + PER_JOB * jobs + PER_PLATE


def _groups(plate: Plate) -> int:
    """Files of a plate above its wells: its own group and those of its rows."""
    return 1 + plate.settings.ingest.plate_shape((plate.manifest.rows, plate.manifest.columns))[0]
