"""The sets of images with truth that a config names, opened: files through `io`, synthetic ones drawn."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from pipeline_lib.core.labelled import Labelled
from pipeline_lib.io.plate import read_attributes
from pipeline_lib.io.training_sets import SetSource, TrainingSetError, count_images, read_set
from pipeline_lib.settings import TrainingSet
from pipeline_lib.synthesis import draw_varied_field

DRAWN_HERE = 64  # fields; more are drawn by one process per core


def folder_set(name: str, folder: Path) -> TrainingSet:
    """A set that is nothing but a folder: an OME-Zarr plate, or else pairs."""
    is_plate = "plate" in read_attributes(folder).get("ome", {})
    return TrainingSet(name=name, folder=str(folder), format="plate" if is_plate else "pairs")


def count_sets(sets: tuple[TrainingSet, ...]) -> dict[str, int]:
    """Set -> number of its images, without reading them. Raises TrainingSetError with the faults of all sets."""
    counts, faults = {}, []
    for one in sets:
        try:
            counts[one.name] = one.fields if one.format == "synthetic" else count_images(_source(one))
        except TrainingSetError as error:
            faults.append(f"set {one.name}: {error}")
    if faults:
        raise TrainingSetError("\n".join(faults))
    return counts


def open_set(one: TrainingSet) -> Iterator[Labelled]:
    """The images of a set, one by one, in a fixed order."""
    return _drawn(one) if one.format == "synthetic" else read_set(_source(one))


def open_some(one: TrainingSet, most: int) -> Iterator[Labelled]:
    """At most so many images of a set, spread evenly over it."""
    count = count_sets((one,))[one.name]
    chosen = set(np.linspace(0, count - 1, min(most, count)).round().astype(int).tolist())
    return (labelled for number, labelled in enumerate(open_set(one)) if number in chosen)


def _source(one: TrainingSet) -> SetSource:
    return SetSource(one.format, Path(os.path.expandvars(one.folder)).expanduser(), one.channels, one.labels)


def _drawn(one: TrainingSet) -> Iterator[Labelled]:
    """The fields of a synthetic set, by several processes where there are many of them."""
    draw = partial(_draw, one)
    if one.fields < DRAWN_HERE:
        yield from map(draw, range(one.fields))
        return
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        yield from pool.map(draw, range(one.fields), chunksize=DRAWN_HERE // 8)


def _draw(one: TrainingSet, number: int) -> Labelled:
    """Whole cells, the marker first and the nuclei second; or with labels nuclei, those in the DNA channel alone."""
    field = draw_varied_field((one.size, one.size), np.random.default_rng([one.seed, number]))
    dna, marker = field.image
    if one.labels == "nuclei":
        return Labelled(f"{number:04d}", np.stack([dna, np.zeros_like(dna)]), field.nuclei)
    return Labelled(f"{number:04d}", np.stack([marker, dna]), field.cells)
