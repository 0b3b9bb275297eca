"""3 x 3 convolutions by fewer products, for processors that multiply in float32 only.

Winograd's minimal filtering F(4 x 4, 3 x 3) after Lavin & Gray 2016, "Fast algorithms for convolutional neural
networks": 4 x 4 pixels of the result come from 36 products per pair of channels instead of 144. Windows of 6 x 6 pixels
are transformed, multiplied by transformed weights, one matrix product for each of 36 places, and transformed back. It
pays where there are many channels; with few, transforming costs what it saves. The rounding error is some ten times
that of the plain sum, about 1e-5 of the largest value.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numba import prange
from numpy.typing import NDArray
from torch import Tensor

from pipeline_lib.core.compiled import compiled_parallel, inlined

Floats = NDArray[np.float32]

MADE, SEEN = 4, 6  # pixels along a side: of the result's tiles, and of the windows they come from
FEWEST = 64  # channels on either side from which on it pays

_KERNEL = torch.tensor(
    [
        [1 / 4, 0, 0],
        [-1 / 6, -1 / 6, -1 / 6],
        [-1 / 6, 1 / 6, -1 / 6],
        [1 / 24, 1 / 12, 1 / 6],
        [1 / 24, -1 / 12, 1 / 6],
        [0, 0, 1],
    ],
    dtype=torch.float64,
)


class WinogradConv:
    """A 3 x 3 convolution that keeps height and width."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        self.weight = spread_weight(weight)
        self.bias = bias.float()

    def __call__(self, x: Tensor) -> Tensor:
        """x: (N, C_in, H, W), float32, channels last. Returns (N, C_out, H, W) alike.

        Image by image: what comes out for one depends neither on the others nor on the number of threads.
        """
        images = torch.empty(len(x), *x.shape[2:], self.weight.shape[2])
        for one, image in zip(torch.split(x, 1), torch.split(images, 1), strict=True):
            made = torch.bmm(seen(one), self.weight)
            _transform_back(made.flatten(0, 1).numpy(), self.bias.numpy(), image.numpy())
        return images.permute(0, 3, 1, 2)


def spread_weight(weight: Tensor) -> Tensor:
    """Weights (C_out, C_in, 3, 3) as they are multiplied, (36, C_in, C_out)."""
    kernel = _KERNEL.to(weight.dtype)
    return torch.einsum("ak, bl, oikl -> abio", kernel, kernel, weight).flatten(0, 1).contiguous()


def gather_weight(spread: Tensor) -> Tensor:
    """The gradient of weights (C_out, C_in, 3, 3) from that of what `spread_weight` made of them."""
    kernel = _KERNEL.to(spread.dtype)
    return torch.einsum("ak, bl, abio -> oikl", kernel, kernel, spread.reshape(SEEN, SEEN, *spread.shape[1:]))


def seen(x: Tensor) -> Tensor:
    """The transformed windows of images (N, C, H, W), (36, tiles of all images, C)."""
    return _by_tiles(x, _transform)


def put_together(made: Tensor, bias: Tensor, like: Tensor) -> Tensor:
    """Images (N, C, H, W), of number and size as `like`, from products (36, tiles of all images, C)."""
    images = torch.empty(len(like), *like.shape[2:], made.shape[2])
    _transform_back(made.flatten(0, 1).numpy(), bias.numpy(), images.numpy())
    return images.permute(0, 3, 1, 2)


def taken_apart(gradient: Tensor) -> Tensor:
    """The gradient of products, (36, tiles, C), from that of the images (N, C, H, W) they were put together to."""
    return _by_tiles(gradient, _transform_gradient)


