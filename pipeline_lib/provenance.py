"""What was computed from what: code digests, fingerprints and the record a job leaves.

A fingerprint is a checksum over everything that decides a result. Data that carries the wanted fingerprint is current
and is not computed again.
"""

from __future__ import annotations

import ast
import hashlib
import json
import platform
import resource
import sys
from collections.abc import Iterator
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from threading import Lock

from pipeline_lib import __version__

PACKAGE = Path(__file__).parent
REPORTED_PACKAGES = (
    "snakemake", "torch", "numpy", "scipy", "scikit-image", "numba", "zarr", "tifffile", "pandas", "cp_measure",
    "pycytominer", "pyarrow",
)  # fmt: skip


# CPython 3.11 counts the depth of all ast.parse calls of a process in one place, so that two at a time may end with
# "AST constructor recursion depth mismatch" (gh-106905).
_PARSING = Lock()


def fingerprint(**parts: object) -> str:
    """SHA-256 over named JSON values, independent of their order."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


# Modules that carry settings, names and records to the code that computes: what they carry is fingerprinted itself.
CARRIERS = {
    "__init__.py",
    "settings/__init__.py",
    "settings/base.py",
    "settings/ingest.py",
    "settings/plate.py",
    "settings/restoration.py",
    "settings/restore.py",
    "settings/training.py",
    "paths.py",
    "provenance.py",
    "stages/_job.py",
    "core/deaths.py",
    "core/needs.py",
    "io/records.py",
    "io/commit.py",
    "io/claims.py",
    "io/slurm.py",
}


@cache
def code_digest(stage: str) -> str:
    """Digest of the code behind a stage: its module and everything of ours which that imports.

    Only syntax counts, without comments, docstrings and layout, so that an edited comment reruns nothing. Resource
    files (HTML, CSS, JavaScript) count for the package they lie in.
    """
    seen: dict[Path, str] = {}
    pending = [PACKAGE / "stages" / f"{stage}.py"]
    while pending:
        path = pending.pop()
        if path in seen or path.relative_to(PACKAGE).as_posix() in CARRIERS:
            continue
        seen[path], names = _module(path.read_text(encoding="utf-8"))
        pending += _files(names)
        for resource_file in (p for p in path.parent.iterdir() if p.suffix in {".html", ".css", ".js"}):
            seen[resource_file] = resource_file.read_text(encoding="utf-8")
    parts = {str(path.relative_to(PACKAGE)): text for path, text in seen.items()}
    return fingerprint(**parts)[:16]


@cache
def _module(text: str) -> tuple[str, frozenset[str]]:
    """What counts of a module, and the names it imports of ours. Cached: stages share most modules."""
    with _PARSING:
        tree = ast.parse(text)
    return _syntax(tree), frozenset(_imported(tree))


def _syntax(tree: ast.Module) -> str:
    """The syntax tree as text, docstrings removed."""
    for node in _statements(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and ast.get_docstring(
            node
        ):
            node.body = node.body[1:]
    return ast.dump(tree)


def _imported(tree: ast.Module) -> set[str]:
    """Names of ours that a module imports, at any depth of nesting: modules, and what might be one."""
    names: set[str] = set()
    for node in _statements(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("pipeline_lib"):
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names if alias.name.startswith("pipeline_lib.")}
    return names


def _statements(tree: ast.Module) -> Iterator[ast.AST]:
    """The module and all its statements, however deep. Far fewer than there are nodes: expressions are left out."""
    pending: list[ast.AST] = [tree]
    while pending:
        node = pending.pop()
        yield node
        for name in ("body", "orelse", "finalbody", "handlers", "cases"):
            inside = getattr(node, name, None)
            pending += inside if isinstance(inside, list) else ()


def _files(names: frozenset[str]) -> list[Path]:
    """The files of those names that are modules or packages of ours."""
    bases = [PACKAGE.joinpath(*name.split(".")[1:]) for name in names]
    found = [base.with_suffix(".py") for base in bases] + [base / "__init__.py" for base in bases]
    return [path for path in found if path.is_file() and path.parent != PACKAGE.parent]


def software() -> dict[str, str]:
    """Versions of this library, Python and the packages that compute."""
    versions = {"wellpose": __version__, "python": platform.python_version()}
    return versions | {name: _version(name) for name in REPORTED_PACKAGES}


@cache
def _version(name: str) -> str:
    """Cached: looking it up takes milliseconds, and every well tells it."""
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def peak_memory_mb() -> float:
    """Largest resident memory of this process so far, in MiB."""
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(kilobytes / (1024 if sys.platform != "darwin" else 1024**2), 1)
