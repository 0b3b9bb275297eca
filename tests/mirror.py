"""A web server on this computer that behaves as badly as a test wants."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit


@dataclass
class Mirror:
    """What is served, how, and what was asked for.

    Lists are used up, one entry per answer: `cuts` bytes of a body are sent before the connection is closed, `statuses`
    are answered instead of a file. `stalls`: this many answers, after those that are cut, stop after their headers
    until the test is over. `partial_etag`: what partial answers say instead of `etag`.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    etag: str | None = '"1"'
    partial_etag: str = ""
    ranges: bool = True
    length: bool = True
    redirect: str = ""
    cuts: list[int] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    stalls: int = 0
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    """(path or whole URL, Range header) of each request."""
    url: str = ""
    over: threading.Event = field(default_factory=threading.Event)


@contextmanager
def serving(mirror: Mirror, certificate: Path | None = None) -> Iterator[Mirror]:
    """Run the server at `mirror.url`, on a free port; with a certificate (and its key, in one file) over TLS."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer(self, mirror)

        def log_message(self, *_: object) -> None:
            """Keep quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        server.handle_error = lambda *_: None  # type: ignore[method-assign]  # clients hang up on purpose
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    mirror.url = f"{'https' if certificate else 'http'}://127.0.0.1:{server.server_port}"
    try:
        yield mirror
    finally:
        mirror.over.set()
        server.shutdown()
        server.server_close()
        thread.join()


def answer(handler: BaseHTTPRequestHandler, mirror: Mirror) -> None:
    wanted = handler.headers.get("Range")
    mirror.asked.append((handler.path, wanted))
    body = mirror.files.get(unquote(urlsplit(handler.path).path.rsplit("/", 1)[-1]))
    if mirror.redirect:
        handler.send_response(302)
        handler.send_header("Location", mirror.redirect)
        handler.end_headers()
        return
    if mirror.statuses or body is None:
        handler.send_error(mirror.statuses.pop(0) if mirror.statuses else 404)
        return
    start = 0
    if wanted and mirror.ranges and handler.headers.get("If-Range") == mirror.etag:
        start = int(wanted.removeprefix("bytes=").removesuffix("-"))
    if start >= len(body):
        handler.send_response(416)
        handler.send_header("Content-Range", f"bytes */{len(body)}")
        handler.end_headers()
        return
    send(handler, mirror, body, start)


def send(handler: BaseHTTPRequestHandler, mirror: Mirror, body: bytes, start: int) -> None:
    handler.send_response(206 if start else 200)
    if mirror.length:
        handler.send_header("Content-Length", str(len(body) - start))
    if start:
        handler.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
    if mirror.etag:
        handler.send_header("ETag", mirror.partial_etag if start and mirror.partial_etag else mirror.etag)
    handler.end_headers()
    if mirror.stalls and not mirror.cuts:
        mirror.stalls -= 1
        mirror.over.wait()
        return
    end = start + mirror.cuts.pop(0) if mirror.cuts else len(body)
    handler.wfile.write(body[start:end])
