"""Curves as a picture: axes, ticks, lines and a legend, without a plotting library."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw, ImageFont

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#7f4fc9")  # Okabe and Ito's
SIZE = (900, 520)  # pixels, without the legend
_INK, _QUIET, _GRID = "#17212b", "#55636f", "#e1e7ec"

# Drawn twice as large, then shrunk, so that slanted lines are smooth: these are half pixels.
_SHARP = 2
_LEFT, _RIGHT, _TOP, _BOTTOM = 170, 48, 110, 120  # around the field of the curves
_TEXT, _TITLE = 28, 36
_LINE = 44  # from one row of the legend to the next
_SWATCH, _GAP = 48, 20
_WIDE = 5
_TICKS = 7  # about so many on an axis

_Points = NDArray[np.float64]


def draw_curves(
    series: Mapping[str, tuple[ArrayLike, ArrayLike]],
    title: str,
    x_label: str,
    y_label: str,
    *,
    log_y: bool = False,
    y_range: tuple[float, float] | None = None,
) -> Image.Image:
    """Draw curves into an RGB picture of 900 pixels' width, with a legend below if there are several.

    Args:
        series: Name -> x and y of equal length, in the order of the line. It is broken where either is not finite;
            a point between two breaks is a dot. Without any point, empty axes are drawn.
        title: Above the curves.
        x_label: Below the x axis.
        y_label: Beside the y axis.
        log_y: Whether equal steps upwards are equal factors; what is not positive is then left out.
        y_range: What the y axis shows, low and high; None: all there is. Curves beyond are cut off.

    Raises:
        ValueError: x and y of a series differ in length, or the range does not rise or, with `log_y`, is not positive.
    """
    curves = [_points(name, *values, log_y=log_y) for name, values in series.items()]
    frame = _frame(curves, y_range, log_y=log_y)
    legend = _legend(list(series)) if len(series) > 1 else []
    width, height = (_SHARP * length for length in SIZE)
    rows = 1 + max((row for row, _, _ in legend), default=-1)
    picture = Image.new("RGB", (width, height + rows * _LINE), "white")
    draw = ImageDraw.Draw(picture)
    draw.text((_LEFT, _TOP / 2), title, _INK, _font(_TITLE), anchor="lm")
    _draw_axes(draw, frame)
    draw.text(((_LEFT + width - _RIGHT) / 2, height - 24), x_label, _INK, _font(_TEXT), anchor="ms")
    picture.paste(_upright(y_label, height - _TOP - _BOTTOM), (8, _TOP))
    for number, curve in enumerate(curves):
        _draw_curve(picture, frame.places(curve), COLOURS[number % len(COLOURS)])
    for number, (row, left, name) in enumerate(legend):
        middle = height + row * _LINE + _LINE / 3
        draw.line((left, middle, left + _SWATCH, middle), COLOURS[number % len(COLOURS)], _WIDE + 2)
        draw.text((left + _SWATCH + _GAP, middle), name, _INK, _font(_TEXT), anchor="lm")
    return picture.reduce(_SHARP)


def beside(pictures: Sequence[Image.Image], columns: int = 2) -> Image.Image:
    """Put RGB pictures into rows of at most so many, on white; at least one picture."""
    rows = [pictures[first : first + columns] for first in range(0, len(pictures), columns)]
    heights = [max(picture.height for picture in row) for row in rows]
    sheet = Image.new("RGB", (max(sum(picture.width for picture in row) for row in rows), sum(heights)), "white")
    for number, row in enumerate(rows):
        for place, picture in enumerate(row):
            sheet.paste(picture, (sum(other.width for other in row[:place]), sum(heights[:number])))
    return sheet


@dataclass(frozen=True)
class _Frame:
    """What the axes show; y as its logarithm where the axis is logarithmic."""

    x: tuple[float, float]
    y: tuple[float, float]
    log_y: bool

    def places(self, points: _Points) -> _Points:
        """Where points (N, 2), x first, lie in the picture, in half pixels."""
        low, high = np.array([self.x, self.y]).T
        right, bottom = _SHARP * SIZE[0] - _RIGHT, _SHARP * SIZE[1] - _BOTTOM
        shares = (points - low) / (high - low)
        places: _Points = [_LEFT, bottom] + shares * [right - _LEFT, _TOP - bottom]
        return places


def _points(name: str, x: ArrayLike, y: ArrayLike, *, log_y: bool) -> _Points:
    """Points (N, 2); rows that cannot be drawn are NaN."""
    across, up = np.asarray(x, np.float64).ravel(), np.asarray(y, np.float64).ravel()
    if len(across) != len(up):
        raise ValueError(f"series {name}: {len(across)} values of x and {len(up)} of y; as many are needed")
    if log_y:
        up = np.log10(up, out=np.full_like(up, np.nan), where=up > 0)
    points = np.stack([across, up], axis=1)
    points[~np.isfinite(points).all(axis=1)] = np.nan
    return points


def _frame(curves: Sequence[_Points], y_range: tuple[float, float] | None, *, log_y: bool) -> _Frame:
    if y_range and not (y_range[0] < y_range[1] and (y_range[0] > 0 or not log_y)):
        raise ValueError(f"the range of y is {y_range}; two rising numbers are needed{', above 0' if log_y else ''}")
    there = np.concatenate([np.zeros((0, 2)), *curves])
    there = there[np.isfinite(there).all(axis=1)]
    x, y = ((float(c.min()), float(c.max())) if c.size else (0.0, 1.0) for c in there.T)
    if y_range:
        low, high = np.log10(y_range) if log_y else y_range
        return _Frame(_opened(x), (float(low), float(high)), log_y)
    low, high = _opened(y)
    margin = 0.04 * (high - low)
    return _Frame(_opened(x), (low - margin, high + margin), log_y)


def _opened(limits: tuple[float, float]) -> tuple[float, float]:
    """The same limits, apart from each other."""
    low, high = limits
    by = 0.0 if high > low else max(0.5, abs(low) / 2)
    return low - by, high + by


def _ticks(low: float, high: float) -> dict[float, str]:
    """Round numbers in the range, as they are written."""
    rough = (high - low) / _TICKS
    unit = 10.0 ** math.floor(math.log10(rough))
    step = unit * next((factor for factor in (1, 2, 5) if factor * unit >= rough), 10)
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    numbers = np.arange(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1) * step
    style = f",.{digits}f" if digits < 5 and max(abs(low), abs(high)) < 1e7 else "g"
    return {float(number): f"{number + 0.0:{style}}" for number in numbers}


def _log_ticks(low: float, high: float) -> dict[float, str]:
    """Round numbers by their logarithms: powers of ten, where these are few also others."""
    factors = (1,) if high - low > 3 else (1, 2, 5)
    powers = range(math.floor(low), math.ceil(high) + 1)
    numbers = [factor * 10.0**power for power in powers for factor in factors]
    ticks = {math.log10(number): f"{number:g}" for number in numbers if low <= math.log10(number) <= high}
    return ticks if len(ticks) > 1 else {place: f"{10**place:.3g}" for place in _ticks(low, high)}


def _draw_axes(draw: ImageDraw.ImageDraw, frame: _Frame) -> None:
    across, up = _ticks(*frame.x), (_log_ticks if frame.log_y else _ticks)(*frame.y)
    (left, bottom), (right, top) = frame.places(np.array([[frame.x[0], frame.y[0]], [frame.x[1], frame.y[1]]]))
    for x, text in across.items():
        place = frame.places(np.array([[x, frame.y[0]]]))[0, 0]
        draw.line((place, bottom, place, top), _GRID, 2)
        draw.text((place, bottom + 12), text, _QUIET, _font(_TEXT), anchor="ma")
    for y, text in up.items():
        place = frame.places(np.array([[frame.x[0], y]]))[0, 1]
        draw.line((left, place, right, place), _GRID, 2)
        draw.text((left - 12, place), text, _QUIET, _font(_TEXT), anchor="rm")
    draw.line((left, top, left, bottom, right, bottom), _QUIET, 2)


def _draw_curve(picture: Image.Image, places: _Points, colour: str) -> None:
    """Draw the parts of a curve that lie inside the axes."""
    field = (_LEFT, _TOP - 4, picture.width - _RIGHT, _SHARP * SIZE[1] - _BOTTOM + 4)
    inside = Image.new("L", picture.size, 0)
    draw = ImageDraw.Draw(inside)
    breaks = np.flatnonzero(np.isnan(places[:, 0]))
    for start, stop in pairwise([-1, *breaks.tolist(), len(places)]):
        part = [(float(x), float(y)) for x, y in places[start + 1 : stop]]
        if len(part) > 1:
            draw.line(part, 255, _WIDE, joint="curve")
        elif part:
            draw.circle(part[0], _WIDE, 255)
    picture.paste(colour, field, inside.crop(field))


def _legend(names: Sequence[str]) -> list[tuple[int, float, str]]:
    """Row, left end and text of each entry; as many in a row as fit."""
    entries, row, left = [], 0, float(_LEFT)
    for name in names:
        width = _SWATCH + 3 * _GAP + _font(_TEXT).getlength(name)
        if left > _LEFT and left + width > _SHARP * SIZE[0]:
            row, left = row + 1, float(_LEFT)
        entries.append((row, left, name))
        left += width
    return entries


def _upright(text: str, length: int) -> Image.Image:
    """Text that reads upwards, in the middle of so many half pixels."""
    strip = Image.new("RGB", (length, _TEXT + 12), "white")
    ImageDraw.Draw(strip).text((length / 2, 0), text, _INK, _font(_TEXT), anchor="ma")
    return strip.transpose(Image.Transpose.ROTATE_90)


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
