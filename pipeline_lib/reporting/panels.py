"""Pictures of images side by side, each with the outlines of its objects and a line that says what it is."""

from __future__ import annotations

from typing import Any

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
    low, high = np.percentile(image, _SHOWN)
    factor = max(1, SIDE // max(image.shape))
    drawn = {} if labels is None else {"objects": _enlarged(labels, factor)}
    _, outlined = thumbnail(_enlarged(image, factor)[None], drawn, ["ffffff"], [(float(low), float(high))], SIDE)
    framed = Image.new("RGB", (SIDE + _EDGE, outlined.shape[0] + _LINE + _EDGE), "white")
    framed.paste(Image.fromarray(outlined))
    ImageDraw.Draw(framed).text((2, outlined.shape[0] + 3), caption, "#17212b", ImageFont.load_default(_TEXT))
    return framed


def _enlarged(image: NDArray[Any], factor: int) -> NDArray[Any]:
    return image.repeat(factor, axis=0).repeat(factor, axis=1)
