"""Official models in the cache: nothing gets in that is not whole, expected and what its name says."""

from __future__ import annotations

import hashlib
import io
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from mirror import Mirror, serving

from pipeline_lib.core.catalogue import MODELS
from pipeline_lib.io.checksums import checksum
from pipeline_lib.io.download import DownloadError, Patience
from pipeline_lib.io.weights import WeightsError, find_weights, layout, load_weights
from pipeline_lib.io.zoo import Fetched, Source, fetch, model_files, verify

SHIPPED_FILES = [
    "size_wellpose-1.safetensors",
    "starter_nuclei.safetensors",
    "wellpose-1.safetensors",
    "wellpose-denoise-1.safetensors",
    "wellpose-oneclick-1.safetensors",
]
SIZE, FILE = MODELS["size_cyto3"], "size_cyto3.npy"
HURRIED = Patience(attempts=2, pause=0.0, timeout=5.0)


def size_file(diameter: float) -> bytes:
    """As the official ones are made."""
    stream = io.BytesIO()
    entries = {"A": np.zeros(256), "smean": np.zeros(256), "diam_mean": diameter, "ymean": 0.0}
    np.save(stream, entries, allow_pickle=True)  # type: ignore[arg-type]
    return stream.getvalue()


GOOD, OTHER = size_file(30.0), size_file(31.0)


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture(scope="module")
def networks() -> dict[str, bytes]:
    """Two small files in the layout: 26 MB each."""
    made = {}
    for name, channels in (("cyto3", (2, 3)), ("denoise_cyto3", (1, 1))):
        stream = io.BytesIO()
        torch.save({key: torch.ones(shape) for key, shape in layout(*channels).items()}, stream)
        made[name] = stream.getvalue()
    return made


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CELLPOSE_LOCAL_MODELS_PATH", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def mirror() -> Iterator[Mirror]:
    with serving(Mirror({FILE: GOOD})) as running:
        yield running


def got(mirror: Mirror, pin: str | None = None) -> Fetched:
    pins = {FILE: pin} if pin else {}
    return fetch(SIZE, Source(f"{mirror.url}/models/", pins, HURRIED), lambda *_: None)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def test_the_first_download_is_trusted_and_its_checksum_kept(mirror: Mirror, cache: Path) -> None:
    fetched = got(mirror)
    assert fetched == Fetched(cache / FILE, sha256(GOOD), downloaded=True, trusted=True)
    assert mirror.asked == [(f"/models/{FILE}", None)]
    assert (cache / FILE).read_bytes() == GOOD
    assert (cache / f"{FILE}.sha256").read_text() == f"{sha256(GOOD)}  {FILE}\n"
    assert names(cache) == [FILE, f"{FILE}.sha256"]
    assert got(mirror) == replace(fetched, downloaded=False, trusted=False)
    assert len(mirror.asked) == 1


def test_a_network_is_fetched_and_found(cache: Path, networks: dict[str, bytes]) -> None:
    with serving(Mirror(networks, cuts=[10_000_000])) as mirror:
        fetched = fetch(MODELS["cyto3"], Source(mirror.url, patience=HURRIED), lambda *_: None)
    assert find_weights("cyto3") == fetched.path
    assert load_weights(fetched.path).sha256 == fetched.sha256 == sha256(networks["cyto3"])


def test_a_network_under_a_false_name_is_refused(cache: Path, networks: dict[str, bytes]) -> None:
    with serving(Mirror({"cyto3": networks["denoise_cyto3"]})) as mirror:
        source = Source(mirror.url, patience=HURRIED)
        with pytest.raises(WeightsError, match=r"/cyto3: a network of 1 -> 1 channels, not cyto3.*Nothing was kept"):
            fetch(MODELS["cyto3"], source, lambda *_: None)
    assert names(cache) == []


def test_a_wrong_checksum_keeps_nothing_and_tells_both(mirror: Mirror, cache: Path) -> None:
    with pytest.raises(WeightsError, match=f"SHA-256 {sha256(GOOD)} instead of {sha256(OTHER)}. Nothing was kept"):
        got(mirror, pin=sha256(OTHER))
    assert names(cache) == []
    assert not got(mirror, pin=sha256(GOOD)).trusted


def test_a_file_that_was_trusted_once_must_not_change_on_the_server(mirror: Mirror, cache: Path) -> None:
    got(mirror)
    (cache / FILE).unlink()
    mirror.files[FILE] = OTHER
    with pytest.raises(WeightsError, match=f"SHA-256 {sha256(OTHER)} instead of {sha256(GOOD)}"):
        got(mirror)
    assert names(cache) == [f"{FILE}.sha256"]
    assert got(mirror, pin=sha256(OTHER)).downloaded  # who knows better says so
    assert (cache / f"{FILE}.sha256").read_text().startswith(sha256(OTHER))


@pytest.mark.parametrize("content", [b"<html>please log in</html>", b"", GOOD[:-100]])
def test_what_is_no_model_never_gets_in(mirror: Mirror, cache: Path, content: bytes) -> None:
    """As a portal answers, or a server that ends early and does not say how much there is."""
    mirror.files[FILE] = content
    mirror.length = False
    with pytest.raises((WeightsError, DownloadError), match=f"^{mirror.url}/models/{FILE}: ") as raised:
        got(mirror)
    assert ".part" not in str(raised.value)
    assert ("it begins with '<'" in str(raised.value)) == content.startswith(b"<")
    assert names(cache) == []


