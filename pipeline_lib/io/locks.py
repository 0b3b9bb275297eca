"""Locks of a running process: gone with it, however it ends."""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
import socket
import time
from pathlib import Path
from typing import TextIO

NOT_OFFERED = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS)  # some network file systems know no locks

GLANCES = (0.01, 0.05)  # seconds until a lock is tried again that somebody may only be looking at

log = logging.getLogger("wellpose")


class Taken(RuntimeError):
    """Another process holds the lock."""


def hold(path: Path) -> TextIO:
    """Take a lock and keep it for as long as the file that is returned stays open.

    Raises:
        Taken: Another process holds it; the message says which, and where.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    file = path.open("a+", encoding="utf-8")
    try:
        _lock(file)
    except BlockingIOError:
        file.seek(0)
        holder = file.read().strip()
        file.close()
        raise Taken(f"{path} is held by {_in_words(holder)}") from None
    except OSError as error:
        if error.errno not in NOT_OFFERED:
            file.close()
            raise
        log.warning("%s: this file system offers no locks; do not start two runs on one plate", path)
    file.truncate(0)
    file.write(json.dumps({"host": socket.gethostname(), "pid": os.getpid()}))
    file.flush()
    return file


def _lock(file: TextIO) -> None:
    """Lock a file; `is_held` may have it for an instant."""
    for moment in (*GLANCES, None):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if moment is None:
                raise
            time.sleep(moment)
        else:
            return


def is_held(path: Path) -> bool:
    """Whether a process holds the lock now."""
    if not path.exists():
        return False
    with path.open("r", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return False
    return False


def _in_words(holder: str) -> str:
    try:
        told = json.loads(holder)
        return f"process {told['pid']} on {told['host']}"
    except (ValueError, KeyError, TypeError):
        return "another process"
