"""What the elements of a Harmony index say: numbers with units, and the flat-field profiles in Acapella's notation."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import NamedTuple, TypeAlias
from xml.etree.ElementTree import Element

from pipeline_lib.core.manifest import ChannelFacts, Position, Profile
from pipeline_lib.io.markup import local_name

Told: TypeAlias = Mapping[str, tuple[str, str]]
"""Name of a child element -> its text and its unit; only children with a text."""

# Unit -> factor; "" is the unit where the index names none.
MICROMETRES = {"": 1e6, "m": 1e6, "cm": 1e4, "mm": 1e3, "um": 1.0, "µm": 1.0, "μm": 1.0, "nm": 1e-3}
NANOMETRES = {"": 1.0, "m": 1e9, "mm": 1e6, "um": 1e3, "µm": 1e3, "μm": 1e3, "nm": 1.0}
SECONDS = {"": 1.0, "h": 3600.0, "min": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "μs": 1e-6}
MILLISECONDS = {"": 1e3, "s": 1e3, "ms": 1.0, "us": 1e-3, "µs": 1e-3, "μs": 1e-3}
PLAIN = {"": 1.0}

LARGEST_ID = 100_000
_LARGEST = 1e9  # of any measured number, in the unit it is converted to
_DIGITS = 9  # so that 6.5e-07 m are 0.65 micrometres
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_MOST_ROWS = 20  # of coefficients
_SHOWN = 60  # characters of a text that is wrong


def told_of(element: Element) -> Told:
    """What the children of an element say; of several of one name the first that says something."""
    told: dict[str, tuple[str, str]] = {}
    for child in element:
        text = (child.text or "").strip()
        if text:
            told.setdefault(local_name(child), (text, child.get("Unit", "").strip()))
    return told


def text(told: Told, name: str) -> str | None:
    """A text; None where there is none."""
    return told[name][0] if name in told else None


def whole(found: str, name: str, largest: int = LARGEST_ID) -> int:
    """A whole number from 0 to `largest`.

    Raises:
        ValueError: It is none.
    """
    usual = found.isascii() and found.isdecimal() and len(found) <= len(str(LARGEST_ID))
    if not usual or int(found) > largest:
        raise ValueError(f"{name} is {found[:_SHOWN]!r}, a whole number from 0 to {largest} is expected")
    return int(found)


def number_of(told: Told, name: str, otherwise: int | None = None) -> int:
    """A whole number, or `otherwise` in its absence.

    Raises:
        ValueError: It is not there and nothing stands for it, or it is no whole number.
    """
    if name in told:
        return whole(told[name][0], name)
    if otherwise is None:
        raise ValueError(f"it has no {name}")
    return otherwise


def quantity(told: Told, name: str, factors: Mapping[str, float]) -> float | None:
    """A measured number, in the unit that the factors lead to; None where the index does not say.

    Raises:
        ValueError: Not a finite number, too large to be true, or in an unknown unit.
    """
    if name not in told:
        return None
    found, unit = told[name]
    if unit not in factors:
        known = ", ".join(filter(None, factors)) or "none"
        raise ValueError(f"{name} is in {unit[:_SHOWN]!r}, a known unit is expected: {known}")
    value = round(_real(found, name) * factors[unit], _DIGITS)
    if abs(value) > _LARGEST:
        raise ValueError(f"{name} is {found[:_SHOWN]!r} {unit}, which is too large to be true")
    return value


def size(told: Told, name: str, factors: Mapping[str, float]) -> float | None:
    """A quantity above 0. Harmony writes 0 where there is none, such as the emission of transmitted light.

    Raises:
        ValueError: As `quantity`, or it is below 0.
    """
    value = quantity(told, name, factors)
    if value is not None and value < 0:
        raise ValueError(f"{name} is {told[name][0][:_SHOWN]!r}, a number above 0 is expected")
    return value or None


def _real(found: str, name: str) -> float:
    value = float(found) if _NUMBER.fullmatch(found) else math.nan
    if not math.isfinite(value):
        raise ValueError(f"{name} is {found[:_SHOWN]!r}, a finite number is expected")
    return value


def channel_facts(told: Told) -> ChannelFacts:
    """What is told of a channel.

    Raises:
        ValueError: As `size`.
    """
    return ChannelFacts(
        name=text(told, "ChannelName"),
        excitation_nm=size(told, "MainExcitationWavelength", NANOMETRES),
        emission_nm=size(told, "MainEmissionWavelength", NANOMETRES),
        exposure_ms=size(told, "ExposureTime", MILLISECONDS),
    )


class Optics(NamedTuple):
    """Of one channel; None: the index does not say."""

    pixel_size: float | None
    """Micrometres; None too where pixels are not square."""
    magnification: float | None
    numerical_aperture: float | None


def optics(told: Told) -> Optics:
    """What is told of the way to the camera.

    Raises:
        ValueError: As `size`.
    """
    y, x = (size(told, name, MICROMETRES) for name in ("ImageResolutionY", "ImageResolutionX"))
    return Optics(
        pixel_size=x if x and y and abs(x - y) <= 1e-3 * x else None,
        magnification=size(told, "ObjectiveMagnification", PLAIN),
        numerical_aperture=size(told, "ObjectiveNA", PLAIN),
    )


def channel_profile(told: Told) -> Profile | None:
    """The flat-field profile of a channel, if it has any.

    Raises:
        ValueError: As `profile`.
    """
    notation = text(told, "FlatfieldProfile")
    return profile(notation) if notation else None


def profile(notation: str) -> Profile | None:
    """The polynomial of the foreground out of a `FlatfieldProfile`; None where it says that the field is flat.

    Row n of its coefficients holds the terms of degree n, from x**n to y**n. No document says so. Of the two orders it
    is the one by which a profile's background follows the darkest pixels of the images it was taken from (measured on
    a plate of a Sonata). `Origin` and `Scale` are taken to be given x first, like all pairs; they are equal as long as
    images are square.

    Raises:
        ValueError: It is not in Acapella's notation, or the polynomial is not whole.
    """
    told = acapella(notation)
    foreground = _of(told, "Foreground")
    polynomial = _of(foreground, "Profile")
    flat = str(_of(foreground, "Character")).lower() in {"flat", "null"}
    if flat or _of(polynomial, "Type") != "Polynomial":
        return None
    rows = _of(polynomial, "Coefficients")
    if not isinstance(rows, list) or not 0 < len(rows) <= _MOST_ROWS:
        raise ValueError(f"Coefficients are {str(rows)[:_SHOWN]}, 1 to {_MOST_ROWS} lists of numbers are expected")
    return Profile(
        tuple(_reals(row, f"the Coefficients of degree {degree}", degree + 1) for degree, row in enumerate(rows)),
        origin=_pair(polynomial, "Origin"),
        scale=_pair(polynomial, "Scale"),
    )


def _of(told: Value, name: str) -> Value:
    return told.get(name, "") if isinstance(told, dict) else ""


def _pair(told: Value, name: str) -> Position:
    """(y, x) of a pair which is written x first."""
    x, y = _reals(_of(told, name), name, 2)
    return y, x


def _reals(told: Value, name: str, count: int) -> tuple[float, ...]:
    if not isinstance(told, list) or len(told) != count:
        raise ValueError(f"{name} are {str(told)[:_SHOWN]}, a list of {count} numbers is expected")
    numbers = tuple(_real(str(one), name) for one in told)
    if max(map(abs, numbers)) > _LARGEST:
        raise ValueError(f"{name} are {str(told)[:_SHOWN]}, which is too large to be true")
    return numbers


Value: TypeAlias = "str | list[Value] | dict[str, Value]"
"""A text or number, as written; a list; or named values."""

_MOST_DEPTH = 20
# Nothing that has matched is tried again shorter (`++`, `*+`), so that no text takes long.
_KEY = re.compile(r'\s*+("[^"]*+"|[^{}\[\],:"]++):')
_WORD = re.compile(r'\s*+(?:"([^"]*+)"|([^{}\[\],"]*+))\s*+')
_SIGN = re.compile(r"\s*+([{}\[\],])\s*+")


def acapella(notation: str) -> Value:
    """A value in the notation of PerkinElmer's Acapella: `{Name: value, ...}`, `[value, ...]`, words and numbers.

    It looks like JSON, but names stand without quotes, and so do words unless they hold a comma or a bracket.

    Raises:
        ValueError: It is not written so, or more than 20 levels deep.
    """
    value, end = _value(notation, 0, 0)
    if notation[end:].strip():
        raise ValueError(f"nothing more is expected after character {end}: {notation[end : end + _SHOWN]!r}")
    return value


def _value(notation: str, at: int, depth: int) -> tuple[Value, int]:
    """(the value that begins at a character, where it ends)."""
    if depth > _MOST_DEPTH:
        raise ValueError(f"it is more than {_MOST_DEPTH} levels deep")
    sign, begin = _sign(notation, at)
    if sign == "{":
        return _named(notation, begin, depth)
    if sign == "[":
        return _listed(notation, begin, depth)
    word = _WORD.match(notation, at)
    if word is None or not word[0].strip():
        raise ValueError(f"a value is expected at character {at}: {notation[at : at + _SHOWN]!r}")
    return (word[2] if word[1] is None else word[1]).strip(), word.end()


def _named(notation: str, at: int, depth: int) -> tuple[Value, int]:
    """What stands behind `{`."""
    values: dict[str, Value] = {}
    sign, end = _sign(notation, at)
    while sign != "}":
        key = _KEY.match(notation, at)
        if key is None:
            raise ValueError(f"`name: value` is expected at character {at}: {notation[at : at + _SHOWN]!r}")
        values[key[1].strip().strip('"')], end = _value(notation, key.end(), depth + 1)
        sign, at = _separated(notation, end, "}")
        end = at
    return values, end


def _listed(notation: str, at: int, depth: int) -> tuple[Value, int]:
    """What stands behind `[`."""
    values: list[Value] = []
    sign, end = _sign(notation, at)
    while sign != "]":
        value, end = _value(notation, at, depth + 1)
        values.append(value)
        sign, at = _separated(notation, end, "]")
        end = at
    return values, end


def _separated(notation: str, at: int, closing: str) -> tuple[str, int]:
    """The comma or the closing bracket at a character."""
    sign, end = _sign(notation, at)
    if sign not in {",", closing}:
        raise ValueError(f"`,` or `{closing}` is expected at character {at}: {notation[at : at + _SHOWN]!r}")
    return sign, end


def _sign(notation: str, at: int) -> tuple[str, int]:
    """(bracket or comma at a character, where it ends); an empty sign where there is none."""
    sign = _SIGN.match(notation, at)
    return (sign[1], sign.end()) if sign else ("", at)
