"""A plate through `snakemake --profile slurm`, disturbed in every way: a plain rerun always completes it, identical."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from plates import WELL_STAGES, Run
from slurm.cluster import Cluster
from slurm.compare import computed, differences, torn
from slurm.jobs import JobProcess, amid_work, committed, job_processes, slowed, wait_for, wait_for_end

pytestmark = pytest.mark.slurm
ONCE = ("--retries", "0")  # so that the plain rerun has to do it
ROOM = 200_000  # bytes: enough to begin, not to end
ASKED = ("segment:slurm_partition=gpu", "segment:gpu=1")  # as in the profile: what a command line sets replaces it all
PlateAfter = Callable[[str], Run]


def completes(run: Run, undisturbed: Run) -> None:
    """Nothing is torn; a plain rerun keeps what is committed and makes the rest, so that nothing differs."""
    assert torn(run.plate, undisturbed.plate) == []
    before = {stage: committed(run.plate, stage) for stage in WELL_STAGES}
    again = run.snakemake()
    assert again.returncode == 0, again.stdout + again.stderr
    assert differences(run.plate, undisturbed.plate) == []
    for stage, wells in before.items():
        after = committed(run.plate, stage)
        assert {well: after[well] for well in wells} == wells, f"{stage} made wells anew that were there"
    assert {well for well, times in computed(run).items() if times > 1} == set()


def ended(run: Run, job: JobProcess) -> str:
    """Why a job ended, as `wellpose status` tells it."""
    told = json.loads(run.command_line("status", str(run.plate.folder), "--json").stdout)
    [state] = [found["state"] for found in told[0]["jobs"] if found["slurm_job"] == job.slurm_job]
    return str(state)


def last_words(run: Run, process: subprocess.Popen[str]) -> str:
    """What Snakemake said, after it came to an end."""
    process.wait(timeout=300)
    return run.told


def slurm_said(run: Run) -> str:
    """What SLURM kept of all jobs: the rules' own logs cannot tell of a full disk or of a sudden death."""
    return "\n".join(path.read_text(encoding="utf-8") for path in (run.folder / "slurm").rglob("*.log"))


def test_a_plate_on_slurm_equals_the_plate_made_here(
    cluster: Cluster, plate_after: PlateAfter, undisturbed: Run
) -> None:
    run = cluster.run(plate_after(""))
    done = run.snakemake()
    assert done.returncode == 0, done.stdout + done.stderr
    assert differences(run.plate, undisturbed.plate) == []
    wells = set(committed(undisturbed.plate, "ingest"))
    assert computed(run) == {(stage, well): 1 for stage in WELL_STAGES for well in wells}
    again = run.snakemake()
    assert "Nothing to be done" in again.stdout + again.stderr


def test_a_cancelled_job(cluster: Cluster, plate_after: PlateAfter, undisturbed: Run) -> None:
    run = cluster.run(plate_after("calibrate"))
    with run.started(*ONCE) as snakemake:
        job = amid_work(run, "segment")
        with slowed(job):
            cluster.call("scancel", job.slurm_job)
            wait_for_end(job)
        assert "CANCELLED" in last_words(run, snakemake)
        assert snakemake.returncode == 1
    assert ended(run, job) == "cancelled"
    completes(run, undisturbed)


def test_a_job_at_its_time_limit(cluster: Cluster, plate_after: PlateAfter, undisturbed: Run) -> None:
    run = cluster.run(plate_after("calibrate"))
    with run.started(*ONCE, "--set-resources", *ASKED, "segment:runtime=1") as snakemake:
        job = amid_work(run, "segment")
        with slowed(job, rest=5.0):  # a minute of this is less work than two wells
            wait_for_end(job, seconds=150)
        assert "TIMEOUT" in last_words(run, snakemake)
        assert snakemake.returncode == 1
    assert ended(run, job) == "time limit"
    completes(run, undisturbed)


def test_a_job_over_its_memory_gets_more_on_the_next_try(
    cluster: Cluster, plate_after: PlateAfter, undisturbed: Run
) -> None:
    run = cluster.run(plate_after("calibrate"))
    little = "segment:mem_mb=400 if attempt == 1 else 6000"
    with run.started("--set-resources", *ASKED, little) as snakemake:
        last_words(run, snakemake)
        assert snakemake.returncode == 0
    assert "exceeded memory limit" in slurm_said(run)
    completes(run, undisturbed)


