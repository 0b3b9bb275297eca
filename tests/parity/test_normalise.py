"""Intensity scaling and filters against cellpose 3.1.1.2, run as a black box; where it is wrong, a test says how."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pipeline_lib.arrays.filters import smooth_and_sharpen
from pipeline_lib.arrays.normalise import NormaliseSettings, normalise_image, percentile_range, sampled_slices, scale

pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("ignore")]  # the peer's warnings are not ours

TILE = 60


def picture(*shape: int, seed: int = 0) -> np.ndarray:
    """Noise (C, ..., Y, X) that is brighter below and on the right; the second channel is a thousand times fainter."""
    image = np.random.default_rng(seed).gamma(2, 300, shape) * np.linspace(1, 3, shape[-1])
    image *= np.linspace(1, 3, shape[-2])[:, None]
    image[1:] /= 1000
    return image.astype(np.float32)


def theirs(peer: Any, image: np.ndarray, **options: Any) -> np.ndarray:
    """The peer's scaling of a (C, Y, X) or (C, Z, Y, X) image; it has channels last and works in place."""
    return np.moveaxis(peer.transforms.normalize_img(np.moveaxis(image, 0, -1).copy(), **options), -1, 0)


def theirs_as_plane(peer: Any, image: np.ndarray, **options: Any) -> np.ndarray:
    """The same for a (C, Y, X) image given as a stack of one plane, which its tiles need."""
    return theirs(peer, image[:, None], **options)[:, 0]


@pytest.mark.parametrize("shape", [(2, 60, 81), (2, 7, 30, 31), (1, 1, 2)])
@pytest.mark.parametrize("percentiles", [(1.0, 99.0), (0.1, 99.9), (0, 50)])
@pytest.mark.parametrize("invert", [False, True])
def test_percentiles_to_the_bit(
    peer: Any, shape: tuple[int, ...], percentiles: tuple[float, float], invert: bool
) -> None:
    image = picture(*shape)
    wanted = theirs(peer, image, percentile=percentiles, invert=invert)
    found = normalise_image(image, NormaliseSettings(percentiles=percentiles, invert=invert))
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("shape", [(3360, 3353), (3, 2100, 2000), (120, 330, 300), (99, 400, 300)])
def test_the_subsample_of_large_channels_to_the_bit(peer: Any, shape: tuple[int, ...]) -> None:
    channel = picture(*shape)
    sample = channel[sampled_slices(shape)].copy()
    wanted = theirs(peer, channel[None])[0]
    np.testing.assert_array_equal(scale(channel, *percentile_range(channel, (1.0, 99.0))), wanted)
    np.testing.assert_array_equal(scale(channel, *percentile_range(sample, (1.0, 99.0))), wanted)


@pytest.mark.parametrize("invert", [False, True])
@pytest.mark.parametrize("lowhigh", [((100, 900),), ((100, 900), (0.25, 0.75)), ((0.25, 0.25 + 2**-12),)])
def test_given_ranges(peer: Any, lowhigh: tuple[tuple[float, float], ...], invert: bool) -> None:
    image = picture(2, 60, 81)
    wanted = theirs(peer, image, lowhigh=np.squeeze(lowhigh), invert=invert)
    found = normalise_image(image, NormaliseSettings(lowhigh=lowhigh, invert=invert))
    np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=0)


@pytest.mark.parametrize("shape", [(2, 60, 60), (2, 61, 61), (2, 60, 91), (2, 91, 60), (1, 1, 9), (2, 3, 40, 50)])
@pytest.mark.parametrize(("smooth", "sharpen"), [(1.5, 0), (0, 6), (2, 6)])
def test_smoothing_and_sharpening(peer: Any, shape: tuple[int, ...], smooth: float, sharpen: float) -> None:
    image = picture(*shape)
    radii = {"smooth_radius": smooth, "sharpen_radius": sharpen}
    wanted = np.moveaxis(peer.transforms.smooth_sharpen_img(np.moveaxis(image, 0, -1).copy(), **radii), -1, 0)
    found = smooth_and_sharpen(image, **radii)
    for channel, wanted_channel in zip(found, wanted, strict=True):
        np.testing.assert_allclose(channel, wanted_channel, rtol=0, atol=1e-5 * np.abs(wanted_channel).max())
    if image[0].size > 9:
        scaled = normalise_image(image, NormaliseSettings(**radii))
        np.testing.assert_allclose(scaled, theirs(peer, image, **radii), rtol=0, atol=1e-5)


