"""`wellpose evaluate`: from folders of images with truth to tables, a page and a picture; faults told at once."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from pipeline_lib import api
from pipeline_lib.stages import evaluate

SQUARES = ((2, 2), (2, 20), (20, 2), (20, 20))


def save_pairs(folder: Path, objects: list[int]) -> Path:
    """Images in which every object has its own intensity, its number."""
    folder.mkdir(parents=True)
    for number, count in enumerate(objects):
        labels = np.zeros((40, 40), np.uint8)
        for label, (y, x) in enumerate(SQUARES[:count], 1):
            labels[y : y + 10, x : x + 10] = label
        Image.fromarray(labels).save(folder / f"{number:03d}_img.png")
        Image.fromarray(labels).save(folder / f"{number:03d}_masks.png")
    return folder


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which the command runs, with weights `a` and `b`: b finds the first object only."""
    monkeypatch.chdir(tmp_path)
    for name in "ab":
        (tmp_path / f"{name}.safetensors").write_bytes(name.encode())
    return tmp_path


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Networks without weights, and what was asked of them: words, run settings, settings of each image."""
    made: list[Any] = []

    def load_network(word: str, run: Any) -> Any:
        made.append((word, run))
        return SimpleNamespace(channels_in=1, diam_labels=25.0, most=1 if word.startswith("b") else 9)

    def segment_image(network: Any, image: Any, settings: Any) -> Any:
        assert image.shape == (1, 40, 40), "as many channels as the network reads"
        made.append(settings)
        return np.where(image[0] <= network.most, image[0], 0).astype(np.uint32)

    monkeypatch.setattr(api, "load_network", load_network)
    monkeypatch.setattr(api, "segment_image", segment_image)
    monkeypatch.setattr(api, "find_diameter", lambda *_: 12.5)
    return made


def command(*words: str | Path) -> None:
    parser = argparse.ArgumentParser()
    evaluate.add_arguments(parser)
    evaluate.run(parser.parse_args([str(word) for word in words]))


BOTH = ("--weights", "a.safetensors", "b.safetensors")


def test_from_folders_to_files(folder: Path, loaded: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    save_pairs(folder / "first", [4, 2])
    save_pairs(folder / "second", [1])
    command("first", "second", *BOTH)
    out = folder / "evaluation"
    assert {path.name for path in out.iterdir()} == set(evaluate.FILES)
    images = pd.read_csv(out / "images.csv")
    assert list(images["set"]) == ["first"] * 4 + ["second"] * 2
    assert list(images["ap_0.50"]) == [1, 0.25, 1, 0.5, 1, 1]
    assert set(images["diameter"]) == {12.5}
    summary = pd.read_csv(out / "summary.csv")
    assert list(summary["ap_0.90"]) == [1, 0.375, 1, 1]
    content = json.loads((out / "summary.json").read_text())
    assert [row["weights"] for row in content["summary"]] == ["a", "b", "a", "b"]
    assert content["thresholds"][:2] == [0.5, 0.55]
    assert len(content["weights"]["b"]["sha256"]) == 64
    assert content["settings"]["diameter"] == "estimate"
    with Image.open(out / "evaluation.png") as picture:
        assert picture.width == 1800, "one plot for each set"
    assert "<td>first</td>" in (out / "evaluation.html").read_text(encoding="utf-8")
    table = capsys.readouterr().out.splitlines()
    assert table[0].split()[:3] == ["Set", "Weights", "Images"]
    assert table[2].split()[:5] == ["first", "b", "2", "6", "2"]
    assert len([asked for asked in loaded if isinstance(asked, tuple)]) == 2, "each network is loaded once"


def test_flags_reach_the_network(folder: Path, loaded: list[Any]) -> None:
    save_pairs(folder / "s", [2, 0])
    flags = ("--augment", "--device", "cpu", "--flow-threshold", "0.6", "--cellprob-threshold=-1", "--diameter", "true")
    command("s", "--weights", "a.safetensors", *flags)
    (_, run), *asked = loaded
    assert (run.device, run.augment) == ("cpu", True)
    assert [settings.diameter for settings in asked] == pytest.approx([20 / np.sqrt(np.pi), 25.0])
    assert {(s.masks.flow_threshold, s.masks.cellprob_threshold) for s in asked} == {(0.6, -1.0)}


@pytest.mark.parametrize("section", ["sets: {}", "train: {{sets: [{{name: other, folder: none}}], validation: {}}}"])
def test_sets_of_a_config(folder: Path, loaded: list[Any], section: str) -> None:
    save_pairs(folder / "s", [2])
    (folder / "c.yaml").write_text(section.format("[{name: mine, folder: s}]"), encoding="utf-8")
    command("--config", "c.yaml", "--weights", "a.safetensors")
    assert list(pd.read_csv(folder / "evaluation" / "images.csv")["set"]) == ["mine"]


def test_names_that_are_shared_are_told_in_full(folder: Path, loaded: list[Any]) -> None:
    save_pairs(folder / "one" / "val", [1])
    save_pairs(folder / "two" / "val", [1])
    command("one/val", "two/val", "--weights", "a.safetensors")
    assert list(pd.read_csv(folder / "evaluation" / "images.csv")["set"]) == ["one/val", "two/val"]


def test_all_faults_at_once(folder: Path, loaded: list[Any]) -> None:
    (folder / "evaluation").mkdir()
    (folder / "evaluation" / "images.csv").touch()
    with pytest.raises(ValueError, match=r"(?s)nowhere does not exist.*no_such.*holds images.csv.*--overwrite"):
        command("nowhere", "--weights", "no_such.pth")
    assert loaded == []


def test_results_are_replaced_only_when_that_is_said(folder: Path, loaded: list[Any]) -> None:
    save_pairs(folder / "s", [2])
    command("s", "--weights", "a.safetensors")
    with pytest.raises(ValueError, match="--overwrite"):
        command("s", "--weights", "b.safetensors")
    command("s", "--weights", "b.safetensors", "--overwrite")
    assert list(pd.read_csv(folder / "evaluation" / "images.csv")["weights"]) == ["b"]


def test_nothing_to_look_at(folder: Path) -> None:
    with pytest.raises(ValueError, match="give a FOLDER"):
        command(*BOTH)


@pytest.mark.parametrize("word", ["0", "-3", "nan", "wide"])
def test_diameters_without_meaning(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command("s", f"--diameter={word}")
    assert "true, estimate, or a positive number" in capsys.readouterr().err
