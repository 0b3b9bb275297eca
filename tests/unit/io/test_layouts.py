"""One plate written as each vendor writes it: every reader finds the same pixels, and what the format has words for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from measurements import draw, plate_of, read, write

from pipeline_lib.core.manifest import ChannelFacts, PlateFacts
from pipeline_lib.io.layouts import LAYOUTS
from pipeline_lib.io.vendors import READERS, scan_plate

PATTERN = (
    r"(?P<well>[A-Z]{1,2}[0-9]{2})_s(?P<field>[0-9]+)_w(?P<channel>[A-Za-z0-9]+)(?:_t(?P<time>[0-9]+))?"
    r"(?:_z(?P<z>[0-9]+))?\.tif"
)
every_layout = pytest.mark.parametrize("layout", sorted(LAYOUTS))

# What a format has no words for: facts of the plate, facts of channels, positions of fields, size of the plate.
SILENT = {
    "cellinsight": {*PlateFacts.__slots__, *ChannelFacts.__slots__, "positions", "shape"},
    "cellvoyager": {"numerical_aperture"},
    "incell": {"acquired"},  # the index has the time of the clock, without a zone
    "imagexpress": {*PlateFacts.__slots__, *ChannelFacts.__slots__, "positions"} - {"name"},  # only its images say them
    "imagexpress_export": {*PlateFacts.__slots__, *ChannelFacts.__slots__, "positions", "shape"},
    # OME-NGFF has the start as seconds from 1970, without the time zone.
    "ngff": {*PlateFacts.__slots__, *ChannelFacts.__slots__} - {"pixel_size", "z_step", "time_step", "name"},
    "ome-tiff": {"plate_type"},
    "pattern": {*PlateFacts.__slots__, *ChannelFacts.__slots__, "positions", "shape"},
    "scanr": {
        *{"acquired", "instrument", "magnification", "numerical_aperture"},
        *{"excitation_nm", "emission_nm", "positions"},
    },
}


def test_every_format_but_none_can_be_written() -> None:
    assert {layout.format for layout in LAYOUTS.values()} <= set(READERS)
    assert set(SILENT) <= set(LAYOUTS)


@every_layout
@pytest.mark.parametrize(("times", "planes"), [(1, 1), (2, 3), (1, 3), (2, 1)])
def test_pixels_come_back(tmp_path: Path, layout: str, times: int, planes: int) -> None:
    plate = plate_of(times, planes)
    images = draw(plate)
    write(tmp_path, layout, plate, images)
    manifest = scan_plate("P7", tmp_path, LAYOUTS[layout].format, PATTERN)
    found = read(manifest)
    assert set(found) == set(images)
    for place, image in images.items():
        np.testing.assert_array_equal(found[place], image)
    assert manifest.missing == ()
    assert manifest.faulty == {}


@every_layout
def test_facts_come_back(tmp_path: Path, layout: str) -> None:
    plate, silent = plate_of(), SILENT.get(layout, set())
    write(tmp_path, layout, plate, draw(plate))
    manifest = scan_plate("P7", tmp_path, LAYOUTS[layout].format, PATTERN)
    told = {name: getattr(manifest.facts, name) for name in PlateFacts.__slots__ if name not in silent}
    assert told == {name: getattr(plate.facts, name) for name in told}
    channels = [manifest.channel_facts.get(channel, ChannelFacts()) for channel in manifest.channels]
    for found, wanted in zip(channels, plate.channels, strict=True):
        for name in set(ChannelFacts.__slots__) - silent:
            assert getattr(found, name) == getattr(wanted, name), name
    if "positions" not in silent:
        assert set(manifest.positions) == set(plate.wells)
        for places in manifest.positions.values():
            between = np.array([places[field] for field in range(3)]) - places[0]
            wanted_between = np.array(plate.positions) - plate.positions[0]
            np.testing.assert_allclose(between, wanted_between, atol=0.01)
    if "shape" not in silent:
        assert (manifest.rows, manifest.columns) == (plate.rows, plate.columns)


@every_layout
def test_a_plate_can_be_written_again(tmp_path: Path, layout: str) -> None:
    plate = plate_of(1, 1)
    images = draw(plate)
    for drawn in ({place: image + 1 for place, image in images.items()}, images):
        write(tmp_path, layout, plate, drawn)
    found = read(scan_plate("P7", tmp_path, LAYOUTS[layout].format, PATTERN))
    for place, image in images.items():
        np.testing.assert_array_equal(found[place], image)


@every_layout
def test_a_folder_is_recognised(tmp_path: Path, layout: str) -> None:
    plate = plate_of()
    write(tmp_path, layout, plate, draw(plate))
    if LAYOUTS[layout].format == "pattern":
        with pytest.raises(ValueError, match="of no format that is recognised by itself"):
            scan_plate("P7", tmp_path, "auto", "")
    else:
        assert scan_plate("P7", tmp_path, "auto", "").format == LAYOUTS[layout].format


@every_layout
def test_a_lost_file_is_a_lack_of_its_well_alone(tmp_path: Path, layout: str) -> None:
    """Either the index still names the file, or the plane is not listed; no other well is concerned."""
    plate = plate_of(1, 1)
    whole = {}
    files = write(tmp_path / "raw", layout, plate, draw(plate))
    before = scan_plate("P7", tmp_path / "raw", LAYOUTS[layout].format, PATTERN)
    whole = {well: before.of_well(well) for well in before.wells}
    files[0].unlink()
    after = scan_plate("P7", tmp_path / "raw", LAYOUTS[layout].format, PATTERN)
    assert {well: after.of_well(well) for well in after.wells if well != "A01"} == {
        well: files for well, files in whole.items() if well != "A01"
    }
