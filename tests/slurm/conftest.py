"""A real SLURM, a plate nothing happened to, and copies of it at every point of its way."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from plates import TOLD, Run, grow_cells
from slurm.cluster import Cluster, cluster_up, lacking, wait_until_idle

from pipeline_lib.paths import BATCH_STAGES
from pipeline_lib.stages.synthesize import Drawing, synthesize

DRAWING = Drawing("tiny", rows=4, columns=6, fields=1, size=128, cells=6.0, compounds=1, seed=3)
PORTIONS = dict.fromkeys(BATCH_STAGES, "{wells_per_job: 12}")
STOPS = ("calibrate", "segment", "report")  # stages after which a copy is kept
OWN = ("raw", "truth.ome.zarr")  # of the drawn plate: shared by all its copies
PlateAfter = Callable[[str], Run]


@pytest.fixture(scope="session")
def slurm(shared: Path) -> Iterator[Cluster]:
    """A running cluster; where none can be started tests are skipped, but fail where `CI` is set."""
    lack = lacking()
    if lack and os.environ.get("CI"):
        pytest.fail(lack)
    if lack:
        pytest.skip(lack)
    with cluster_up(shared) as cluster:
        yield cluster


@pytest.fixture
def cluster(slurm: Cluster) -> Iterator[Cluster]:
    """The cluster with all nodes up and, before and after, without jobs."""
    slurm.up()
    yield slurm
    for job in slurm.jobs():
        slurm.call("scancel", job)
    wait_until_idle(slurm)


@pytest.fixture(scope="session")
def course(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """The plate taken through the workflow here, without any disturbance: stage -> a copy made after it."""
    folder = tmp_path_factory.mktemp("undisturbed")
    synthesize(folder, DRAWING)
    grow_cells(folder)
    run = Run(folder, settings=PORTIONS)
    kept = {"": _copied(run, tmp_path_factory.mktemp("drawn"))}
    for stage in STOPS:
        done = run.snakemake("--cores", "2", "--until", stage)
        assert done.returncode == 0, done.stdout + done.stderr
        kept[stage] = _copied(run, tmp_path_factory.mktemp(f"after_{stage}"))
    return kept


@pytest.fixture(scope="session")
def undisturbed(course: dict[str, Run]) -> Run:
    """The finished plate. Only to be read."""
    return course["report"]


@pytest.fixture
def plate_after(course: dict[str, Run], tmp_path: Path) -> PlateAfter:
    """A new plate that is done up to a stage; up to none for an empty name."""
    return lambda stage: _copied(course[stage], tmp_path)


def _copied(run: Run, folder: Path) -> Run:
    """The run in another folder, with the same raw files: times of files and all that Snakemake keeps come along."""
    for path in run.folder.iterdir():
        if path.name in OWN:
            (folder / path.name).symlink_to(path.resolve())
        elif path.is_dir():
            shutil.copytree(path, folder / path.name)
        elif path.name != TOLD:
            shutil.copy2(path, folder)
    return Run(folder, settings=run.settings)
