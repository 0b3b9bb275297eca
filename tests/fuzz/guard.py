"""What damaged files must not do: open or run anything else, take long, or take much memory."""

from __future__ import annotations

import os
import resource
import signal
import sys
import sysconfig
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from pipeline_lib.provenance import PACKAGE

SECONDS = 5.0  # of computing, for one scan or one image
STUCK = 60  # seconds by the clock: other programs may keep the processor busy
MEGABYTES = 300.0  # more than before a case
_SPARE = 6 << 30  # bytes of addresses: what is asked for beyond them is an error, and does not harm the machine
_PYTHON = tuple({*sysconfig.get_paths().values(), str(PACKAGE), "/proc", "/dev", "/sys"})
_FORBIDDEN = ("socket.connect", "socket.getaddrinfo", "subprocess.Popen", "os.system", "os.exec", "os.posix_spawn")
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


class Stuck(BaseException):
    """A case does not end; no `except Exception` holds it up."""


@dataclass
class Watch:
    """What one case did. folder: the only one whose files may be opened, and only for reading."""

    folder: str
    trespasses: list[str] = field(default_factory=list)
    warned: list[str] = field(default_factory=list)
    slow: list[str] = field(default_factory=list)
    megabytes: float = 0.0

    def faults(self) -> Iterator[str]:
        """All that was not allowed."""
        yield from self.trespasses
        yield from (f"warned: {text}" for text in self.warned)
        yield from self.slow
        if self.megabytes > MEGABYTES:
            yield f"took {self.megabytes:.0f} MB more"

    @contextmanager
    def timed(self, what: str) -> Iterator[None]:
        """What happens inside the block may not take long."""
        started = time.process_time()
        try:
            yield
        finally:
            if (seconds := time.process_time() - started) > SECONDS:
                self.slow.append(f"{what} took {seconds:.1f} s")


_watches: list[Watch] = []  # an audit hook cannot be taken away: it asks here whether anybody watches


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if not _watches:
        return
    watch = _watches[-1]
    if event in _FORBIDDEN:
        watch.trespasses.append(f"{event} {arguments[:2]!r}")
    elif event in ("open", "os.listdir", "os.scandir") and not isinstance(arguments[0], int | None):
        path = os.path.realpath(os.fsdecode(arguments[0]))
        inside = path == watch.folder or path.startswith(watch.folder + os.sep)
        writes = event == "open" and bool((arguments[2] or 0) & _WRITING)
        imports = event == "os.listdir" and path in map(os.path.realpath, sys.path)
        if (inside and writes) or not (inside or imports or path.startswith(_PYTHON)):
            watch.trespasses.append(f"{event} {path}{' for writing' if writes else ''}")


sys.addaudithook(_audit)


@contextmanager
def watched(folder: Path) -> Iterator[Watch]:
    """Watch what happens inside the block.

    Raises:
        Stuck: It does not end.
    """
    watch = Watch(os.path.realpath(folder))
    before = _peak(reset=True)
    old = signal.signal(signal.SIGALRM, _stuck)
    limit = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (_status("VmSize") * 1024 + _SPARE, limit[1]))
    signal.alarm(STUCK)
    try:
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            _watches.append(watch)
            try:
                yield watch
            finally:
                _watches.pop()
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, old)
        resource.setrlimit(resource.RLIMIT_AS, limit)
    watch.warned.extend(f"{one.category.__name__}: {one.message}" for one in told)
    watch.megabytes = (_peak(reset=False) - before) / 1024


def _stuck(_: int, frame: FrameType | None) -> None:
    raise Stuck(f"after {STUCK} s, in {frame and frame.f_code.co_qualname}, line {frame and frame.f_lineno}")


def _peak(*, reset: bool) -> int:
    """The most memory since the last reset, in kB."""
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    return _status("VmHWM")


def _status(key: str) -> int:
    """A line of what Linux says of this process, in kB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{key}:"))
