"""Tiling does not show: for a network that looks at one pixel at a time, tiled equals whole, however it is batched."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pipeline_lib.nets.flownet import FlowNet
from pipeline_lib.tiling.predict import (
    PredictSettings,
    pick_device,
    pick_precision,
    run_tiled,
    whole_images,
)
from pipeline_lib.tiling.sources import Pixels

CPU = torch.device("cpu")
PLAIN = PredictSettings(batch_size=3, device=CPU, precision=torch.float32)
SHAPES = st.tuples(st.integers(1, 320), st.integers(1, 320))


class PixelNet:
    """Output (x0, 2 x0, x1 + 1); the style is the tile's largest value of either channel, in two of 256 places."""

    def __init__(self) -> None:
        self.batches: list[tuple[int, ...]] = []

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        self.batches.append(tuple(x.shape))
        style = torch.zeros(len(x), 256)
        style[:, :2] = x.amax(dim=(2, 3))
        return torch.stack([x[:, 0], 2 * x[:, 0], x[:, 1] + 1], dim=1), style


def outputs(net, images: list[np.ndarray], settings: PredictSettings) -> list[tuple[np.ndarray, np.ndarray]]:
    return list(whole_images(run_tiled(net, [Pixels(image, len(image), CPU) for image in images], settings)))


def random_image(shape: tuple[int, int]) -> np.ndarray:
    return np.random.default_rng(shape[0]).normal(size=(2, *shape)).astype(np.float32)


@given(SHAPES)
@settings(max_examples=25, deadline=None)
def test_tiled_equals_whole(shape: tuple[int, int]) -> None:
    image = random_image(shape)
    ((found, style),) = outputs(PixelNet(), [image], PLAIN)
    np.testing.assert_allclose(found, [image[0], 2 * image[0], image[1] + 1], atol=1e-5)
    assert {found.dtype, style.dtype} == {np.dtype(np.float32)}


def test_the_style_is_the_direction_of_the_sum_over_tiles() -> None:
    image = np.zeros((2, 200, 544), np.float32)  # tiles along x start at 0, 168, 336; 8 pixels of padding
    image[0, 50, 10] = 3.0  # first tile only
    image[1, 50, 200] = 2.0  # first (up to 216) and second
    ((_, style),) = outputs(PixelNet(), [image], PLAIN)
    np.testing.assert_allclose(style[:2], np.array([3.0, 4.0]) / 5, atol=1e-6)


def test_a_style_of_zero_stays_zero() -> None:
    ((_, style),) = outputs(PixelNet(), [np.zeros((2, 30, 30), np.float32)], PLAIN)
    assert not style.any()


@given(st.lists(SHAPES, min_size=1, max_size=4), st.integers(1, 9))
@settings(max_examples=15, deadline=None)
def test_images_together_equal_images_alone(shapes: list[tuple[int, int]], batch_size: int) -> None:
    images = [random_image(shape) for shape in shapes]
    together = outputs(PixelNet(), images, PredictSettings(batch_size, CPU, torch.float32))
    for image, found in zip(images, together, strict=True):
        for one, other in zip(found, *outputs(PixelNet(), [image], PLAIN), strict=True):
            np.testing.assert_array_equal(one, other)


def test_tiles_of_neighbouring_images_fill_batches_and_sizes_stay_apart() -> None:
    net = PixelNet()
    images = [random_image(shape) for shape in [(544, 100), (544, 100), (30, 30), (200, 640)]]
    outputs(net, images, PredictSettings(4, CPU, torch.float32))
    # 3 + 3 tiles of 224 x 128, 1 of 48 x 48, 4 of 224 x 224
    assert net.batches == [(4, 2, 224, 128), (2, 2, 224, 128), (1, 2, 48, 48), (4, 2, 224, 224)]


def test_one_tile_is_the_network_itself() -> None:
    torch.manual_seed(0)
    net = FlowNet(channels_in=1, channels_out=2).eval()
    image = np.random.default_rng(0).normal(size=(1, 50, 41)).astype(np.float32)
    padded = np.pad(image, ((0, 0), (15, 15), (11, 12)))
    with torch.no_grad():
        output, style = net(torch.from_numpy(padded)[None])
    ((found, found_style),) = whole_images(run_tiled(net, [Pixels(image, 1, CPU)], PLAIN))
    np.testing.assert_allclose(found, output[0, :, 15:65, 11:52].numpy(), atol=1e-5)
    np.testing.assert_allclose(found_style, style[0].numpy(), atol=1e-6)


def test_bfloat16_rounds_the_network_but_not_the_result_type() -> None:
    torch.manual_seed(0)
    net, image = FlowNet().eval(), random_image((40, 40))
    ((exact, _),) = outputs(net, [image], PLAIN)
    ((rounded, _),) = outputs(net, [image], PredictSettings(3, CPU, torch.bfloat16))
    error = np.abs(rounded[2] - exact[2]).max()
    assert 0 < error < 0.05 * np.abs(exact[2]).max() + 0.05
    assert rounded[2].dtype == np.float32


def test_nothing_given_is_nothing_found() -> None:
    assert outputs(PixelNet(), [], PLAIN) == []


@pytest.mark.parametrize(("native", "wanted"), [(True, torch.bfloat16), (False, torch.float32)])
def test_auto_precision_asks_the_processor(monkeypatch: pytest.MonkeyPatch, native: bool, wanted: torch.dtype) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: native)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    assert pick_precision("auto", CPU) == wanted
    assert pick_precision("float32", CPU) == torch.float32
    assert pick_precision("bfloat16", CPU) == torch.bfloat16


def test_devices_are_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert pick_device("auto") == pick_device("cpu") == CPU
    with pytest.raises(ValueError, match="'cuda' found, but 0 GPUs"):
        pick_device("cuda")
    with pytest.raises(ValueError, match="'gpu' found; auto, cpu, cuda or cuda:N"):
        pick_device("gpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert pick_device("auto") == torch.device("cuda")
    assert pick_device("cuda:1") == torch.device("cuda:1")
    with pytest.raises(ValueError, match="'cuda:2' found, but 2 GPUs"):
        pick_device("cuda:2")