@pytest.mark.parametrize("height", [30, 60, 61, 130, 400])
def test_tiles_where_one_spans_the_width(peer: Any, height: int) -> None:
    """With one tile along x, the smoothing along x that the peer lacks has no effect."""
    image = picture(2, height, TILE)
    wanted = theirs_as_plane(peer, image, tile_norm_blocksize=TILE, norm3D=False)
    np.testing.assert_allclose(normalise_image(image, NormaliseSettings(tile_size=TILE)), wanted, rtol=0, atol=1e-5)


def test_tiles_without_signal(peer: Any) -> None:
    image = picture(1, 400, TILE)
    image[0, 130:290] = 5
    wanted = theirs_as_plane(peer, image, tile_norm_blocksize=TILE, norm3D=False)
    np.testing.assert_allclose(normalise_image(image, NormaliseSettings(tile_size=TILE)), wanted, rtol=0, atol=1e-5)


def test_tiles_of_a_stack(peer: Any) -> None:
    stack = picture(2, 3, 50, TILE) * np.float32([1, 2, 4])[:, None, None]
    wanted = theirs(peer, stack, tile_norm_blocksize=TILE)
    np.testing.assert_allclose(normalise_image(stack, NormaliseSettings(tile_size=TILE)), wanted, rtol=0, atol=1e-5)


def test_tiles_after_filters(peer: Any) -> None:
    image = picture(2, 200, TILE)
    wanted = theirs_as_plane(peer, image, tile_norm_blocksize=TILE, norm3D=False, smooth_radius=2, sharpen_radius=9)
    settings = NormaliseSettings(tile_size=TILE, smooth_radius=2, sharpen_radius=9)
    np.testing.assert_allclose(normalise_image(image, settings), wanted, rtol=0, atol=1e-4)


# Where the peer is wrong


def test_tiles_are_smoothed_along_both_axes(peer: Any) -> None:
    """The peer's result depends on how the image is turned: it smooths ranges along y only, and by default twice."""
    image = picture(1, 200, 200)
    turned = image.swapaxes(1, 2)
    settings = NormaliseSettings(tile_size=TILE)
    np.testing.assert_allclose(
        normalise_image(turned, settings), normalise_image(image, settings).swapaxes(1, 2), rtol=0, atol=1e-5
    )
    wanted = theirs_as_plane(peer, image, tile_norm_blocksize=TILE)
    assert np.abs(theirs_as_plane(peer, turned, tile_norm_blocksize=TILE).swapaxes(1, 2) - wanted).max() > 0.01


def test_separate_planes_of_several_channels_have_tiles(peer: Any) -> None:
    """The peer fails on such a stack; plane by plane it agrees."""
    stack = picture(2, 3, 130, TILE) * np.float32([1, 2, 4])[:, None, None]
    options = {"tile_norm_blocksize": TILE, "norm3D": False}
    with pytest.raises(ZeroDivisionError):
        theirs(peer, stack, **options)
    for plane in stack.swapaxes(0, 1):
        found = normalise_image(plane, NormaliseSettings(tile_size=TILE))
        np.testing.assert_allclose(found, theirs_as_plane(peer, plane, **options), rtol=0, atol=1e-5)


def test_tiles_can_be_inverted(peer: Any) -> None:
    """The peer ignores the wish."""
    image = picture(2, 130, TILE)
    options = {"tile_norm_blocksize": TILE, "norm3D": False}
    wanted = theirs_as_plane(peer, image, **options)
    np.testing.assert_array_equal(theirs_as_plane(peer, image, **options, invert=True), wanted)
    found = normalise_image(image, NormaliseSettings(tile_size=TILE, invert=True))
    np.testing.assert_allclose(found, 1 - wanted, rtol=0, atol=1e-5)


@pytest.mark.parametrize("specks", [0, 5])
@pytest.mark.parametrize("invert", [False, True])
def test_channels_without_signal_are_zero(peer: Any, specks: int, invert: bool) -> None:
    """The peer leaves constants as they are, and with a few odd pixels inverts nothing to 1 everywhere."""
    image = np.full((1, 50, 60), 7, np.float32)
    image[0, 0, :specks] = 9
    found = normalise_image(image, NormaliseSettings(invert=invert))
    np.testing.assert_array_equal(found, np.zeros_like(image))
    wanted = theirs(peer, image, invert=invert)
    assert np.all(wanted == (7 if specks == 0 else float(invert)))
