"""Committed or absent: whatever goes wrong, and whenever, a reader sees the old, nothing, or the new."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline_lib.io import commit
from pipeline_lib.io.commit import committed, discard, is_temporary, sweep

REPOSITORY = Path(__file__).parents[3]
Write = Callable[[Path, str], None]


def write_file(path: Path, text: str) -> None:
    path.write_text(text * 2)


def write_folder(path: Path, text: str) -> None:
    """Two files that must agree."""
    path.mkdir()
    for name in ("a", "b"):
        (path / name).write_text(text)


def read(path: Path) -> str | None:
    """What a reader sees: all of one version, or nothing."""
    if path.is_dir():
        return "".join(sorted(child.read_text() for child in path.iterdir()))
    return path.read_text() if path.exists() else None


kinds = pytest.mark.parametrize("write", [write_file, write_folder])


@kinds
def test_the_new_takes_the_place_of_the_old(tmp_path: Path, write: Write) -> None:
    target = tmp_path / "not" / "yet" / "there"
    for text in ("old", "new"):
        with committed(target) as temporary:
            write(temporary, text)
            assert is_temporary(temporary.name)
            assert temporary.parent == target.parent
        assert read(target) == text * 2
    assert list(target.parent.iterdir()) == [target]


@kinds
@pytest.mark.parametrize("old", [None, "old"])
def test_an_exception_while_writing_changes_nothing(tmp_path: Path, write: Write, old: str | None) -> None:
    target = tmp_path / "target"
    if old:
        write(target, old)
    with pytest.raises(RuntimeError, match="lost"), committed(target) as temporary:
        write(temporary, "new")
        raise RuntimeError("lost")
    assert read(target) == (old and old * 2)
    assert list(tmp_path.iterdir()) == ([target] if old else [])


@kinds
@pytest.mark.parametrize("call", [1, 2])
def test_a_failed_rename_leaves_no_mix(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Write, call: int
) -> None:
    """Fail at each rename in turn; a file needs one, a folder two."""
    target = tmp_path / "target"
    write(target, "old")
    calls = fail_at(monkeypatch, call)
    try:
        with committed(target) as temporary:
            write(temporary, "new")
    except OSError:
        assert read(target) in ("oldold", None)
    else:
        assert read(target) == "newnew"
        assert len(calls) < call
    assert all(path == target for path in tmp_path.iterdir())


def test_a_file_is_never_absent_while_it_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "target"
    write_file(target, "old")
    fail_at(monkeypatch, 1)
    with pytest.raises(OSError, match="disk full"), committed(target) as temporary:
        write_file(temporary, "new")
    assert read(target) == "oldold"


def fail_at(monkeypatch: pytest.MonkeyPatch, call: int) -> list[str]:
    """Let the `call`-th rename fail; returns the list in which the renames are noted."""
    calls: list[str] = []
    for name in ("rename", "replace"):
        real = getattr(Path, name)

        def step(self: Path, target: Path, real: Callable[[Path, Path], Path] = real) -> Path:
            calls.append(self.name)
            if len(calls) == call:
                raise OSError(28, "disk full")
            return real(self, target)

        monkeypatch.setattr(Path, name, step)
    return calls


KILLED = """
import os, sys
from pathlib import Path
from pipeline_lib.io import commit

moment, kind, target = int(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
steps = 0

def deadly(real):
    def step(*arguments, **named):
        global steps
        steps += 1
        if steps == moment:
            os._exit(9)
        return real(*arguments, **named)
    return step

Path.rename, Path.replace = deadly(Path.rename), deadly(Path.replace)
commit._remove = deadly(commit._remove)
with commit.committed(target) as temporary:
    if kind == "folder":
        temporary.mkdir()
        (temporary / "a").write_text("new")
        (temporary / "b").write_text("new")
    else:
        temporary.write_text("newnew")
"""


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_kill_at_any_step_leaves_old_nothing_or_new(tmp_path: Path, kind: str) -> None:
    """Kill the writer before its first rename or deletion, before its second, and so on until it lives through."""
    write = write_folder if kind == "folder" else write_file
    seen = []
    for moment in range(1, 10):
        target = tmp_path / str(moment) / "target"
        target.parent.mkdir()
        write(target, "old")
        arguments = [sys.executable, "-c", KILLED, str(moment), kind, str(target)]
        code = subprocess.run(arguments, cwd=REPOSITORY, check=False).returncode
        seen.append(read(target))
        assert seen[-1] in ("oldold", None, "newnew")
        sweep(target)
        assert list(target.parent.iterdir()) == ([target] if seen[-1] else [])
        if code == 0:
            break
        assert code == 9
    allowed = ["oldold", None, "newnew"] if kind == "folder" else ["oldold", "newnew"]
    assert sorted(set(seen), key=allowed.index) == allowed
    assert seen == sorted(seen, key=allowed.index)  # never back


def test_a_killed_writer_of_a_new_target_leaves_it_absent(tmp_path: Path) -> None:
    target = tmp_path / "target"
    arguments = [sys.executable, "-c", KILLED, "1", "folder", str(target)]
    assert subprocess.run(arguments, cwd=REPOSITORY, check=False).returncode == 9
    assert not target.exists()
    [left] = tmp_path.iterdir()
    assert is_temporary(left.name)


@kinds
def test_discard_makes_absent(tmp_path: Path, write: Write) -> None:
    target = tmp_path / "target"
    discard(target)
    write(target, "old")
    discard(target)
    assert list(tmp_path.iterdir()) == []


def test_what_is_discarded_disappears_at_once_and_not_bit_by_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "target"
    write_folder(target, "old")
    seen = []
    monkeypatch.setattr(commit, "_remove", lambda path: seen.append((read(target), read(path))))
    discard(target)
    assert seen == [(None, "oldold")]


def test_sweep_takes_left_overs_of_its_target_only(tmp_path: Path) -> None:
    kept = ["03", "3", ".03", ".hidden.tmp", ".030.abc.tmp", "03.abc.tmp", ".03.abc.txt"]
    for name in (*kept, ".03.abc.tmp", ".03.def.old"):
        (tmp_path / name).touch()
    write_folder(tmp_path / ".03.123.old", "old")
    sweep(tmp_path / "03")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(kept)
    sweep(tmp_path / "never" / "made")


@pytest.mark.parametrize(
    ("name", "temporary"),
    [(".03.0a1b.tmp", True), (".B03.parquet.0a1b.old", True), ("03", False), ("x.tmp", False), (".DS_Store", False)],
)
def test_temporary_names_are_hidden_and_marked(name: str, temporary: bool) -> None:
    assert is_temporary(name) == temporary


def test_two_writers_do_not_share_a_temporary_path(tmp_path: Path) -> None:
    with committed(tmp_path / "a") as one, committed(tmp_path / "a") as other:
        assert one != other
        write_file(one, "1")
        write_file(other, "2")
    assert read(tmp_path / "a") == "11"  # the outer one is committed last
    assert list(tmp_path.iterdir()) == [tmp_path / "a"]


def test_an_old_folder_comes_back_when_the_new_one_cannot_take_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "B03"
    target.mkdir()
    (target / "old").touch()

    def refuse(self: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(OSError, match="No space"), committed(target) as temporary:
        temporary.mkdir()
    assert [path.name for path in tmp_path.rglob("*")] == ["B03", "old"]
