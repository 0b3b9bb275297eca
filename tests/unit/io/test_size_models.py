"""Size models: official pickles are read without running them."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline_lib.core.sizes import SizeModel
from pipeline_lib.io.checksums import checksum
from pipeline_lib.io.size_models import convert_size_model, load_size_model, save_size_model
from pipeline_lib.io.weights import WeightsError, find_size_model

RNG = np.random.default_rng(0)
ENTRIES: dict[str, Any] = {
    "A": RNG.normal(size=256),
    "smean": RNG.random(256).astype(np.float32),
    "diam_mean": np.float64(30.0),
    "ymean": np.float32(0.125),
}


def same(model: SizeModel) -> bool:
    vectors = np.array_equal(model.A, ENTRIES["A"]) and np.array_equal(model.smean, ENTRIES["smean"])
    return vectors and (model.diam_mean, model.ymean) == (30.0, 0.125)


def saved(path: Path, content: object) -> Path:
    """As the official files are made."""
    np.save(path, content, allow_pickle=True)  # type: ignore[arg-type]
    return path


@pytest.mark.parametrize(
    "entries",
    [
        ENTRIES,
        {**ENTRIES, "diam_mean": 30, "ymean": 0.125},
        {**ENTRIES, "diam_mean": np.full(1, 30.0), "extra": np.array([True])},
        {**ENTRIES, "A": ENTRIES["A"].astype(">f8")},
    ],
)
def test_what_numpy_saves_is_read(tmp_path: Path, entries: dict[str, Any]) -> None:
    assert same(load_size_model(saved(tmp_path / "size_mine.npy", entries)))


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_every_pickle_protocol_is_read(tmp_path: Path, protocol: int) -> None:
    path = tmp_path / "size_mine.npy"
    path.write_bytes(pickle.dumps(ENTRIES, protocol))
    assert same(load_size_model(path))


@pytest.mark.parametrize("core", [b"numpy.core.", b"numpy._core."])
def test_both_names_of_numpys_core_are_known(tmp_path: Path, core: bytes) -> None:
    """The official files were written by numpy 1, which calls it numpy.core."""
    path = tmp_path / "size_mine.npy"
    content = pickle.dumps(ENTRIES, 3)  # names are plain lines in it
    path.write_bytes(content.replace(b"numpy.core.", core).replace(b"numpy._core.", core))
    assert core in path.read_bytes()
    assert same(load_size_model(path))


class Trap:
    """Unpickling this would make a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = str(folder)

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (self.folder,)


class Calls:
    """Unpickling this would call something."""

    def __init__(self, function: object, *arguments: object) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[object, ...]:
        return self.call


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_code_in_a_file_is_refused_and_never_run(tmp_path: Path, protocol: int) -> None:
    sprung, path = tmp_path / "sprung", tmp_path / "size_mine.npy"
    for content in (Trap(sprung), {**ENTRIES, "A": Trap(sprung)}, [Trap(sprung)]):
        path.write_bytes(pickle.dumps(content, protocol))
        with pytest.raises(WeightsError, match=r"refused, because it asks for posix\.mkdir"):
            load_size_model(path)
        saved(path, content)
        with pytest.raises(WeightsError, match=r"posix\.mkdir"):
            load_size_model(path)
    assert not sprung.exists()


@pytest.mark.parametrize(
    ("function", "arguments"),
    [(eval, ("1",)), (getattr, (1, "real")), (np.load, ("x",)), (np.ones, (3,)), (__import__, ("os",))],
)
def test_no_other_name_is_allowed_not_even_of_numpy(
    tmp_path: Path, function: object, arguments: tuple[object, ...]
) -> None:
    path = tmp_path / "size_mine.npy"
    path.write_bytes(pickle.dumps(Calls(function, *arguments)))
    with pytest.raises(WeightsError, match="refused, because it asks for"):
        load_size_model(path)


