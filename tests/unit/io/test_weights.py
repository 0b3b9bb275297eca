"""Weights on disk: what goes in comes out, and what is not ours is refused by name."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from torch import Tensor

from pipeline_lib.io.checksums import checksum
from pipeline_lib.io.weights import (
    WeightsError,
    convert,
    find_weights,
    layout,
    load_weights,
    save_official,
    save_safetensors,
    user_models,
)
from pipeline_lib.nets.flownet import build


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    """Random entries of the right shapes, with a variance and a diameter that float16 cannot hold."""
    generator = torch.Generator().manual_seed(0)
    made = {key: torch.rand(shape, generator=generator) for key, shape in layout(2, 3).items()}
    made |= {key: torch.tensor(3) for key in made if key.endswith("num_batches_tracked")}
    made["output.0.running_var"][:2] = torch.tensor([1e-14, 1e6])
    made["diam_mean"], made["diam_labels"] = torch.tensor([17.3]), torch.tensor([28.7001])
    return made


def test_a_pytorch_file_comes_back_whole(state: dict[str, Tensor], tmp_path: Path) -> None:
    path = tmp_path / "mine.pth"
    torch.save(state, path)
    weights = load_weights(path)
    assert (weights.name, weights.channels_in, weights.channels_out) == ("mine", 2, 3)
    assert weights.sha256 == checksum(path)
    assert weights.diam_labels == pytest.approx(28.7001)
    assert weights.state.keys() == state.keys()
    assert all(torch.equal(weights.state[key], entry) for key, entry in state.items())


def test_safetensors_round_kernels_and_nothing_else(state: dict[str, Tensor], tmp_path: Path) -> None:
    path = tmp_path / "mine.safetensors"
    save_safetensors(state, path, {"name": "mine"})
    back = load_weights(path)
    assert back.diam_mean == pytest.approx(17.3)
    for key, entry in state.items():
        assert back.state[key].dtype == entry.dtype
        rounded = entry.half().float() if entry.ndim > 1 else entry
        assert torch.equal(back.state[key], rounded), key
    assert path.stat().st_size == pytest.approx(13.3e6, rel=0.01)


def test_the_same_weights_give_the_same_file(state: dict[str, Tensor], tmp_path: Path) -> None:
    """A checksum tells weights, not the moment at which they were written."""
    told = {name: name * 3 for name in ("name", "recipe", "data", "licence", "größe", "source")}
    for number in range(6):
        save_safetensors(state, tmp_path / f"{number}.safetensors", told)
        save_official(state, tmp_path / f"{number}.pth")
    for ending in ("safetensors", "pth"):
        assert len({checksum(path) for path in tmp_path.glob(f"*.{ending}")}) == 1
    with safe_open(tmp_path / "0.safetensors", "pt") as file:
        assert file.metadata() == told


def test_a_failed_write_leaves_the_old_file(state: dict[str, Tensor], tmp_path: Path) -> None:
    path = tmp_path / "mine.safetensors"
    path.write_text("old")
    with pytest.raises(TypeError):
        save_safetensors(state, path, {"name": 3})  # type: ignore[dict-item]
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["mine.safetensors"]


@pytest.mark.parametrize(
    ("name", "diameter"),
    [("nucleitorch_0", 17.0), ("cytotorch_0", 30.0), ("my_nuclei", 17.0), ("mine", 30.0), ("denoise_seg_nuclei", 17.0)],
)
def test_old_files_without_diameters_get_the_usual_ones(
    state: dict[str, Tensor], tmp_path: Path, name: str, diameter: float
) -> None:
    torch.save({key: entry for key, entry in state.items() if not key.startswith("diam_")}, tmp_path / name)
    weights = load_weights(tmp_path / name)
    assert (weights.diam_mean, weights.diam_labels) == (diameter, diameter)
    assert float(weights.state["diam_mean"]) == diameter


@pytest.mark.parametrize(("name", "diameter"), [("nucleitorch_0", 17.0), ("cyto3", 30.0), ("mine", 17.3)])
def test_official_models_work_at_the_diameter_of_their_name_others_at_their_own(
    state: dict[str, Tensor], tmp_path: Path, name: str, diameter: float
) -> None:
    """A rewritten file keeps it under any name; what the objects in training measured always comes from the file."""
    torch.save(state, tmp_path / name)
    convert(tmp_path / name, tmp_path / "renamed.safetensors", {})
    for weights in (load_weights(tmp_path / name), load_weights(tmp_path / "renamed.safetensors")):
        assert weights.diam_mean == float(weights.state["diam_mean"]) == pytest.approx(diameter)
        assert weights.diam_labels == pytest.approx(28.7001)


@pytest.mark.parametrize("channels", [(2, 3), (1, 3), (2, 1), (1, 1)])
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before torch 1.6"])
def test_a_saved_network_loads_unchanged(tmp_path: Path, channels: tuple[int, int], *, zipped: bool) -> None:
    """As official files are made: the state dict of a module, for segmentation or restoration, by new or old torch."""
    torch.manual_seed(0)
    network = build({key: torch.rand(shape) for key, shape in layout(*channels).items()})
    path = tmp_path / "saved"
    torch.save(network.state_dict(), path, _use_new_zipfile_serialization=zipped)
    weights = load_weights(path)
    assert (weights.channels_in, weights.channels_out) == channels
    wanted = network.state_dict()
    assert all(torch.equal(weights.state[key], wanted[key]) for key in layout(*channels))


def test_networks_of_other_channels_are_refused(tmp_path: Path) -> None:
    torch.save({key: torch.ones(shape) for key, shape in layout(3, 3).items()}, tmp_path / "three")
    with pytest.raises(WeightsError, match="3 -> 3 channels instead of 1 or 2 -> 1 or 3"):
        load_weights(tmp_path / "three")


class Trap:
    """Unpickling this would make a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = str(folder)

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (self.folder,)


