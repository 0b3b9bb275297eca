"""Downloads: whole or not at all, continued where they broke off, never a mix of two files."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mirror import Mirror, serving

from pipeline_lib.io.download import DownloadError, Patience, claimed, deliver, download

BODY = np.random.default_rng(0).bytes(300_000)
OTHER = np.random.default_rng(1).bytes(300_000)
HURRIED = Patience(attempts=3, pause=0.001, timeout=5.0)


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def mirror() -> Iterator[Mirror]:
    with serving(Mirror({"model": BODY})) as running:
        yield running


@pytest.fixture
def part(tmp_path: Path) -> Path:
    return tmp_path / ".model.part"


def silent(_here: int, _total: int | None) -> None:
    pass


def got(mirror: Mirror, part: Path, patience: Patience = HURRIED) -> bytes:
    with claimed(part):
        download(f"{mirror.url}/model", part, patience, silent)
        return part.read_bytes()


def test_a_whole_file_comes_in_one_request_and_progress_is_told(mirror: Mirror, part: Path) -> None:
    told: list[tuple[int, int | None]] = []
    with claimed(part):
        download(f"{mirror.url}/model", part, HURRIED, lambda here, total: told.append((here, total)))
    assert part.read_bytes() == BODY
    assert mirror.asked == [("/model", None)]
    assert told[-1] == (len(BODY), len(BODY))
    assert [here for here, _ in told] == sorted(here for here, _ in told)


def test_a_broken_connection_is_continued_not_started_over(mirror: Mirror, part: Path) -> None:
    mirror.cuts = [100_000, 50_000]
    assert got(mirror, part) == BODY
    assert [asked for _, asked in mirror.asked] == [None, "bytes=100000-", "bytes=150000-"]


@settings(max_examples=20, deadline=None)
@given(
    cuts=st.lists(st.integers(1, 59_999), max_size=5),  # together less than the whole
    ranges=st.booleans(),
    etag=st.sampled_from(['"1"', 'W/"1"', None]),
)
def test_however_often_it_breaks_the_bytes_are_right(cuts: list[int], *, ranges: bool, etag: str | None) -> None:
    with tempfile.TemporaryDirectory() as folder, serving(Mirror({"model": BODY}, etag, ranges=ranges)) as mirror:
        part, mirror.cuts = Path(folder, ".model.part"), [*cuts]
        assert got(mirror, part, Patience(attempts=len(cuts) + 1, pause=0.0, timeout=5.0)) == BODY
        assert len(mirror.asked) == len(cuts) + 1
        with claimed(part):
            deliver(part, Path(folder, "model"))
        assert [path.name for path in Path(folder).iterdir()] == ["model"]


def test_a_later_call_continues_what_an_earlier_one_left(mirror: Mirror, part: Path) -> None:
    mirror.cuts = [100_000]
    with pytest.raises(DownloadError, match="ended after 100000 of 300000 bytes"):
        got(mirror, part, Patience(attempts=1))
    assert part.read_bytes() == BODY[:100_000]
    assert got(mirror, part) == BODY
    assert mirror.asked[-1] == ("/model", "bytes=100000-")


def test_a_weak_etag_vouches_for_no_bytes(mirror: Mirror, part: Path) -> None:
    mirror.cuts, mirror.etag = [100_000], 'W/"1"'
    assert got(mirror, part) == BODY
    assert [asked for _, asked in mirror.asked] == [None, None]


def test_a_changed_file_is_never_joined_to_the_old_one(mirror: Mirror, part: Path) -> None:
    mirror.cuts = [100_000]
    with pytest.raises(DownloadError):
        got(mirror, part, Patience(attempts=1))
    mirror.files["model"], mirror.etag = OTHER, '"2"'
    assert got(mirror, part) == OTHER


def test_a_server_that_continues_another_version_is_not_believed(mirror: Mirror, part: Path) -> None:
    """It ignores If-Range, but its answer gives it away."""
    mirror.cuts = [100_000]
    with pytest.raises(DownloadError):
        got(mirror, part, Patience(attempts=1))
    mirror.files["model"], mirror.partial_etag = OTHER, '"2"'
    assert got(mirror, part) == OTHER
    assert [asked for _, asked in mirror.asked] == [None, "bytes=100000-", None]


def test_a_killed_process_is_succeeded_by_the_next(mirror: Mirror, tmp_path: Path) -> None:
    """Its lock dies with it, its bytes do not."""
    mirror.cuts, mirror.stalls = [100_000], 1
    target = tmp_path / "model"
    process = other_process(f"{mirror.url}/model", target)
    while len(mirror.asked) < 2:
        time.sleep(0.01)
        assert process.poll() is None
    process.kill()
    process.wait()
    one_of_many(f"{mirror.url}/model", target)
    assert target.read_bytes() == BODY
    assert mirror.asked[-1] == ("/model", "bytes=100000-")


def test_a_download_killed_before_its_rename_needs_no_bytes(mirror: Mirror, part: Path) -> None:
    assert got(mirror, part) == BODY
    assert got(mirror, part) == BODY  # answered with 416: nothing beyond
    assert mirror.asked[-1] == ("/model", f"bytes={len(BODY)}-")
    assert len(mirror.asked) == 2


def test_too_many_bytes_are_thrown_away(mirror: Mirror, part: Path) -> None:
    assert got(mirror, part) == BODY
    with part.open("ab") as stream:
        stream.write(b"more")
    assert got(mirror, part) == BODY
    assert [asked for _, asked in mirror.asked[1:]] == [f"bytes={len(BODY) + 4}-", None]


def test_without_a_length_the_end_is_where_the_server_ends(mirror: Mirror, part: Path) -> None:
    mirror.length = False
    assert got(mirror, part) == BODY


@pytest.mark.parametrize("status", [404, 403])
def test_what_waiting_cannot_cure_fails_at_once(mirror: Mirror, part: Path, status: int) -> None:
    mirror.statuses = [status] * 9
    with pytest.raises(DownloadError, match=f"/model: the server answers {status}"):
        got(mirror, part)
    assert len(mirror.asked) == 1
    assert not part.exists()


def test_a_busy_server_is_asked_again_and_then_given_up(mirror: Mirror, part: Path) -> None:
    mirror.statuses = [503, 429]
    assert got(mirror, part) == BODY
    part.unlink()
    mirror.statuses = [503] * 9
    with pytest.raises(DownloadError, match="503"):
        got(mirror, part)
    assert len(mirror.statuses) == 6


def test_progress_gives_new_patience(mirror: Mirror, part: Path) -> None:
    mirror.cuts = [1000] * 8  # far more breaks than attempts
    assert got(mirror, part, Patience(attempts=2, pause=0.0)) == BODY


def test_a_server_that_falls_silent_counts_as_broken(mirror: Mirror, part: Path) -> None:
    mirror.stalls = 1
    assert got(mirror, part, Patience(attempts=2, pause=0.0, timeout=0.2)) == BODY
    mirror.stalls = 2
    part.unlink()
    with pytest.raises(DownloadError, match="timed out"):
        got(mirror, part, Patience(attempts=2, pause=0.0, timeout=0.1))


def test_nobody_there(part: Path) -> None:
    with serving(Mirror()) as gone:
        pass
    with pytest.raises(DownloadError, match="refused"):
        got(gone, part)


def test_the_proxy_of_the_environment_is_asked(mirror: Mirror, part: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As it is at the call, not at the first import; `no_proxy` goes past it."""
    url = "http://models.invalid/model"
    monkeypatch.setenv("http_proxy", mirror.url)
    with claimed(part):
        download(url, part, HURRIED, silent)
    assert part.read_bytes() == BODY
    assert mirror.asked == [(url, None)]
    part.unlink()
    monkeypatch.setenv("no_proxy", "models.invalid")
    with pytest.raises(DownloadError, match="not reachable from here"), claimed(part):
        download(url, part, HURRIED, silent)
    assert len(mirror.asked) == 1