def _by_tiles(x: Tensor, transform: Callable[[Floats, Floats], None]) -> Tensor:
    """What a transform makes of images (N, C, H, W), (36, tiles of all images, C)."""
    count, channels, height, width = x.shape
    result = torch.empty(SEEN * SEEN, count * -(-height // MADE) * -(-width // MADE), channels)
    transform(x.permute(0, 2, 3, 1).contiguous().numpy(), result.flatten(0, 1).numpy())
    return result


@compiled_parallel
def _transform(images: Floats, seen: Floats) -> None:
    """Windows of images (N, H, W, C), zero beyond them, to (36 tiles, C): all tiles for one place, then the next."""
    count, height, width, channels = images.shape
    down, across = -(-height // MADE), -(-width // MADE)
    places = count * down * across
    for row in prange(count * down):
        image, top = images[row // down], MADE * (row % down) - 1
        window = np.zeros((SEEN * SEEN, channels), np.float32)
        half = np.zeros((SEEN * SEEN, channels), np.float32)
        for column in range(across):
            _cut(image, top, MADE * column - 1, SEEN, window)
            for j in range(SEEN):
                _along_seen(window, j, SEEN, half, j, SEEN)
            for i in range(SEEN):
                _along_seen(half, SEEN * i, 1, seen, SEEN * i * places + row * across + column, places)


@compiled_parallel
def _transform_back(made: Floats, bias: Floats, images: Floats) -> None:
    """(36 tiles, C), ordered alike, to images (N, H, W, C), with a number added to each channel."""
    count, height, width, channels = images.shape
    down, across = -(-height // MADE), -(-width // MADE)
    places = count * down * across
    for row in prange(count * down):
        image, top = images[row // down], MADE * (row % down)
        half = np.zeros((MADE * SEEN, channels), np.float32)
        whole = np.zeros((MADE, channels), np.float32)
        for column in range(across):
            for j in range(SEEN):
                _along_made(made, j * places + row * across + column, SEEN * places, half, j, SEEN)
            for i in range(min(MADE, height - top)):
                _along_made(half, SEEN * i, 1, whole, 0, 1)
                for j in range(min(MADE, width - MADE * column)):
                    _add(whole[j], bias, image[top + i, MADE * column + j])


@compiled_parallel
def _transform_gradient(images: Floats, made: Floats) -> None:
    """What `_transform_back` does, transposed: images (N, H, W, C), zero beyond them, to (36 tiles, C)."""
    count, height, width, channels = images.shape
    down, across = -(-height // MADE), -(-width // MADE)
    places = count * down * across
    for row in prange(count * down):
        image, top = images[row // down], MADE * (row % down)
        whole = np.zeros((MADE * MADE, channels), np.float32)
        half = np.zeros((SEEN * MADE, channels), np.float32)
        for column in range(across):
            _cut(image, top, MADE * column, MADE, whole)
            for j in range(MADE):
                _along_gradient(whole, j, MADE, half, j, MADE)
            for i in range(SEEN):
                _along_gradient(half, MADE * i, 1, made, SEEN * i * places + row * across + column, places)


@inlined
def _cut(image: Floats, top: int, left: int, side: int, window: Floats) -> None:
    """Copy a square of an image (H, W, C), zero beyond it, to (side * side, C)."""
    for i in range(side):
        for j in range(side):
            y, x = top + i, left + j
            if 0 <= y < image.shape[0] and 0 <= x < image.shape[1]:
                _copy(image[y, x], window[side * i + j])
            else:
                window[side * i + j] = 0


@inlined
def _along_seen(x: Floats, first: int, step: int, y: Floats, into: int, by: int) -> None:
    """Six rows of `x` to six rows of `y`: a column or row of a window."""
    a, b, c = x[first], x[first + step], x[first + 2 * step]
    d, e, f = x[first + 3 * step], x[first + 4 * step], x[first + 5 * step]
    _four(y[into], (4, -5, 1, 0), (a, c, e, e))
    _four(y[into + by], (-4, -4, 1, 1), (b, c, d, e))
    _four(y[into + 2 * by], (4, -4, -1, 1), (b, c, d, e))
    _four(y[into + 3 * by], (-2, -1, 2, 1), (b, c, d, e))
    _four(y[into + 4 * by], (2, -1, -2, 1), (b, c, d, e))
    _four(y[into + 5 * by], (4, -5, 1, 0), (b, d, f, f))


@inlined
def _along_made(x: Floats, first: int, step: int, y: Floats, into: int, by: int) -> None:
    """Six rows of `x` to four rows of `y`: a column or row of what is made of a window."""
    a, b, c = x[first], x[first + step], x[first + 2 * step]
    d, e, f = x[first + 3 * step], x[first + 4 * step], x[first + 5 * step]
    _five(y[into], (1, 1, 1, 1, 1), (a, b, c, d, e))
    _four(y[into + by], (1, -1, 2, -2), (b, c, d, e))
    _four(y[into + 2 * by], (1, 1, 4, 4), (b, c, d, e))
    _five(y[into + 3 * by], (1, 1, -1, 8, -8), (f, b, c, d, e))


@inlined
def _along_gradient(x: Floats, first: int, step: int, y: Floats, into: int, by: int) -> None:
    """Four rows of `x` to six rows of `y`: `_along_made` transposed."""
    a, b, c, d = x[first], x[first + step], x[first + 2 * step], x[first + 3 * step]
    _copy(a, y[into])
    _four(y[into + by], (1, 1, 1, 1), (a, b, c, d))
    _four(y[into + 2 * by], (1, -1, 1, -1), (a, b, c, d))
    _four(y[into + 3 * by], (1, 2, 4, 8), (a, b, c, d))
    _four(y[into + 4 * by], (1, -2, 4, -8), (a, b, c, d))
    _copy(d, y[into + 5 * by])


@inlined
def _copy(a: Floats, y: Floats) -> None:
    for k in range(len(y)):
        y[k] = a[k]


@inlined
def _add(a: Floats, b: Floats, y: Floats) -> None:
    for k in range(len(y)):
        y[k] = a[k] + b[k]


@inlined
def _four(y: Floats, times: tuple[int, ...], rows: tuple[Floats, ...]) -> None:
    """One sum in one loop: of more than one the compiler does not see that they can be vector instructions."""
    p, q, r, s = np.float32(times[0]), np.float32(times[1]), np.float32(times[2]), np.float32(times[3])
    a, b, c, d = rows
    for k in range(len(y)):
        y[k] = p * a[k] + q * b[k] + r * c[k] + s * d[k]


@inlined
def _five(y: Floats, times: tuple[int, ...], rows: tuple[Floats, ...]) -> None:
    p, q, r = np.float32(times[0]), np.float32(times[1]), np.float32(times[2])
    s, t = np.float32(times[3]), np.float32(times[4])
    a, b, c, d, e = rows
    for k in range(len(y)):
        y[k] = p * a[k] + q * b[k] + r * c[k] + s * d[k] + t * e[k]
