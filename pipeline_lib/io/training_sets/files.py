"""Sets in which every image is a file and its masks are another, told apart by their names or folders.

`pairs`: `a_img.png` and `a_masks.png`, or, as Cellpose has it, `a.tif` and `a_masks.tif`, in one folder; `omnipose` has
the latter at any depth, `yeaz` `a_im.tif` and `a_mask.tif`, `deepbacs` `source/a.tif` and `target/a.tif`.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath

from pipeline_lib.core.labelled import Labelled
from pipeline_lib.io.training_sets.base import Found, SetSource, TrainingSetError, some_of
from pipeline_lib.io.training_sets.pixels import LOSSLESS, LOSSY, count_frames, labelled, read_image, read_masks
from pipeline_lib.io.vendors.base import list_folder

_LEFT_OVER = ("_flows", "_cp_output")  # what Cellpose and Omnipose save beside their masks
_PICKLE = "_seg.npy"


@dataclass(frozen=True)
class Role:
    """What a file is by its name. names: of the images it may be, or be the masks of, the likeliest last."""

    is_masks: bool
    names: tuple[str, ...]


@dataclass(frozen=True)
class Layout:
    """How the files of a set are called."""

    role: Callable[[PurePosixPath], Role | None]
    expects: str
    inside: str = ""
    """The folder that is meant where there is one of this name."""
    is_deep: bool = True
    """Whether files in folders below belong to the set."""
    is_stacked: bool = False
    """Whether a file may hold several time points."""


@dataclass
class _Files:
    """Those of one name: one image and one file of masks, if all is well."""

    images: list[str] = field(default_factory=list)
    masks: list[str] = field(default_factory=list)


def _by_ending(images: tuple[str, ...], masks: str, path: PurePosixPath) -> Role | None:
    """The role of a file in layouts that tell it by the end of its name."""
    stem = path.with_suffix("").as_posix()
    if stem.endswith(masks):
        return Role(is_masks=True, names=(stem.removesuffix(masks),))
    if stem.endswith(_LEFT_OVER):
        return None
    names = tuple(stem.removesuffix(ending) for ending in images if stem.endswith(ending))
    return Role(is_masks=False, names=names) if names else None


def _by_folder(images: str, masks: str, path: PurePosixPath) -> Role | None:
    """The role of a file in layouts that tell it by its folder."""
    name = (path.parent.parent / path.stem).as_posix()
    return Role(path.parent.name == masks, (name,)) if path.parent.name in (images, masks) else None


LAYOUTS = {
    "pairs": Layout(
        partial(_by_ending, ("", "_img"), "_masks"),
        expects="NAME_img.png or NAME.png with NAME_masks.png (or .tif), in the folder itself",
        is_deep=False,
    ),
    "omnipose": Layout(
        partial(_by_ending, ("",), "_masks"),
        expects="train_sorted/.../NAME.png with NAME_masks.png (or .tif) beside it",
        inside="train_sorted",
    ),
    "yeaz": Layout(
        partial(_by_ending, ("_im",), "_mask"),
        expects="NAME_im.tif with NAME_mask.tif beside it, in the folder or below",
        is_stacked=True,
    ),
    "deepbacs": Layout(
        partial(_by_folder, "source", "target"),
        expects="source/NAME.tif with target/NAME.tif, in the folder or below",
    ),
}


def find(layout: Layout, source: SetSource, faults: list[str]) -> Found:
    """The pairs of a folder; what is wrong is added to `faults`."""
    folder = source.folder / layout.inside if (source.folder / layout.inside).is_dir() else source.folder
    if not folder.is_dir():
        faults.append(f"{folder} is a file; name the folder of the images")
        return Found(0, lambda: iter(()))
    paths = [path for path in list_folder(folder).paths if layout.is_deep or "/" not in path]
    named = _named(layout, paths)
    for name, files in named.items():
        faults += _file_faults(folder, name, files, paths)
    if not named:
        faults.append(f"{folder} holds no image with masks; expected {layout.expects}; found {some_of(paths)}")
    whole = {name: files for name, files in named.items() if len(files.images) == len(files.masks) == 1}
    pairs = {name: (folder / files.images[0], folder / files.masks[0]) for name, files in whole.items()}
    frames = {name: _frames(*pair, faults) if layout.is_stacked else 1 for name, pair in pairs.items()}
    kinds = _kinds(folder / "manifest.csv", faults) if "manifest.csv" in paths else {}

    def read() -> Iterator[Labelled]:
        for name, (image, masks) in pairs.items():
            for called, frame in _frame_names(name, frames[name]):
                pixels = read_image(image, source.channels, frame)
                yield labelled(called, pixels, read_masks(masks, frame), str(masks), kinds.get(name, ""))

    return Found(sum(frames.values()), read)


def _frame_names(name: str, count: int) -> Iterator[tuple[str, int | None]]:
    """The names of the time points of an image with their numbers; of a lone one, its own name and None."""
    yield from [(name, None)] if count == 1 else [(f"{name}_t{frame}", frame) for frame in range(count)]


def _named(layout: Layout, paths: Iterable[str]) -> dict[str, _Files]:
    """Name -> its files, sorted by name. An image that may have several names has that for which there are masks."""
    pictures = [PurePosixPath(path) for path in paths if PurePosixPath(path).suffix.lower() in (*LOSSLESS, *LOSSY)]
    roles = {path.as_posix(): role for path in pictures if (role := layout.role(path))}
    named: defaultdict[str, _Files] = defaultdict(_Files)
    for path, role in roles.items():
        if role.is_masks:
            named[role.names[0]].masks.append(path)
    with_masks = set(named)
    for path, role in roles.items():
        if not role.is_masks:
            names = [name for name in role.names if name in with_masks] or role.names
            named[names[-1]].images.append(path)
    return dict(sorted(named.items()))


def _file_faults(folder: Path, name: str, files: _Files, paths: list[str]) -> Iterator[str]:
    """Why the files of one name are no pair."""
    pickles = {name + _PICKLE, *(PurePosixPath(image).with_suffix("").as_posix() + _PICKLE for image in files.images)}
    if not files.masks and (pickle := sorted(pickles & set(paths))):
        yield (
            f"{folder / pickle[0]}: a Python pickle, which can run programs when it is opened, so it is not read; "
            "save the masks as PNG or TIFF in Cellpose (File, Save masks) and name them like the image"
        )
    elif not files.masks:
        yield f"{folder / files.images[0]}: an image without masks; add them, or move the image elsewhere"
    elif not files.images:
        yield f"{folder / files.masks[0]}: masks without an image; add it, or move the masks elsewhere"
    for several, what in ((files.images, "images"), (files.masks, "files of masks")):
        if len(several) > 1:
            yield f"{folder / name}: {len(several)} {what} ({', '.join(several)}); leave one of them there"
    for path in files.masks:
        if path.lower().endswith(LOSSY):
            yield f"{folder / path}: JPEG files alter the numbers of objects; save the masks as PNG or TIFF"


def _frames(image: Path, masks: Path, faults: list[str]) -> int:
    """The number of time points of a pair."""
    try:
        count, of_masks = count_frames(image), count_frames(masks)
    except TrainingSetError as error:
        faults.append(str(error))
        return 0
    if count != of_masks:
        faults.append(f"{masks}: {of_masks} time points, but its image has {count}; both must have as many")
    return count


def _kinds(path: Path, faults: list[str]) -> dict[str, str]:
    """Image -> its kind, as far as a table beside the images tells."""
    try:
        rows = [*csv.DictReader(path.read_text(encoding="utf-8-sig").splitlines())]
    except (UnicodeError, csv.Error) as error:
        faults.append(f"{path}: not a table in UTF-8 ({error}); save it as CSV, or remove it")
        return {}
    if rows and "kind" in rows[0] and "name" not in rows[0]:
        faults.append(f"{path}: has the columns {', '.join(map(str, rows[0]))}; needed are name and kind")
    return {row.get("name") or "": row.get("kind") or "" for row in rows}
