"""OME-Zarr plates as training sets: what this software segmented and a person corrected, or `wellpose synthesize` drew.

Fields whose label image is not there, not listed or in the middle of being replaced are no part of the set.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pipeline_lib.core.labelled import Labelled
from pipeline_lib.io.arrays import DamagedArray, read_frame
from pipeline_lib.io.ngff import PlateInfo
from pipeline_lib.io.plate import committed_wells, fields_of, read_attributes, read_field, read_info
from pipeline_lib.io.training_sets.base import Found, SetSource, TrainingSetError, some_of
from pipeline_lib.io.training_sets.pixels import as_labels, channel_faults, labelled, two_channels
from pipeline_lib.paths import labels_path, well_path

_USUAL = ("cells", "nuclei")


def find(source: SetSource, faults: list[str]) -> Found:
    """The fields of a plate that have the label image; what is wrong is added to `faults`."""
    plate = source.folder
    try:
        info = read_info(plate)
        listed = {(well, field): _listed(plate, well, field) for well, field in _fields(plate)}
    except (KeyError, TypeError, ValueError, OSError) as error:
        inside = ", ".join(path.name for path in sorted(plate.glob("*.ome.zarr")))
        advice = f"name one inside it: {inside}" if inside else "name a raw.ome.zarr or truth.ome.zarr"
        faults.append(f"{plate} is no OME-Zarr plate of this software ({type(error).__name__}: {error}); {advice}")
        return Found(0, lambda: iter(()))
    there = sorted({name for names in listed.values() for name in names})
    wanted = source.labels or next((name for name in _USUAL if name in there), _USUAL[-1])
    fields = [place for place, names in listed.items() if wanted in names]
    if not fields:
        faults.append(
            f"{plate}: none of {len(listed)} fields has the label image {wanted!r}; found {some_of(there)}; segment "
            "the plate first, or choose with `labels`"
        )
    faults += [f"{plate}: {fault}" for fault in _channel_faults(info, source.channels)]

    def read() -> Iterator[Labelled]:
        for well, field in fields:
            for time in range(info.times):
                yield _read(source, info, (well, field, time), wanted)

    return Found(len(fields) * info.times, read)


def _fields(plate: Path) -> Iterator[tuple[str, int]]:
    for well in committed_wells(plate):
        for field in fields_of(plate, well):
            yield well, field


def _listed(plate: Path, well: str, field: int) -> list[str]:
    """The label images of a field, as they are called on disk."""
    names: list[str] = read_attributes(_group(plate, well, field)).get("ome", {}).get("labels", [])
    return names


def _group(plate: Path, well: str, field: int) -> Path:
    return plate / well_path(well) / labels_path(field)


def _channel_faults(info: PlateInfo, channels: tuple[int | str, ...]) -> Iterator[str]:
    """The order of a plate's channels says nothing of what they show, so several must be chosen from."""
    if not channels and len(info.channels) > 1:
        names = ", ".join(info.channel_names)
        yield f"has the channels {names}; say with `channels` what to segment, and which shows the nuclei"
    else:
        yield from channel_faults(info.channel_names, channels)


def _read(source: SetSource, info: PlateInfo, place: tuple[str, int, int], labels: str) -> Labelled:
    """One time point of one field."""
    well, field, time = place
    array = _group(source.folder, well, field) / labels / "0"
    try:
        image = read_field(source.folder, well, field, time)
        truth = read_frame(array, "tyx", time)
    except DamagedArray as error:
        raise TrainingSetError(
            f"{error}; mend the field, or leave the plate out (label images that were emptied by hand must be written "
            "with Zarr's write_empty_chunks)"
        ) from error
    name = f"{well}/{field}" + (f"/{time}" if info.times > 1 else "")
    where = str(array)
    return labelled(
        name, two_channels(image, info.channel_names, source.channels, where), as_labels(truth, where), where
    )
