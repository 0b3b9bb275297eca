"""Pictures of images side by side, each with the outlines of its objects and a line that says what it is."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from pipeline_lib.reporting.thumbnails import thumbnail

SIDE = 320  # pixels of the longest side
_SHOWN = (1, 99.5)  # percentiles shown as black and white
_TEXT, _LINE, _EDGE = 14, 24, 4  # pixels: of letters, of the line with them, of white around


def panel(image: NDArray[np.number], caption: str, labels: NDArray[np.integer] | None = None) -> Image.Image:
    """One image (Y, X) in grey above its caption, with the outlines of `labels` (Y, X); without, as it is.

    Every panel is `SIDE` pixels wide, and so is its picture: smaller ones are enlarged without smoothing.
    """
    window = tuple(float(value) for value in np.percentile(image, _SHOWN))
    factor = max(1, SIDE // max(image.shape))
    image, labels = (one if one is None else _enlarged(one, factor) for one in (image, labels))
    drawn = {} if labels is None else {"objects": labels}
    _, outlined = thumbnail(image[None], drawn, ["ffffff"], [(window[0], window[1])], SIDE)  # type: ignore[index]
    framed = Image.new("RGB", (SIDE + _EDGE, outlined.shape[0] + _LINE + _EDGE), "white")
    framed.paste(Image.fromarray(outlined))
    ImageDraw.Draw(framed).text((2, outlined.shape[0] + 3), caption, "#17212b", ImageFont.load_default(_TEXT))
    return framed


def _enlarged(image: NDArray[np.number], factor: int) -> NDArray[np.number]:
    return image.repeat(factor, axis=0).repeat(factor, axis=1)
