"""One file from a server: continued where it broke off, never mixed from two versions, never short.

Standard library only: it honours http_proxy, https_proxy and no_proxy and verifies TLS certificates; what it lacks
(continuing, patience) is what this module adds.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import Message
from http.client import BadStatusLine, HTTPException, IncompleteRead
from pathlib import Path
from typing import IO, Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, OpenerDirector, Request, build_opener

from pipeline_lib import __version__
from pipeline_lib.io.commit import committed

Progress = Callable[[int, int | None], None]
"""Called with the bytes that are here and the bytes of the whole, None if the server does not say."""

SCHEMES = ("http", "https", "file")
_CHUNK = 1 << 18
_PASSING_STATUS = {408, 416, 425, 429, 500, 502, 503, 504}
_PASSING = (ConnectionError, TimeoutError, IncompleteRead, BadStatusLine, ssl.SSLEOFError)
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}
log = logging.getLogger("wellpose")


class DownloadError(OSError):
    """A file that could not be brought here."""


@dataclass(frozen=True)
class Patience:
    """When to give up.

    attempts: tries in a row that bring no byte. pause: seconds after the first of them, doubled after each further one.
    timeout: seconds without a byte after which a connection counts as broken.
    """

    attempts: int = 5
    pause: float = 1.0
    timeout: float = 60.0


def download(url: str, part: Path, patience: Patience, progress: Progress) -> None:
    """Complete `part` with the bytes behind an http, https or file URL.

    What an earlier call left in `part` is kept and continued if the server confirms that its file is still the same.
    Raises DownloadError: `part` then keeps what came, for the next call. The caller has claimed `part`.
    """
    if urlsplit(url).scheme not in SCHEMES:
        raise DownloadError(f"{url}: no such protocol; {', '.join(SCHEMES)} are allowed")
    failed = 0
    while True:
        before = _size(part)
        try:
            return _continue(url, part, patience.timeout, progress)
        except (OSError, HTTPException) as error:
            failed = 1 if _size(part) > before else failed + 1
            if failed >= patience.attempts or not _passing(error):
                raise DownloadError(f"{url}: {_told(error)}") from error
            log.info("%s: %s; trying again", url, _told(error))
        time.sleep(patience.pause * 2 ** (failed - 1))


@contextmanager
def claimed(part: Path) -> Iterator[Path]:
    """Hold `part` alone: another process or thread that claims it waits. An empty one is gone afterwards.

    The lock ends with the process, so a killed download is continued by the next one.
    """
    part.parent.mkdir(parents=True, exist_ok=True)
    stream = _locked(part)
    try:
        yield part
    finally:
        if _is_at(stream, part) and _size(part) == 0:
            drop(part)
        stream.close()


def deliver(part: Path, target: Path) -> None:
    """Give a complete claimed `part` its final name, in one step."""
    part.replace(target)
    _version_file(part).unlink(missing_ok=True)


def drop(part: Path) -> None:
    """Forget what has come so far."""
    part.unlink(missing_ok=True)
    _version_file(part).unlink(missing_ok=True)


def _locked(part: Path) -> IO[bytes]:
    """An open, locked file that is still the one called `part`: whoever held it may have renamed it meanwhile."""
    while True:
        stream = part.open("ab")
        try:
            _lock(stream, part)
            if _is_at(stream, part):
                return stream
        except BaseException:
            stream.close()
            raise
        stream.close()


def _is_at(stream: IO[bytes], path: Path) -> bool:
    """Whether the open file is the one that bears this name now."""
    try:
        return os.path.samestat(os.fstat(stream.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _lock(stream: IO[bytes], part: Path) -> None:
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        log.info("%s: another process is at it; waiting", part)
        fcntl.flock(stream, fcntl.LOCK_EX)
    except OSError as error:
        if error.errno in _NO_LOCKS:
            raise DownloadError(f"{part.parent}: its file system cannot lock files; download to another one") from error
        raise


def _continue(url: str, part: Path, timeout: float, progress: Progress) -> None:
    """One connection: ask for what is missing, append what comes, and insist on the announced length."""
    have = _size(part)
    try:
        answer = _opener().open(Request(url, headers=_headers(part, have)), timeout=timeout)
    except HTTPError as error:
        if error.code == 416 and error.headers.get("Content-Range") == f"bytes */{have}":
            return  # an earlier call brought all of it
        if error.code == 416:
            _start_over(part)
        raise
    with answer:
        start = _start(answer.headers, part, have) if answer.status == 206 else 0
        length = answer.headers.get("Content-Length", "")
        total = start + int(length) if length.isdigit() else None
        with part.open("r+b") as stream:
            stream.truncate(start)  # before the version is written: old bytes never stand under a new version
            if start == 0:
                _write_version(part, answer.headers)
            _append(answer, stream, progress, total)
    if total is not None and _size(part) != total:
        raise ConnectionError(f"the connection ended after {_size(part)} of {total} bytes")


def _append(answer: Any, stream: IO[bytes], progress: Progress, total: int | None) -> None:
    stream.seek(0, os.SEEK_END)
    while chunk := answer.read1(_CHUNK):
        stream.write(chunk)
        progress(stream.tell(), total)


def _headers(part: Path, have: int) -> dict[str, str]:
    """Ask for the rest, if the server has a name for the version that the first bytes are of."""
    headers = {"User-Agent": f"wellpose/{__version__}"}
    version = _version_file(part)
    if have and version.exists():
        headers |= {"Range": f"bytes={have}-", "If-Range": version.read_text(encoding="latin-1")}
    return headers


def _start(headers: Message, part: Path, have: int) -> int:
    """Where a partial answer goes on: after our bytes, and in the same version of the file."""
    offered = {headers.get("ETag"), headers.get("Last-Modified")} - {None}
    same = not offered or _version_file(part).read_text(encoding="latin-1") in offered
    if not (same and headers.get("Content-Range", "").startswith(f"bytes {have}-")):
        _start_over(part)
        raise ConnectionError("the server sent a part that does not continue what is here")
    return have


def _start_over(part: Path) -> None:
    """Empty, not deleted: the lock is on this very file."""
    os.truncate(part, 0)
    _version_file(part).unlink(missing_ok=True)


def _write_version(part: Path, headers: Message) -> None:
    """Keep a strong ETag, else the date of change; without either a broken download starts over."""
    tag = headers.get("ETag", "")
    version = tag if tag.startswith('"') else headers.get("Last-Modified")
    if version is None:
        _version_file(part).unlink(missing_ok=True)
        return
    with committed(_version_file(part)) as temporary:
        temporary.write_text(version, encoding="latin-1")


def _version_file(part: Path) -> Path:
    return part.with_name(f"{part.name}.version")


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


class _NeverDown(HTTPRedirectHandler):
    """Follows redirects, but not from https to anything less, nor out of the web."""

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> Request | None:
        allowed = ("https",) if req.type == "https" else ("http", "https")
        if urlsplit(newurl).scheme not in allowed:
            raise URLError(f"redirected from {req.type} to {newurl}, which is refused")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _opener() -> OpenerDirector:
    """Made anew for each connection, so that proxies are those of the environment now."""
    return build_opener(_NeverDown)


def _passing(error: OSError | HTTPException) -> bool:
    """Whether waiting may help."""
    if isinstance(error, HTTPError):
        return error.code in _PASSING_STATUS
    return isinstance(_cause(error), _PASSING)


def _cause(error: OSError | HTTPException) -> object:
    return error.reason if isinstance(error, URLError) else error


def _told(error: OSError | HTTPException) -> str:
    if isinstance(error, HTTPError):
        return f"the server answers {error.code} {error.reason}"
    cause = _cause(error)
    if isinstance(cause, socket.gaierror) or getattr(cause, "errno", None) in {errno.ENETUNREACH, errno.EHOSTUNREACH}:
        return f"not reachable from here ({cause}). On a cluster try the login node; behind a proxy set https_proxy"
    return str(cause) or type(cause).__name__
