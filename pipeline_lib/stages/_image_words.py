"""What a user says to `segment-image` and `restore-image`: each flag once, its meaning, and how it is read."""

from __future__ import annotations

import argparse
import math
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline_lib.core.catalogue import DEFAULT_MODEL, RESTORATION_MODEL
from pipeline_lib.io.canvases import FORMATS

Z_MODES = ("volume", "stitch", "separate")


@dataclass(frozen=True)
class Flag:
    """A flag with one value.

    read: from the word to the value; raises ValueError that says what is allowed. shown: in place of the value.
    """

    name: str
    read: Callable[[str], Any]
    told: str
    shown: str = "VALUE"

    @property
    def field(self) -> str:
        """Its name as an attribute."""
        return self.name.removeprefix("--").replace("-", "_")


def number(allowed: str, fits: Callable[[float], bool]) -> Callable[[str], float]:
    """Reads a finite number that `fits`."""

    def read(word: str) -> float:
        try:
            value = float(word)
        except ValueError:
            value = math.nan
        if not (math.isfinite(value) and fits(value)):
            raise ValueError(allowed)
        return value

    return read


def whole(allowed: str, least: int) -> Callable[[str], int]:
    """Reads a whole number of at least `least`."""

    def read(word: str) -> int:
        try:
            value = int(word)
        except ValueError:
            value = least - 1
        if value < least:
            raise ValueError(allowed)
        return value

    return read


def choice(name: str, words: Sequence[str], told: str) -> Flag:
    """A flag whose value is one of some words."""

    def read(word: str) -> str:
        if word not in words:
            raise ValueError(" or ".join(words))
        return word

    return Flag(name, read, told, f"{{{','.join(words)}}}")


def channel_numbers(word: str) -> tuple[int, ...]:
    """`2,1` -> (1, 0): from the user's numbers, which start at 1."""
    allowed = "numbers from 1, separated by commas, each once"
    read = whole(allowed, 1)
    chosen = tuple(read(part) - 1 for part in word.split(","))
    if len(set(chosen)) < len(chosen):
        raise ValueError(allowed)
    return chosen


def axis_letters(word: str) -> str:
    """`yxc` -> YXC."""
    letters = word.upper()
    if set(letters) - set("TCZYXS") or len(set(letters)) < len(letters) or not {"Y", "X"} <= set(letters):
        raise ValueError("letters of T, C, Z, Y, X, each once, with Y and X, in the order of the file, such as YXC")
    return letters


def pairs(word: str) -> tuple[tuple[float, float], ...]:
    """`1,99` -> ((1, 99),); `0,1000,5,200` -> one pair for each of two channels."""
    allowed = "two rising numbers, such as 1,99, or two for each channel"
    read = number(allowed, lambda _: True)
    values = [read(part) for part in word.split(",")]
    if len(values) % 2 or any(low >= high for low, high in zip(values[::2], values[1::2], strict=True)):
        raise ValueError(allowed)
    return tuple(zip(values[::2], values[1::2], strict=True))


def percentiles(word: str) -> tuple[float, float] | None:
    """`1,99` -> (1, 99); off -> None."""
    if word == "off":
        return None
    allowed = "two percentiles of 0 to 100, the lower first, such as 1,99, or off"
    read = number(allowed, lambda value: 0 <= value <= 100)
    found = [read(part) for part in word.split(",")]
    if len(found) != 2 or found[0] >= found[1]:
        raise ValueError(allowed)
    return found[0], found[1]


def diameters(word: str) -> tuple[float, ...]:
    """`30,17` -> (30, 17)."""
    read = number("a positive number, or one for each channel, such as 30,17", lambda value: value > 0)
    return tuple(read(part) for part in word.split(","))


_positive = number("a positive number", lambda value: value > 0)
_not_negative = number("0 or a positive number", lambda value: value >= 0)

_AXES = Flag("--axes", axis_letters, "what the axes of the file are, such as YXC; default: as the file tells")

