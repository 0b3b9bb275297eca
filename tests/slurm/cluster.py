"""A real SLURM on this machine, for tests: two nodes with a GPU each and one without."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from plates import Run

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch")
PORT = 19817
NODES = {"SLURM_DEV_GPU_NODES": "2", "SLURM_DEV_CPU_NODES": "1", "SLURM_DEV_CPUS": "4"}  # segment asks for 4
MEMORY = 32000  # MB per node, more than there is: every retry asks for more
PATIENCE = 60  # seconds that a command of SLURM may take


@dataclass(frozen=True)
class Cluster:
    """A running cluster.

    scripts: folder of slurm-up.sh and slurm-down.sh. folder: where it keeps everything. memory: MB per node.
    """

    scripts: Path
    folder: Path
    memory: int = MEMORY

    @property
    def environment(self) -> dict[str, str]:
        """What `source env.sh` sets: this cluster, whatever other one the machine has."""
        return {
            "SLURM_CONF": str(self.folder / "slurm.conf"),
            "PATH": f"{self.folder / 'bin'}{os.pathsep}{os.environ['PATH']}",
        }

    def call(self, *command: str) -> str:
        """What a command of SLURM prints."""
        told = subprocess.run(
            command,
            env={**os.environ, **self.environment},
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=True,
        )
        return told.stdout

    def job(self, job_id: str) -> dict[str, str]:
        """Everything SLURM says of a job, such as JobState and Reason."""
        return dict(re.findall(r"(\w+)=(\S*)", self.call("scontrol", "--oneliner", "show", "job", job_id)))

    def jobs(self) -> list[str]:
        """Ids of the jobs that wait or run."""
        return self.call("squeue", "--noheader", "--format=%A").split()

    def lose_node(self, node: str) -> None:
        """Have SLURM take a node for broken."""
        self.call("scontrol", "update", f"nodename={node}", "state=down", "reason=test")

    def up(self) -> None:
        """Start the cluster, or what is missing of it, and bring lost nodes back."""
        self._script("slurm-up.sh", timeout=300)

    def down(self) -> None:
        """Cancel all jobs and stop the cluster."""
        self._script("slurm-down.sh", "--purge", timeout=120)

    def run(self, run: Run) -> Run:
        """The run as `snakemake --profile slurm` on this cluster, asking about its jobs often."""
        logs = ("--slurm-logdir", str(run.folder / "slurm"), "--slurm-keep-successful-logs")
        profile = ("--profile", "slurm", "--slurm-init-seconds-before-status-checks", "3", *logs)
        return replace(run, profile=profile, environment=self.environment)

    def _script(self, name: str, *arguments: str, timeout: int) -> None:
        place = {"SLURM_DEV_DIR": str(self.folder), "SLURM_DEV_PORT": str(PORT)}
        chosen = {**place, **NODES, "SLURM_DEV_MEM": str(self.memory)}
        # Not captured through pipes: the daemons it starts would keep them open.
        with tempfile.TemporaryFile("w+") as told:
            command = [str(self.scripts / name), *arguments]
            done = subprocess.run(
                command, env={**os.environ, **chosen}, stdout=told, stderr=told, timeout=timeout, check=False
            )
            told.seek(0)
            if done.returncode:
                raise RuntimeError(f"{name} failed:\n{told.read()}")


def lacking() -> str:
    """Why no cluster can be started here; empty if one can."""
    if os.geteuid() != 0:
        return "a SLURM cluster is started by root only"
    path = f"{os.environ['PATH']}{os.pathsep}/usr/sbin{os.pathsep}/sbin"
    missing = [name for name in PROGRAMS if shutil.which(name, path=path) is None]
    if missing:
        packages = "slurmctld slurmd slurm-client munge"
        return f"{', '.join(missing)} not installed (Debian: apt install --no-install-recommends {packages})"
    return ""


@contextmanager
def cluster_up(shared: Path, memory: int = MEMORY) -> Iterator[Cluster]:
    """A cluster for a while. Munge wants folders that everybody may enter, so it lies directly in the temporary one."""
    cluster = Cluster(shared / "slurm", Path(tempfile.mkdtemp(prefix="slurm-tests-")), memory)
    try:
        cluster.up()
        yield cluster
    finally:
        cluster.down()


def wait_until_idle(cluster: Cluster, seconds: float = 60) -> None:
    """Wait until no job waits or runs."""
    end = time.monotonic() + seconds
    while cluster.jobs():
        if time.monotonic() > end:
            raise TimeoutError(f"jobs still there after {seconds} s: {cluster.call('squeue')}")
        time.sleep(0.5)
