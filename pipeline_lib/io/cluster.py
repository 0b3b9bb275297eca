"""What SLURM would say to jobs that have not been submitted: would it take them, and how is it set up."""

from __future__ import annotations

import getpass
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from pipeline_lib.io.slurm import Answer, ask

MINUTES = {"days": 1440, "hours": 60, "minutes": 1}
_LIMIT = re.compile(r"(?:(?P<days>\d+)-)?(?:(?P<hours>\d+):)?(?P<minutes>\d+):(?P<seconds>\d+)")


def would_take(flags: tuple[str, ...]) -> Answer:
    """Whether SLURM would take a job with these flags; nothing is submitted."""
    return ask("sbatch", "--test-only", *flags, "--wrap", "true")


def request_flags(resources: Mapping[str, Any], threads: int) -> tuple[str, ...]:
    """The flags of sbatch for a job, as Snakemake's SLURM plugin makes them of its resources and threads."""
    flags = {
        "--account": resources.get("slurm_account"),
        "--partition": resources.get("slurm_partition"),
        "--clusters": resources.get("cluster") or resources.get("clusters") or resources.get("slurm_cluster"),
        "--time": resources.get("runtime"),
        "--constraint": resources.get("constraint"),
        "--qos": resources.get("qos"),
        **_memory(resources),
        "--nodes": resources.get("nodes"),
        **_processors(resources, threads),
        "--gres": resources.get("gres"),
        "--gpus": _gpus(resources),
    }
    extra = str(resources.get("slurm_extra") or "").split()
    return (*(f"{flag}={value}" for flag, value in flags.items() if value not in (None, "", 0)), *extra)


def asks_for_gpu(resources: Mapping[str, Any]) -> bool:
    """Whether a job with these resources gets a GPU."""
    return bool(resources.get("gpu")) or "gpu" in str(resources.get("gres", ""))


def settings() -> dict[str, str]:
    """How the cluster is set up, as `scontrol show config` says; empty if it says nothing."""
    answer = ask("scontrol", "show", "config")
    pairs = (line.partition("=") for line in answer.text.splitlines()) if answer.good else ()
    return {key.strip(): value.strip() for key, equals, value in pairs if equals}


def seconds(setting: str) -> int | None:
    """A time among the settings, such as `300 sec`; None where there is no number."""
    found = re.match(r"\d+", setting)
    return int(found[0]) if found else None


def longest_minutes(partition: str) -> int | None:
    """How long a job of a partition may take; None without a limit, or where SLURM does not say."""
    answer = ask("sinfo", "--noheader", f"--partition={partition}", "--format=%l")
    limits = [_minutes(line.strip()) for line in answer.text.splitlines()] if answer.good else []
    known = [limit for limit in limits if limit is not None]
    return min(known) if known else None


def partition_names(file: Path) -> list[str]:
    """The partitions that a partition file of Snakemake's SLURM plugin speaks of.

    Raises:
        ValueError: The file is missing, or no such file.
    """
    try:
        told = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeError, yaml.YAMLError) as error:
        raise ValueError(f"partition file {file}: {' '.join(str(error).split())}") from error
    partitions = told.get("partitions") if isinstance(told, dict) else None
    if not isinstance(partitions, dict) or not partitions:
        raise ValueError(f"partition file {file}: expected a mapping `partitions:` of partition name -> limits")
    return [str(name) for name in partitions]


def accounts() -> list[str] | Answer:
    """The accounts of this user, in the way Snakemake's plugin asks for them, or why they are not to be had."""
    managed = ask("sacctmgr", "-n", "-s", "list", "user", getpass.getuser(), "format=account%256")
    answer = managed if managed.good and managed.text else ask("sshare", "-U", "--format", "Account%256", "--noheader")
    return sorted(set(answer.text.lower().split())) if answer.good else answer


def _memory(resources: Mapping[str, Any]) -> dict[str, Any]:
    per_cpu = resources.get("mem_mb_per_cpu")
    return {"--mem-per-cpu": per_cpu} if per_cpu else {"--mem": resources.get("mem_mb")}


def _processors(resources: Mapping[str, Any], threads: int) -> dict[str, Any]:
    """Tasks are named for jobs without a GPU only: some sites refuse them beside one."""
    on_gpu = asks_for_gpu(resources)
    tasks = resources.get("tasks")
    named = {"--ntasks-per-gpu": resources.get("tasks_per_gpu", tasks)} if on_gpu else {"--ntasks": tasks or 1}
    per_task, per_gpu = resources.get("cpus_per_task"), resources.get("cpus_per_gpu")
    if per_task:
        return {**named, "--cpus-per-task": per_task if int(per_task) > 0 else None}
    if on_gpu and per_gpu:
        return {**named, "--cpus-per-gpu": per_gpu if int(per_gpu) > 0 else None}
    return {**named, "--cpus-per-task": threads}


def _gpus(resources: Mapping[str, Any]) -> str:
    """A model without a number means one; a number of 0 beside a model is handed on, as the plugin does."""
    model = resources.get("gpu_model")
    count = resources.get("gpu", 1 if model else None)
    return f"{model}:{count}" if model else str(count or "")


def _minutes(limit: str) -> int | None:
    """Of a limit such as 1-00:00:00, 30:00 or infinite."""
    found = _LIMIT.fullmatch(limit)
    return sum(int(found[unit] or 0) * minutes for unit, minutes in MINUTES.items()) if found else None
