"""The laws of the house, read from the source: who imports whom, who opens files, where torch is, what is too long."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from pipeline_lib.provenance import PACKAGE

REPOSITORY = PACKAGE.parent

# Law 1: floors of the house. A module imports from its own room or from lower floors. Rooms on one floor do not know
# each other.
FLOORS = (
    {"core"},
    {"paths", "settings", "provenance"},
    {"arrays", "io"},
    {"nets", "flows"},
    {"tiling"},
    {"segmentation", "restoration", "compartments", "features", "profiles", "metrics", "synthesis", "reporting",
     "workflow"},
    {"volumes", "launch", "training", "evaluation"},
    {"api", "proof"},
    {"stages"},
    {"__main__"},
)  # fmt: skip
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
PURE = {"core", "paths", "settings", "arrays", "nets", "flows", "tiling", "segmentation", "restoration", "volumes",
        "training", "evaluation", "proof", "compartments", "features", "profiles", "metrics", "synthesis",
        "reporting"}  # fmt: skip
OPENS_FILES = {"io", "workflow", "launch", "provenance", "api", "stages"}

# Law 2: what opens files, by name; and who of those that compute may after all.
FILE_LIBRARIES = {"tifffile", "zarr", "safetensors", "yaml", "shutil", "tempfile", "glob", "urllib", "csv"}
FILE_CALLS = {"open", "read_text", "read_bytes", "write_text", "write_bytes", "read_csv", "read_parquet", "to_csv",
              "to_parquet", "load", "save", "savez", "fromfile", "tofile", "memmap", "imread", "imwrite", "unlink",
              "mkdir", "iterdir", "rglob", "exists", "is_file", "is_dir", "stat"}  # fmt: skip
ALLOWED_CALLS = {
    "reporting/page.py": {"read_text"},  # the pages' own template, style and scripts, through importlib.resources
    "reporting/thumbnails.py": {"save"},  # a picture into bytes in memory
}
COMPUTES = {"numpy", "scipy", "skimage", "numba", "cp_measure", "pycytominer", "torch"}
HOLDS_ARRAYS = {"numpy", "torch"}  # what io needs to carry pixels and weights

# Law 3
TORCH = {"nets/flownet.py", "nets/fused.py", "nets/winograd.py", "nets/quicker.py", "flows/device.py",
         "tiling/gpus.py", "tiling/predict.py",
         "tiling/placing.py", "tiling/sources.py", "segmentation.py", "restoration.py", "io/weights.py",
         "io/checkpoints.py", "training/examples.py", "training/crops.py", "training/learning.py", "training/sizes.py",
         "training/degrade.py", "training/restoration.py", "proof/levels.py", "stages/train/course.py",
         "stages/train/finish.py", "stages/train/load.py", "stages/train/restorer.py",
         "stages/train/segmenter.py"}  # fmt: skip

# Inside functions only.
IMPORTED_LATE = {"stages/_network.py", "stages/train/segmenter.py", "stages/train/restorer.py"}

LONGEST = {"function": 60, "module": 400, "parameters": 6}

MODULES = sorted(str(path.relative_to(PACKAGE)) for path in PACKAGE.rglob("*.py"))
every_module = pytest.mark.parametrize("name", MODULES)


@cache
def tree(name: str) -> ast.Module:
    return ast.parse((PACKAGE / name).read_text(encoding="utf-8"))


def room(name: str) -> str:
    """`io/vendors/base.py` -> io, `paths.py` -> paths."""
    return Path(name).parts[0].removesuffix(".py")


def imports(name: str, *, lazy: bool = True) -> Iterator[str]:
    """Dotted names of what a module imports; `lazy`: inside functions too. Imports for types alone are left out."""
    for node in _run_time(tree(name)) if lazy else _run_time(tree(name), into_functions=False):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{name}: relative imports are not seen by the code digest"
            yield str(node.module)
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _run_time(node: ast.AST, into_functions: bool = True) -> Iterator[ast.AST]:
    """The nodes below, without `if TYPE_CHECKING:` blocks."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            continue
        if isinstance(child, ast.FunctionDef) and not into_functions:
            continue
        yield child
        yield from _run_time(child, into_functions)


