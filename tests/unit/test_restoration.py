"""Images to restored images, with hand-made networks whose answer is known, from one field to images of any size."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from pipeline_lib.api import (
    NormaliseSettings,
    RestoreSettings,
    RunSettings,
    load_network,
    load_restorer,
    restore_image,
    restore_large,
    restored_like,
)
from pipeline_lib.arrays.normalise import normalise_image
from pipeline_lib.arrays.resample import resize
from pipeline_lib.nets.flownet import FlowNet
from pipeline_lib.restoration import Restorer, prepare_restorer, restore_fields, restored_bands
from pipeline_lib.segmentation import prepare_network
from pipeline_lib.tiling.predict import PredictSettings

EXACT = RunSettings(device="cpu", precision="float32")
few = settings(max_examples=20)


class Same(nn.Module):
    """The image as it is."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[int, ...]] = []

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        self.seen.append(tuple(x.shape))
        return x.clone(), torch.zeros(len(x), 256)


class Smooth(Same):
    """The mean of 3 x 3 pixels."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return nn.functional.avg_pool2d(x, 3, 1, 1), torch.zeros(len(x), 256)


def restorer_of(net: nn.Module, diameter: float = 20.0) -> Restorer:
    return Restorer(net, diameter, PredictSettings(4, torch.device("cpu"), torch.float32))  # type: ignore[arg-type]


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random(shape, np.float32)


def raw(shape: tuple[int, ...], dtype: str = "uint16", seed: int = 0) -> np.ndarray:
    most = {"uint8": 255, "int16": 30000}.get(dtype, 60000)
    return np.random.default_rng(seed).integers(0, most, shape, endpoint=True).astype(dtype)


# Fields


@few
@given(st.tuples(st.integers(1, 500), st.integers(1, 500)), st.integers(0, 9))
def test_tiles_leave_no_trace(shape: tuple[int, int], seed: int) -> None:
    """What a network does that looks one pixel far, tiles give as the whole image does."""
    image = noise(*shape, seed=seed)
    (found,) = restore_fields(restorer_of(Smooth()), [image], 20.0)
    wanted = nn.functional.avg_pool2d(torch.from_numpy(image)[None], 3, 1, 1)[0].numpy()
    np.testing.assert_allclose(found, wanted, rtol=0, atol=0.1)  # at the edge of a tile, which weighs 7 %
    (same,) = restore_fields(restorer_of(Same()), [image], 20.0)
    np.testing.assert_allclose(same, image, rtol=0, atol=1e-6)


@few
@given(
    st.lists(st.tuples(st.integers(1, 300), st.integers(1, 300)), min_size=1, max_size=3),
    st.floats(8, 45),
    st.booleans(),
)
def test_fields_are_their_bands_and_go_there_and_back(
    shapes: list[tuple[int, int]], diameter: float, enlarge: bool
) -> None:
    restorer = restorer_of(Same())
    enlarge = enlarge and diameter < 20
    images = [noise(*shape) for shape in shapes]
    for image, found in zip(images, restore_fields(restorer, images, diameter, enlarge=enlarge), strict=True):
        bands = list(restored_bands(restorer, restorer.pixels(image), diameter, enlarge=enlarge))
        np.testing.assert_array_equal(torch.cat(bands).numpy(), found)
        small = resize(image[None], restorer.seen(image.shape, diameter))
        wanted = small if enlarge else resize(small, image.shape)
        np.testing.assert_allclose(found, wanted[0], rtol=0, atol=1e-6)
        assert found.dtype == np.float32


def test_images_of_equal_size_share_batches() -> None:
    net = Same()
    assert len(list(restore_fields(restorer_of(net), [noise(200, 200)] * 4, 20.0))) == 4
    assert [seen[0] for seen in net.seen] == [4]


def test_an_enlarged_image_has_the_size_that_the_network_saw() -> None:
    net = Same()
    (found,) = restore_fields(restorer_of(net), [noise(101, 67)], 13.0, enlarge=True)
    assert found.shape == (155, 103)
    assert net.seen == [(1, 1, 176, 128)]  # the next multiple of 16, and 16 more


@pytest.mark.parametrize("diameter", [20.0, 31.0])
def test_objects_that_need_not_be_enlarged_are_refused(diameter: float) -> None:
    with pytest.raises(
        ValueError, match=f"diameter of {diameter:g} pixels found; enlarging brings .* to the 20 pixels"
    ):
        list(restored_bands(restorer_of(Same()), restorer_of(Same()).pixels(noise(9, 9)), diameter, enlarge=True))


# Networks


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    """Random weights; layers that are not at their defaults."""
    torch.manual_seed(0)
    net = FlowNet(1, 1)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
    net.diam_mean.fill_(17)
    return net.state_dict()


def test_both_forms_of_a_network_agree(state: dict[str, Tensor]) -> None:
    image = noise(230, 190)
    exact, fast = (
        next(restore_fields(prepare_restorer(state, RunSettings("cpu", kind)), [image], 20.0))
        for kind in ("float32", "bfloat16")
    )
    assert exact.std() > 0.01
    assert np.abs(fast - exact).max() < 0.02


def test_tiles_of_a_real_network_agree_with_one_large_tile(state: dict[str, Tensor]) -> None:
    """Far from the image's edge and with tiles that see 224 pixels, up to what the style differs."""
    restorer, image = prepare_restorer(state, EXACT), noise(400, 400)
    assert restorer.diam_mean == 17
    (found,) = restore_fields(restorer, [image], 17.0)
    with torch.inference_mode():
        whole = restorer.net(torch.from_numpy(image)[None, None])[0][0, 0].numpy()
    assert np.abs(found - whole)[16:-16, 16:-16].mean() < 0.1 * whole.std()