_INTENSITIES = (
    Flag("--normalise", percentiles, "percentiles that become 0 and 1, or off (1,99)"),
    Flag(
        "--lowhigh",
        pairs,
        "intensities that become 0 and 1, instead of percentiles; one pair, or one per channel; "
        "negative ones after an equals sign: --lowhigh=-5,10",
    ),
    Flag("--tile", whole("a whole number from 0", 0), "side in pixels of tiles with percentiles of their own"),
    Flag("--smooth", _not_negative, "radius in pixels of a smoothing"),
    Flag("--sharpen", _not_negative, "radius in pixels of the surround that is taken off"),
)

_MACHINE = (
    Flag("--device", str, "auto, cpu, cuda or cuda:N (auto)"),
    choice("--precision", ("auto", "float32", "bfloat16"), "of the network's arithmetic (auto)"),
    Flag("--batch-size", whole("a whole number from 1", 1), "tiles at once; default: 2, on a GPU 32"),
)

_INVERT = ("--invert", "dark objects on bright ground")


@dataclass(frozen=True)
class Words:
    """What can be said to one command.

    made: what it makes, which its files are called after. weights: the network by default.
    groups: title -> flags. switches: title -> flags without a value, with what they mean.
    """

    made: str
    weights: str
    groups: Mapping[str, tuple[Flag, ...]]
    switches: Mapping[str, tuple[tuple[str, str], ...]]


_SEGMENT_GROUPS = {
    "the image": (
        _AXES,
        Flag(
            "--channels",
            channel_numbers,
            "numbers of channels, counted from 1: that of the objects, then that of their nuclei, such as 2,1",
        ),
        choice(
            "--z",
            Z_MODES,
            "planes along z: one volume (looked at from three sides, which takes several times as long as stitch), "
            "stitched plane by plane, or each for itself",
        ),
        Flag("--anisotropy", _positive, "distance of planes over distance of pixels, for --z volume (1)"),
        Flag(
            "--stitch-threshold",
            number("a number from 0 to 1", lambda value: 0 <= value <= 1),
            "overlap from 0 to 1 from which objects of two planes are one, for --z stitch (0.25)",
        ),
    ),
    "the objects": (
        Flag("--diameter", _positive, "of the objects, in pixels; default: estimated"),
        Flag("--cellprob-threshold", number("a finite number", lambda _: True), "lower: larger and more objects (0)"),
        Flag("--flow-threshold", _not_negative, "higher: more objects of doubtful shape; 0: all (0.4)"),
        Flag("--min-size", whole("a whole number from 0", 0), "smaller objects, in pixels, are dropped (15)"),
        Flag(
            "--max-size-fraction",
            number("a number above 0, at most 1", lambda value: 0 < value <= 1),
            "objects that fill more of the image are dropped (0.4)",
        ),
        Flag("--niter", whole("a whole number from 1", 1), "steps along the flow; default: from the diameter"),
        choice("--enclosed", ("absorb", "keep"), "objects inside others (absorb)"),
    ),
    "intensities": _INTENSITIES,
    "the machine": _MACHINE,
}

SEGMENT = Words(
    "labels",
    DEFAULT_MODEL,
    _SEGMENT_GROUPS,
    {
        "intensities": (_INVERT,),
        "the machine": (("--augment", "average over mirrored tiles, at 2.5 times the cost"),),
    },
)

_RESTORE_GROUPS = {
    "the image": (
        _AXES,
        Flag("--channels", channel_numbers, "numbers of channels, counted from 1, each restored for itself; all"),
        Flag(
            "--diameter",
            diameters,
            "of the objects, in pixels: one number, or one for each channel, such as 30,17; must be given",
        ),
    ),
    "the result": (),
    "intensities": _INTENSITIES,
    "the machine": _MACHINE,
}

