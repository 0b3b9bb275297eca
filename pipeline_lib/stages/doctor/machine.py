"""Checks of `wellpose doctor` that look at where jobs will run: profiles, GPU, SLURM."""

from __future__ import annotations

import getpass
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pipeline_lib.core.needs import NEEDS
from pipeline_lib.io import cluster, slurm
from pipeline_lib.io.run_profiles import Lookup, RunProfile, read_run_profile, snakefile_here
from pipeline_lib.settings import NetworkSection
from pipeline_lib.stages.doctor.findings import Finding, fail, few, ok, warn
from pipeline_lib.stages.doctor.preflight import Preflight
from pipeline_lib.stages.doctor.requests import Request, request_of

INIT_SECONDS = 40  # what the SLURM plugin waits before it asks for a job, unless the profile says otherwise
TIMES_INIT = 3
STATUS = "set slurm-status-command: squeue in the profile"


def read_found(lookup: Lookup) -> tuple[RunProfile | None, list[Finding]]:
    """The profile that would be used, or None if it is of no use; and what is to be said of it."""
    if lookup.used is None:
        return None, [_not_found(lookup)]
    try:
        profile = read_run_profile(lookup.used)
    except ValueError as error:
        return None, [fail("profile", str(error), "mend the file, or: wellpose install-profile --replace")]
    return profile, [*_used(lookup, profile), *_default(profile), *_snakefile(profile)]


def _not_found(lookup: Lookup) -> Finding:
    advice = "in a checkout say --profile profiles/slurm; for use from anywhere: wellpose install-profile"
    if lookup.blocked:
        told = f"{lookup.blocked} has that name and holds no profile; Snakemake looks no further"
        return fail("profile", told, f"rename it, or give the path of the profile; {advice}")
    return fail("profile", f"nothing of that name in {', '.join(map(str, lookup.places))}", advice)


def _used(lookup: Lookup, profile: RunProfile) -> Iterator[Finding]:
    """Which of several files of one name counts here."""
    told = f"{profile.file} is used from here, executor {profile.keys.get('executor', 'local')}"
    if not lookup.shadowed:
        yield ok("profile", told)
        return
    hidden = lookup.shadowed[0]
    advice = f"if you mean that one: --profile {hidden.parent}"
    yield warn("profile", f"{told}; {few([str(path) for path in lookup.shadowed])} is not looked at", advice)


def _default(profile: RunProfile) -> Iterator[Finding]:
    if profile.default is None:
        return
    if profile.changed:
        told = f"{profile.default} is merged in and changes {', '.join(profile.changed)} of {profile.file}"
        yield warn("default profile", told, "take these keys out of it, or say --workflow-profile none")
    else:
        yield ok("default profile", f"{profile.default} is merged in, its keys win; it changes none of the profile's")


def _snakefile(profile: RunProfile) -> Iterator[Finding]:
    """The profile names one, or the working folder has one."""
    named = profile.keys.get("snakefile")
    if named and not Path(str(named)).expanduser().is_file():
        yield fail("profile", f"its snakefile {named} is not there", "wellpose install-profile --replace")
    elif not named and snakefile_here() is None:
        told = f"no Snakefile in {Path.cwd()}, and the profile names none"
        yield fail("profile", told, "change to the checkout, or: wellpose install-profile")


def check_gpu(preflight: Preflight) -> Iterator[Finding]:
    """A GPU for the network stages, with memory for their batches; each kind of settings once."""
    told = set()
    for section, settings in preflight.networks:
        kind = (settings.device, settings.batch_size, settings.precision)
        if kind not in told:
            told.add(kind)
            yield _gpu(section, settings, on_slurm=preflight.on_slurm)


