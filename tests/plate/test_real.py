"""Real plates: a part of BBBC013 through the whole workflow, and ImageXpress folders through ingest."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
import yaozarrs
from plates import REPOSITORY, Run
from scipy import ndimage
from skimage.feature import peak_local_max
from skimage.filters import threshold_otsu

from pipeline_lib.io.manifests import read_manifest, write_manifest
from pipeline_lib.io.plate import committed_wells, read_field, read_info
from pipeline_lib.io.records import read_json
from pipeline_lib.io.vendors import scan_plate
from pipeline_lib.paths import PlatePaths
from pipeline_lib.settings import IngestSettings
from pipeline_lib.stages._job import Job
from pipeline_lib.stages.complete import complete
from pipeline_lib.stages.ingest import ingest
from pipeline_lib.stages.skeleton import skeleton

pytestmark = pytest.mark.plate
LOG_RATIO = "Cells_Intensity_Log2NucleusCytoplasmRatio_GFP"
CONTROLS = ("A01", "B01", "C01", "A12", "B12", "C12")  # negative, then positive
DOSES = ("A04", "A06", "A08")  # the second, fourth and sixth dose


@pytest.fixture(scope="module")
def bbbc013(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Nine wells of the plate, finished; three tell the diameters, which spares the test minutes."""
    folder = tmp_path_factory.mktemp("bbbc013")
    source = (shared / "data" / "plates" / "bbbc013").resolve()
    (folder / "raw").mkdir()
    for well in (*CONTROLS, *DOSES):
        for path in source.glob(f"*-{well[0]}-{well[1:]}.tif"):
            (folder / "raw" / path.name).symlink_to(path)
    plate_map = pd.read_csv(source / "platemap.csv", dtype=str)
    used = (plate_map["Row"] + plate_map["Column"]).isin([*CONTROLS, *DOSES])
    plate_map[used].to_csv(folder / "platemap.csv", index=False)
    overrides = REPOSITORY / "config" / "examples" / "bbbc013.yaml"
    (folder / "plates.tsv").write_text(
        f"plate\tfolder\tformat\tplate_map\toverrides\nbbbc013\traw\tpattern\tplatemap.csv\t{overrides}\n"
    )
    run = Run(folder, plate_name="bbbc013")
    done = run.snakemake(segment="{calibration_wells: 3}")
    assert done.returncode == 0, done.stdout + done.stderr
    return run


def classical_count(image: np.ndarray) -> int:
    """Nuclei by Otsu threshold and maxima of the distance to the background: crude, but of another kind."""
    blurred = ndimage.gaussian_filter(image.astype(float), 1)
    distance = ndimage.gaussian_filter(ndimage.distance_transform_edt(blurred > threshold_otsu(blurred)), 1)
    return len(peak_local_max(distance, min_distance=4, threshold_abs=2))


def test_nuclei_of_half_the_usual_size_are_found_at_their_size(bbbc013: Run) -> None:
    """Networks outline a halo around nuclei much smaller than the diameter they are told."""
    calibration = read_json(bbbc013.plate.calibration)
    wells = pd.read_parquet(bbbc013.plate.wells_parquet)
    measured = 2 * np.sqrt(wells["Nuclei_AreaShape_Area"] / np.pi)
    assert 13 < calibration["diameters"]["nuclei"] < 17
    assert measured.between(13, 17).all()


def test_the_nuclei_of_a_real_plate_are_as_many_as_a_classical_method_finds(bbbc013: Run) -> None:
    wells = pd.read_parquet(bbbc013.plate.wells_parquet).set_index("Metadata_Well")
    assert set(committed_wells(bbbc013.plate.raw)) == {*CONTROLS, *DOSES}
    channels = read_info(bbbc013.plate.raw).channel_names
    classical = sum(classical_count(read_field(bbbc013.plate.raw, w, 0)[channels.index("DNA")]) for w in wells.index)
    assert wells["Count_Nuclei"].sum() == pytest.approx(classical, rel=0.15)


def test_the_translocation_separates_the_controls_and_rises_with_dose(bbbc013: Run) -> None:
    scores = pd.read_csv(bbbc013.plate.z_prime).set_index("Feature")["ZPrime"]
    assert scores[LOG_RATIO] > 0.6
    ratios = pd.read_parquet(bbbc013.plate.wells_parquet).set_index("Metadata_Well")[LOG_RATIO]
    assert ratios["A01"] < ratios["A04"] + 0.3
    assert list(ratios[list(DOSES)]) == sorted(ratios[list(DOSES)])


@pytest.fixture
def ingested(shared: Path, tmp_path: Path) -> Callable[[str, str], PlatePaths]:
    """Take a real ImageXpress folder to OME-Zarr."""

    def take(name: str, projection: str) -> PlatePaths:
        plate = PlatePaths(tmp_path / name)
        settings = IngestSettings.model_validate({"projection": projection})
        folder = (shared / "data" / "plates" / "imagexpress" / name).resolve()
        manifest = scan_plate(name, folder, "imagexpress", "")
        write_manifest(manifest, plate.manifest)
        skeleton(Job("skeleton", plate, settings, plate.record("skeleton", "plate")))
        ingest(Job("ingest", plate, settings, plate.record("ingest", "all"), manifest.wells))
        complete(Job("complete", plate, settings, plate.record("complete", "plate"), manifest.wells))
        return plate

    return take


@pytest.mark.parametrize("projection", ["max", "keep"])
def test_stacks_of_an_imagexpress_plate_are_projected_or_kept(
    ingested: Callable[[str, str], PlatePaths], projection: str
) -> None:
    plate = ingested("Projection-Mix", projection)
    assert committed_wells(plate.raw) == ["E07", "E08"]
    yaozarrs.validate_zarr_store(str(plate.raw))
    manifest = read_manifest(plate.manifest)
    files = [f for f in manifest.of_well("E07") if f.field == 1 and f.channel == manifest.channels[0]]
    assert len(files) == 10
    expected = np.max([tifffile.imread(Path(manifest.folder) / file.path) for file in files], axis=0)
    np.testing.assert_array_equal(read_field(plate.raw, "E07", 1)[0], expected)
    assert read_info(plate.raw).pixel_size == pytest.approx(1.3668)


def test_time_points_of_an_imagexpress_plate_stay_apart(ingested: Callable[[str, str], PlatePaths]) -> None:
    plate = ingested("1well-3C-2S-Zmix-T", "max")
    manifest = read_manifest(plate.manifest)
    assert read_info(plate.raw).times == 2
    for time in (0, 1):
        [file] = [f for f in manifest.files if (f.field, f.time, f.channel) == (0, time, manifest.channels[2])]
        expected = tifffile.imread(Path(manifest.folder) / file.path)
        np.testing.assert_array_equal(read_field(plate.raw, "C07", 0, time)[2], expected)
