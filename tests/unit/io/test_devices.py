"""Jobs side by side on one machine take different GPUs."""

from __future__ import annotations

import select
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline_lib.io.devices import take_gpu, visible_gpus

JOB = """
import sys, time
from pathlib import Path
from pipeline_lib.io.devices import take_gpu
name, lock = take_gpu(["0", "1"], Path(sys.argv[1]))
print(name, flush=True)
time.sleep(60)
"""


def job(folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", JOB, str(folder)], stdout=subprocess.PIPE, text=True)


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_each_job_has_a_gpu_of_its_own_and_the_third_waits(tmp_path: Path) -> None:
    jobs = [job(tmp_path) for _ in range(3)]
    try:
        running = []
        while len(running) < 2:
            running = [process for process in jobs if _has_spoken(process, running)]
        names = {process.pid: said(process) for process in running}
        assert set(names.values()) == {"0", "1"}
        [waiting] = [process for process in jobs if process not in running]
        assert not _has_spoken(waiting, [])
        running[0].kill()
        running[0].wait()
        assert said(waiting) == names[running[0].pid]
    finally:
        for process in jobs:
            process.kill()
            process.communicate()


def _has_spoken(process: subprocess.Popen[str], before: list[subprocess.Popen[str]]) -> bool:
    """Whether a job has said which GPU it took."""
    return process in before or bool(select.select([process.stdout], [], [], 0.2)[0])


def test_a_gpu_stays_taken_while_its_lock_is_open(tmp_path: Path) -> None:
    first, lock = take_gpu(["GPU-5e/a", "GPU-77"], tmp_path)
    second, other = take_gpu(["GPU-5e/a", "GPU-77"], tmp_path)
    assert (first, second) == ("GPU-5e/a", "GPU-77")
    lock.close()
    again, third = take_gpu(["GPU-5e/a", "GPU-77"], tmp_path)
    assert again == first
    other.close()
    third.close()


@pytest.mark.parametrize(("variable", "names"), [("", []), ("-1", []), ("2", ["2"]), ("0,3", ["0", "3"])])
def test_what_cuda_may_see_counts(monkeypatch: pytest.MonkeyPatch, variable: str, names: list[str]) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", variable)
    assert visible_gpus() == names
