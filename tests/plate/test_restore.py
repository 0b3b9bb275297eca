"""A plate whose images are restored before segmentation, by a network of chance, as a user runs it."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest
import torch
import yaml
import yaozarrs
import zarr
from ome_zarr_models.v05 import HCS
from plates import REPOSITORY, Run, grow_cells

from pipeline_lib.io.plate import committed_wells
from pipeline_lib.io.records import well_outcomes
from pipeline_lib.io.weights import save_safetensors
from pipeline_lib.nets.flownet import FlowNet
from pipeline_lib.stages.diff.reruns import jobs_to_run
from pipeline_lib.stages.synthesize import Drawing, synthesize
from pipeline_lib.workflow import load_workflow, merged

pytestmark = pytest.mark.plate

RESTORING = ("prepare", "restore", "conclude")
AFTER = ("measure", "aggregate", "report", "conclude")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A finished plate whose DNA was restored, kept until the report was written."""
    folder = tmp_path_factory.mktemp("restored")
    synthesize(folder, Drawing("tiny", 2, 2, fields=1, size=96, cells=4.0, compounds=0, seed=3))
    grow_cells(folder)
    torch.manual_seed(1)
    save_safetensors(FlowNet(1, 1).state_dict(), folder / "chance.safetensors", {})
    made = Run(folder).having(restore=restoring(folder, "temporary"), segment=segmenting())
    done = made.snakemake()
    assert done.returncode == 0, done.stdout + done.stderr
    return made


def restoring(folder: Path, keep: str) -> str:
    channel = f"{{kind: denoise, weights: {folder / 'chance.safetensors'}, diameter: 24}}"
    return f"{{device: cpu, keep: {keep}, channels: {{DNA: {channel}}}}}"


def segmenting(low: int = 1) -> str:
    return f"{{device: cpu, images: restored, percentiles: [{low}, 99], labels: {{nuclei: {{diameter: 24}}}}}}"


def agreed(run: Run, **change: str) -> set[str]:
    """The stages whose jobs Snakemake plans after a change, which are those that `wellpose diff` foretells."""
    planned = run.having(**change).snakemake("-n")
    assert planned.returncode == 0, planned.stderr
    rules = Counter(re.findall(r"^(?:local)?rule (\w+):", planned.stdout + planned.stderr, flags=re.MULTILINE))
    config = yaml.safe_load((REPOSITORY / "config" / "config.yaml").read_text(encoding="utf-8"))
    places = {"plates": str(run.folder / "plates.tsv"), "results": str(run.folder / "results")}
    own = {key: yaml.safe_load(value) for key, value in {**run.settings, **change}.items()}
    [plate] = load_workflow(merged(config, {**places, **own})).plates.values()
    jobs = {stage: len(batches) for stage, batches in jobs_to_run(plate).items() if batches}
    assert jobs == {rule: count for rule, count in rules.items() if rule not in ("all", "retry")}
    return set(jobs)


def test_temporary_images_were_read_shown_and_deleted(run: Run) -> None:
    sound = set(committed_wells(run.plate.raw))
    assert len(sound) == 4
    for stage in ("restore", "segment", "measure"):
        outcomes = well_outcomes(run.plate.records(stage))
        assert {well for well, outcome in outcomes.items() if outcome["status"] == "done"} == sound
    assert committed_wells(run.plate.restored) == []
    assert run.plate.report.read_text().count('"restored":"data:image/webp') == 4


def test_images_that_have_gone_make_nothing_run_again(run: Run) -> None:
    again = run.snakemake()
    assert "Nothing to be done" in again.stdout + again.stderr
    assert agreed(run) == set()
    assert agreed(run, report="{thumbnail_size: 100}") == {"report", "conclude"}


def test_who_reads_them_again_has_them_made_again(run: Run) -> None:
    assert agreed(run, segment=segmenting(low=2)) == {"calibrate", "prepare", "restore", "segment", *AFTER}


def test_a_plate_that_is_not_restored_has_no_such_jobs(run: Run) -> None:
    planned = agreed(run, restore="{}", segment=segmenting().replace("restored", "raw"))
    assert planned
    assert not planned & set(RESTORING)


def test_kept_images_are_a_valid_plate(run: Run) -> None:
    keeping = run.having(restore=restoring(run.folder, "true"))
    done = keeping.snakemake()
    assert done.returncode == 0, done.stdout + done.stderr
    sound = committed_wells(run.plate.raw)
    assert committed_wells(run.plate.restored) == sound
    assert {o["status"] for w, o in well_outcomes(run.plate.records("segment")).items() if w in sound} == {"current"}
    yaozarrs.validate_zarr_store(str(run.plate.restored))
    HCS.from_zarr(zarr.open_group(run.plate.restored, mode="r"))
    assert agreed(keeping) == set()