def test_redirects_are_followed_within_the_web_only(mirror: Mirror, part: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    with serving(Mirror(redirect=f"{mirror.url}/model")) as door:
        assert got(door, part) == BODY
        part.unlink()
        for elsewhere in ((tmp_path / "secret").as_uri(), "ftp://127.0.0.1/model"):
            door.redirect = elsewhere
            with pytest.raises(DownloadError):
                got(door, part)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of 127.0.0.1, signed by itself, with its key."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl, which makes a certificate for the test, is not installed")
    both = tmp_path_factory.mktemp("tls") / "both.pem"
    words = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1"
    subprocess.run([*words.split(), "-keyout", both, "-out", both], check=True, capture_output=True)
    return both


def test_a_certificate_that_nobody_vouches_for_is_refused(certificate: Path, part: Path) -> None:
    with (
        serving(Mirror({"model": BODY}), certificate) as mirror,
        pytest.raises(DownloadError, match="CERTIFICATE_VERIFY"),
    ):
        got(mirror, part)
    assert mirror.asked == []


def test_a_facility_vouches_for_its_own_mirror_and_encryption_is_never_left(
    mirror: Mirror, certificate: Path, part: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with serving(Mirror({"model": BODY}), certificate) as safe:
        assert got(safe, part) == BODY
        part.unlink()
        safe.redirect = f"{mirror.url}/model"
        with pytest.raises(DownloadError, match=r"redirected from https to http://.* refused"):
            got(safe, part)
    assert mirror.asked == []


def test_unknown_protocols_are_refused(part: Path) -> None:
    with pytest.raises(DownloadError, match="http, https, file are allowed"), claimed(part):
        download("ftp://127.0.0.1/model", part, HURRIED, silent)


def test_a_file_url_is_copied(tmp_path: Path, part: Path) -> None:
    (tmp_path / "model").write_bytes(BODY)
    part.write_bytes(b"left over")
    with claimed(part):
        download((tmp_path / "model").as_uri(), part, HURRIED, silent)
    assert part.read_bytes() == BODY


def test_a_full_disk_is_no_broken_connection(mirror: Mirror, part: Path) -> None:
    def full(_here: int, _total: int | None) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(DownloadError, match="No space left"), claimed(part):
        download(f"{mirror.url}/model", part, HURRIED, full)
    assert len(mirror.asked) == 1


def one_of_many(url: str, target: Path) -> None:
    part = target.with_name(f".{target.name}.part")
    with claimed(part):
        if not target.exists():
            download(url, part, HURRIED, silent)
            deliver(part, target)


def other_process(url: str, target: Path) -> subprocess.Popen[bytes]:
    """`one_of_many` in a Python of its own."""
    words = "import sys; sys.path[:0] = sys.argv[3:]; from pathlib import Path; import test_download as t"
    program = f"{words}; t.one_of_many(sys.argv[1], Path(sys.argv[2]))"
    here = Path(__file__)
    return subprocess.Popen([sys.executable, "-c", program, url, target, here.parent, here.parents[2], here.parents[3]])


def test_threads_at_once_fetch_one_whole_file_once(mirror: Mirror, tmp_path: Path) -> None:
    mirror.cuts = [100_000]
    target, url = tmp_path / "model", f"{mirror.url}/model"
    threads = [threading.Thread(target=one_of_many, args=(url, target)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert target.read_bytes() == BODY
    assert [asked for _, asked in mirror.asked] == [None, "bytes=100000-"]
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_processes_at_once_fetch_one_whole_file_once(mirror: Mirror, tmp_path: Path) -> None:
    mirror.cuts = [100_000]
    target, url = tmp_path / "model", f"{mirror.url}/model"
    part = target.with_name(".model.part")
    with claimed(part):  # so that both have to wait
        processes = [other_process(url, target) for _ in range(2)]
        time.sleep(1.0)
        assert [process.poll() for process in processes] == [None, None]
    assert [process.wait() for process in processes] == [0, 0]
    assert target.read_bytes() == BODY
    assert [asked for _, asked in mirror.asked] == [None, "bytes=100000-"]
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_who_waited_claims_the_file_that_is_there_now_not_the_one_that_was_delivered(part: Path) -> None:
    entered = threading.Event()

    def wait() -> None:
        with claimed(part):
            entered.set()

    second = threading.Thread(target=wait)
    with ExitStack() as third:
        with claimed(part):
            second.start()
            time.sleep(0.1)  # it waits for the file that is called `part` now ...
            deliver(part, part.with_name("model"))
            third.enter_context(claimed(part))
        assert not entered.wait(0.2)  # ... and gets it, but another one is called `part`, and held
    second.join()
    assert entered.is_set()


def test_a_claim_that_brought_nothing_leaves_nothing(part: Path) -> None:
    with claimed(part):
        assert part.exists()
    assert list(part.parent.iterdir()) == []
