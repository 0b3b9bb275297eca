"""train: from a folder of pairs to weights that Cellpose loads; killed, disturbed and misled in every way."""

from __future__ import annotations

import csv
import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from pipeline_lib.__main__ import main
from pipeline_lib.io.size_models import load_size_model
from pipeline_lib.io.training_sets import TrainingSetError
from pipeline_lib.io.weights import find_size_model, load_weights
from pipeline_lib.settings import TrainingSet, TrainSettings
from pipeline_lib.stages.train import course
from pipeline_lib.stages.train.files import ModelFiles
from pipeline_lib.stages.train.segmenter import train


def write_pairs(folder: Path, count: int = 3, side: int = 64) -> Path:
    """Grey images of discs with their labels."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:side, :side]
    for number in range(count):
        labels = np.zeros((side, side), np.uint16)
        for label, (row, column) in enumerate(rng.integers(10, side - 10, (4, 2)), 1):
            labels[(y - row) ** 2 + (x - column) ** 2 < 49] = label
        image = rng.normal(20, 3, labels.shape) + 100 * (labels > 0)
        Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(folder / f"{number:03d}_img.png")
        Image.fromarray(labels).save(folder / f"{number:03d}_masks.png")
    return folder


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pairs(tmp_path_factory.mktemp("pairs"))


@pytest.fixture(autouse=True)
def short_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(course, "TOLD_EVERY", 2)


@pytest.fixture
def kept_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkpoint after every round."""
    monkeypatch.setattr(course, "KEEP_EVERY", 1e-9)


def small(folder: Path, **changed: Any) -> TrainSettings:
    sets = (TrainingSet(name="discs", folder=str(folder), licence="CC0, drawn here"),)
    values = {"steps": 4, "batch_size": 2, "crop": 16, "size_draws": 0, "device": "cpu", "precision": "float32"}
    return TrainSettings.model_validate({"sets": sets, **values, **changed})


def trained(folder: Path, out: Path, **changed: Any) -> ModelFiles:
    files = ModelFiles(out)
    train(small(folder, **changed), files)
    return files


def entries(files: ModelFiles) -> dict[str, torch.Tensor]:
    return dict(load_weights(files.weights).state)


def test_everything_a_user_needs_is_written(pairs: Path, tmp_path: Path) -> None:
    tried = {"validation": [{"name": "discs", "folder": str(pairs)}], "validation_images": 1}
    files = trained(pairs, tmp_path / "mine", size_draws=3, **tried)
    weights = load_weights(files.weights)
    assert (weights.name, weights.channels_in, weights.channels_out) == ("mine", 2, 3)
    assert weights.diam_mean == 30
    assert weights.diam_labels == pytest.approx(2 * 7, rel=0.1)
    official = load_weights(files.official)
    for key, value in weights.state.items():
        torch.testing.assert_close(value, official.state[key], atol=1e-3, rtol=1e-3)
    found = find_size_model(files.weights)
    assert found == files.sizes
    assert 1 < load_size_model(files.sizes).diameter(np.zeros(256)) < 1000
    card = files.card.read_text()
    assert all(word in card for word in ("mine", "CC0, drawn here", "4 steps", "discs AP@0.5", weights.sha256))
    with (files.folder / "losses.csv").open() as stream:
        losses = list(csv.DictReader(stream))
    assert [row["step"] for row in losses] == ["2", "4"]
    with Image.open(files.folder / "curve.png") as picture:
        assert picture.width > 500


def test_the_peer_loads_the_weights_and_gives_the_same_output(pairs: Path, tmp_path: Path) -> None:
    cellpose = pytest.importorskip("cellpose.resnet_torch")
    from pipeline_lib.nets.flownet import build

    files = trained(pairs, tmp_path / "mine")
    theirs = cellpose.CPnet([2, 32, 64, 128, 256], 3, 3, mkldnn=False, max_pool=True, diam_mean=30.0)
    theirs.load_model(str(files.official), device=torch.device("cpu"))
    image = torch.randn(1, 2, 64, 64)
    with torch.no_grad():
        ours, _ = build(load_weights(files.official).state)(image)
        other = theirs.eval()(image)[0]
    torch.testing.assert_close(ours, other, atol=1e-5, rtol=1e-4)


def killed_after(monkeypatch: pytest.MonkeyPatch, rounds: int) -> Callable[[], None]:
    """Have the training end, as a kill would end it, after some rounds; gives what lets it live again."""
    told, real = [0], course._round

    def counted(*arguments: Any) -> dict[str, Any]:
        if told[0] == rounds:
            raise KeyboardInterrupt
        told[0] += 1
        return real(*arguments)

    monkeypatch.setattr(course, "_round", counted)
    return lambda: monkeypatch.setattr(course, "_round", real)


