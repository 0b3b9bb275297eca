"""A small colour picture of a well, without and with the outlines of its objects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

OUTLINE_COLOURS = ("#ffd400", "#ff6fb5", "#ffffff", "#6ee7ff")
"""Outline colours, given to the label images in their order; all stand out on a dark fluorescence picture."""

_WEBP_QUALITY = 80


def thumbnail(
    image: NDArray[np.number],
    labels: Mapping[str, NDArray[np.integer]],
    colours: Sequence[str],
    windows: Sequence[tuple[float, float]],
    size: int,
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Shrink an image to a colour composite, and draw the outlines of its objects on a copy.

    Channels are averaged over the area of each thumbnail pixel, scaled to their window, tinted and added. Outlines are
    found after shrinking, so they stay one pixel wide at any scale.

    Args:
        image: (C, Y, X) intensities; non-finite pixels count as black.
        labels: Label images (Y, X), by name; drawn in this order, each in its own of `OUTLINE_COLOURS`.
        colours: One colour per channel, `RRGGBB` with or without `#`.
        windows: Per channel the intensities shown as black and as full colour; an empty window shows black.
        size: Longest side of the thumbnail, in pixels; smaller images keep their size.

    Returns:
        The plain and the outlined picture, both (y, x, 3).

    Raises:
        ValueError: Colours, windows or label shapes do not fit the image.
    """
    _check(image, labels, colours, windows)
    shape = _thumbnail_shape(image.shape[1:], size)
    plain = _composite([_shrink(channel, shape) for channel in image], colours, windows)
    outlined = plain.copy()
    for index, label_image in enumerate(labels.values()):
        outlined[_outlines(_sample(label_image, shape))] = _rgb(OUTLINE_COLOURS[index % len(OUTLINE_COLOURS)])
    return plain, outlined


def grey_picture(image: NDArray[np.number], size: int) -> NDArray[np.uint8]:
    """An image (Y, X), shrunk so that its longest side is `size`, from its lowest value in black to its highest."""
    low, high = float(image.min()), float(image.max())
    plain, _ = thumbnail(image[None], {}, ["FFFFFF"], [(low, high if high > low else low + 1)], size)
    return plain


def encode_webp(rgb: NDArray[np.uint8]) -> bytes:
    """Compress a (y, x, 3) picture as lossy WebP."""
    buffer = BytesIO()
    Image.fromarray(rgb).save(buffer, format="WEBP", quality=_WEBP_QUALITY)
    return buffer.getvalue()


def _check(
    image: NDArray[np.number],
    labels: Mapping[str, NDArray[np.integer]],
    colours: Sequence[str],
    windows: Sequence[tuple[float, float]],
) -> None:
    """Raise a ValueError that lists everything that does not fit the image."""
    if image.ndim != 3:
        raise ValueError(f"thumbnail: the image has shape {image.shape}; expected (C, Y, X)")
    channels, *plane = image.shape
    faults = [
        f"{len(values)} {name} for {channels} channels"
        for name, values in (("colours", colours), ("windows", windows))
        if len(values) != channels
    ]
    faults += [f"labels {name!r} have shape {a.shape}" for name, a in labels.items() if a.shape != tuple(plane)]
    if faults:
        raise ValueError(f"thumbnail of an image of shape {image.shape}: {'; '.join(faults)}")


def _thumbnail_shape(shape: Sequence[int], size: int) -> tuple[int, int]:
    height, width = shape
    scale = min(1.0, size / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def _shrink(plane: NDArray[np.number], shape: tuple[int, int]) -> NDArray[np.float32]:
    """Average a (Y, X) plane over the area of each pixel of a smaller shape."""
    finite = np.nan_to_num(plane.astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    height, width = shape
    return np.asarray(Image.fromarray(finite).resize((width, height), Image.Resampling.BOX))


def _composite(
    planes: Sequence[NDArray[np.float32]], colours: Sequence[str], windows: Sequence[tuple[float, float]]
) -> NDArray[np.uint8]:
    """Add the tinted channels; sums above full brightness are clipped."""
    total = np.zeros((*planes[0].shape, 3), dtype=np.float32)
    for plane, colour, (low, high) in zip(planes, colours, windows, strict=True):
        if high > low:
            brightness = np.clip((plane - low) / (high - low), 0, 1)
            total += brightness[:, :, None] * _rgb(colour)
    return np.clip(np.rint(total), 0, 255).astype(np.uint8)


def _sample(labels: NDArray[np.integer], shape: tuple[int, int]) -> NDArray[np.integer]:
    """Take the label at the centre of each thumbnail pixel; labels cannot be averaged."""
    rows, columns = (
        ((np.arange(small) + 0.5) * large / small).astype(int) for small, large in zip(shape, labels.shape, strict=True)
    )
    return labels[np.ix_(rows, columns)]


def _outlines(labels: NDArray[np.integer]) -> NDArray[np.bool_]:
    """Mark pixels whose label differs from the right or the lower neighbour: lines of one pixel, also between cells."""
    edges = np.zeros(labels.shape, dtype=np.bool_)
    edges[:, :-1] |= labels[:, :-1] != labels[:, 1:]
    edges[:-1] |= labels[:-1] != labels[1:]
    return edges


def _rgb(colour: str) -> NDArray[np.uint8]:
    return np.frombuffer(bytes.fromhex(colour.removeprefix("#")), dtype=np.uint8)