def test_a_network_that_segments_is_refused_by_name(tmp_path: Path) -> None:
    torch.save(FlowNet(2, 3).state_dict(), tmp_path / "cells.pth")
    fault = "cells.pth segments: it has 2 input and 3 output channels; restoring needs .* wellpose-oneclick-1"
    with pytest.raises(ValueError, match=fault):
        load_restorer(tmp_path / "cells.pth")
    with pytest.raises(ValueError, match="this network"):
        prepare_restorer(FlowNet(2, 1).state_dict())
    with pytest.raises(ValueError, match="this network restores images: it has 1 output"):
        prepare_network(FlowNet(1, 1).state_dict())


def test_a_network_that_restores_does_not_segment(tmp_path: Path, state: dict[str, Tensor]) -> None:
    torch.save(state, tmp_path / "denoise.pth")
    with pytest.raises(ValueError, match=r"denoise.pth restores images.*segmentation needs 3"):
        load_network(tmp_path / "denoise.pth")
    assert load_restorer(tmp_path / "denoise.pth", EXACT).diam_mean == 17


def test_mirrored_tiles_are_refused(state: dict[str, Tensor]) -> None:
    with pytest.raises(ValueError, match="augment is True"):
        prepare_restorer(state, RunSettings(augment=True))


# Raw images


@few
@given(
    st.sampled_from(["uint8", "uint16", "int16", "float32", "float64", "bool"]),
    st.integers(0, 9),
    st.booleans(),
)
def test_the_range_is_kept(dtype: str, seed: int, invert: bool) -> None:
    image = raw((2, 40, 50), dtype, seed)
    how = RestoreSettings(20, normalise=NormaliseSettings(invert=invert), keep_range=True)
    found = restore_image(restorer_of(Same()), image, how)
    assert found.dtype == image.dtype
    if found.dtype.kind == "f":
        np.testing.assert_allclose(found, image, rtol=0, atol=0.05)
    else:
        np.testing.assert_array_equal(found, image)


def test_without_its_range_an_image_is_in_the_networks_units() -> None:
    image = raw((40, 50))
    found = restore_image(restorer_of(Same()), image, RestoreSettings(20))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, normalise_image(image[None], NormaliseSettings())[0], rtol=0, atol=1e-5)


def test_values_beyond_the_number_type_are_clipped() -> None:
    class Twice(Same):
        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return 4 * x - 1.5, torch.zeros(len(x), 256)

    found = restore_image(restorer_of(Twice()), raw((40, 50), "uint8"), RestoreSettings(20, keep_range=True))
    assert (found.min(), found.max()) == (0, 255)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("enlarge", [False, True])
