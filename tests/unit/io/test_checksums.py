"""Lists of checksums: what `sha256sum` writes is read, and the other way round."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from pipeline_lib.io.checksums import checksum, read_sums, write_sum

ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


@pytest.fixture
def abc(tmp_path: Path) -> Path:
    (tmp_path / "abc").write_bytes(b"abc")
    return tmp_path / "abc"


def test_a_known_sum(abc: Path) -> None:
    assert checksum(abc) == ABC


def test_sha256sum_agrees_with_what_is_written(abc: Path) -> None:
    write_sum(abc, checksum(abc))
    assert read_sums(abc.parent / "abc.sha256") == {"abc": ABC}
    check = ["sha256sum", "--strict", "-c", "abc.sha256"]
    assert subprocess.run(check, cwd=abc.parent, check=False, capture_output=True).returncode == 0
    abc.write_bytes(b"abd")
    assert subprocess.run(check, cwd=abc.parent, check=False, capture_output=True).returncode == 1


def test_what_sha256sum_writes_is_read(abc: Path) -> None:
    for flag in ("--text", "--binary"):
        written = subprocess.run(["sha256sum", flag, abc], check=True, capture_output=True).stdout
        (abc.parent / "sums").write_bytes(b"# pins of the facility\n\n" + written.upper().replace(b"ABC", b"abc"))
        assert read_sums(abc.parent / "sums") == {"abc": ABC}


def test_all_lines_that_are_no_sums_are_listed(tmp_path: Path) -> None:
    (tmp_path / "sums").write_text(f"{ABC}  a\n{ABC[1:]}  b\n{ABC} c\n{'0' * 64}  a\n")
    with pytest.raises(ValueError, match=r"one per file; found line 2: .* line 3: .* line 4: "):
        read_sums(tmp_path / "sums")
