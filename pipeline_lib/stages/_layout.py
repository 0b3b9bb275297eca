"""Where the fields of a well lie: for a plate that is put together from them, and for each well of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pipeline_lib.core.errors import DataTrouble
from pipeline_lib.core.layout import Layout, Places, fitted, grid_places, usual_places
from pipeline_lib.core.manifest import Manifest, Position
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
    well: str,
    positions: Mapping[int, Position | None],
    settings: IngestSettings,
    layout: Layout,
    pixel_size: float | None,
) -> Places:
    """Where the fields of one well lie on the plate's canvas, before they are compared. positions: as the stage says.

    Raises:
        NoPlaces: As `layout_of_plate`.
    """
    if settings.montage.place == "grid":
        return {number: place for number, place in layout.places.items() if number in positions}
    told = _in_pixels(positions, pixel_size)
    if lost := sorted(set(positions) - set(told)):
        raise NoPlaces(f"well {well}: the raw files do not say where field(s) {lost} lie")
    return fitted(told, layout)


def stage_positions(manifest: Manifest, well: str) -> dict[int, Position | None]:
    """Field -> where it lies as the microscope says, of all fields of a well.

    Raises:
        UnreadableImage: An image that would tell is damaged.
    """
    return {field: position_of(manifest, file) for field, file in manifest.first_files(well).items()}


def _in_pixels(positions: Mapping[int, Position | None], pixel_size: float | None) -> Places:
    """Without the fields of which nobody says where they lie."""
    if pixel_size is None:
        return {}
    return {field: (place[0] / pixel_size, place[1] / pixel_size) for field, place in positions.items() if place}


def _placed_wells(manifest: Manifest, pixel_size: float | None) -> Iterator[Places]:
    """The places in those wells that tell them for all their fields: of all wells by the index, or of the first few."""
    wells = [well for well in manifest.wells if well in manifest.positions]
    for well in wells or manifest.wells[:LOOKED_AT]:
        try:
            positions = stage_positions(manifest, well)
        except DataTrouble:  # its well will be told of where it is ingested
            continue
        if len(places := _in_pixels(positions, pixel_size)) == len(positions):
            yield places