@pytest.mark.usefixtures("kept_often")
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
    steps = [row.split(",")[0] for row in (again.folder / "losses.csv").read_text().splitlines()]
    assert steps == ["step", "2", "4"]


def test_nothing_that_is_due_displaces_what_is_due_as_often(
    pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, real = [], ModelFiles.keep
    monkeypatch.setattr(course, "KEEP_EVERY", 60 * 1e-9)
    monkeypatch.setattr(ModelFiles, "keep", lambda files, *told: (kept.append(1), real(files, *told)))
    trained(pairs, tmp_path / "mine", validate_every=1e-9)
    assert len(kept) == 3  # after both rounds, and at the end


def test_time_ends_a_training_in_the_middle_of_a_round(
    pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(course, "TOLD_EVERY", 1000)
    files = trained(pairs, tmp_path / "mine", steps=1000, minutes=1e-6)
    assert [row.split(",")[0] for row in (files.folder / "losses.csv").read_text().splitlines()] == ["step", "1"]


def test_a_finished_training_is_not_trained_further(pairs: Path, tmp_path: Path) -> None:
    tried = [TrainingSet(name="tried", folder=str(pairs))]
    files = trained(pairs, tmp_path / "mine", validation=tried)
    before, scores = entries(files), (files.folder / "validation.csv").read_text()
    files.weights.unlink()
    again = entries(trained(pairs, tmp_path / "mine", validation=tried))
    assert all(torch.equal(value, before[key]) for key, value in again.items())
    assert (files.folder / "validation.csv").read_text() == scores


def test_another_training_in_the_same_folder_is_refused(pairs: Path, tmp_path: Path) -> None:
    trained(pairs, tmp_path / "mine")
    with pytest.raises(ValueError, match=r"other settings \(learning_rate, seed\)"):
        trained(pairs, tmp_path / "mine", seed=1, learning_rate=0.1)


def test_a_damaged_checkpoint_is_told_of(pairs: Path, tmp_path: Path) -> None:
    trained(pairs, tmp_path / "mine")
    checkpoint = tmp_path / "mine" / "checkpoint.pt"
    checkpoint.write_bytes(checkpoint.read_bytes()[:5000])
    with pytest.raises(ValueError, match="not a whole checkpoint"):
        trained(pairs, tmp_path / "mine")


@pytest.mark.usefixtures("kept_often")
def test_a_full_disk_leaves_the_checkpoint_before(pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, saved = torch.save, [0]

    def full(state: Any, path: Path) -> None:
        saved[0] += 1
        if saved[0] == 2:
            path.write_bytes(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")
        real(state, path)

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OSError, match="No space left"):
        trained(pairs, tmp_path / "mine")
    assert sorted(path.name for path in (tmp_path / "mine").iterdir()) == ["checkpoint.pt", "curve.png", "losses.csv"]
    kept = ModelFiles(tmp_path / "mine").checkpoint(small(pairs))
    assert kept is not None
    assert kept["learner"]["steps"] == 2


def test_fine_tuning_starts_from_weights_and_keeps_their_diameter(pairs: Path, tmp_path: Path) -> None:
    files = trained(pairs, tmp_path / "mine", start="starter_nuclei", steps=2)
    weights = load_weights(files.weights)
    assert weights.diam_mean == 17
    start = load_weights(Path(course.__file__).parents[2] / "weights" / "starter_nuclei.safetensors")
    kernel = "upsample.up.res_up_1.conv.conv_1.conv.2.weight"
    assert 0 < float((weights.state[kernel] - start.state[kernel]).abs().max()) < 0.05


def test_a_training_can_start_from_the_mean_of_several(pairs: Path, tmp_path: Path) -> None:
    both = [str(trained(pairs, tmp_path / f"from-{seed}", seed=seed, steps=2).weights) for seed in (1, 2)]
    files = trained(pairs, tmp_path / "mine", start=both, steps=1, learning_rate=1e-12)
    key = "upsample.up.res_up_1.conv.conv_1.conv.2.weight"
    first, second, mean = (load_weights(Path(file)).state[key].float() for file in (*both, files.weights))
    assert torch.allclose(mean, (first + second) / 2, atol=1e-3)
    assert "from the mean of from-1, from-2, 1 steps" in files.card.read_text()


def test_a_mean_of_several_weights_needs_no_training(pairs: Path, tmp_path: Path) -> None:
    one, two = (str(trained(pairs, tmp_path / f"from-{seed}", seed=seed, steps=2).weights) for seed in (1, 2))
    files = trained(pairs, tmp_path / "mine", start=[one, one, two], steps=0, size_draws=2)
    first, second, mean = (load_weights(Path(file)).state for file in (one, two, files.weights))
    for key, value in mean.items():
        expected = (2 * first[key].float() + second[key].float()) / 3
        torch.testing.assert_close(value.float(), expected, atol=1e-3, rtol=1e-3)
    assert "the mean of 2 x from-1, from-2, as it is" in files.card.read_text()
    assert files.sizes.exists()
    assert not (files.folder / "losses.csv").exists()
    assert not (files.folder / "curve.png").exists()


def test_faults_of_all_sets_are_told_at_once(tmp_path: Path) -> None:
    lonely = write_pairs(tmp_path / "lonely", 2)
    (lonely / "001_masks.png").unlink()
    sets = [TrainingSet(name="lonely", folder=str(lonely)), TrainingSet(name="absent", folder=str(tmp_path / "none"))]
    with pytest.raises(TrainingSetError) as told:
        trained(lonely, tmp_path / "mine", sets=sets)
    assert "001" in str(told.value) and "absent" in str(told.value) and "lonely" in str(told.value)


def test_nothing_can_be_learnt_from_images_without_objects(tmp_path: Path) -> None:
    folder = write_pairs(tmp_path / "empty", 1)
    Image.fromarray(np.zeros((64, 64), np.uint16)).save(folder / "000_masks.png")
    with pytest.raises(ValueError, match="no object in any image"):
        trained(folder, tmp_path / "mine")


def test_empty_and_one_object_images_are_learnt_from_beside_others(tmp_path: Path) -> None:
    folder = write_pairs(tmp_path / "mixed", 3)
    Image.fromarray(np.zeros((64, 64), np.uint16)).save(folder / "000_masks.png")
    single = np.zeros((64, 64), np.uint16)
    single[20:40, 20:40] = 900
    Image.fromarray(single).save(folder / "001_masks.png")
    files = trained(folder, tmp_path / "mine", steps=2)
    assert all(torch.isfinite(value).all() for value in entries(files).values())


def test_a_loss_that_is_no_number_ends_the_training(pairs: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="lower learning_rate"):
        trained(pairs, tmp_path / "mine", learning_rate=1e20, warm_up=0, steps=20)


def test_the_command_trains_on_a_folder(pairs: Path, tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("train: {batch_size: 2, crop: 32, size_draws: 0, precision: float32}\n")
    out = tmp_path / "models" / "mine"
    code = main(["train", str(pairs), "--config", str(config), "--out", str(out), "--steps", "2", "--device", "cpu"])
    assert code == 0
    assert load_weights(out / "mine.safetensors").name == "mine"
    assert not (out / "size_mine.safetensors").exists()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "no set of images"),
        (["{pairs}", "--steps=-1"], "command line: train.steps: Input should be greater than or equal to 0 (found -1)"),
        (["{pairs}", "--config", "{wrong}"], "wrong.yaml: unknown key train.rate; allowed here: "),
        (["{pairs}", "--config", "{wrong}"], "wrong.yaml: train.crop: Input should be a valid integer"),
        (["{pairs}", "--start", "nonsense"], "no weights named 'nonsense'"),
        (["{pairs}", "--config", "{tmp}/absent.yaml"], "absent.yaml"),
    ],
)
def test_the_command_tells_what_is_wrong(
    pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], told: str
) -> None:
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("train: {rate: 1, crop: large}\n")
    given = [word.format(pairs=pairs, tmp=tmp_path, wrong=wrong) for word in words]
    assert main(["train", *given, "--out", str(tmp_path / "mine")]) == 2
    assert told in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"sets": [{"name": "a", "folder": "x"}, {"name": "a", "folder": "y"}]}, "two are called a"),
        ({"sets": [{"name": "a", "folder": "x", "weight": 1}, {"name": "b", "folder": "y"}]}, "only a have a weight"),
        ({"sets": [{"name": "a"}]}, "needs a folder"),
        ({"sets": [{"name": "a", "format": "synthetic", "folder": "x"}]}, "format synthetic with folder"),
        ({"crop": 100}, "multiple of 16"),
        ({"nonsense": 1}, "nonsense"),
    ],
)
def test_settings_that_cannot_be(changed: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        TrainSettings.model_validate(changed)
