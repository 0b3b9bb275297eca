"""restore: whole wells or none, from what they were made, at which size; and what reads them afterwards."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaozarrs

from pipeline_lib.arrays.pyramid import pyramid
from pipeline_lib.arrays.resample import shrink_labels
from pipeline_lib.io.plate import (
    committed_wells,
    create_plate,
    labels_of,
    read_attributes,
    read_field,
    read_info,
    read_labels,
)
from pipeline_lib.io.records import read_json
from pipeline_lib.io.tables import table_fingerprint
from pipeline_lib.io.weights import save_safetensors
from pipeline_lib.nets.flownet import FlowNet
from pipeline_lib.paths import PlatePaths
from pipeline_lib.settings import MeasureSettings, RestoreSettings, SegmentSettings
from pipeline_lib.stages._images import WellImages
from pipeline_lib.stages._job import Job, make_current
from pipeline_lib.stages._plate import plate_outcomes
from pipeline_lib.stages.conclude import conclude
from pipeline_lib.stages.measure import measure
from pipeline_lib.stages.prepare import prepare
from pipeline_lib.stages.reset import drop
from pipeline_lib.stages.restore import restore
from pipeline_lib.stages.segment import Labelled, Segment
from pipeline_lib.stages.status import plate_status
from pipeline_lib.stages.verify import faults_of

WELLS = ("A01", "A02", "B01")  # A02 lacks an image
SOUND = ["A01", "B01"]
Network = Callable[[int], Path]


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network of chance that turns one channel into one."""
    torch.manual_seed(1)
    path = tmp_path_factory.mktemp("weights") / "chance.safetensors"
    save_safetensors(FlowNet(1, 1).state_dict(), path, {})
    return path


def settings_of(weights: Path, kind: str = "denoise", **others: Any) -> RestoreSettings:
    """Channel 1 is restored, channel 2 copied."""
    channels = {"Channel1": {"kind": kind, "weights": str(weights), "diameter": 24}, "Channel2": {"kind": "none"}}
    return RestoreSettings.model_validate({"device": "cpu", "precision": "float32", "channels": channels} | others)


def make(plate: PlatePaths, settings: RestoreSettings) -> dict[str, str]:
    """Prepare and restore a plate; well -> what became of it."""
    prepare(Job("prepare", plate, settings, plate.record("prepare", "plate"), WELLS))
    record = plate.record("restore", "A01-B01")
    restore(Job("restore", plate, settings, record, WELLS))
    return {well: outcome["status"] for well, outcome in read_json(record)["wells"].items()}


def finish(plate: PlatePaths, settings: RestoreSettings) -> None:
    conclude(Job("conclude", plate, settings, plate.record("conclude", "plate"), WELLS))


class Counted(Segment):
    """Segmentation by the sizes of the images alone."""

    def compute(self, piece: list[Any]) -> list[Labelled]:
        self.seen.append(piece[0].image.shape)
        found = [np.ones(self.info.shape, np.uint32) for _ in piece]
        return [
            Labelled(frame.field, {"nuclei": list(pyramid(labels, shrink_labels))}, {"nuclei": 1})
            for frame, labels in zip(piece, found, strict=True)
        ]

    @property
    def seen(self) -> list[tuple[int, ...]]:
        return vars(self).setdefault("shapes", [])


def segment(plate: PlatePaths, **others: Any) -> tuple[dict[str, str], list[tuple[int, ...]]]:
    """Well -> what became of its labels; and the shapes of the images they were found in."""
    labels = {"nuclei": {"diameter": 5}, "cells": None}
    settings = SegmentSettings.model_validate({"scaling": "field", "labels": labels, **others})
    record = plate.record("segment", "A01-B01")
    job = Job("segment", plate, settings, record, WELLS)
    work = Counted(job, settings)
    make_current(job, work)
    return {well: outcome["status"] for well, outcome in read_json(record)["wells"].items()}, work.seen


