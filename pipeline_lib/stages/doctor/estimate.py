"""What a plate will take on disk, in bytes and in files, before it is there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline_lib.core.errors import DataTrouble
from pipeline_lib.io.plate import committed_wells, labels_of
from pipeline_lib.io.records import read_json
from pipeline_lib.settings import LabelSettings
from pipeline_lib.stages._layout import layout_of_plate
from pipeline_lib.stages.doctor.raw_files import RawFile
from pipeline_lib.stages.skeleton import files_of_image
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
    stack = _stack(plate, raw)
    canvas = montage_canvas(plate, raw)
    fields = Counter(well for well, _ in {(one.file.well, one.file.field) for one in raw if one.info})
    if canvas is not None:
        stack, fields = (*stack[:3], *canvas), Counter(set(fields))
    per_image, per_label = files_of_image(stack), files_of_image((stack[0], 1, 1, *stack[3:]), itemsize=4)
    of_raw = {well: PER_WELL + count * per_image for well, count in fields.items()}
    of_labels = {well: count * (1 + label_count * per_label) for well, count in fields.items()}
    files = _files_beside_wells(plate) + sum(of_raw.values()) + sum(of_labels.values())
    there = sum(of_raw.get(well, 0) for well in ingested) + sum(of_labels.get(well, 0) for well in labelled)
    images = Estimate(round(COMPRESSED * pixels + beside), round(pixels + beside), files - there, files)
    return images + (_of_restored(plate, raw, fields, stack) if plate.settings.restore.is_on else Estimate())


def _of_restored(plate: Plate, raw: Sequence[RawFile], fields: Mapping[str, int], stack: Sequence[int]) -> Estimate:
    """Of the restored plate. fields: well -> images; stack: (T, C, Z, Y, X) of a raw one.

    Restored images may be larger: that is known once the plate has been prepared.
    """
    ratio = float(read_json(plate.paths.restoration).get("ratio", 1.0))
    restored = set(committed_wells(plate.paths.restored))
    pixels = ratio**2 * _bytes_of_pixels(plate, raw, restored)
    per_image = files_of_image((*stack[:3], *(int(length * ratio) for length in stack[3:])))
    of_wells = {well: 1 + count * per_image for well, count in fields.items()}
    files = _groups(plate) + sum(of_wells.values())
    there = sum(count for well, count in of_wells.items() if well in restored)
    return Estimate(round(COMPRESSED * pixels), round(pixels), files - there, files)


def label_images(labels: LabelSettings) -> int:
    """How many label images a field gets: where there are nuclei and cells, cytoplasm too."""
    made = [one for one in (labels.nuclei, labels.cells) if one is not None]
    return len(made) + (len(made) == 2)


def _bytes_of_pixels(plate: Plate, raw: Sequence[RawFile], without: set[str]) -> float:
    """Uncompressed bytes of the pyramids to be written; planes along z that are projected count once."""
    keep = plate.settings.ingest.projection == "keep"
    sizes: dict[tuple[object, ...], int] = {}
    for file, info in ((one.file, one.info) for one in raw):
        if info is None or file.well in without:
            continue
        planes, height, width = info.shape if file.page is None else (1, *info.shape[1:])
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


def _stack(plate: Plate, raw: Sequence[RawFile]) -> tuple[int, ...]:
    """(T, C, Z, Y, X) of a field as it will be stored."""
    files = plate.manifest.files
    keep = plate.settings.ingest.projection == "keep"
    pages = max((one.info.shape[0] for one in raw if one.info and one.file.page is None), default=1)
    planes = len({file.z for file in files}) * pages if keep else 1
    return (len({file.time for file in files}), len(plate.manifest.channels), planes, *_shape(raw))


def montage_canvas(plate: Plate, raw: Sequence[RawFile]) -> tuple[int, int] | None:
    """(Y, X) of the image into which the fields of a well are put together; None where each field stays one."""
    settings, manifest = plate.settings.ingest, plate.manifest
    if settings.fields == "separate" or not any(one.info for one in raw):
        return None
    told = next((one.info.pixel_size for one in raw if one.info and one.info.pixel_size), None)
    try:
        size = settings.pixel_size or manifest.facts.pixel_size or told
        return layout_of_plate(manifest, settings, _shape(raw), size).canvas
    except DataTrouble:  # nobody says where fields lie; the skeleton job will tell
        return None


def _files_beside_wells(plate: Plate) -> int:
    """The plate's groups, what its jobs leave, tables and report."""
    jobs = len(plate.plate_stages) + sum(len(plate.batches(stage)) for stage in plate.batch_stages)
    return _groups(plate) + PER_JOB * jobs + PER_PLATE


def _groups(plate: Plate) -> int:
    """Files of a plate above its wells: its own group and those of its rows."""
    return 1 + plate.settings.ingest.plate_shape((plate.manifest.rows, plate.manifest.columns))[0]