def _gpu(section: str, settings: NetworkSection, *, on_slurm: bool) -> Finding:
    from pipeline_lib.tiling.gpus import gpu_of, memory_for
    from pipeline_lib.tiling.placing import BATCH

    tiles = settings.batch_size or BATCH["cuda"]
    if settings.device == "cpu":
        return ok("GPU", f"{section}.device is cpu: networks run on processors, as chosen")
    if on_slurm:
        need = memory_for(tiles, settings.precision, "cpu")
        return ok("GPU", f"jobs get theirs from SLURM; it should have {need / 1e3:.1f} GB for {tiles} tiles at once")
    try:
        gpu = gpu_of(settings.device)
    except ValueError as error:
        return fail("GPU", f"{section}.device: {error}", f"set {section}.device to auto, or use a machine with a GPU")
    if gpu is None:
        return warn(
            "GPU", "torch sees none: networks run on processors", "slow for large plates: use a GPU or a cluster"
        )
    need = memory_for(tiles, settings.precision, settings.device)
    memory = f"{gpu.free / 1e3:.1f} of {gpu.memory / 1e3:.1f} GB free"
    found = f"{gpu.name}: {memory}, {tiles} tiles at once take {need / 1e3:.1f} GB"
    if need > gpu.free:
        advice = f"set {section}.batch_size to less, or stop what else runs on it"
        return (fail if need > gpu.memory else warn)("GPU", found, advice)
    return ok("GPU", found)


def check_slurm(preflight: Preflight) -> Iterator[Finding]:
    """Whether SLURM answers, is asked the right way, and takes what the stages ask for."""
    profile = preflight.profile
    if profile is None or not profile.is_slurm:
        return
    if not slurm.is_there("sbatch"):
        yield fail("SLURM", "sbatch is not on the PATH", "start on a login node of the cluster (module load slurm?)")
        return
    queue = slurm.ask("squeue", "--noheader", "--user", getpass.getuser())
    if not queue.good:
        yield fail("SLURM", f"squeue: {queue.text}", "is slurmctld up, and its configuration readable here?")
        return
    yield ok("SLURM", "squeue answers")
    yield from _status_command(profile, cluster.settings())
    yield from _account(profile)
    yield from _tries(profile, preflight.stages)


def _status_command(profile: RunProfile, settings: dict[str, str]) -> Iterator[Finding]:
    """How Snakemake asks for its jobs: what it cannot see, it waits for without an end."""
    chosen = profile.keys.get("slurm-status-command") or ("sacct" if slurm.is_there("sacct") else "squeue")
    accounting = "slurmdbd" in settings.get("AccountingStorageType", "")
    if chosen == "sacct" and not accounting:
        told = "jobs are asked for by sacct, and the cluster has no slurmdbd: they would be waited for without end"
        yield fail("SLURM status", told, STATUS)
    elif chosen == "sacct":
        yield ok("SLURM status", "sacct, the cluster has slurmdbd")
    else:
        yield _job_age(profile, settings)