def test_wells_are_restored_whole_and_nothing_is_done_twice(finished: PlatePaths, weights: Path) -> None:
    settings = settings_of(weights)
    assert make(finished, settings) == {"A01": "done", "A02": "absent", "B01": "done"}
    finish(finished, settings)
    yaozarrs.validate_zarr_store(str(finished.restored))
    assert committed_wells(finished.restored) == SOUND
    [before] = {path.stat().st_mtime_ns for path in [finished.restored_well("A01") / "zarr.json"]}
    assert make(finished, settings) == {"A01": "current", "A02": "absent", "B01": "current"}
    assert (finished.restored_well("A01") / "zarr.json").stat().st_mtime_ns == before
    assert faults_of(finished) == []
    record = read_json(finished.record("restore", "A01-B01"))
    assert len(record["weights"]["Channel1"]) == 64
    assert record["ran_on"] == {}, "no network is loaded for wells that are current"


@pytest.mark.parametrize("scaling", ["field", "well", "plate"])
def test_what_is_not_restored_is_copied_and_intensities_stay_what_they_are(
    finished: PlatePaths, weights: Path, scaling: str
) -> None:
    make(finished, settings_of(weights, scaling=scaling))
    for field in (0, 1):
        raw, restored = (read_field(store, "A01", field) for store in (finished.raw, finished.restored))
        assert (restored.shape, restored.dtype) == (raw.shape, raw.dtype)
        np.testing.assert_array_equal(restored[1], raw[1])
        assert not np.array_equal(restored[0], raw[0])