def test_a_damaged_file_is_replaced_by_a_good_one_only(mirror: Mirror, cache: Path) -> None:
    got(mirror)
    (cache / FILE).write_bytes(GOOD[:-100])
    mirror.statuses = [404]
    with pytest.raises(DownloadError, match="404"):
        got(mirror)
    assert (cache / FILE).read_bytes() == GOOD[:-100]
    assert got(mirror).downloaded
    assert (cache / FILE).read_bytes() == GOOD


def test_a_file_that_another_program_downloaded_is_kept_and_signed(mirror: Mirror, cache: Path) -> None:
    cache.mkdir()
    (cache / FILE).write_bytes(GOOD)
    (cache / f".{FILE}.part").write_bytes(b"left over")
    assert got(mirror) == Fetched(cache / FILE, sha256(GOOD), downloaded=False, trusted=True)
    assert mirror.asked == []
    assert names(cache) == [FILE, f"{FILE}.sha256"]


def test_a_broken_download_is_continued_and_still_checked(mirror: Mirror, cache: Path) -> None:
    mirror.cuts = [1000]
    with pytest.raises(DownloadError, match="ended after 1000 of"):
        fetch(SIZE, Source(mirror.url, {}, Patience(attempts=1)), lambda *_: None)
    assert names(cache) == [f".{FILE}.part", f".{FILE}.part.version"]
    assert [path.name for path in model_files()] == SHIPPED_FILES  # unfinished files are no models
    assert got(mirror).sha256 == sha256(GOOD)
    assert mirror.asked[-1][1] == "bytes=1000-"
    assert names(cache) == [FILE, f"{FILE}.sha256"]


def test_a_process_killed_before_the_rename_is_continued_without_a_byte(
    mirror: Mirror, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr("pipeline_lib.io.zoo.deliver", lambda *_: None)  # as if killed just before
        got(mirror)
    assert not (cache / FILE).exists()
    got(mirror)
    assert (cache / FILE).read_bytes() == GOOD
    assert [asked for _, asked in mirror.asked] == [None, f"bytes={len(GOOD)}-"]


def test_two_at_once(mirror: Mirror, cache: Path) -> None:
    fetched: list[Fetched] = []
    threads = [threading.Thread(target=lambda: fetched.append(got(mirror))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(one.downloaded for one in fetched) == [False, False, False, True]
    assert len(mirror.asked) == 1
    assert names(cache) == [FILE, f"{FILE}.sha256"]


@pytest.mark.parametrize("as_url", [True, False])
def test_a_folder_can_be_the_mirror(tmp_path: Path, cache: Path, *, as_url: bool) -> None:
    shelf = tmp_path / "a shelf"
    shelf.mkdir()
    (shelf / FILE).write_bytes(GOOD)
    source = Source(shelf.as_uri() if as_url else str(shelf), {FILE: sha256(GOOD)})
    assert fetch(SIZE, source, lambda *_: None).downloaded
    (shelf / FILE).unlink()
    (cache / FILE).unlink()
    with pytest.raises(DownloadError, match="No such file"):
        fetch(SIZE, source, lambda *_: None)


def test_other_architectures_are_not_fetched(mirror: Mirror, cache: Path) -> None:
    for name in ("transformer_cp3", "neurips_cellpose_default", "cpsam"):
        with pytest.raises(WeightsError, match="another architecture"):
            fetch(MODELS[name], Source(mirror.url), lambda *_: None)
    assert mirror.asked == []


def test_verify_finds_what_is_bad_and_nothing_else(mirror: Mirror, cache: Path) -> None:
    got(mirror)
    (cache / "cpsam").write_bytes(b"for another program")
    (cache / "gui_models.txt").write_text("mine\n")
    (cache / "mine").write_bytes(b"no network")
    (cache / "size_cyto2torch_0.npy").write_bytes(OTHER)
    verdicts = {verdict.path.name: verdict for verdict in verify({"size_cyto2torch_0.npy": sha256(GOOD)})}
    assert {name for name, verdict in verdicts.items() if verdict.fault} == {"mine", "size_cyto2torch_0.npy"}
    assert verdicts["mine"].fault == "incomplete, or no model file"
    assert (
        verdicts["size_cyto2torch_0.npy"].fault == f"wrong checksum: SHA-256 {sha256(OTHER)} instead of {sha256(GOOD)}"
    )
    assert {name for name, verdict in verdicts.items() if not verdict.pinned} == {"cpsam", "mine"}
    assert verdicts["cpsam"].sha256 == checksum(cache / "cpsam")
    (cache / FILE).write_bytes(OTHER)
    (cache / "mine.sha256").write_text("no checksum")
    verdicts = {verdict.path.name: verdict for verdict in verify({})}
    assert "wrong checksum" in verdicts[FILE].fault
    assert "mine.sha256: expected lines" in verdicts["mine"].fault


def test_the_shipped_weights_bear_their_checksum() -> None:
    verdicts = [(verdict.path.name, verdict.fault, verdict.pinned) for verdict in verify({})]
    assert verdicts == [(name, "", True) for name in SHIPPED_FILES]
