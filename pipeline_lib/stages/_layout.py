"""Where the fields of a well lie: for a plate that is put together from them, and for each well of it."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline_lib.core.errors import DataTrouble
from pipeline_lib.core.layout import Layout, Places, fitted, grid_places, usual_places
from pipeline_lib.core.manifest import Manifest
from pipeline_lib.io.raw_images import position_of
from pipeline_lib.settings import IngestSettings

LOOKED_AT = 3  # wells whose images are opened for positions that no index file tells


class NoPlaces(DataTrouble):
    """Nobody says where the fields of a well lie."""

    kind = "no positions"


def layout_of_plate(
    manifest: Manifest, settings: IngestSettings, field: tuple[int, int], pixel_size: float | None
) -> Layout:
    """The layout of a plate whose fields are (Y, X) pixels.

    Raises:
        NoPlaces: Neither index nor images say where the fields lie, or how large a pixel is.
    """
    numbers = sorted({file.field for file in manifest.files})
    montage = settings.montage
    if montage.place == "grid":
        columns = montage.columns or len(numbers)
        places = grid_places(numbers, field, columns, montage.overlap, snake=montage.order == "snake")
        return Layout.of(field, places)
    wells = list(_placed_wells(manifest, pixel_size))
    if not wells:
        raise NoPlaces(
            f"plate {manifest.plate}: the raw files do not say where fields lie, or how large a pixel is"
            "; set ingest.montage.place to grid and its columns, or ingest.fields to separate"
        )
    return Layout.of(field, usual_places(wells))


def places_of_well(
    manifest: Manifest, settings: IngestSettings, layout: Layout, well: str, pixel_size: float | None
) -> Places:
    """Where the fields of one well lie on the plate's canvas, before they are compared.

    Raises:
        NoPlaces: As `layout_of_plate`.
    """
    there = {file.field for file in manifest.of_well(well)}
    if settings.montage.place == "grid":
        return {number: place for number, place in layout.places.items() if number in there}
    told = stage_places(manifest, well, pixel_size)
    if set(told) != there:
        raise NoPlaces(f"well {well}: the raw files do not say where field(s) {sorted(there - set(told))} lie")
    return fitted(told, layout)


def stage_places(manifest: Manifest, well: str, pixel_size: float | None) -> Places:
    """Field -> (y, x) in pixels, as the microscope says; without the fields of which it does not."""
    if pixel_size is None:
        return {}
    fields = sorted({file.field for file in manifest.of_well(well)})
    told = {field: position_of(manifest, well, field) for field in fields}
    return {field: (place[0] / pixel_size, place[1] / pixel_size) for field, place in told.items() if place is not None}


def _placed_wells(manifest: Manifest, pixel_size: float | None) -> Iterator[Places]:
    """The places in those wells that tell them for all their fields: of all wells by the index, or of the first few."""
    wells = [well for well in manifest.wells if well in manifest.positions]
    for well in wells or manifest.wells[:LOOKED_AT]:
        try:
            places = stage_places(manifest, well, pixel_size)
        except DataTrouble:  # its well will be told of where it is ingested
            continue
        if len(places) == len({file.field for file in manifest.of_well(well)}):
            yield places
