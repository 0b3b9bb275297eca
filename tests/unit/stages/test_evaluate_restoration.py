"""`wellpose evaluate-restoration`: from folders of images with truth to tables and pictures; faults told at once."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy.ndimage import label

from pipeline_lib.evaluation import Contender
from pipeline_lib.stages import evaluate_restoration

LEVELS = ("--levels", "noise 4", "noise 1")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the command runs, with three images of squares and weights without content that know the truth's shape."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "s").mkdir()
    labels = np.zeros((48, 48), np.uint8)
    for number, (y, x) in enumerate(((4, 4), (4, 28), (28, 4), (28, 28)), 1):
        labels[y : y + 16, x : x + 16] = number
    for number in range(3):
        Image.fromarray((labels > 0).astype(np.uint8) * 100 + 20).save(tmp_path / "s" / f"{number:03d}_img.png")
        Image.fromarray(labels).save(tmp_path / "s" / f"{number:03d}_masks.png")
    for name in ("net", "judge"):
        (tmp_path / f"{name}.safetensors").write_bytes(name.encode())
    flat = (labels > 0).astype(np.float32)
    monkeypatch.setattr(evaluate_restoration, "load_restorer", lambda *_: lambda *_: flat)

    def segment(image: Any, diameter: float | None) -> Any:
        return label(image[0] > 0.5)[0].astype(np.uint32), diameter

    monkeypatch.setattr(evaluate_restoration, "load_segmenter", lambda *_: Contender(segment, 17.0))
    return tmp_path


def command(*words: str) -> None:
    parser = argparse.ArgumentParser()
    evaluate_restoration.add_arguments(parser)
    weights = ("--weights", "net.safetensors", "--segmentation", "judge.safetensors")
    evaluate_restoration.run(parser.parse_args([*words, *weights]))


def test_from_folders_to_files(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command("s", "--images", "2", *LEVELS)
    out = folder / "restoration"
    assert {path.name for path in out.iterdir()} == set(evaluate_restoration.FILES)
    rows = pd.read_csv(out / "images.csv", dtype={"image": str})
    assert set(rows["level"]) == {"clean", "noise 4", "noise 1"}
    assert rows["image"].nunique() == 2
    assert set(rows["method"]) == {"degraded", "gaussian", "median", "non-local means", "net"}
    found = pd.read_csv(out / "verdicts.csv").set_index("kind")
    assert (found.loc["noise", "restored"], found.loc["noise", "clean_restored"]) == (1, 1)
    assert found.loc["noise", "gains"]
    content = json.loads((out / "summary.json").read_text())
    assert [row["method"] for row in content["verdicts"]] == ["net", "net"]
    assert content["settings"]["seed"] == 1
    assert len(content["weights"]["net"]["sha256"]) == 64
    with Image.open(out / "curves.png") as curves, Image.open(out / "pictures.png") as pictures:
        assert curves.width == 900, "one set, one kind of damage"
        assert pictures.width > 4 * 320
    assert "noise 1" in capsys.readouterr().out


def test_the_same_seed_gives_the_same_rows(folder: Path) -> None:
    command("s", "--images", "1", "--levels", "noise 4", "--out", "one")
    command("s", "--images", "1", "--levels", "noise 4", "--out", "two")
    for name in evaluate_restoration.FILES:
        assert (folder / "one" / name).read_bytes() == (folder / "two" / name).read_bytes()


def test_rows_of_others_are_rivals(folder: Path) -> None:
    command("s", "--levels", "noise 1")
    rows = pd.read_csv(folder / "restoration" / "images.csv", dtype={"image": str})
    theirs = rows[(rows["method"] == "net") & (rows["level"] == "noise 1")].assign(method="noise2void", setting="9")
    theirs.to_csv(folder / "more.csv", index=False)
    command("s", "--levels", "noise 1", "--more", "more.csv", "--out", "joined")
    summary = pd.read_csv(folder / "joined" / "summary.csv")
    assert set(summary.loc[summary["level"] == "noise 1", "rival"]) == {"noise2void"}
    assert not pd.read_csv(folder / "joined" / "verdicts.csv")["wins"].any(), "no better than as good"


def test_all_faults_at_once(folder: Path) -> None:
    (folder / "restoration").mkdir()
    (folder / "restoration" / "images.csv").touch()
    (folder / "more.csv").write_text("set,image\n")
    faults = (
        r"(?s)nowhere does not exist.*more.csv lacks the columns level.*levels fog found; allowed: clean, noise 16"
        r".*--images is 0.*holds images.csv.*--overwrite"
    )
    with pytest.raises(ValueError, match=faults):
        command("nowhere", "--levels", "fog", "--images", "0", "--more", "more.csv")


def test_images_without_objects(folder: Path) -> None:
    for path in (folder / "s").glob("*_masks.png"):
        Image.fromarray(np.zeros((48, 48), np.uint8)).save(path)
    with pytest.raises(ValueError, match="no objects in the middle of any image of s"):
        command("s")
