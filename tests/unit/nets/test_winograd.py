"""Winograd's convolutions against the plain sum; whatever the size, and whoever is beside an image."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline_lib.nets.winograd import WinogradConv

SIZES = st.integers(1, 19)


def drawn(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def last(x: torch.Tensor) -> torch.Tensor:
    return x.contiguous(memory_format=torch.channels_last)


@settings(deadline=None, max_examples=40)
@given(SIZES, SIZES, st.sampled_from([1, 5, 64]), st.sampled_from([3, 64]), st.integers(0, 99))
def test_it_is_the_plain_sum(height: int, width: int, channels_in: int, channels_out: int, seed: int) -> None:
    x, weight = drawn(2, channels_in, height, width, seed=seed), drawn(channels_out, channels_in, 3, 3, seed=seed + 1)
    bias = drawn(channels_out, seed=seed + 2)
    exact = torch.conv2d(x.double(), weight.double(), bias.double(), padding=1)
    found = WinogradConv(weight, bias)(last(x))
    assert found.is_contiguous(memory_format=torch.channels_last) or min(found.shape) == 1
    torch.testing.assert_close(found.double(), exact, rtol=0, atol=3e-5 * max(1.0, float(exact.abs().max())))


def test_one_pixel_by_hand() -> None:
    """All of nine weights meet one bright pixel once."""
    weight = torch.arange(9.0).reshape(1, 1, 3, 3)
    image = torch.zeros(1, 1, 7, 9)
    image[..., 3, 4] = 2
    found = WinogradConv(weight, torch.tensor([10.0]))(last(image))
    expected = torch.full((7, 9), 10.0)
    expected[2:5, 3:6] += 2 * weight[0, 0].flip(0, 1)
    torch.testing.assert_close(found[0, 0], expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("threads", [1, 2])
def test_an_image_gives_the_same_bits_in_any_company_and_with_any_threads(threads: int) -> None:
    x, conv = last(drawn(3, 64, 28, 30, seed=0)), WinogradConv(drawn(64, 64, 3, 3, seed=1), torch.zeros(64))
    together, before = conv(x), torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        for number, image in enumerate(x):
            assert torch.equal(conv(last(image[None]))[0], together[number])
    finally:
        torch.set_num_threads(before)
