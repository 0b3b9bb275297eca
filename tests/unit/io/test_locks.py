"""A lock belongs to a process, and goes with it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline_lib.io.locks import Taken, hold, is_held

HOLDER = """
import sys, time
from pathlib import Path
from pipeline_lib.io.locks import hold
lock = hold(Path(sys.argv[1]))
print("held", flush=True)
time.sleep(60)
"""


def holder_of(path: Path) -> subprocess.Popen[str]:
    """Another process that holds a lock."""
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_nobody_holds_what_is_not_there(tmp_path: Path) -> None:
    assert not is_held(tmp_path / ".lock")
    assert not (tmp_path / ".lock").exists()


def test_one_process_at_a_time_and_the_message_says_which(tmp_path: Path) -> None:
    path = tmp_path / "plate" / ".lock"
    with holder_of(path) as process:
        try:
            assert is_held(path)
            with pytest.raises(Taken, match=rf"held by process {process.pid} on {os.uname().nodename}"):
                hold(path)
        finally:
            process.kill()
    assert not is_held(path)
    with hold(path):  # free after kill -9, whatever the file still says
        assert is_held(path)
    assert not is_held(path)


def test_a_file_that_says_nothing_is_no_trouble(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    with hold(path):
        path.write_text("{")
        with pytest.raises(Taken, match="held by another process"):
            hold(path)
