"""Diameters from styles against the size model of cellpose 3.1.1.2, run as a black box with made-up coefficients."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline_lib.api import MaskSettings, NormaliseSettings, RunSettings, load_network
from pipeline_lib.arrays.normalise import normalise_image
from pipeline_lib.core.sizes import SizeModel
from pipeline_lib.segmentation import diameter_by_style

pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("ignore")]  # the peer's warnings are not ours


@pytest.mark.parametrize("ymean", [0.1, -9.0])
def test_the_first_guess(peer: Any, shared: Path, starter: Path, tmp_path: Path, ymean: float) -> None:
    """Two crops differ in their guess; with a tiny mean both are at the smallest diameter."""
    rng = np.random.default_rng(1)
    size_model = SizeModel(A=rng.normal(0, 0.4, 256), smean=rng.uniform(0, 0.1, 256), diam_mean=20.0, ymean=ymean)
    np.save(tmp_path / "size.npy", vars(size_model), allow_pickle=True)
    network = peer.models.CellposeModel(gpu=False, pretrained_model=str(starter))
    sizes = peer.models.SizeModel(network, pretrained_size=str(tmp_path / "size.npy"))
    picture = np.asarray(Image.open(shared / "data" / "dsb2018" / "val" / "001_img.png").convert("L"), np.float32)
    crops = (picture[:72, :64], picture[80:152, 80:144])
    styles = [network.eval(crop, diameter=None, channels=[0, 0], compute_masks=False)[2] for crop in crops]
    found = [size_model.diameter(style) for style in styles]
    assert found == pytest.approx([sizes.eval(crop, channels=[0, 0])[1] for crop in crops], rel=1e-5)
    assert found == [5.0, 5.0] if ymean < 0 else abs(found[0] - found[1]) > 0.1


@pytest.mark.parametrize("guess", [20.0, 40.0])
def test_the_whole_estimate(peer: Any, shared: Path, starter: Path, tmp_path: Path, guess: float) -> None:
    """The objects found at the guess tell the diameter; the peer follows flows without interpolation there."""
    size_model = SizeModel(np.zeros(256), np.zeros(256), diam_mean=17.0, ymean=float(np.log(guess / 17)))
    np.save(tmp_path / "size.npy", vars(size_model), allow_pickle=True)
    sizes = peer.models.SizeModel(
        peer.models.CellposeModel(gpu=False, pretrained_model=str(starter)), pretrained_size=str(tmp_path / "size.npy")
    )
    picture = np.asarray(Image.open(shared / "data" / "dsb2018" / "val" / "001_img.png").convert("L"), np.float32)
    wanted, first = sizes.eval(picture, channels=[0, 0])
    assert first == pytest.approx(guess)
    network = load_network(starter, RunSettings(device="cpu", precision="float32"))
    scaled = normalise_image(picture[None], NormaliseSettings())
    found = diameter_by_style(network, size_model, scaled, MaskSettings())
    assert found == pytest.approx(wanted, rel=0.02)
    assert abs(found - guess) > 2
