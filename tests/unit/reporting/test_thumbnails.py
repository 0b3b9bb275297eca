"""Well thumbnails: colours against hand-computed pixels, outlines against drawn objects."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pipeline_lib.reporting import OUTLINE_COLOURS, encode_webp, thumbnail

YELLOW = tuple(bytes.fromhex(OUTLINE_COLOURS[0].removeprefix("#")))
PINK = tuple(bytes.fromhex(OUTLINE_COLOURS[1].removeprefix("#")))


def test_channels_are_windowed_tinted_and_added() -> None:
    image = np.array([[[0, 100, 200, 300]], [[50, 50, 150, 150]]], dtype=np.uint16)
    plain, _ = thumbnail(image, {}, ["#0000ff", "ff8000"], [(100, 300), (50, 150)], 4)
    assert plain.tolist() == [[[0, 0, 0], [0, 0, 0], [255, 128, 128], [255, 128, 255]]]


def test_sums_above_full_brightness_are_clipped() -> None:
    plain, _ = thumbnail(np.ones((2, 1, 1)), {}, ["#ff0000", "#c80000"], [(0, 1), (0, 1)], 1)
    assert plain.tolist() == [[[255, 0, 0]]]


@pytest.mark.parametrize("window", [(7.0, 7.0), (9.0, 7.0)])
def test_an_empty_window_is_black(window: tuple[float, float]) -> None:
    plain, _ = thumbnail(np.full((1, 2, 2), 9.0), {}, ["#ffffff"], [window], 2)
    assert not plain.any()


def test_pixels_are_averaged_over_their_area() -> None:
    image = np.zeros((1, 4, 4), dtype=np.float32)
    image[0, 0, 0] = 100  # one quarter of the first thumbnail pixel
    plain, _ = thumbnail(image, {}, ["#ffffff"], [(0, 100)], 2)
    assert plain[:, :, 0].tolist() == [[64, 0], [0, 0]]


def test_non_finite_pixels_are_black() -> None:
    plain, _ = thumbnail(np.array([[[np.nan, np.inf, -np.inf, 1.0]]]), {}, ["#ffffff"], [(0, 1)], 4)
    assert plain[0, :, 0].tolist() == [0, 0, 0, 255]


@given(height=st.integers(1, 60), width=st.integers(1, 60), size=st.integers(1, 40))
def test_the_longest_side_fits_and_nothing_is_enlarged(height: int, width: int, size: int) -> None:
    plain, outlined = thumbnail(np.zeros((1, height, width), np.uint8), {}, ["#ffffff"], [(0, 1)], size)
    assert plain.shape == outlined.shape
    assert max(plain.shape[:2]) == min(size, max(height, width))


def test_touching_objects_share_a_line_of_one_pixel() -> None:
    labels = np.zeros((5, 8), dtype=np.uint32)
    labels[:, 2:5] = 1
    labels[:, 5:] = 2
    _, outlined = thumbnail(np.zeros((1, 5, 8)), {"cells": labels}, ["#ffffff"], [(0, 1)], 8)
    drawn = (outlined == YELLOW).all(axis=2)
    assert np.flatnonzero(drawn.all(axis=0)).tolist() == [1, 4]
    assert drawn.sum() == 10


def test_outlines_stay_one_pixel_wide_after_shrinking() -> None:
    labels = np.zeros((200, 200), dtype=np.uint32)
    labels[80:160, 80:160] = 7
    _, outlined = thumbnail(np.zeros((1, 200, 200)), {"cells": labels}, ["#ffffff"], [(0, 1)], 20)
    drawn = (outlined == YELLOW).all(axis=2)
    expected = np.zeros((20, 20), dtype=bool)
    expected[8:16, [7, 15]] = True
    expected[[7, 15], 8:16] = True
    np.testing.assert_array_equal(drawn, expected)


def test_each_label_image_has_its_colour_and_the_plain_picture_has_none() -> None:
    cells, nuclei = np.zeros((2, 6, 6), dtype=np.uint32)
    cells[:, 3:] = 1
    nuclei[3:] = 1
    image = np.full((1, 6, 6), 3, dtype=np.uint8)
    plain, outlined = thumbnail(image, {"cells": cells, "nuclei": nuclei}, ["#ffffff"], [(0, 255)], 6)
    assert (plain == 3).all()
    assert tuple(outlined[0, 2]) == YELLOW
    assert tuple(outlined[2, 5]) == PINK
    assert tuple(outlined[2, 2]) == PINK  # later label images lie on top


def test_inputs_are_left_alone() -> None:
    image = np.array([[[1.0, np.nan], [3.0, 4.0]]], dtype=np.float32)
    labels = np.array([[1, 0], [0, 0]], dtype=np.uint32)
    before = image.copy(), labels.copy()
    thumbnail(image, {"cells": labels}, ["#ffffff"], [(0, 1)], 2)
    np.testing.assert_array_equal(image, before[0])
    np.testing.assert_array_equal(labels, before[1])


def test_all_faults_are_told_at_once() -> None:
    with pytest.raises(ValueError, match=r"1 colours for 2 channels; 0 windows for 2 channels; labels 'cells'"):
        thumbnail(np.zeros((2, 4, 4)), {"cells": np.zeros((3, 4), np.uint32)}, ["#ffffff"], [], 4)
    with pytest.raises(ValueError, match=r"expected \(C, Y, X\)"):
        thumbnail(np.zeros((4, 4)), {}, [], [], 4)


def test_webp_keeps_the_picture() -> None:
    rgb = np.zeros((40, 60, 3), dtype=np.uint8)
    rgb[:, 30:] = (200, 40, 40)
    with Image.open(BytesIO(encode_webp(rgb))) as decoded:
        assert decoded.format == "WEBP"
        difference = np.abs(np.asarray(decoded.convert("RGB")).astype(int) - rgb)
    assert difference.shape == rgb.shape
    assert difference[:, [10, 50]].max() <= 8