def _job_age(profile: RunProfile, settings: dict[str, str]) -> Finding:
    wait = int(profile.keys.get("slurm-init-seconds-before-status-checks", INIT_SECONDS))
    age = cluster.seconds(settings.get("MinJobAge", ""))
    if age is None:
        return warn("SLURM status", "squeue; MinJobAge is not to be had", "ask: it should be at least 3 x init seconds")
    told = f"squeue; MinJobAge {age} s, slurm-init-seconds-before-status-checks {wait} s"
    if age < TIMES_INIT * wait:
        most = max(1, age // TIMES_INIT)
        return warn("SLURM status", f"{told}: jobs may be forgotten before they are asked for", f"set it to {most}")
    return ok("SLURM status", told)


def _account(profile: RunProfile) -> Iterator[Finding]:
    """Snakemake refuses an account that SLURM does not confirm."""
    named = {*_accounts(profile.default_resources), *(a for s in NEEDS for a in _accounts(profile.set_resources(s)))}
    if not named:
        return
    known = cluster.accounts()
    if isinstance(known, slurm.Answer):
        told = f"{few(sorted(named))} cannot be confirmed: {known.text}"
        yield fail("SLURM account", told, "leave slurm_account out: this cluster keeps no accounts")
    elif wrong := sorted(account for account in named if known and account.lower() not in known):
        yield fail("SLURM account", f"{few(wrong)} is not yours; yours: {few(known)}", "change slurm_account")
    else:
        unknown = "" if known else " (the cluster lists no accounts to compare with)"
        yield ok("SLURM account", few(sorted(named)) + unknown)


def _accounts(resources: dict[str, Any]) -> list[str]:
    return str(resources.get("slurm_account") or "").replace(",", " ").split()


def _tries(profile: RunProfile, stages: Sequence[str]) -> Iterator[Finding]:
    """The first try of every stage, and the last, for which memory and time have grown."""
    first = [request_of(stage, profile, 1) for stage in stages]
    taken = []
    for same in _alike(first):
        finding = _taken(same, profile)
        yield finding
        taken += [one.stage for one in same if finding.level == "ok"]
    for one in first:
        if NEEDS[one.stage].gpu and not cluster.asks_for_gpu(one.resources):
            advice = f"set-resources: {one.stage}: gpu: 1 (or gpu: 0 and gres: gpu:1), unless processors are meant"
            yield warn("SLURM request", f"{one.stage} asks for no GPU", advice)
    last = int(profile.keys.get("retries", 0)) + 1
    if last > 1:
        yield from _last_try([request_of(stage, profile, last) for stage in taken], profile)


def _last_try(requests: Sequence[Request], profile: RunProfile) -> Iterator[Finding]:
    """Of stages whose first try is taken: each refusal, and those that are taken in one line."""
    findings = {tuple(one.stage for one in same): _taken(same, profile) for same in _alike(requests)}
    yield from (finding for finding in findings.values() if finding.level != "ok")
    fine = [stage for stages, finding in findings.items() if finding.level == "ok" for stage in stages]
    if fine:
        yield ok("SLURM request", f"try {requests[0].attempt} of {', '.join(fine)}: accepted with all they have grown")


def _alike(requests: Sequence[Request]) -> list[list[Request]]:
    """Requests with the same flags together: SLURM is asked once."""
    alike: dict[tuple[str, ...], list[Request]] = {}
    for request in requests:
        alike.setdefault(request.flags, []).append(request)
    return list(alike.values())


def _taken(same: Sequence[Request], profile: RunProfile) -> Finding:
    """Whether SLURM would take a request; what only fails in the last try is a warning."""
    request = same[0]
    which = f"try {request.attempt}" if request.attempt > 1 else "first try"
    told = f"{which} of {', '.join(one.stage for one in same)}: {' '.join(request.flags)}"
    if request.unknown:
        return warn("SLURM request", f"{told}: {', '.join(request.unknown)} depends on the job", "not tested; check it")
    fault = _refusal(request, profile)
    if not fault:
        return ok("SLURM request", f"{told}: accepted")
    if request.attempt > 1:
        advice = "retries after lack of memory or time would fail: fewer retries, or a larger partition"
        return warn("SLURM request", f"{told}: {fault}", advice)
    return fail("SLURM request", f"{told}: {fault}", "change default-resources or set-resources of the profile")


def _refusal(request: Request, profile: RunProfile) -> str:
    """Why SLURM would not run it; empty if it would. Without a partition, one of the partition file must."""
    file = profile.keys.get("slurm-partition-config")
    if request.resources.get("slurm_partition") or not file:
        return _refused(request.flags, str(request.resources.get("slurm_partition") or ""), request)
    try:
        names = cluster.partition_names(Path(str(file)))
    except ValueError as error:
        return str(error)
    refusals = [_refused((*request.flags, f"--partition={name}"), name, request) for name in names]
    return "" if not all(refusals) else "no partition of the file takes it: " + "; ".join(refusals)


def _refused(flags: tuple[str, ...], partition: str, request: Request) -> str:
    answer = cluster.would_take(flags)
    if not answer.good:
        return answer.text
    limit = cluster.longest_minutes(partition) if partition else None
    minutes = request.resources.get("runtime")
    if limit is not None and isinstance(minutes, int) and minutes > limit:
        return f"partition {partition} allows {limit} minutes: it would wait without end"
    return ""