def test_objects_inside_arrays_are_no_way_in(tmp_path: Path) -> None:
    objects = np.array([{}, None], dtype=object)
    with pytest.raises(WeightsError):
        load_size_model(saved(tmp_path / "a.npy", {**ENTRIES, "A": objects}))
    record = np.zeros(2, dtype=[("x", "f8"), ("y", "f8")])
    with pytest.raises(WeightsError, match="numbers expected"):
        load_size_model(saved(tmp_path / "b.npy", {**ENTRIES, "A": record}))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_files_are_refused_whatever_the_damage(tmp_path: Path, data: st.DataObject) -> None:
    content = bytearray(saved(tmp_path / "whole.npy", ENTRIES).read_bytes())
    end = data.draw(st.integers(0, len(content)))
    at = data.draw(st.integers(0, 400))
    content[at : at + 3] = data.draw(st.binary(min_size=3, max_size=3))
    path = tmp_path / "size_mine.npy"
    path.write_bytes(content[:end])
    try:
        assert load_size_model(path).A.shape == (256,)  # the damage may have hit a number
    except WeightsError as error:
        assert "size_mine.npy" in str(error)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"A": np.zeros(3)}, r"A has shape \(3,\) instead of \(256,\)"),
        ({"smean": np.full(256, np.nan)}, "smean holds NaN"),
        ({"diam_mean": 0.0, "ymean": np.inf}, "diam_mean is 0.0; .*; ymean is inf"),
        ({"ymean": np.zeros(2)}, "size_mine.npy"),
        ({"diam_mean": "30 px"}, "size_mine.npy"),
    ],
)
def test_impossible_values_are_refused_all_at_once(tmp_path: Path, changes: dict[str, Any], told: str) -> None:
    with pytest.raises(WeightsError, match=told):
        load_size_model(saved(tmp_path / "size_mine.npy", ENTRIES | changes))


def test_other_contents_are_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "size_mine.npy"
    with pytest.raises(WeightsError, match="no such size model"):
        load_size_model(path)
    for content, told in (({"A": 1}, "lacks smean, diam_mean, ymean; has A"), ("words", "a str found")):
        path.write_bytes(pickle.dumps(content))
        with pytest.raises(WeightsError, match=told):
            load_size_model(path)
    path.write_bytes(bytes((1 << 20) + 1))
    with pytest.raises(WeightsError, match="1048577 bytes"):
        load_size_model(path)
    (tmp_path / "size_mine.safetensors").write_bytes(b"no safetensors")
    with pytest.raises(WeightsError, match="not a whole safetensors file"):
        load_size_model(tmp_path / "size_mine.safetensors")


def test_our_own_form_keeps_every_bit(tmp_path: Path) -> None:
    source = saved(tmp_path / "size_mine.npy", ENTRIES)
    convert_size_model(source, tmp_path / "size_mine.safetensors", {"name": "size_mine"})
    assert same(load_size_model(tmp_path / "size_mine.safetensors"))
    save_size_model(load_size_model(source), tmp_path / "again.safetensors", {})
    assert same(load_size_model(tmp_path / "again.safetensors"))
    assert checksum(source) in (tmp_path / "size_mine.safetensors").read_text(encoding="latin-1")


def test_the_size_model_lies_beside_its_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CELLPOSE_LOCAL_MODELS_PATH", str(tmp_path))
    for name in ("cyto3", "nucleitorch_0", "mine.safetensors"):
        (tmp_path / name).touch()
    assert find_size_model("nuclei") is None
    for model, file in (
        ("nuclei", "size_nucleitorch_0.npy"),
        ("cyto3", "size_cyto3.safetensors"),
        (str(tmp_path / "mine.safetensors"), "size_mine.npy"),
    ):
        (tmp_path / file).touch()
        assert find_size_model(model) == tmp_path / file
    with pytest.raises(WeightsError, match="wellpose models fetch cyto2"):
        find_size_model("cyto2")