def test_a_constant_channel_stays_constant(dtype: str, enlarge: bool) -> None:
    image = np.stack([np.full((40, 50), 77, dtype), raw((40, 50), dtype)])
    net = Same()
    how = RestoreSettings(10, enlarge=enlarge, keep_range=True)
    found = restore_image(restorer_of(net), image, how)
    assert found.shape[1:] == ((80, 100) if enlarge else (40, 50))
    assert set(np.unique(found[0])) == {77}
    assert len(net.seen) == 1  # the other channel
    scaled = restore_image(restorer_of(net), image, RestoreSettings(10, enlarge=enlarge))
    assert not scaled[0].any()
    tiled = restore_image(restorer_of(net), image, RestoreSettings(10, normalise=NormaliseSettings(tile_size=16)))
    assert not tiled[0].any()
    assert tiled[1].any()


def test_chosen_channels_have_diameters_of_their_own() -> None:
    net, image = Same(), raw((3, 64, 64))
    found = restore_image(restorer_of(net), image, RestoreSettings((20, 40), channels=(2, 0)))
    assert net.seen == [(1, 1, 80, 80), (1, 1, 48, 48)]
    alone = restore_image(restorer_of(net), image[2], RestoreSettings(20))
    np.testing.assert_array_equal(found[0], alone)


@pytest.mark.parametrize("keep_range", [False, True])
@pytest.mark.parametrize("enlarge", [False, True])
def test_a_large_image_is_restored_as_a_small_one(keep_range: bool, enlarge: bool, tmp_path: Path) -> None:
    restorer, image = restorer_of(Smooth()), raw((2, 300, 260))
    how = RestoreSettings(14.0, enlarge=enlarge, keep_range=keep_range, channels=(1, 0))
    shape, dtype = restored_like(restorer, image, how)
    target = zarr.create_array(tmp_path / "out", shape=shape, dtype=dtype, chunks=(1, 64, 64))
    told: list[tuple[str, int, int]] = []
    restore_large(restorer, image, target, how, lambda *done: told.append(done))
    np.testing.assert_array_equal(target[:], restore_image(restorer, image, how))
    assert told[-1] == ("network", 2 * shape[1], 2 * shape[1])


def test_a_target_that_cannot_hold_the_image_is_refused() -> None:
    with pytest.raises(ValueError, match=r"target of shape \(1, 9, 9\) and float32 found; \(2, 9, 9\) and uint16"):
        restore_large(
            restorer_of(Same()), raw((2, 9, 9)), np.zeros((1, 9, 9), np.float32), RestoreSettings(20, keep_range=True)
        )


def test_faults_are_told_at_once() -> None:
    with pytest.raises(ValueError, match=r"diameter is \(3, -1\); .*channels are \(-1,\).*enlarge with.*keep_range"):
        RestoreSettings((3, -1), (-1,), NormaliseSettings(tile_size=64), enlarge=True, keep_range=True)


@pytest.mark.parametrize(
    ("call", "fault"),
    [
        (lambda: RestoreSettings((3, 4), channels=(1, 2, 0)), r"\(3, 4\) for the channels \(1, 2, 0\)"),
        (lambda: restore(raw((2, 9, 9)), RestoreSettings(3, (2,))), r"channels \(2,\) found; .* channels 0 to 1"),
        (lambda: restore(raw((2, 9, 9)), RestoreSettings((3, 4, 5))), "for 2 channels"),
        (lambda: restore(raw((1, 2, 9, 9)), RestoreSettings(3)), r"\(C, Y, X\) is needed"),
        (lambda: restore(np.full((9, 9), np.nan), RestoreSettings(3)), "NaN"),
        (lambda: restore(np.zeros((0, 9)), RestoreSettings(3)), "empty"),
        (lambda: restore(np.zeros((9, 9), complex), RestoreSettings(3)), "complex"),
        (lambda: restore(raw((9, 9)), RestoreSettings(30, enlarge=True)), "enlarging"),
    ],
)
def test_what_cannot_be_is_refused(call: Callable[[], Any], fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        call()


def restore(image: np.ndarray, how: RestoreSettings) -> np.ndarray:
    return restore_image(restorer_of(Same()), image, how)
