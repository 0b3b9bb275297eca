"""train-restoration: from a folder of pairs to weights that restore; killed and misled."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
import torch
from unit.stages.test_train import killed_after, write_pairs

from pipeline_lib.__main__ import main
from pipeline_lib.io.weights import load_weights
from pipeline_lib.restoration import prepare_restorer
from pipeline_lib.settings import RestorationTrainSettings, TrainingSet
from pipeline_lib.stages.train import course
from pipeline_lib.stages.train.files import ModelFiles
from pipeline_lib.stages.train.restorer import train_restorer


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pairs(tmp_path_factory.mktemp("pairs"))


@pytest.fixture(autouse=True)
def short_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two steps, with a checkpoint after each."""
    monkeypatch.setattr(course, "TOLD_EVERY", 2)
    monkeypatch.setattr(course, "KEEP_EVERY", 1e-9)


def trained(folder: Path, out: Path, **changed: Any) -> ModelFiles:
    sets = (TrainingSet(name="discs", folder=str(folder), licence="CC0, drawn here"),)
    values = {"steps": 4, "batch_size": 2, "crop": 16, "device": "cpu", "precision": "float32"}
    files = ModelFiles(out)
    train_restorer(RestorationTrainSettings.model_validate({"sets": sets, **values, **changed}), files)
    return files


def entries(files: ModelFiles) -> dict[str, torch.Tensor]:
    return dict(load_weights(files.weights).state)


def test_everything_a_user_needs_is_written(pairs: Path, tmp_path: Path) -> None:
    tried = {"validation": [{"name": "discs", "folder": str(pairs)}], "validation_images": 1}
    files = trained(pairs, tmp_path / "mine", **tried)
    weights = load_weights(files.weights)
    assert (weights.name, weights.channels_in, weights.channels_out) == ("mine", 1, 1)
    assert weights.diam_mean == 17  # that of the frozen network
    assert weights.diam_labels == pytest.approx(2 * 7, rel=0.1)
    assert prepare_restorer(load_weights(files.official).state).diam_mean == 17
    assert not files.sizes.exists()
    card = files.card.read_text()
    assert all(word in card for word in ("restoration network (oneclick, losses per_seg, for wellpose-1)", "4 steps",
                                         "CC0, drawn here", weights.sha256, "train_restoration:"))  # fmt: skip
    with (files.folder / "validation.csv").open() as stream:
        (scores,) = csv.DictReader(stream)
    assert {"discs AP@0.5", "discs degraded AP@0.5", "discs clean AP@0.5"} < scores.keys()
    assert float(scores["discs clean AP@0.5"]) >= float(scores["discs degraded AP@0.5"])
    assert (files.folder / "losses.csv").exists() and (files.folder / "curve.png").exists()


def test_a_killed_training_ends_where_one_that_never_stopped_does(
    pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    straight = trained(pairs, tmp_path / "straight" / "mine")
    revive = killed_after(monkeypatch, 1)
    with pytest.raises(KeyboardInterrupt):
        trained(pairs, tmp_path / "killed" / "mine")
    assert not (tmp_path / "killed" / "mine" / "mine.safetensors").exists()
    revive()
    again = trained(pairs, tmp_path / "killed" / "mine")
    assert all(torch.equal(value, entries(again)[key]) for key, value in entries(straight).items())


def test_a_segmentation_network_can_be_the_start(pairs: Path, tmp_path: Path) -> None:
    files = trained(pairs, tmp_path / "mine", start="starter_nuclei", steps=1, losses="rec", learning_rate=1e-9)
    start = load_weights(Path(course.__file__).parents[2] / "weights" / "starter_nuclei.safetensors").state
    kernel, first = "upsample.up.res_up_1.conv.conv_1.conv.2.weight", "downsample.down.res_down_0.conv.conv_0.2.weight"
    torch.testing.assert_close(entries(files)[kernel], start[kernel], atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(entries(files)[first], start[first][:, :1], atol=1e-3, rtol=1e-3)


def test_another_training_in_the_same_folder_is_refused(pairs: Path, tmp_path: Path) -> None:
    trained(pairs, tmp_path / "mine", steps=2, losses="rec")
    with pytest.raises(ValueError, match=r"other settings \(kind\)"):
        trained(pairs, tmp_path / "mine", steps=2, losses="rec", kind="denoise")


def test_the_command_trains_on_a_folder(pairs: Path, tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("train_restoration: {batch_size: 2, crop: 32, precision: float32}\n")
    out = tmp_path / "mine"
    words = ["--config", str(config), "--out", str(out), "--steps", "1", "--device", "cpu", "--kind", "denoise"]
    assert main(["train-restoration", str(pairs), *words, "--losses", "rec", "--frozen", "starter_nuclei"]) == 0
    assert "(denoise, losses rec, for starter_nuclei)" in (out / "mine.md").read_text()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "no set of images"),
        (["{pairs}", "--kind", "dehaze"], "'denoise', 'deblur', 'upsample', 'oneclick' or 'aniso'"),
        (["{pairs}", "--losses", "all"], "'per_seg', 'per', 'seg' or 'rec'"),
        (["{pairs}", "--frozen", "nonsense"], "no weights named 'nonsense'"),
    ],
)
def test_the_command_tells_what_is_wrong(
    pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], told: str
) -> None:
    given = [word.format(pairs=pairs) for word in words]
    assert main(["train-restoration", *given, "--out", str(tmp_path / "mine")]) == 2
    assert told in capsys.readouterr().err


def test_a_network_that_restores_cannot_be_restored_for(pairs: Path, tmp_path: Path) -> None:
    restorer = trained(pairs, tmp_path / "first", steps=0)
    with pytest.raises(ValueError, match="restores images"):
        trained(pairs, tmp_path / "mine", frozen=str(restorer.weights))
