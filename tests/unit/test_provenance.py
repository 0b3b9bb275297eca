"""Code digests: what must not change them, what must; fingerprints: names count, their order does not."""

from __future__ import annotations

import gc
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_lib import __version__, provenance
from pipeline_lib.__main__ import STAGES
from pipeline_lib.provenance import code_digest, fingerprint, peak_memory_mb, software

FILES = {
    "__init__.py": "",
    "stages/__init__.py": "",
    "stages/draw.py": '"""Draw."""\nfrom pipeline_lib.io.pens import pen\n\ndef draw() -> str:\n    """Do it."""\n'
    "    from pipeline_lib.late import late  # only here\n    return pen(1) + late()\n",
    "io/__init__.py": "",
    "io/pens.py": "from pipeline_lib import shades\n\ndef pen(width: int) -> str:\n    return shades.shade(width)\n",
    "shades.py": "import pipeline_lib.art\n\nclass Shade:\n    '''A shade.'''\n    depth = 1\n\n"
    "def shade(n: int) -> str:\n    return str(n)\n",
    "art/__init__.py": "",
    "art/page.css": "p { color: red }",
    "late.py": "def late() -> str:\n    return ''\n",
    "unused.py": "x = 1\n",
}


class Package:
    """A small package whose files can be edited."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name, text in FILES.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)

    def edit(self, name: str, old: str, new: str) -> None:
        text = (self.folder / name).read_text()
        assert text.count(old) == 1
        (self.folder / name).write_text(text.replace(old, new))

    def digest(self) -> str:
        return code_digest.__wrapped__("draw")


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Package:
    monkeypatch.setattr(provenance, "PACKAGE", tmp_path / "pipeline_lib")
    return Package(tmp_path / "pipeline_lib")


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("stages/draw.py", "  # only here", ""),
        ("stages/draw.py", "Do it.", "Do it now."),
        ("stages/draw.py", '    """Do it."""\n', ""),
        ("stages/draw.py", '"""Draw."""\n', "# Draw.\n"),
        ("stages/draw.py", "    return pen(1) + late()", "\n\n    return (pen( 1 )\n        + late())"),
        ("shades.py", "'''A shade.'''", '"""Another word for it."""'),
        ("unused.py", "x = 1", "x = 2"),
    ],
)
def test_comments_docstrings_layout_and_foreign_modules_do_not_count(
    package: Package, name: str, old: str, new: str
) -> None:
    before = package.digest()
    package.edit(name, old, new)
    assert package.digest() == before


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("stages/draw.py", "pen(1)", "pen(2)"),
        ("io/pens.py", "width)", "width + 1)"),  # imported
        ("shades.py", "depth = 1", "depth = 2"),  # imported by what is imported, as a member of the package
        ("late.py", "''", "'late'"),  # imported inside a function
        ("art/page.css", "red", "blue"),  # beside an imported module
        ("shades.py", "str(n)", "'str(n)'"),
    ],
)
def test_code_at_any_depth_counts(package: Package, name: str, old: str, new: str) -> None:
    before = package.digest()
    package.edit(name, old, new)
    assert package.digest() != before


def test_a_renamed_module_counts(package: Package) -> None:
    before = package.digest()
    (package.folder / "late.py").rename(package.folder / "later.py")
    package.edit("stages/draw.py", "pipeline_lib.late", "pipeline_lib.later")
    assert package.digest() != before


def test_every_stage_has_a_digest_of_its_own() -> None:
    digests = {stage: code_digest(stage) for stage in STAGES}
    assert all(len(digest) == 16 for digest in digests.values())
    assert len(set(digests.values())) == len(STAGES)
    assert code_digest("ingest") == code_digest.__wrapped__("ingest")


def test_threads_may_ask_at_the_same_time() -> None:
    """Wells of a batch do. A garbage collection while Python parses may hand the turn to another thread."""
    wanted, threads = code_digest("ingest"), 4
    for cached in (code_digest, provenance._module):
        cached.cache_clear()
    thresholds, together = gc.get_threshold(), Barrier(threads)

    def hand_over(phase: str, info: dict[str, int]) -> None:
        time.sleep(0)

    def ask(stage: str) -> str:
        together.wait()
        return code_digest(stage)

    gc.callbacks.append(hand_over)
    gc.set_threshold(200)
    try:
        with ThreadPoolExecutor(threads) as pool:
            assert set(pool.map(ask, ["ingest"] * threads)) == {wanted}
    finally:
        gc.set_threshold(*thresholds)
        gc.callbacks.remove(hand_over)


def test_a_stage_depends_on_what_it_imports_and_nothing_else() -> None:
    """Segmenting reads the network; converting files does not."""
    touched = {stage: set(_files(stage)) for stage in ("ingest", "segment", "report")}
    assert "nets/flownet.py" in touched["segment"]
    assert "nets/flownet.py" not in touched["ingest"]
    assert "io/vendors/imagexpress.py" not in touched["segment"]
    assert "reporting/template.html" in touched["report"]


def _files(stage: str) -> list[str]:
    """The files behind the digest of a stage."""
    with pytest.MonkeyPatch.context() as patch:
        found: list[str] = []
        patch.setattr(provenance, "fingerprint", lambda **parts: found.extend(parts) or "")
        code_digest.__wrapped__(stage)
    return found


NAMES = st.text("abµ", min_size=1, max_size=3)
JSON = st.none() | st.booleans() | st.integers(2, 9) | NAMES | st.lists(st.integers(2, 9), max_size=2)
PARTS = st.dictionaries(NAMES, JSON | st.dictionaries(NAMES, JSON, max_size=3), max_size=4)


@given(PARTS, st.randoms())
def test_the_order_of_parts_does_not_matter(parts: dict[str, object], random: object) -> None:
    shuffled = list(parts.items())
    random.shuffle(shuffled)
    assert fingerprint(**dict(shuffled)) == fingerprint(**parts)


@given(PARTS, PARTS)
def test_different_parts_have_different_fingerprints(one: dict[str, object], other: dict[str, object]) -> None:
    assert (fingerprint(**one) == fingerprint(**other)) == (repr(_ordered(one)) == repr(_ordered(other)))


def _ordered(value: object) -> object:
    return sorted((k, _ordered(v)) for k, v in value.items()) if isinstance(value, dict) else value


def test_a_known_fingerprint() -> None:
    """SHA-256 of `{"a": 1, "b": [2.5, null]}`, so that committed data stays current from version to version."""
    assert fingerprint(b=[2.5, None], a=1) == "2daaea6dd63221f95a6ea3f054a77321885efd4076a55d93849904320eaa76a5"


def test_the_versions_that_computed_are_told() -> None:
    told = software()
    assert told["wellpose"] == __version__
    assert "not installed" not in told.values()
    assert {"python", "numpy", "torch", "zarr"} <= told.keys()
    assert provenance._version("no-such-package") == "not installed"


def test_peak_memory_is_in_mib() -> None:
    before = peak_memory_mb()
    block = bytearray(64 * 2**20)
    block[::4096] = b"x" * len(block[::4096])
    assert 20 < before <= peak_memory_mb() < 1e5
