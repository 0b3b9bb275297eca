"""A finished plate, made by the stages themselves without a network; where commands run."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from pipeline_lib.arrays.pyramid import pyramid
from pipeline_lib.arrays.resample import shrink_labels
from pipeline_lib.io.manifests import write_manifest
from pipeline_lib.io.vendors import scan_plate
from pipeline_lib.paths import PlatePaths
from pipeline_lib.settings import AggregateSettings, IngestSettings, MeasureSettings, SegmentSettings
from pipeline_lib.stages._job import Job, make_current
from pipeline_lib.stages.aggregate import aggregate
from pipeline_lib.stages.calibrate import calibrate
from pipeline_lib.stages.complete import complete
from pipeline_lib.stages.ingest import ingest
from pipeline_lib.stages.measure import measure
from pipeline_lib.stages.segment import Labelled, Segment
from pipeline_lib.stages.skeleton import skeleton

PATTERN = r"(?P<well>[A-Z][0-9]{2})_f(?P<field>[0-9])_c(?P<channel>[0-9])\.tif"
WELLS = ("A01", "A02", "B01")  # A02 lacks an image
SHAPE = (20, 30)
SEGMENTED = {"scaling": "field", "labels": {"nuclei": {"diameter": 5}, "cells": None}}


class HandMade(Segment):
    """Segmentation without a network: the same nine squares in every field."""

    def compute(self, piece: list[Any]) -> list[Labelled]:
        levels = list(pyramid(squares(), shrink_labels))
        return [Labelled(frame.field, {"nuclei": levels}, {"nuclei": 9}) for frame in piece]


def squares() -> NDArray[np.uint32]:
    labels = np.zeros(SHAPE, np.uint32)
    for number, (y, x) in enumerate((y, x) for y in (1, 8, 15) for x in (1, 11, 21)):
        labels[y : y + 4, x : x + 5] = number + 1
    return labels


def save_pictures(folder: Path) -> None:
    folder.mkdir()
    rng = np.random.default_rng(5)
    for well in WELLS:
        for field, channel in ((1, 1), (1, 2), (2, 1), (2, 2)):
            image = rng.integers(0, 4000, SHAPE).astype(np.uint16)
            if (well, field, channel) != ("A02", 2, 1):
                tifffile.imwrite(folder / f"{well}_f{field}_c{channel}.tif", image, photometric="minisblack")


def shared_stages(plate: PlatePaths, raw: Path) -> None:
    settings = IngestSettings(pattern=PATTERN)
    write_manifest(scan_plate("P1", raw, "pattern", PATTERN), plate.manifest)
    skeleton(Job("skeleton", plate, settings, plate.record("skeleton", "plate")))
    for wells in (WELLS[:2], WELLS[2:]):
        ingest(Job("ingest", plate, settings, plate.record("ingest", f"{wells[0]}-{wells[-1]}"), wells))
    complete(Job("complete", plate, settings, plate.record("complete", "plate"), WELLS))


def analyse(plate: PlatePaths) -> None:
    """The stages an analysis has of its own."""
    settings = SegmentSettings.model_validate(SEGMENTED)
    calibrate(Job("calibrate", plate, settings, plate.record("calibrate", "plate"), WELLS))
    job = Job("segment", plate, settings, plate.record("segment", "A01-B01"), WELLS)
    make_current(job, HandMade(job, settings))
    settings_of_measure = MeasureSettings(features=("shape",))
    measure(Job("measure", plate, settings_of_measure, plate.record("measure", "A01-B01"), WELLS))
    aggregate(Job("aggregate", plate, AggregateSettings(), plate.record("aggregate", "plate"), WELLS))


@pytest.fixture(scope="session")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plate of three wells, one of which is quarantined: its results folder."""
    folder = tmp_path_factory.mktemp("finished")
    save_pictures(folder / "raw")
    plate = PlatePaths(folder / "P1")
    shared_stages(plate, folder / "raw")
    analyse(plate)
    return plate.folder


@pytest.fixture(scope="session")
def made_twice(made_once: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with a named analysis, `v2`."""
    folder = tmp_path_factory.mktemp("twice") / "P1"
    shutil.copytree(made_once, folder)
    analyse(PlatePaths(folder, "v2"))
    return folder


@pytest.fixture
def finished(made_once: Path, tmp_path: Path) -> PlatePaths:
    """A finished plate, to be damaged."""
    shutil.copytree(made_once, tmp_path / "P1")
    return PlatePaths(tmp_path / "P1")


@pytest.fixture
def with_v2(made_twice: Path, tmp_path: Path) -> PlatePaths:
    """A finished plate with a second analysis, to be damaged."""
    shutil.copytree(made_twice, tmp_path / "P1")
    return PlatePaths(tmp_path / "P1")


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command line logs to the terminal; here it does not."""
    monkeypatch.setattr(logging, "basicConfig", lambda **_: None)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which a command runs."""
    monkeypatch.chdir(tmp_path)
    return tmp_path