def test_code_in_a_file_is_refused_and_never_run(tmp_path: Path) -> None:
    sprung = tmp_path / "sprung"
    for path, save in ((tmp_path / "a.pth", torch.save), (tmp_path / "b.pth", dump)):
        save({"weights": Trap(sprung)}, path)
        with pytest.raises(WeightsError, match="could run code"):
            load_weights(path)
    assert not sprung.exists()


def dump(content: object, path: Path) -> None:
    path.write_bytes(pickle.dumps(content, protocol=2))


def test_other_contents_are_refused_by_name(state: dict[str, Tensor], tmp_path: Path) -> None:
    path = tmp_path / "other.pth"
    torch.save({"state_dict": state, "epoch": 3}, path)
    with pytest.raises(WeightsError, match=r"a dict with keys state_dict, epoch holding dict, int found"):
        load_weights(path)
    torch.save([1, 2], path)
    with pytest.raises(WeightsError, match="a list found"):
        load_weights(path)
    torch.save(state | {"W2": torch.zeros(2)}, path)
    with pytest.raises(WeightsError, match="Cellpose 4"):
        load_weights(path)


def test_all_differences_to_the_architecture_are_listed(state: dict[str, Tensor], tmp_path: Path) -> None:
    changed = state | {"extra": torch.zeros(1), "output.0.weight": torch.zeros(64)}
    del changed["output.2.weight"]
    torch.save(changed, tmp_path / "other.pth")
    with pytest.raises(WeightsError) as raised:
        load_weights(tmp_path / "other.pth")
    said = str(raised.value)
    assert "1 missing: output.2.weight" in said
    assert "1 unexpected: extra" in said
    assert "1 wrong shape: output.0.weight (64,) instead of (32,)" in said


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"\n<!DOCTYPE html>", "incomplete, or no model file: it begins with '<', as a web page does"),
        (b"PK\x03\x04 half of it", "incomplete, or no model file$"),
        (b"no weights", "incomplete, or no model file$"),
    ],
)
def test_what_came_instead_of_a_model_is_told(tmp_path: Path, content: bytes, told: str) -> None:
    (tmp_path / "cyto3").write_bytes(content)
    with pytest.raises(WeightsError, match=told):
        load_weights(tmp_path / "cyto3")