RESTORE = Words(
    "restored",
    RESTORATION_MODEL,
    _RESTORE_GROUPS,
    {
        "the result": (
            ("--enlarge", "give the image the size at which the network sees it; for objects smaller than its own"),
            ("--float", "32-bit numbers, 0 and 1 where scaling put them, in place of the image's own intensities"),
        ),
        "intensities": (_INVERT,),
    },
)


@dataclass(frozen=True)
class Task:
    """An image file and the file for what is made of it."""

    source: Path
    target: Path


def add_flags(parser: argparse.ArgumentParser, words: Words) -> None:
    """Images, `--weights`, `--output` and everything in `words`."""
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="TIFF, OME-TIFF, PNG, JPEG, BMP, Zarr or OME-Zarr")
    parser.add_argument(
        "--output",
        required=True,
        help=f"a .tif, .ome.tif, .zarr or .npy file, or a folder for IMAGE_{words.made}.tif",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace what is there")
    parser.add_argument("--weights", default=words.weights, help=f"name or file of a network ({words.weights})")
    for title, flags in words.groups.items():
        group = parser.add_argument_group(title)
        for flag in flags:
            group.add_argument(flag.name, metavar=flag.shown, help=flag.told)
        for name, told in words.switches.get(title, ()):
            group.add_argument(name, action="store_true", help=told)


def read_flags(parsed: argparse.Namespace, words: Words, faults: list[str]) -> dict[str, Any]:
    """The values of the flags that were said, read, by field; what cannot be read is added to `faults`."""
    values = {}
    for flag in (flag for flags in words.groups.values() for flag in flags):
        word = getattr(parsed, flag.field)
        if word is None:
            continue
        try:
            values[flag.field] = flag.read(word)
        except ValueError as error:
            faults.append(f"{flag.name} is {word!r}; allowed: {error}")
    return values


def misplaced(values: Mapping[str, Any]) -> Iterator[str]:
    """Flags that have no meaning without others."""
    for field, mode in (("anisotropy", "volume"), ("stitch_threshold", "stitch")):
        if field in values and values.get("z") != mode:
            yield f"--{field.replace('_', '-')} has a meaning with --z {mode} only"
    if "flow_threshold" in values and values.get("z") == "volume":
        yield "--flow-threshold has no meaning with --z volume"


def tasks(images: Sequence[str], output: str, words: Words) -> list[Task]:
    """Which file what is made of each image goes to. `output` is a folder unless it ends like a file."""
    if len(images) == 1 and Path(output).suffix.lower() in FORMATS:
        return [Task(Path(images[0]), Path(output))]
    return [Task(Path(image), Path(output) / f"{_stem(image)}_{words.made}.tif") for image in images]


def task_faults(made: Sequence[Task], *, overwrite: bool) -> Iterator[str]:
    """What is wrong with the files: inputs that are missing, outputs that cannot or must not be written."""
    sources, targets = {task.source.resolve() for task in made}, Counter(task.target for task in made)
    folder = made[0].target.parent
    if folder.suffix.lower() in {*FORMATS, ".png", ".jpg"} and not folder.is_dir():
        yield f"--output is {folder}; allowed: a folder, or for one image a file that ends in {', '.join(FORMATS)}"
    for task in made:
        if not task.source.exists():
            yield f"{task.source}: no such file"
        if task.target.resolve() in sources:
            yield f"{task.target} is one of the images; give another --output"
        elif task.target.is_dir() and task.target.suffix.lower() != ".zarr":
            yield f"{task.target} is a folder; give the name of a file"
        elif task.target.exists() and not overwrite:
            yield f"{task.target} exists; give another --output, or --overwrite"
    yield from (f"{target} would be made of {n} images; rename them" for target, n in targets.items() if n > 1)
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not (there.is_dir() and os.access(there, os.W_OK | os.X_OK)):
        yield f"{folder}: nothing can be written to {there}"


def _stem(image: str) -> str:
    """The name of an image without its endings, `.ome.tif` among them."""
    return Path(image).stem.removesuffix(".ome")
