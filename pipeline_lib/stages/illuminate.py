"""illuminate: how unevenly each channel of a plate is lit, once per plate, before its wells are ingested.

The choice is kept in the folder `illumination`: a well that is repaired and added later is corrected by the same light.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline_lib.arrays.flat_field import estimate, shrunk
from pipeline_lib.arrays.illumination import Illumination, flattened, polynomial
from pipeline_lib.core.errors import DataTrouble
from pipeline_lib.core.manifest import ImageFile, Manifest
from pipeline_lib.io.commit import sweep
from pipeline_lib.io.illumination import told_of_illumination, write_illumination
from pipeline_lib.io.images import read_planes
from pipeline_lib.io.manifests import read_manifest
from pipeline_lib.io.plate import read_info, read_layout
from pipeline_lib.io.raw_images import read_image
from pipeline_lib.settings import IlluminationSettings, IngestSettings
from pipeline_lib.stages._job import Clock, Job, write_record

log = logging.getLogger("wellpose")


def illuminate(job: Job) -> None:
    """Write the plate's illumination, unless it is there and of the same making."""
    clock = Clock()
    assert isinstance(job.settings, IngestSettings)
    settings = job.settings.illumination
    manifest, layout = read_manifest(job.plate.manifest), read_layout(job.plate.raw)
    shape = layout.field if layout else read_info(job.plate.raw).shape
    sweep(job.plate.illumination)
    kept = told_of_illumination(job.plate.illumination)
    wanted = light_fingerprint(job, settings, manifest, shape)
    if kept.get("fingerprint") != wanted:
        lights = dict(_lights(manifest, settings, shape))
        kept = {
            "fingerprint": wanted,
            "method": settings.method,
            "checksum": _checksum(lights),
            "channels": _told(lights),
        }
        files = {channel: (light.flat, light.dark) for channel, light in lights.items()}
        write_illumination(job.plate.illumination, files, kept)
    log.info("illuminate %s: %s", job.name, kept["channels"])
    write_record(job, clock, kept)


def light_fingerprint(job: Job, settings: IlluminationSettings, manifest: Manifest, shape: tuple[int, int]) -> str:
    """The fingerprint the plate's illumination should have. Wells that come later do not change it."""
    profiles = {channel: asdict(profile) for channel, profile in manifest.profiles.items()}
    given = profiles if settings.method == "vendor" else {}
    return job.fingerprint(settings=settings.identity(), shape=shape, profiles=given)


def _lights(
    manifest: Manifest, settings: IlluminationSettings, shape: tuple[int, int]
) -> Iterator[tuple[str, Illumination]]:
    """Channel id -> its light."""
    for channel in manifest.channels:
        if settings.method == "vendor":
            yield channel, _of_vendor(manifest, channel, shape)
        else:
            yield channel, _of_fields(manifest, channel, settings, shape)


def _of_fields(
    manifest: Manifest, channel: str, settings: IlluminationSettings, shape: tuple[int, int]
) -> Illumination:
    """Estimated from a sample of the plate's own fields."""
    fields = [shrunk(image) for image in _sampled(manifest, channel, settings.fields) if image.shape == shape]
    try:
        return estimate(fields, shape, settings.dark)
    except ValueError as error:
        raise DataTrouble(f"plate {manifest.plate}, channel {channel}: {error}") from error


def _sampled(manifest: Manifest, channel: str, count: int) -> Iterator[NDArray[np.generic]]:
    """Images (Y, X) of a channel, evenly spaced over the plate: the brightest values of their planes."""
    stacks: dict[tuple[str, int], list[ImageFile]] = {}
    for file in manifest.files:
        if file.channel == channel and file.time == 0:
            stacks.setdefault((file.well, file.field), []).append(file)
    places = list(stacks)
    for index in np.linspace(0, len(places) - 1, min(count, len(places))).astype(int):
        try:
            yield np.max([read_image(manifest, file).max(axis=0) for file in stacks[places[index]]], axis=0)
        except (DataTrouble, ValueError):  # its well will be told of where it is ingested
            continue


def _of_vendor(manifest: Manifest, channel: str, shape: tuple[int, int]) -> Illumination:
    """As the microscope's own software measured it."""
    profile = manifest.profiles[channel]
    if profile.coefficients:
        return flattened(polynomial(profile, shape))
    folder = Path(manifest.folder)
    bright, dark = (_plane(folder / name) if name else None for name in (profile.flat, profile.dark))
    for name, image in ((profile.flat, bright), (profile.dark, dark)):
        if image is not None and image.shape != shape:
            raise DataTrouble(f"plate {manifest.plate}: {name} is {image.shape}; its images are {shape}")
    if bright is None:
        bright = np.ones(shape)
    return flattened(bright if dark is None else bright - dark, dark)


def _plane(path: Path) -> NDArray[np.float64]:
    return np.asarray(read_planes(path)[0], np.float64)


def _checksum(lights: Mapping[str, Illumination]) -> str:
    """What tells this light from another one: wells that were corrected by that are made anew."""
    digest = hashlib.sha256()
    for channel, light in lights.items():
        for part in (channel.encode(), light.flat.tobytes(), light.dark.tobytes()):
            digest.update(part)
    return digest.hexdigest()


def _told(lights: Mapping[str, Illumination]) -> dict[str, dict[str, Any]]:
    """Of each channel: how dark and how bright its flat field is, and its counts without light."""
    return {
        channel: {
            "darkest": round(float(light.flat.min()), 4),
            "brightest": round(float(light.flat.max()), 4),
            "dark": round(float(light.dark.mean()), 2),
        }
        for channel, light in lights.items()
    }
