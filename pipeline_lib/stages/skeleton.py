"""skeleton: write the plate and row groups, once per plate, so that later jobs only add wells of their own."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, replace
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline_lib.arrays.pyramid import level_steps
from pipeline_lib.core.colours import channel_colour
from pipeline_lib.core.errors import DataTrouble
from pipeline_lib.core.histograms import histogram, merge, percentiles
from pipeline_lib.core.layout import Layout
from pipeline_lib.core.manifest import ChannelFacts, ImageFile, Manifest
from pipeline_lib.io.arrays import shard_count
from pipeline_lib.io.manifests import read_manifest
from pipeline_lib.io.ngff import Channel, PlateInfo
from pipeline_lib.io.plate import OURS, create_plate, read_attributes
from pipeline_lib.io.raw_images import describe_image, read_image
from pipeline_lib.io.vendors import ImageInfo
from pipeline_lib.settings import IngestSettings
from pipeline_lib.stages._job import Clock, Job, write_record
from pipeline_lib.stages._layout import layout_of_plate

SAMPLE = 12  # images per channel that stand for the plate: number type, size and display window
SHOWN = (1.0, 99.8)  # percentiles that are displayed as black and as full colour

log = logging.getLogger("wellpose")


def skeleton(job: Job) -> None:
    """Look at a few images of each channel and write what holds for the whole plate."""
    clock = Clock()
    settings = job.settings
    assert isinstance(settings, IngestSettings)
    manifest = read_manifest(job.plate.manifest)
    fields = field_info(manifest, settings)
    layout = plate_layout(manifest, settings, fields)
    info = with_kept_windows(in_layout(fields, layout), job.plate.raw)
    planes = len({file.z for file in manifest.files}) if settings.projection == "keep" else 1
    log.info("skeleton %s: %s", job.name, file_count(manifest, info, planes))
    wanted = job.fingerprint(info=info.of_wells())
    placed = {"layout": layout.to_json()} if layout else {}
    create_plate(job.plate.raw, info, wanted, {"measurement": _measurement(manifest), **placed})
    write_record(job, clock, {"fingerprint": wanted, "info": info.to_json()})


def plate_info(manifest: Manifest, settings: IngestSettings) -> PlateInfo:
    """What holds for every image of the plate: of each field, or of each well put together from its fields."""
    fields = field_info(manifest, settings)
    return in_layout(fields, plate_layout(manifest, settings, fields))


def plate_layout(manifest: Manifest, settings: IngestSettings, fields: PlateInfo) -> Layout | None:
    """Where fields lie in the image of a well, if they are to make one. fields: what holds for every field."""
    if settings.fields == "separate":
        return None
    return layout_of_plate(manifest, settings, fields.shape, fields.pixel_size)


def in_layout(fields: PlateInfo, layout: Layout | None) -> PlateInfo:
    """What holds for every image of the plate, given what holds for every field."""
    return fields if layout is None else replace(fields, fields=1, shape=layout.canvas)


def field_info(manifest: Manifest, settings: IngestSettings) -> PlateInfo:
    """What holds for every field of the plate, from a sample of its files."""
    samples = {channel: _sample(manifest, channel) for channel in manifest.channels}
    images = {channel: _readable(manifest, files) for channel, files in samples.items()}
    found = [image for of_channel in images.values() for image in of_channel]
    if not found:
        raise DataTrouble(
            f"plate {manifest.plate}: none of {sum(map(len, samples.values()))} sampled images is readable"
        )
    shape, dtype = Counter((image.shape, image.dtype.name) for image in found).most_common(1)[0][0]
    described = [_describe(manifest, files) for files in samples.values()]
    channels = [
        _channel(manifest, settings, index, images[channel], described[index])
        for index, channel in enumerate(manifest.channels)
    ]
    rows, columns = settings.plate_shape((manifest.rows, manifest.columns))
    return PlateInfo(
        name=manifest.plate,
        rows=rows,
        columns=columns,
        fields=len({file.field for file in manifest.files}),
        times=len({file.time for file in manifest.files}),
        channels=tuple(channels),
        pixel_size=settings.pixel_size or manifest.facts.pixel_size or _first(described, "pixel_size"),
        shape=(shape[0], shape[1]),
        dtype=dtype,
        z_step=manifest.facts.z_step or _first(described, "z_step"),
        time_step=manifest.facts.time_step,
    )


def _first(described: Sequence[ImageInfo | None], fact: str) -> float | None:
    """What the first file that says it says of a fact."""
    told = [getattr(info, fact) for info in described if info is not None]
    return next((value for value in told if value is not None), None)


def _measurement(manifest: Manifest) -> dict[str, Any]:
    """What the microscope says of the plate and its channels, for the plate's own block."""
    channels = {channel: asdict(facts) for channel, facts in manifest.channel_facts.items()}
    return {"format": manifest.format, **asdict(manifest.facts), "channels": channels}