def libraries(name: str, *, lazy: bool = True) -> set[str]:
    """Top-level packages a module imports that are not ours."""
    return {imported.split(".")[0] for imported in imports(name, lazy=lazy)} - {"pipeline_lib"}


def rooms_imported(name: str) -> set[str]:
    ours = [imported.split(".") for imported in imports(name) if imported.startswith("pipeline_lib.")]
    return {parts[1] for parts in ours if parts[1] in FLOOR}


def test_every_room_has_its_floor() -> None:
    rooms = {room(name) for name in MODULES} - {"__init__"}
    assert rooms == set(FLOOR)
    assert rooms == PURE | OPENS_FILES | {"__main__"}


@every_module
def test_imports_go_down_only(name: str) -> None:
    if name == "__init__.py":
        assert list(imports(name)) == []
        return
    here = room(name)
    upward = {other for other in rooms_imported(name) if other != here and FLOOR[other] >= FLOOR[here]}
    allowed = {"stages"} if here == "__main__" else set()
    assert upward <= allowed


@every_module
def test_computing_and_files_do_not_know_each_other(name: str) -> None:
    """`stages` bring them together."""
    here = room(name)
    column = PURE - {"core", "paths", "settings"}
    if here in column:
        assert not rooms_imported(name) & (OPENS_FILES | {"__main__"})
    if here in {"io", "workflow", "launch", "provenance"}:
        assert not rooms_imported(name) & column


@pytest.mark.parametrize("name", [name for name in MODULES if room(name) in PURE])
def test_what_computes_opens_no_file(name: str) -> None:
    assert not libraries(name) & FILE_LIBRARIES
    calls = [node.func for node in ast.walk(tree(name)) if isinstance(node, ast.Call)]
    called = {c.id if isinstance(c, ast.Name) else c.attr for c in calls if isinstance(c, ast.Name | ast.Attribute)}
    assert called & FILE_CALLS == ALLOWED_CALLS.get(name, set())


@pytest.mark.parametrize("name", [name for name in MODULES if room(name) == "io"])
def test_what_opens_files_computes_nothing(name: str) -> None:
    assert not libraries(name) & (COMPUTES - HOLDS_ARRAYS)


@every_module
def test_torch_stays_where_it_belongs(name: str) -> None:
    assert ("torch" in libraries(name)) == (name in TORCH)


@pytest.mark.parametrize("name", [name for name in MODULES if room(name) == "stages"])
def test_stages_import_torch_only_when_they_need_it(name: str) -> None:
    """A well that is current costs no import of torch."""
    if name not in IMPORTED_LATE:
        direct = {imported for imported in imports(name, lazy=False) if imported.startswith("pipeline_lib")}
        assert not direct & {
            f"pipeline_lib.{late}" for late in ("segmentation", "restoration", "stages._network", "nets")
        }


@every_module
def test_nothing_is_printed(name: str) -> None:
    names = {node.id for node in ast.walk(tree(name)) if isinstance(node, ast.Name)}
    assert not names & {"print", "input", "breakpoint"}


@every_module
def test_functions_and_modules_are_short(name: str) -> None:
    assert len((PACKAGE / name).read_text(encoding="utf-8").splitlines()) <= LONGEST["module"]
    for node in ast.walk(tree(name)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            assert node.end_lineno - node.lineno + 1 <= LONGEST["function"], node.name
            named = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            assert len([a for a in named if a.arg not in ("self", "cls")]) <= LONGEST["parameters"], node.name


@every_module
def test_modules_say_what_they_are_for(name: str) -> None:
    assert ast.get_docstring(tree(name)) or not (PACKAGE / name).read_text(encoding="utf-8").strip()


@pytest.mark.parametrize("module", ["launch", "workflow", "provenance", "__main__"])
def test_what_the_snakefile_imports_is_light(module: str) -> None:
    """It is parsed again in every job, on every node."""
    heavy = {*COMPUTES, *FILE_LIBRARIES - {"yaml", "csv", "shutil", "glob", "urllib", "tempfile"}, "pandas", "pyarrow"}
    program = f"import sys, pipeline_lib.{module}; sys.exit(' '.join({heavy!r} & set(sys.modules)) or 0)"
    done = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.stderr == ""
