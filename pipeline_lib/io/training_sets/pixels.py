"""From image files to what a network is trained on: two channels, and labels whose numbers have been checked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline_lib.core.labelled import Labelled
from pipeline_lib.io.pictures import COLOURS, Picture, UnreadablePicture, open_picture
from pipeline_lib.io.training_sets.base import TrainingSetError

LOSSLESS = (".png", ".tif", ".tiff", ".bmp")
LOSSY = (".jpg", ".jpeg")  # what is left of label numbers in them is not what was saved
_LARGEST = np.iinfo(np.uint32).max


def read_image(path: Path, channels: Sequence[int | str], frame: int | None = None) -> NDArray[Any]:
    """The two channels of an image file, (2, Y, X). `frame`: which of its time points; None: it must have one only.

    Raises:
        TrainingSetError: The file is missing or damaged, no single plane, or lacks the channels.
    """
    pixels, names = _read(path, frame)
    return two_channels(pixels, names, channels, str(path))


def read_masks(path: Path, frame: int | None = None) -> NDArray[np.uint32]:
    """The labels in a file of masks, (Y, X); see `as_labels`. `frame`: as in `read_image`.

    Raises:
        TrainingSetError: The file is missing or damaged, or holds something else than the labels of one image.
    """
    pixels, names = _read(path, frame)
    if len(pixels) > 1:
        found = "colours" if names == COLOURS else f"{len(pixels)} pages or channels"
        raise TrainingSetError(
            f"{path}: the masks have {found}; allowed is one plane in which every object has a number of its own: "
            "save them as one label image in grey"
        )
    return as_labels(pixels[0], str(path))


def count_frames(path: Path) -> int:
    """The number of time points in a file of which no pixel is decoded if it is a TIFF file.

    Raises:
        TrainingSetError: The file is missing or damaged.
    """
    with _opened(path, untold="T") as picture:
        return picture.length("T")


def as_labels(found: NDArray[Any], where: str) -> NDArray[np.uint32]:
    """Masks as labels: integers of any type, truth values, and floating-point numbers if all of them are whole.

    Raises:
        TrainingSetError: There are others, negative ones, or such as 32 bits do not hold.
    """
    broken = found[found != np.floor(found)] if found.dtype.kind == "f" else found[:0]
    if broken.size:
        raise TrainingSetError(
            f"{where}: the masks are {found.dtype} with {broken.size} values that are not whole, such as {broken[0]}; "
            "allowed are 0 and the numbers of objects: save them as integers"
        )
    if found.size and (found.min() < 0 or found.max() > _LARGEST):
        raise TrainingSetError(
            f"{where}: the masks go from {found.min()} to {found.max()}; allowed are 0 for the background and numbers "
            f"up to {_LARGEST} for objects: give what is no object 0, and renumber the objects"
        )
    return found.astype(np.uint32)


def two_channels(pixels: NDArray[Any], names: Sequence[str], channels: Sequence[int | str], where: str) -> NDArray[Any]:
    """What to segment and the nuclei, (2, Y, X), of an image (C, Y, X); zeros where no nuclei are asked for.

    Raises:
        TrainingSetError: The channels are not there, nobody knows which are meant, or some pixels are no numbers.
    """
    if faults := [*channel_faults(names, channels)]:
        raise TrainingSetError(f"{where}: {'; '.join(faults)}")
    if not np.isfinite(pixels).all():
        raise TrainingSetError(f"{where}: some pixels are infinite or not a number; mend the image, or leave it out")
    first, second = _numbers(names, channels)
    segmented = pixels[first - 1] if first else pixels.mean(axis=0, dtype=np.float32)
    both = np.stack([segmented, pixels[second - 1] if second else np.zeros_like(segmented)])
    return both.astype(np.uint8) if both.dtype == np.bool_ else both


def channel_faults(names: Sequence[str], channels: Sequence[int | str]) -> Iterator[str]:
    """Why `channels`, as in `SetSource`, cannot be had of an image whose channels have these names ("": not told)."""
    known = ", ".join(f"{number} {name}".strip() for number, name in enumerate(names, 1))
    if not channels and len(names) > 2 and tuple(names) != COLOURS:
        yield f"the image has the channels {known}; say with `channels` what to segment, and which shows the nuclei"
    highest = len(names) if len(names) > 1 else _LARGEST
    if lacking := [str(one) for one in channels if (one not in names if isinstance(one, str) else one > highest)]:
        yield f"channel {', '.join(lacking)} asked for, but the image has {known}; correct `channels`"


def _numbers(names: Sequence[str], channels: Sequence[int | str]) -> tuple[int, int]:
    """Numbers from 1; the first is 0 for the mean of all, the second for none."""
    if len(names) == 1:
        return 1, 0
    if not channels:
        return (1, 2) if len(names) == 2 else (0, 0)
    first, second = [names.index(one) + 1 if isinstance(one, str) else one for one in (*channels, 0)][:2]
    return first, second


def labelled(name: str, image: NDArray[Any], labels: NDArray[np.uint32], where: str, kind: str = "") -> Labelled:
    """An image with its truth.

    Raises:
        TrainingSetError: They differ in shape.
    """
    if image.shape[1:] != labels.shape:
        raise TrainingSetError(
            f"{where}: the masks have the shape (Y, X) {labels.shape}, the image {image.shape[1:]}; both must show the "
            "same pixels: correct the pair, or leave it out"
        )
    return Labelled(name, image, labels, kind)


def _read(path: Path, frame: int | None) -> tuple[NDArray[Any], tuple[str, ...]]:
    """One plane with all its channels, (C, Y, X), and their names."""
    with _opened(path, untold="C" if frame is None else "T") as picture:
        times, planes = picture.length("T") if frame is None else 1, picture.length("Z")
        if times > 1 or planes > 1:
            raise TrainingSetError(
                f"{path}: holds {times} time points of {planes} planes; allowed is one plane in one file: split it"
            )
        return picture.plane(range(len(picture.channels)), frame or 0)[:], picture.channels


@contextmanager
def _opened(path: Path, untold: str) -> Iterator[Picture]:
    """A picture. `untold`: what the first of three axes is taken for if the file does not say.

    Trouble with the file becomes `TrainingSetError`, trouble with the machine stays.
    """
    try:
        with ExitStack() as files:
            try:
                picture = files.enter_context(open_picture(path))
            except UnreadablePicture as error:
                picture = _opened_as(path, f"{untold}YX", files, error)
            yield picture
    except UnreadablePicture as error:
        advice = "save it anew as PNG or TIFF of one plane (Y, X), or leave it out"
        raise TrainingSetError(f"{path}: cannot be read ({error}); {advice}") from error
    except (FileNotFoundError, PermissionError) as error:
        raise TrainingSetError(f"{path}: cannot be read ({error.strerror})") from error


def _opened_as(path: Path, axes: str, files: ExitStack, otherwise: UnreadablePicture) -> Picture:
    try:
        return files.enter_context(open_picture(path, axes))
    except UnreadablePicture:
        raise otherwise from None