def with_kept_windows(info: PlateInfo, plate: Path) -> PlateInfo:
    """The same with the display windows chosen before, so that a repaired or added well changes no other well."""
    stored = read_attributes(plate).get(OURS, {}).get("info")
    if stored is None or stored["dtype"] != info.dtype:
        return info
    kept = {channel.id: channel.window for channel in PlateInfo.from_json(stored).channels}
    return replace(info, channels=tuple(replace(c, window=kept.get(c.id, c.window)) for c in info.channels))


def file_count(manifest: Manifest, info: PlateInfo, planes: int = 1) -> str:
    """How many files the plate will have, in words."""
    wells, fields = len(manifest.wells), len({(file.well, file.field) for file in manifest.files})
    images = fields if info.fields > 1 else wells
    shape = (info.times, len(info.channels), planes, *info.shape)
    per_image = files_of_image(shape, np.dtype(info.dtype).itemsize)
    per_well = 3  # its own metadata, and the histograms with theirs
    total = images * per_image + wells * per_well + info.rows + 1
    return f"{wells} wells, {fields} fields, {len(info.channels)} channels: {total:,} files will be written"


def files_of_image(shape: Sequence[int], itemsize: int = 2) -> int:
    """Files of one multiscale image: its group, then per level one metadata file and its shards.

    shape: (T, C, Z, Y, X). itemsize: bytes of a pixel.
    """
    *stack, height, width = shape
    levels = [(*stack, ceil(height / step), ceil(width / step)) for step in level_steps(height, width)]
    return 1 + sum(1 + shard_count(level, "tczyx", itemsize) for level in levels)


def _sample(manifest: Manifest, channel: str) -> list[ImageFile]:
    """Evenly spaced files of a channel."""
    files = [file for file in manifest.files if file.channel == channel]
    chosen = np.linspace(0, len(files) - 1, min(SAMPLE, len(files))).astype(int)
    return [files[index] for index in chosen]


def _readable(manifest: Manifest, files: Sequence[ImageFile]) -> list[NDArray[np.generic]]:
    """Middle planes (Y, X) of those files that can be read."""
    planes = []
    for file in files:
        try:
            stack = read_image(manifest, file)
        except DataTrouble:
            continue
        planes.append(stack[len(stack) // 2])
    return planes


def _describe(manifest: Manifest, files: Sequence[ImageFile]) -> ImageInfo | None:
    """What the metadata of the first readable file say."""
    for file in files:
        try:
            return describe_image(manifest, file)
        except DataTrouble:
            continue
    return None


def _channel(
    manifest: Manifest,
    settings: IngestSettings,
    index: int,
    images: Sequence[NDArray[np.generic]],
    told: ImageInfo | None,
) -> Channel:
    vendor_id = manifest.channels[index]
    name = settings.channel_name(vendor_id, manifest.channel_names)
    indexed = manifest.channel_facts.get(vendor_id, ChannelFacts())
    wavelength = indexed.emission_nm or (told.wavelength if told else None)
    chosen = settings.channels[vendor_id].colour if vendor_id in settings.channels else None
    return Channel(
        id=vendor_id,
        name=name,
        colour=chosen or channel_colour(name, wavelength, index),
        window=_window(images),
        wavelength_nm=wavelength,
    )


def _window(images: Sequence[NDArray[np.generic]]) -> tuple[float, float]:
    """Intensities shown as black and as full colour, the same for the whole plate."""
    if not images:
        return (0.0, 1.0)
    low, high = percentiles(merge(histogram(image) for image in images), SHOWN)
    return (low, high if high > low else low + 1.0)
