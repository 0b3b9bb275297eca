"""Varied plates: raw files that are the drawn fields, truth beside them, and no treatments."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import tifffile

from pipeline_lib.__main__ import main
from pipeline_lib.io.plate import read_labels
from pipeline_lib.synthesis import draw_varied_field, well_seed


@pytest.fixture(scope="module")
def varied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("varied")
    words = "--varied --rows 1 --columns 2 --fields 2 --size 96 --seed 5"
    main(["synthesize", str(folder), *words.split()])
    return folder


@pytest.mark.parametrize("column", [1, 2])
@pytest.mark.parametrize("index", [0, 1])
def test_each_field_is_a_scene_of_its_own(varied: Path, column: int, index: int) -> None:
    well = f"A{column:02d}"
    field = draw_varied_field((96, 96), well_seed(5, well, index))
    for plane, channel in zip(field.image, ("DNA", "GFP"), strict=True):
        drawn = tifffile.imread(varied / "raw" / f"{well}_s{index + 1}_w{channel}.tif")
        np.testing.assert_array_equal(drawn, plane)
    truth = read_labels(varied / "truth.ome.zarr", well, index)
    np.testing.assert_array_equal(truth["nuclei"], field.nuclei)
    np.testing.assert_array_equal(truth["cells"], field.cells)


def test_a_varied_plate_has_no_plate_map(varied: Path) -> None:
    assert not (varied / "platemap.csv").exists()
    lines = list(csv.DictReader((varied / "plates.tsv").read_text(encoding="utf-8").splitlines(), delimiter="\t"))
    assert [(line["plate"], line["plate_map"]) for line in lines] == [("synthetic", "")]