def test_intensities_come_back_to_the_raw_range(
    finished: PlatePaths, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network that changes nothing gives the raw image; one that exceeds the number type is clipped."""
    monkeypatch.setattr("pipeline_lib.restoration.restore_fields", lambda _r, images, _d, **_: iter(images))
    make(finished, settings_of(weights))
    raw = read_field(finished.raw, "A01", 0)
    np.testing.assert_array_equal(read_field(finished.restored, "A01", 0), raw)
    monkeypatch.setattr(
        "pipeline_lib.restoration.restore_fields", lambda _r, images, _d, **_: (i * 1e3 for i in images)
    )
    make(finished, settings_of(weights, percentiles=[2, 98]))
    assert set(np.unique(read_field(finished.restored, "A01", 0)[0])) >= {0, 65535}


def test_an_upsampled_plate_is_larger_and_says_so(finished: PlatePaths, weights: Path) -> None:
    channels = {"Channel1": {"kind": "upsample", "weights": str(weights), "diameter": 12}}
    settings = settings_of(weights, channels=channels)
    create_plate(finished.raw, replace(read_info(finished.raw), pixel_size=0.5), "with a pixel size")
    make(finished, settings)
    finish(finished, settings)
    raw, restored = (read_info(store) for store in (finished.raw, finished.restored))
    assert restored.shape == (50, 75) == tuple(int(length * 30 / 12) for length in raw.shape)
    assert read_field(finished.restored, "A01", 0).shape == (2, 50, 75)
    finest = read_attributes(finished.restored_well("A01") / "0")["ome"]["multiscales"][0]["datasets"][0]
    assert raw.pixel_size == 0.5
    assert finest["coordinateTransformations"] == [{"type": "scale", "scale": [1.0, 0.2, 0.2]}]
    yaozarrs.validate_zarr_store(str(finished.restored))
    _, seen = segment(finished, images="restored")
    assert set(seen) == {(2, 50, 75)}
    assert read_labels(finished.raw, "A01", 0)["nuclei"].shape == raw.shape
    measured = MeasureSettings(features=("intensity",), images="restored")
    measure(Job("measure", finished, measured, finished.record("measure", "A01-B01"), WELLS))
    assert {o["status"] for o in read_json(finished.record("measure", "A01-B01"))["wells"].values()} == {
        "done",
        "absent",
    }


def test_a_changed_setting_restores_and_segments_anew_what_reads_it(finished: PlatePaths, weights: Path) -> None:
    plain = labels_of(finished.raw, "A01", 0)["fingerprint"]
    make(finished, settings_of(weights))
    table = table_fingerprint(finished.cells("A01"))
    assert segment(finished, images="restored")[0] == {"A01": "done", "A02": "absent", "B01": "done"}
    assert labels_of(finished.raw, "A01", 0)["fingerprint"] != plain
    assert set(segment(finished, images="restored")[0].values()) == {"current", "absent"}
    assert set(make(finished, settings_of(weights, percentiles=[2, 98])).values()) == {"done", "absent"}
    assert set(segment(finished, images="restored")[0].values()) == {"done", "absent"}
    assert segment(finished, images="raw")[0]["A01"] == "done"
    make(finished, settings_of(weights))
    assert segment(finished, images="raw")[0]["A01"] == "current", "raw images are read: restoration is nothing to it"
    assert table_fingerprint(finished.cells("A01")) == table


def test_a_damaged_well_is_quarantined_and_told_as_that(finished: PlatePaths, weights: Path) -> None:
    for shard in (finished.raw_well("B01") / "0" / "0" / "c").rglob("*"):
        if shard.is_file():
            shard.write_bytes(shard.read_bytes()[:50])
    assert make(finished, settings_of(weights)) == {"A01": "done", "A02": "absent", "B01": "quarantined"}
    assert segment(finished, images="restored")[0] == {"A01": "done", "A02": "absent", "B01": "quarantined"}
    outcome = plate_outcomes(finished, WELLS)["B01"]
    assert (outcome.done, outcome.stage) == (False, "restore")
    assert "damaged" in outcome.kind
    assert plate_status(finished).stages["restore"].quarantined.keys() == {"B01"}


def test_temporary_images_go_and_what_was_made_from_them_stays_current(finished: PlatePaths, weights: Path) -> None:
    settings = settings_of(weights, keep="temporary")
    make(finished, settings)
    segment(finished, images="restored")
    known = WellImages(finished, "restored").fingerprint("A01")
    finish(finished, settings)
    assert committed_wells(finished.restored) == []
    assert WellImages(finished, "restored").fingerprint("A01") == known
    assert set(segment(finished, images="restored")[0].values()) == {"current", "absent"}
    assert plate_status(finished).stages["restore"].done == SOUND
    assert faults_of(finished) == []
    lost, _ = segment(finished, images="restored", percentiles=[2, 98])
    assert lost["A01"] == "quarantined", "without Snakemake, which has them made again, nobody reads what has gone"
    finish(finished, settings)
    assert plate_status(finished).stages["restore"].done == SOUND, "told of still, after another job"
    make(finished, settings)
    assert segment(finished, images="restored", percentiles=[2, 98])[0]["A01"] == "done"


def test_a_plate_that_is_not_restored_tells_nothing_of_it(finished: PlatePaths) -> None:
    status = plate_status(finished)
    assert list(status.stages) == ["ingest", "segment", "measure"]
    assert not {"prepare", "conclude"} & set(status.finished)


def test_reset_drops_restored_wells_and_leaves_the_rest(finished: PlatePaths, weights: Path) -> None:
    make(finished, settings_of(weights))
    finish(finished, settings_of(weights))
    drop(finished, "restore", {"A01"})
    assert committed_wells(finished.restored) == ["B01"]
    assert committed_wells(finished.raw) == SOUND
    assert not finished.record("restore", "A01-B01").exists()
    assert not finished.record("conclude", "plate").exists()


def test_verify_finds_a_damaged_restored_well(finished: PlatePaths, weights: Path) -> None:
    make(finished, settings_of(weights))
    shutil.rmtree(finished.restored_well("B01") / "1" / "0" / "c")
    [fault] = faults_of(finished)
    assert (fault.stage, fault.well) == ("restore", "B01")
