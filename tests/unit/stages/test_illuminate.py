"""Light of a plate: from its own fields or the microscope's profile, kept, applied to every well, told."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from pipeline_lib.arrays.illumination import Illumination, correct
from pipeline_lib.core.errors import DataTrouble
from pipeline_lib.core.manifest import Manifest, Profile
from pipeline_lib.io.illumination import read_illumination, told_of_illumination
from pipeline_lib.io.manifests import write_manifest
from pipeline_lib.io.plate import read_field
from pipeline_lib.io.plate_faults import plate_faults
from pipeline_lib.io.records import read_json
from pipeline_lib.io.vendors import scan_plate
from pipeline_lib.paths import PlatePaths
from pipeline_lib.settings import IngestSettings, Settings
from pipeline_lib.stages import reset
from pipeline_lib.stages._job import Job
from pipeline_lib.stages.illuminate import illuminate
from pipeline_lib.stages.ingest import ingest
from pipeline_lib.stages.skeleton import skeleton

PATTERN = r"(?P<well>[A-Z][0-9]{2})_c(?P<channel>[0-9])\.tif"
WELLS = tuple(f"{row}{column:02d}" for row in "AB" for column in range(1, 11))
SHAPE = (48, 64)


def flat(channel: int) -> NDArray[np.float64]:
    """Channel 1 loses light to the right, channel 2 downwards."""
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    fall = 1 - 0.3 * (x / SHAPE[1] if channel == 1 else y / SHAPE[0])
    return np.asarray(fall / fall.mean())


class Plate:
    """Twenty wells of random spots under uneven light."""

    def __init__(self, folder: Path) -> None:
        self.raw, self.paths = folder / "raw", PlatePaths(folder / "results" / "P1")
        self.raw.mkdir()
        rng = np.random.default_rng(1)
        for well in WELLS:
            for channel in (1, 2):
                light = rng.choice([50, 400, 420], SHAPE, p=[0.6, 0.2, 0.2]) * flat(channel)
                tifffile.imwrite(self.raw / f"{well}_c{channel}.tif", np.rint(light + 100).astype(np.uint16))

    @property
    def manifest(self) -> Manifest:
        return scan_plate("P1", self.raw, "pattern", PATTERN)

    def job(self, stage: str, **light: Any) -> Job:
        settings = IngestSettings.model_validate({"pattern": PATTERN, "illumination": light})
        return Job(stage, self.paths, settings, self.paths.record(stage, "x"), WELLS)

    def lit(self, manifest: Manifest | None = None, **light: Any) -> None:
        write_manifest(manifest or self.manifest, self.paths.manifest)
        skeleton(self.job("skeleton", **light))
        illuminate(self.job("illuminate", **light))


@pytest.fixture
def plate(tmp_path: Path) -> Plate:
    return Plate(tmp_path)


def test_wells_are_corrected_by_the_light_of_their_plate(plate: Plate) -> None:
    plate.lit(method="estimated", dark=100)
    ingest(plate.job("ingest", method="estimated", dark=100))
    lights = read_illumination(plate.paths.illumination)
    for channel in ("1", "2"):
        bright, dark = lights[channel]
        assert np.std(bright / flat(int(channel))) < 0.02
        assert (dark == 100).all()
        raw = tifffile.imread(plate.raw / f"B07_c{channel}.tif")
        stored = read_field(plate.paths.raw, "B07", 0)[int(channel) - 1]
        np.testing.assert_array_equal(stored, correct(raw, Illumination(bright, dark)))
    told = told_of_illumination(plate.paths.illumination)
    assert told["channels"]["1"]["darkest"] == pytest.approx(flat(1).min(), abs=0.03)


def test_light_is_kept_and_wells_with_it(plate: Plate) -> None:
    plate.lit(method="estimated")
    before = told_of_illumination(plate.paths.illumination)
    ingest(plate.job("ingest", method="estimated"))
    (plate.raw / "A03_c1.tif").write_bytes(b"")
    plate.lit(method="estimated")
    assert told_of_illumination(plate.paths.illumination) == before
    ingest(plate.job("ingest", method="estimated"))
    outcomes = {well: one["status"] for well, one in read_json(plate.paths.record("ingest", "x"))["wells"].items()}
    assert outcomes == {well: "current" if well != "A03" else "quarantined" for well in WELLS}
    plate.lit(method="estimated", fields=5)
    assert told_of_illumination(plate.paths.illumination) != before
    assert read_json(plate.paths.record("illuminate", "x"))["method"] == "estimated"


def test_another_light_makes_the_wells_anew(plate: Plate) -> None:
    """After `wellpose reset --stage illuminate` the light is estimated from what the folder holds by then."""
    plate.lit(method="estimated")
    ingest(plate.job("ingest", method="estimated"))
    for path in plate.raw.glob("A*_c1.tif"):
        path.unlink()
    write_manifest(plate.manifest, plate.paths.manifest)
    reset.run(Namespace(plate=plate.paths.folder, stage="illuminate", analysis="", wells=()))
    assert not plate.paths.illumination.exists()
    illuminate(plate.job("illuminate", method="estimated"))
    ingest(plate.job("ingest", method="estimated"))
    outcomes = read_json(plate.paths.record("ingest", "x"))["wells"]
    assert {well: outcomes[well]["status"] for well in WELLS if well.startswith("B")} == {
        well: "done" for well in WELLS if well.startswith("B")
    }


def test_without_correction_pixels_are_those_of_the_files(plate: Plate) -> None:
    write_manifest(plate.manifest, plate.paths.manifest)
    skeleton(plate.job("skeleton"))
    ingest(plate.job("ingest"))
    stored = read_field(plate.paths.raw, "A01", 0)[0]
    np.testing.assert_array_equal(stored, tifffile.imread(plate.raw / "A01_c1.tif"))
    assert not plate.paths.illumination.exists()


def test_the_microscopes_own_profiles(plate: Plate) -> None:
    """Channel 1: a polynomial, 1 - 0.01 (x - 32). Channel 2: files, of which one is the camera without light."""
    tifffile.imwrite(plate.raw / "flat.tif", (1000 * flat(2) + 7).astype(np.float32))
    tifffile.imwrite(plate.raw / "dark.tif", np.full(SHAPE, 7, np.float32))
    profiles = {
        "1": Profile(((1.0,), (-0.01, 0.0)), origin=(24.0, 32.0)),
        "2": Profile(flat="flat.tif", dark="dark.tif"),
    }
    plate.lit(replace(plate.manifest, profiles=profiles), method="vendor")
    lights = read_illumination(plate.paths.illumination)
    wanted = 1 - 0.01 * (np.arange(SHAPE[1]) - 32)
    np.testing.assert_allclose(lights["1"][0][5], wanted / wanted.mean(), rtol=1e-5)
    np.testing.assert_allclose(lights["2"][0], flat(2), rtol=1e-5)
    assert (lights["2"][1] == 7).all()


def test_a_profile_of_another_size_is_refused(plate: Plate) -> None:
    tifffile.imwrite(plate.raw / "flat.tif", np.ones((8, 8), np.float32))
    profiles = {channel: Profile(flat="flat.tif") for channel in ("1", "2")}
    with pytest.raises(DataTrouble, match=r"flat\.tif is \(8, 8\); its images are \(48, 64\)"):
        plate.lit(replace(plate.manifest, profiles=profiles), method="vendor")


def test_profiles_that_are_not_there_are_told_before_any_job(plate: Plate) -> None:
    labels = {"nuclei": {"channels": ["Channel1"]}}
    chosen = {"ingest": {"illumination": {"method": "vendor"}}, "segment": {"labels": labels}}
    faults = list(plate_faults(plate.manifest, Settings.model_validate(chosen)))
    assert faults == [
        "ingest.illumination.method: vendor is asked for, and the raw files have no profile of channel 1, 2; allowed: "
        "estimated, none"
    ]


def test_too_few_readable_fields_are_told(plate: Plate) -> None:
    for path in plate.raw.glob("*_c2.tif"):
        if not path.name.startswith("A01"):
            path.write_bytes(b"")
    with pytest.raises(DataTrouble, match="plate P1, channel 2: 1 fields cannot tell"):
        plate.lit(method="estimated")
