"""What each stage will ask SLURM for under a profile: needs of the stage, and the profile's words about them."""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import ceil
from typing import Any

from pipeline_lib.core.needs import NEEDS
from pipeline_lib.io.cluster import request_flags
from pipeline_lib.io.devices import visible_gpus
from pipeline_lib.io.run_profiles import RunProfile

NUMBERS = ("mem_mb", "mem_mb_per_cpu", "runtime", "gpu", "tasks", "nodes", "cpus_per_task", "cpus_per_gpu")
OPERATORS: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Pow: operator.pow,
}
FUNCTIONS: dict[str, Callable[..., Any]] = {"min": min, "max": max, "int": int, "round": round}
SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt])(i?)b?", re.IGNORECASE)
TIME = re.compile(r"(\d+(?:\.\d+)?)\s*([smhdw])[a-z]*", re.IGNORECASE)
MB = {"k": 1e-3, "m": 1.0, "g": 1e3, "t": 1e6}
BINARY = {"k": 2**10 / 1e6, "m": 2**20 / 1e6, "g": 2**30 / 1e6, "t": 2**40 / 1e6}
MINUTES = {"s": 1 / 60, "m": 1.0, "h": 60.0, "d": 1440.0, "w": 10080.0}


@dataclass(frozen=True)
class Request:
    """What a try of one stage asks for. unknown: resources whose value depends on more than the try."""

    stage: str
    attempt: int
    resources: Mapping[str, Any]
    threads: int
    unknown: tuple[str, ...] = ()

    @property
    def flags(self) -> tuple[str, ...]:
        """Those of sbatch."""
        return request_flags(self.resources, self.threads)


def request_of(stage: str, profile: RunProfile, attempt: int) -> Request:
    """A rule's own resources win over the profile's default ones, and its `set-resources` over both.

    attempt: counted from 1; the rules grow memory and time with it.
    """
    need = NEEDS[stage]
    own = {
        "mem_mb": need.memory * attempt,
        "runtime": need.minutes * attempt,
        "gpu": int(need.gpu and bool(visible_gpus())),
    }
    threads = profile.threads(stage, need.threads)
    given = {**_suffixed(profile.default_resources), **own, **_suffixed(profile.set_resources(stage))}
    names = {"attempt": attempt, "threads": threads}
    values = {name: value_of(name, value, names) for name, value in given.items()}
    unknown = tuple(name for name in NUMBERS if isinstance(values.get(name), str))
    return Request(stage, attempt, {n: v for n, v in values.items() if n not in unknown}, threads, unknown)


def value_of(name: str, given: Any, names: Mapping[str, int]) -> Any:
    """A resource's value as Snakemake would work it out: an expression, `8GB`, `2h`, or plain text."""
    if not isinstance(given, str):
        return given
    try:
        value = _worked_out(ast.parse(given.strip(), mode="eval").body, names)
    except (ValueError, SyntaxError, ArithmeticError, TypeError):
        value = given
    if isinstance(value, str) and name in ("mem_mb", "runtime"):
        return _megabytes(value) if name == "mem_mb" else _minutes(value)
    return ceil(value) if isinstance(value, float) else value


def _worked_out(node: ast.expr, names: Mapping[str, int]) -> Any:
    """Arithmetic alone: a profile's text is never run. Raises ValueError for anything else."""
    match node:
        case ast.Constant(value=int() | float() | str() as value):
            return value
        case ast.Name(id=name) if name in names:
            return names[name]
        case ast.BinOp(left=left, op=op, right=right) if type(op) in OPERATORS:
            return OPERATORS[type(op)](_worked_out(left, names), _worked_out(right, names))
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]) if name in FUNCTIONS:
            return FUNCTIONS[name](*(_worked_out(argument, names) for argument in arguments))
    raise ValueError(f"{ast.unparse(node)} is no arithmetic")


def _suffixed(resources: Mapping[str, Any]) -> dict[str, Any]:
    """The same with `mem` called `mem_mb`, which Snakemake takes for one resource."""
    return {"mem_mb" if name == "mem" else name: value for name, value in resources.items()}


def _megabytes(text: str) -> int | str:
    found = SIZE.fullmatch(text)
    return ceil(float(found[1]) * (BINARY if found[3] else MB)[found[2].lower()]) if found else text


def _minutes(text: str) -> int | str:
    found = TIME.fullmatch(text)
    return max(1, int(float(found[1]) * MINUTES[found[2].lower()])) if found else text
