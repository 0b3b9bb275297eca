"""Images with the outlines of their objects in one COCO file, as LIVECell has them.

Pixels that several objects claim become background: whose they are is not known.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from pipeline_lib.core.labelled import Labelled
from pipeline_lib.io.training_sets.base import Found, SetSource, some_of
from pipeline_lib.io.training_sets.outlines import Outline, Polygon, Runs, draw
from pipeline_lib.io.training_sets.pixels import labelled, read_image
from pipeline_lib.io.vendors.base import list_folder

_PARTS = ("images", "annotations")
_OUTLINE = "segmentation"


@dataclass(frozen=True)
class _Image:
    """An image and its objects. shape: (Y, X) that the outlines are meant for."""

    path: Path
    shape: tuple[int, int]
    outlines: list[Outline]


def find(source: SetSource, faults: list[str]) -> Found:
    """The images that the annotation file lists; what is wrong is added to `faults`."""
    if not source.folder.is_dir():
        faults.append(f"{source.folder} is a file; name the folder of images and annotations, the file with `labels`")
        return Found(0, lambda: iter(()))
    paths = list_folder(source.folder).paths
    if (content := _annotations(source, paths, faults)) is None:
        return Found(0, lambda: iter(()))
    images = _images(source.folder, content, paths, faults)

    def read() -> Iterator[Labelled]:
        for name, image in sorted(images.items()):
            pixels = read_image(image.path, source.channels)
            yield labelled(name, pixels, draw(image.outlines, image.shape), str(image.path))

    return Found(len(images), read)


def _annotations(source: SetSource, paths: Iterable[str], faults: list[str]) -> dict[str, Any] | None:
    """The content of the one annotation file; None where there is none, or nobody knows which."""
    known = [path for path in paths if path.lower().endswith(".json")]
    wanted = [path for path in known if source.labels in ("", PurePosixPath(path).name, PurePosixPath(path).stem)]
    found = {path: content for path in wanted if (content := _coco(source.folder / path, faults)) is not None}
    if len(found) != 1:
        which = f" called {source.labels}" if source.labels else ""
        faults.append(
            f"{source.folder}: expected one .json file{which} with {' and '.join(_PARTS)}, in the folder or below; "
            f"found {some_of(list(found) or known)}; " + ("choose one with `labels`" if found or known else "add it")
        )
        return None
    return next(iter(found.values()))


def _coco(path: Path, faults: list[str]) -> dict[str, Any] | None:
    """The content of a COCO file; None of others."""
    try:
        content = json.loads(path.read_bytes(), object_hook=_compact)
    except ValueError as error:
        faults.append(f"{path}: not JSON ({error}); download it again, or remove it")
        return None
    is_coco = isinstance(content, dict) and all(isinstance(content.get(part), list | dict) for part in _PARTS)
    return content if is_coco else None


def _compact(entry: dict[str, Any]) -> dict[str, Any]:
    """An annotation with its outline as arrays, so that a million of them fit into memory; else as it is."""
    try:
        return {**entry, _OUTLINE: _outline(entry[_OUTLINE])} if _OUTLINE in entry else entry
    except (ValueError, TypeError, KeyError):
        return entry


def _outline(told: Any) -> Outline:
    if isinstance(told, Mapping):
        if isinstance(told["counts"], str):
            raise ValueError("compressed")
        return (Runs(np.array(told["counts"], dtype=np.int64)),)
    polygons = [np.array(part, dtype=np.float64).reshape(-1, 2) for part in told]
    if not all(np.isfinite(corners).all() for corners in polygons):
        raise ValueError("a corner is nowhere")
    return tuple(Polygon(corners) for corners in polygons if len(corners))


def _images(folder: Path, content: Mapping[str, Any], paths: Iterable[str], faults: list[str]) -> dict[str, _Image]:
    """Name -> image with its outlines."""
    places: defaultdict[str, list[str]] = defaultdict(list)
    for path in paths:
        places[PurePosixPath(path).name].append(path)
    images: dict[str, _Image] = {}
    by_id: dict[Any, _Image | None] = {}
    for entry in _entries(content["images"]):
        try:
            number, told = entry["id"], PurePosixPath(entry["file_name"])
            name, shape = told.with_suffix("").as_posix(), (int(entry["height"]), int(entry["width"]))
        except (KeyError, TypeError, ValueError):
            faults.append(f"image {entry!r:.80}: needed are id, file_name, height and width; mend the annotation file")
            continue
        found = [path for path in places[told.name] if PurePosixPath(path).match(told.as_posix())]
        if len(found) == 1 and name not in images and number not in by_id:
            by_id[number] = images[name] = _Image(folder / found[0], shape, [])
        else:
            by_id.setdefault(number, None)
            what = f"found {some_of(found)}" if len(found) != 1 else "it, or its id, is listed twice"
            faults.append(f"{folder}: the annotations list {told}, expected once in the folder or below; {what}")
    if not by_id:
        faults.append(f"{folder}: the annotations list no image; use another annotation file")
    for entry in _entries(content["annotations"]):
        faults += _add_outline(entry, by_id)
    return images


def _entries(told: Any) -> list[Any]:
    """The entries of a list, or of a table by id, as in some of LIVECell's files."""
    return list(told.values()) if isinstance(told, Mapping) else list(told)


def _add_outline(annotation: Any, images: Mapping[Any, _Image | None]) -> Iterator[str]:
    """Give an object to its image; yields why it cannot be drawn."""
    try:
        number, image_id, outline = (annotation[key] for key in ("id", "image_id", _OUTLINE))
    except (KeyError, TypeError):
        yield f"annotation {annotation!r:.80}: needed are id, image_id and {_OUTLINE}; mend the annotation file"
        return
    image = images.get(image_id)
    if image_id not in images:
        yield f"annotation {number}: belongs to image {image_id}, which is not listed; add the image, or remove it"
    elif isinstance(outline, Mapping) and isinstance(outline.get("counts"), str):
        yield (
            f"annotation {number}: is compressed (counts are text); allowed are polygons, and counts as list: decode "
            "it with pycocotools.mask"
        )
    elif not isinstance(outline, tuple):
        yield f"annotation {number}: {_OUTLINE} {outline!r:.60}; allowed are lists of x, y, ... and counts as list"
    elif image is not None:
        image.outlines.append(outline)
        yield from (f"annotation {number}: {fault}" for part in outline for fault in _part_faults(part, image.shape))


def _part_faults(part: Polygon | Runs, shape: tuple[int, int]) -> Iterator[str]:
    if isinstance(part, Runs) and (part.lengths.min(initial=0) < 0 or part.lengths.sum() != prod(shape)):
        yield f"its counts do not add up to the {prod(shape)} pixels of its image; mend or remove it"
