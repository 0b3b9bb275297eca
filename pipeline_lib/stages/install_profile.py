"""install-profile: the user's own copy of the SLURM profile, with which `snakemake --profile slurm` works anywhere."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from pipeline_lib.io.cluster import partition_names
from pipeline_lib.io.commit import committed
from pipeline_lib.io.run_profiles import find_profile, profile_file, read_keys, user_profiles
from pipeline_lib.provenance import PACKAGE

CHECKOUT = PACKAGE.parent
TEMPLATE = Path("profiles/slurm/config.yaml")
FILE = "config.yaml"
FILLED = ("default-resources", "set-resources")  # the last keys of the template; all before them is kept word by word
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
WORD = re.compile(r"[A-Za-z0-9_.,@+-]+")
MODEL = re.compile(r"[A-Za-z0-9_.]+")  # what Snakemake's SLURM plugin takes
GPU_SYNTAX: dict[str, Callable[[str | None], dict[str, Any]]] = {
    "gpu": lambda model: {"gpu": 1, **({"gpu_model": model} if model else {})},
    "gres": lambda model: {"gpu": 0, "gres": f"gpu:{model}:1" if model else "gpu:1"},
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of the command."""
    parser.add_argument("--name", default="slurm", help="what the profile is called (default: slurm)")
    parser.add_argument("--account", help="SLURM account; leave it out where the cluster keeps none")
    parser.add_argument("--cpu-partition", help="partition of stages without a GPU (default: cpu)")
    parser.add_argument("--gpu-partition", help="partition of the stages that run networks (default: gpu)")
    parser.add_argument(
        "--gpu-syntax", choices=tuple(GPU_SYNTAX), default="gpu", help="how the site wants GPUs: --gpus or --gres"
    )
    parser.add_argument("--gpu-model", help="such as a100, where the site wants it named")
    parser.add_argument(
        "--partition-file", type=Path, help="partitions and their limits, from which the SLURM plugin chooses"
    )
    parser.add_argument("--folder", type=Path, help="folder of profiles (default: where Snakemake looks for yours)")
    parser.add_argument("--replace", action="store_true", help="replace a profile that is there")


def run(parsed: argparse.Namespace) -> None:
    """Write the profile and tell how it is used.

    Raises:
        ValueError: Options that cannot be; the message names all.
    """
    folder = (parsed.folder or user_profiles()).expanduser().absolute()
    target = folder / parsed.name / FILE
    faults = [*_faults(parsed), *_in_the_way(target, parsed)]
    if faults:
        listed = "\n".join(f"  * {fault}" for fault in faults)
        raise ValueError(f"{len(faults)} fault(s), nothing was written:\n{listed}")
    text = filled((CHECKOUT / TEMPLATE).read_text(encoding="utf-8"), _keys(parsed))
    with committed(target) as temporary:
        temporary.write_text(text, encoding="utf-8")
    sys.stdout.write("".join(f"{line}\n" for line in _told(target, parsed)))


def filled(template: str, keys: Mapping[str, Any]) -> str:
    """The template's own words, with its comments, up to its last keys; then `keys` in their place."""
    head, found, _ = template.partition(f"\n{FILLED[0]}:")
    assert found, f"{TEMPLATE} has no {FILLED[0]}"
    return f"# Made by wellpose install-profile.\n{head}\n{yaml.safe_dump(dict(keys), sort_keys=False)}"


def _keys(parsed: argparse.Namespace) -> dict[str, Any]:
    """What the user's copy says in place of the last keys of the template, and beside them."""
    template = read_keys(CHECKOUT / TEMPLATE)
    shared, own = (dict(template[key]) for key in FILLED)
    keys: dict[str, Any] = {"snakefile": str(CHECKOUT / "Snakefile")}
    partitions = {"cpu": parsed.cpu_partition, "gpu": parsed.gpu_partition}
    if parsed.partition_file:
        keys["slurm-partition-config"] = str(parsed.partition_file.expanduser().absolute())
    else:
        first = next(iter(own.values()))
        named = {"cpu": shared["slurm_partition"], "gpu": first["slurm_partition"]}
        partitions = {kind: partitions[kind] or named[kind] for kind in named}
    account = {"slurm_account": parsed.account} if parsed.account else {}
    shared = {**_partition(partitions["cpu"]), **account, **_without(shared, "slurm_partition")}
    gpu = {**_partition(partitions["gpu"]), **GPU_SYNTAX[parsed.gpu_syntax](parsed.gpu_model)}
    return {**keys, FILLED[0]: shared, FILLED[1]: {stage: dict(gpu) for stage in own}}


def _partition(name: str | None) -> dict[str, str]:
    """A partition that is named wins over the partition file: without a word of the user, none is."""
    return {"slurm_partition": name} if name else {}


def _without(resources: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in resources.items() if key != name}


def _faults(parsed: argparse.Namespace) -> Iterator[str]:
    """Options that would make a profile nobody can use."""
    if not NAME.fullmatch(parsed.name) or parsed.name == "none":
        yield f"--name {parsed.name!r}: letters, digits, '_', '-' and '.' are allowed, and not the word none"
    for option in ("account", "cpu_partition", "gpu_partition"):
        value = getattr(parsed, option)
        if value is not None and not WORD.fullmatch(value):
            yield f"--{option.replace('_', '-')} {value!r}: letters, digits and '_.,@+-' are allowed"
    if parsed.gpu_model is not None and not MODEL.fullmatch(parsed.gpu_model):
        yield f"--gpu-model {parsed.gpu_model!r}: letters, digits, '_' and '.' are allowed, such as a100"
    if parsed.partition_file is not None:
        if (parsed.cpu_partition is None) != (parsed.gpu_partition is None):
            yield "--partition-file: name both partitions, which then win over the file, or none of them"
        try:
            partition_names(parsed.partition_file.expanduser())
        except ValueError as error:
            yield f"--partition-file: {error}"
    for path in (TEMPLATE, Path("Snakefile")):
        if not (CHECKOUT / path).is_file():
            yield f"{CHECKOUT / path} is not there: install wellpose from its checkout (pip install -e)"


def _in_the_way(target: Path, parsed: argparse.Namespace) -> Iterator[str]:
    """Files that are there already, or that Snakemake would read instead."""
    if target.exists() and not parsed.replace:
        yield f"{target} exists; give another --name, or --replace"
    if target.parent.exists() and not target.parent.is_dir():
        yield f"{target.parent} is a file; give another --name, or move it away"
        return
    other = profile_file(str(target.parent)) if target.parent.is_dir() else None
    if other and other != target:
        yield f"{other} would be read instead of {target}; give another --name, or move it away"


def _told(target: Path, parsed: argparse.Namespace) -> Iterator[str]:
    """Where it is, how it is used, and where it is not found."""
    yield f"wrote {target}"
    elsewhere = parsed.folder is not None and target.parent.parent != user_profiles()
    name = str(target.parent) if elsewhere else parsed.name
    yield f"use:   snakemake --profile {name}    (from any folder; its config/config.yaml counts, if it has one)"
    yield f"check: wellpose doctor --profile {name}"
    if elsewhere:
        return
    used = find_profile(parsed.name).used
    yield (
        f"Snakemake looks for ./{parsed.name} in the working folder first, then for yours. Inside the checkout the "
        f"link ./slurm wins over your copy: there say --profile {target.parent}, or edit profiles/slurm."
    )
    if used != target:
        yield f"HERE, in {Path.cwd()}, --profile {parsed.name} means {used}: say --profile {target.parent}"
    yield "profiles/default beside a Snakefile in the working folder is merged in, and wins key by key."
