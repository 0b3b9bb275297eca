"""The table of official models, against what is known of them."""

from __future__ import annotations

import pytest

from pipeline_lib.core.catalogue import MODELS, close_names, network_names, official


@pytest.mark.parametrize(
    ("name", "file", "channels", "diameter"),
    [
        ("cyto3", "cyto3", (2, 3), 30.0),
        ("cyto2", "cyto2torch_0", (2, 3), 30.0),
        ("nuclei", "nucleitorch_0", (2, 3), 17.0),
        ("size_cyto3", "size_cyto3.npy", None, 30.0),
        ("size_nuclei", "size_nucleitorch_0.npy", None, 17.0),
        ("denoise_cyto3", "denoise_cyto3", (1, 1), 30.0),
        ("oneclick_rec_nuclei", "oneclick_rec_nuclei", (1, 1), 17.0),
        ("aniso_cyto2", "aniso_cyto2", (1, 1), 30.0),
    ],
)
def test_what_is_known_of_some(name: str, file: str, channels: tuple[int, int] | None, diameter: float) -> None:
    model = MODELS[name]
    assert (model.file, model.channels, model.diam_mean) == (file, channels, diameter)
    assert official(file) is official(name) is model


def test_how_many_there_are_and_which_are_free() -> None:
    restoration = [model for model in MODELS.values() if model.kind == "restoration"]
    assert len(restoration) == 38
    assert "denoise_per_cyto3" not in MODELS  # cyto3 has no single-loss variants
    free = {model.name for model in MODELS.values() if not model.licence_note}
    assert free == {"yeast_BF_cp3", "yeast_PhC_cp3", "deepbacs_cp3"}
    assert len({model.file for model in MODELS.values()}) == len(MODELS)


def test_no_name_is_guessed_but_close_ones_are_told() -> None:
    assert official("denoise") is official("Cyto3") is None
    assert close_names("Cyto3", MODELS)[0] == "cyto3"
    assert close_names("denoise_cyto", MODELS)[0] in {"denoise_cyto2", "denoise_cyto3"}
    assert close_names("Mine1", ["cyto3", "MINE"]) == ["MINE"]
    assert close_names("xyzzy", MODELS) == []


def test_what_can_be_run() -> None:
    found = network_names()
    assert {"cyto3", "nuclei", "CPx", "denoise_cyto3"} <= set(found)
    assert not {"size_cyto3", "cpsam"} & set(found)