def test_a_node_that_goes_down_and_comes_back(cluster: Cluster, plate_after: PlateAfter, undisturbed: Run) -> None:
    run = cluster.run(plate_after("calibrate"))
    with run.started() as snakemake:
        job = amid_work(run, "segment")
        with slowed(job):
            cluster.lose_node(job.node)
            wait_for_end(job)
        wait_for("second try", lambda: tries(run, job), seconds=300)
        cluster.up()
        assert "NODE_FAIL" in last_words(run, snakemake)
        assert snakemake.returncode == 0
    completes(run, undisturbed)


def test_a_killed_snakemake_whose_jobs_go_on(cluster: Cluster, plate_after: PlateAfter, undisturbed: Run) -> None:
    run = cluster.run(plate_after("calibrate"))
    with run.started() as snakemake:
        job = amid_work(run, "segment")
        with slowed(job) as release:
            snakemake.kill()
            snakemake.wait()
            assert ended(run, job) == "running"
            with run.started() as again:
                wait_for("second job on the same wells", lambda: tries(run, job), seconds=300)
                assert job.alive
                release()
                last_words(run, again)
                assert again.returncode == 0
    completes(run, undisturbed)


def tries(run: Run, job: JobProcess) -> list[JobProcess]:
    """Other processes for the batch of a job."""
    return [other for other in job_processes(run, job.stage) if other.wells == job.wells and other.pid != job.pid]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of its own in memory, at first with room enough."""
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1g", "tmpfs", disk], check=True)
    yield disk
    subprocess.run(["umount", "--lazy", disk], check=True)


def test_a_full_disk(cluster: Cluster, plate_after: PlateAfter, undisturbed: Run, small_disk: Path) -> None:
    run = cluster.run(plate_after("calibrate"))
    results = run.folder / "results"
    shutil.copytree(results, small_disk, dirs_exist_ok=True)
    shutil.rmtree(results)
    results.symlink_to(small_disk)
    resize(small_disk, used(small_disk) + ROOM)
    full = run.snakemake(*ONCE)
    assert full.returncode == 1
    assert "No space left on device" in slurm_said(run)
    resize(small_disk, 1 << 30)
    completes(run, undisturbed)


def used(disk: Path) -> int:
    status = os.statvfs(disk)
    return (status.f_blocks - status.f_bfree) * status.f_frsize


def resize(disk: Path, size: int) -> None:
    subprocess.run(["mount", "-o", f"remount,size={size}", disk], check=True)


def test_of_two_runs_on_one_plate_the_second_refuses(
    cluster: Cluster, plate_after: PlateAfter, undisturbed: Run
) -> None:
    run = cluster.run(plate_after("segment"))
    with run.started() as first:
        wait_for("job", lambda: job_processes(run))
        second = run.snakemake()
        assert second.returncode == 1
        assert "another run works on it" in second.stdout + second.stderr
        assert "Traceback" not in second.stdout + second.stderr
        last_words(run, first)
        assert first.returncode == 0
    completes(run, undisturbed)


def test_a_truncated_shard_is_found_and_its_well_made_anew(plate_after: PlateAfter, undisturbed: Run) -> None:
    run = plate_after("report")
    well, *others = sorted(committed(run.plate, "ingest"))
    shard = max((run.plate.raw_well(well) / "0" / "0").rglob("*"), key=lambda path: path.stat().st_size)
    os.truncate(shard, shard.stat().st_size // 2)
    plate = str(run.plate.folder)
    found = run.command_line("verify", plate)
    assert (found.returncode, well in found.stdout + found.stderr) == (1, True)
    run.command_line("verify", plate, "--repair")
    assert set(committed(run.plate, "ingest")) == set(others)
    completes(run, undisturbed)
    assert run.command_line("verify", plate).returncode == 0
    assert {made for _, made in computed(run)} == {well}


def test_deleted_records_come_back_and_no_well_is_computed(plate_after: PlateAfter, undisturbed: Run) -> None:
    run = plate_after("report")
    records = [next(run.plate.records(stage).glob("*.json")) for stage in WELL_STAGES]
    for record in records:
        record.unlink()
    completes(run, undisturbed)
    assert all(record.exists() for record in records)
    assert not computed(run)
