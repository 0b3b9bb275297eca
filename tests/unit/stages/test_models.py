"""`wellpose models`: what is said, what comes out, which code a shell sees."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from mirror import Mirror, serving

from pipeline_lib.__main__ import main
from pipeline_lib.core.catalogue import LICENCE_NOTE, MODELS
from pipeline_lib.io.size_models import load_size_model
from pipeline_lib.io.weights import find_weights, load_weights, shipped_models
from pipeline_lib.stages import models

FILE = "size_cyto3.npy"


def size_file() -> bytes:
    stream = io.BytesIO()
    entries = {"A": np.zeros(256), "smean": np.zeros(256), "diam_mean": 30.0, "ymean": 0.0}
    np.save(stream, entries, allow_pickle=True)  # type: ignore[arg-type]
    return stream.getvalue()


GOOD = size_file()
SUM = hashlib.sha256(GOOD).hexdigest()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("http_proxy", "HTTP_PROXY", models.MIRROR_VARIABLE, models.SUMS_VARIABLE):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CELLPOSE_LOCAL_MODELS_PATH", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def mirror(monkeypatch: pytest.MonkeyPatch) -> Iterator[Mirror]:
    with serving(Mirror({FILE: GOOD})) as running:
        monkeypatch.setenv(models.MIRROR_VARIABLE, running.url)
        yield running


def test_list_names_every_model_and_what_is_here(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cache.mkdir()
    (cache / "cyto2torch_0").touch()
    (cache / "mine").touch()
    (cache / "gui_models.txt").write_text("mine\ngone\n")
    assert main(["models", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    rows = {line.split()[0]: line.split() for line in lines}
    here = ["cyto2", "size_wellpose-1", *shipped_models(), "mine"]
    assert [line.split()[0] for line in lines[: len(here) + 2]] == ["NAME", *here, "cyto3"]
    assert set(rows) == {"NAME", *MODELS, *here, "gone"}
    assert rows["cyto2"][1:8] == ["segmentation", "2", "->", "3", "30", "cyto2torch_0", "yes"]
    assert rows["denoise_nuclei"][1:7] == ["restoration", "1", "->", "1", "17", "denoise_nuclei"]
    assert " ".join(rows["cyto3"]).endswith(f"no {LICENCE_NOTE}")
    assert rows["deepbacs_cp3"][-1] == "no"
    assert "cannot be used" in " ".join(rows["transformer_cp3"])
    assert "yes" in rows["mine"]
    assert "no" in rows["gone"]


def test_fetch_tells_the_licence_once_and_the_checksum(
    mirror: Mirror, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["models", "fetch", "size_cyto3", "size_cyto3"]) == 0
    told = capsys.readouterr()
    assert told.out.count(LICENCE_NOTE) == 1
    assert f"SHA-256 {SUM} (no checksum was known: kept in {FILE}.sha256" in told.out
    assert told.err == ""  # nobody watches: no progress
    assert (cache / FILE).read_bytes() == GOOD
    assert main(["models", "fetch", "size_cyto3"]) == 0
    assert "already there" in capsys.readouterr().out


def test_the_size_model_comes_with_its_network_and_one_failure_stops_no_other(
    mirror: Mirror, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["models", "fetch", "cyto3", "neurips_cellpose_default"]) == 1
    told = capsys.readouterr().err
    assert "models fetch cyto3: " in told
    assert "404" in told
    assert "neurips_cellpose_default reads 3 channels, another architecture" in told
    assert (cache / FILE).read_bytes() == GOOD


def test_what_is_shipped_need_not_be_fetched(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "fetch", "starter_nuclei", "--sha256", SUM]) == 0
    assert capsys.readouterr().out == "starter_nuclei: shipped with wellpose, nothing to fetch\n"
    assert main(["models", "fetch", "starter_nucleus"]) == 2
    assert "(did you mean starter_nuclei" in capsys.readouterr().err


def test_a_model_without_its_size_model_is_told_to_be_usable(
    mirror: Mirror, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mirror.files.clear()
    usable = "cyto3 itself is there and usable without it"
    assert main(["models", "fetch", "size_cyto3"]) == 1
    assert usable not in capsys.readouterr().err
    cache.mkdir(exist_ok=True)
    (cache / "cyto3").touch()
    assert main(["models", "fetch", "size_cyto3"]) == 1
    assert usable in capsys.readouterr().err


def test_a_person_at_a_terminal_sees_megabytes(
    mirror: Mirror, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    assert main(["models", "fetch", "size_cyto3"]) == 0
    assert capsys.readouterr().err.endswith("\rsize_cyto3: 0.0 of 0.0 MB\n")


@pytest.mark.parametrize("how", ["flag", "list", "environment"])
def test_pins_are_taken_from_flag_list_or_environment(
    mirror: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], how: str
) -> None:
    words = ["models", "fetch", "size_cyto3"]
    sums = tmp_path / "sums"

    def pinned(pin: str) -> int:
        sums.write_text(f"{pin}  {FILE}\n")
        if how == "environment":
            monkeypatch.setenv(models.SUMS_VARIABLE, str(sums))
        return main(words + {"flag": ["--sha256", pin.upper()], "list": ["--checksums", str(sums)]}.get(how, []))

    assert pinned("0" * 64) == 1
    assert f"SHA-256 {SUM} instead of {'0' * 64}" in capsys.readouterr().err
    assert pinned(SUM) == 0
    assert "(as expected)" in capsys.readouterr().out


def test_wrong_words(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "fetch", "cyto4", "Nuclei", "xyzzy"]) == 2
    told = capsys.readouterr().err
    assert "'cyto4' (did you mean " in told
    assert "'Nuclei' (did you mean nuclei" in told
    assert "'xyzzy';" in told
    assert main(["models", "fetch", "cyto3", "cyto2", "--sha256", SUM]) == 2
    assert "--sha256 is the checksum of one file" in capsys.readouterr().err
    for words in (["models"], ["models", "fetch"], ["models", "fetch", "cyto3", "--sha256", "abc"]):
        with pytest.raises(SystemExit) as end:
            main(words)
        assert end.value.code == 2
    assert "not a SHA-256 sum" in capsys.readouterr().err


def test_verify_fails_if_any_file_is_bad(mirror: Mirror, cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "fetch", "size_cyto3"]) == 0
    assert main(["models", "verify"]) == 0
    assert "starter_nuclei.safetensors: ok, checksum as expected" in capsys.readouterr().out
    (cache / FILE).write_bytes(GOOD + b"!")
    assert main(["models", "verify"]) == 1
    assert f"{FILE}: BAD, wrong checksum" in capsys.readouterr().out


def test_convert_a_network_and_a_size_model(mirror: Mirror, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "again.safetensors"
    assert main(["models", "convert", "starter_nuclei", str(target)]) == 0
    source = find_weights("starter_nuclei")
    assert load_weights(target).diam_labels == load_weights(source).diam_labels
    assert load_weights(source).sha256.encode() in target.read_bytes()[:2000]
    assert main(["models", "fetch", "size_cyto3"]) == 0
    for asked in ("size_cyto3", str(tmp_path / "cache" / FILE)):
        assert main(["models", "convert", asked, str(tmp_path / "size.safetensors"), "--overwrite"]) == 0
        assert load_size_model(tmp_path / "size.safetensors").diam_mean == 30.0
        head = (tmp_path / "size.safetensors").read_bytes()[:1000]
        assert all(word.encode() in head for word in ("size_cyto3", SUM, LICENCE_NOTE))
    capsys.readouterr()
    assert main(["models", "convert", "starter_nuclei", str(tmp_path / "again.pth")]) == 2
    assert "must end in .safetensors" in capsys.readouterr().err
    before = target.read_bytes()
    assert main(["models", "convert", "size_cyto3", str(target)]) == 2
    assert "again.safetensors exists; give another name, or --overwrite" in capsys.readouterr().err
    assert target.read_bytes() == before
    assert main(["models", "convert", "cyto3", str(tmp_path / "new.safetensors")]) == 2
    assert "wellpose models fetch cyto3" in capsys.readouterr().err