@pytest.mark.parametrize("content", [b"", b"no weights at all", b"PK\x03\x04 cut"])
@pytest.mark.parametrize("name", ["cut.pth", "cut.safetensors"])
def test_damaged_files_are_refused_with_their_path(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(WeightsError, match=name):
        load_weights(tmp_path / name)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before torch 1.6"])
@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_files_are_refused_wherever_they_are_cut_or_changed(tmp_path: Path, *, zipped: bool) -> None:
    path = tmp_path / "cut"
    torch.save({"a": torch.zeros(3), "b": torch.ones(2, 2)}, path, _use_new_zipfile_serialization=zipped)
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    for at in rng.integers(0, len(whole), 150):
        changed = bytearray(whole[: at + 1] if at % 2 else whole)
        changed[at : at + 1] = rng.bytes(1)
        path.write_bytes(changed)
        with pytest.raises(WeightsError, match="cut: "):
            load_weights(path)


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan")])
def test_impossible_diameters_are_refused(state: dict[str, Tensor], tmp_path: Path, value: float) -> None:
    torch.save(state | {"diam_labels": torch.tensor([value])}, tmp_path / "odd.pth")
    with pytest.raises(WeightsError, match="diam_labels is"):
        load_weights(tmp_path / "odd.pth")


def test_names_are_looked_up_and_paths_are_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CELLPOSE_LOCAL_MODELS_PATH", str(tmp_path / "models"))
    (tmp_path / "models").mkdir()
    for name in ("cyto3", "cyto2torch_0", "size_cyto3.npy"):
        (tmp_path / "models" / name).touch()
    assert find_weights("starter_nuclei").name == "starter_nuclei.safetensors"
    assert find_weights("cyto3") == tmp_path / "models" / "cyto3"
    assert find_weights("cyto2") == tmp_path / "models" / "cyto2torch_0"
    assert find_weights(str(tmp_path / "models" / "cyto3")) == tmp_path / "models" / "cyto3"
    with pytest.raises(WeightsError, match="available: cyto2torch_0, cyto3, starter_nuclei") as raised:
        find_weights("cyto4")
    assert str(tmp_path / "models") in str(raised.value)
    with pytest.raises(WeightsError, match="absent/cyto3: no such weights file"):
        find_weights(tmp_path / "absent" / "cyto3")
    with pytest.raises(WeightsError, match="nowhere"):
        load_weights(tmp_path / "nowhere.pth")


def test_official_names_never_stand_for_other_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CELLPOSE_LOCAL_MODELS_PATH", str(tmp_path))
    (tmp_path / "cyto").touch()  # a user's; the official file is cytotorch_0
    with pytest.raises(WeightsError, match="cytotorch_0 is not there"):
        find_weights("cyto")
    (tmp_path / "cyto.safetensors").touch()  # the official one, rewritten
    assert find_weights("cyto") == tmp_path / "cyto.safetensors"
    (tmp_path / "cytotorch_0").touch()
    assert find_weights("cyto") == find_weights("cytotorch_0") == tmp_path / "cytotorch_0"


def test_an_absent_official_model_tells_the_command_that_fetches_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CELLPOSE_LOCAL_MODELS_PATH", str(tmp_path / "our models"))
    with pytest.raises(WeightsError) as raised:
        find_weights("cyto3")
    command = f"CELLPOSE_LOCAL_MODELS_PATH='{tmp_path}/our models' wellpose models fetch cyto3"
    assert str(raised.value).endswith(f"(on a cluster: the login node) type: {command}")
    monkeypatch.delenv("CELLPOSE_LOCAL_MODELS_PATH")
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(
        WeightsError, match=r"\.cellpose/models/cyto3 is not there.* type: wellpose models fetch cyto3$"
    ):
        find_weights("cyto3")


def test_unknown_and_unusable_names_are_errors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CELLPOSE_LOCAL_MODELS_PATH", str(tmp_path))
    (tmp_path / "size_starter_nuclei.safetensors").touch()
    for name, told in (
        ("starter_nuclie", r"'starter_nuclie' \(did you mean starter_nuclei\?\) in "),
        ("denoise_cito3", r"\(did you mean denoise_cyto3 or denoise_cyto2 or denoise_nuclei\?\) in "),
        ("cyto_3", r"\(did you mean cyto3 or cyto2_cp3 or cyto\?\) in "),
        ("xyzzy", "named 'xyzzy' in "),
        ("size_cyto3", "is a size model, not a network"),
        ("transformer_cp3", "transformer for an encoder, another architecture"),
        ("cpsam", "Cellpose 4"),
    ):
        with pytest.raises(WeightsError, match=told):
            find_weights(name)


def test_user_added_models_have_names_with_or_without_an_ending(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CELLPOSE_LOCAL_MODELS_PATH", str(tmp_path))
    (tmp_path / "gui_models.txt").write_text("CP_20260101\nours.v2\n\ngone\n")
    (tmp_path / "CP_20260101").touch()
    (tmp_path / "ours.v2").touch()
    assert user_models() == ("CP_20260101", "ours.v2", "gone")
    assert find_weights("ours.v2") == tmp_path / "ours.v2"
    shipped = "starter_nuclei, wellpose-1, wellpose-denoise-1, wellpose-oneclick-1"
    with pytest.raises(WeightsError, match=rf"available: CP_20260101, ours\.v2, {shipped}\."):
        find_weights("mine.v3")


def test_finding_and_hashing_do_not_import_torch() -> None:
    program = (
        "import sys; from pipeline_lib.io.checksums import checksum; from pipeline_lib.io.weights import find_weights; "
        "checksum(find_weights('starter_nuclei')); sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=Path(__file__).parents[3])


def test_shipped_weights_are_the_originals_in_half_the_size(tmp_path: Path, shared: Path) -> None:
    starter = shared / "weights" / "starter_nuclei.pth"
    original, shipped = load_weights(starter), load_weights(find_weights("starter_nuclei"))
    image = torch.from_numpy(np.random.default_rng(0).random((1, 2, 96, 96), np.float32))
    with torch.inference_mode():
        (wanted, _), (found, _) = build(original.state)(image), build(shipped.state)(image)
    assert (found - wanted).abs().max() < 2e-3 * wanted.abs().max()
    convert(starter, tmp_path / "again.safetensors", {})
    again = load_weights(tmp_path / "again.safetensors")
    assert all(torch.equal(again.state[key], entry) for key, entry in shipped.state.items())
