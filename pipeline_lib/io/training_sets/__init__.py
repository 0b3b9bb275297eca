"""Images with truth for training, in the layouts in which such sets are published or made: one finder per format.

What lies below the folder of a set is the set: to keep test images out of training, name the folder of the training
images. A new format is a module with a finder and a line in `_FINDERS`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from pipeline_lib.core.labelled import CHANNELS, Labelled
from pipeline_lib.io.training_sets import files, livecell, plates, tissuenet
from pipeline_lib.io.training_sets.base import Found, SetSource, TrainingSetError

__all__ = ["FORMATS", "SetSource", "TrainingSetError", "count_images", "read_set"]

_FINDERS: dict[str, Callable[[SetSource, list[str]], Found]] = {
    **{name: partial(files.find, layout) for name, layout in files.LAYOUTS.items()},
    "plate": plates.find,
    "tissuenet": tissuenet.find,
    "livecell": livecell.find,
}
FORMATS: tuple[str, ...] = tuple(_FINDERS)
_CHOOSE_LABELS = ("plate", "tissuenet", "livecell")  # formats in which there may be several truths


def count_images(source: SetSource) -> int:
    """How many images a set has, by names, metadata and annotation files; no pixels are decoded.

    Raises:
        TrainingSetError: All that is wrong with the set as far as this tells, one line each.
        OSError: The disk failed.
    """
    return _found(source).count


def read_set(source: SetSource) -> Iterator[Labelled]:
    """The images of a set one after the other, by name; each is read when it is asked for.

    Raises:
        TrainingSetError: At once as `count_images`; later, when an image is reached whose pixels cannot be used.
        OSError: The disk failed.
    """
    return _found(source).read()


def _found(source: SetSource) -> Found:
    faults = [*_source_faults(source)]
    found = Found(0, lambda: iter(()))
    if source.format in _FINDERS and source.folder.exists():
        found = _FINDERS[source.format](source, faults)
    if faults:
        raise TrainingSetError("\n".join([f"training set {source.folder} of format {source.format!r}:", *faults]))
    return found


def _source_faults(source: SetSource) -> Iterator[str]:
    """What is wrong with the words that describe a set."""
    if source.format not in FORMATS:
        yield f"format {source.format!r} is not known; allowed are {', '.join(FORMATS)}"
    if not source.folder.exists():
        yield f"folder {source.folder} does not exist; correct its path, or put the images there"
    numbers = [channel for channel in source.channels if isinstance(channel, int)]
    if len(source.channels) > CHANNELS or any(number < 0 for number in numbers):
        yield (
            f"channels {source.channels} given; allowed are none, what to segment, or what to segment and the nuclei: "
            "each a name, or a number from 1; 0 is the mean of all for the first, none for the second"
        )
    if source.labels and source.format in FORMATS and source.format not in _CHOOSE_LABELS:
        yield f"labels {source.labels!r} given, but each image of this format has one truth only; leave labels out"
