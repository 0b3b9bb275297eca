"""One table of all objects of a field, with the column names of CellProfiler.

A column is ``Object_Category_Feature[_Channel][_Parameters]``: ``Cells_RadialDistribution_MeanFrac_DNA_1of4``. Besides
the groups asked for, every object has its centre, cells count their nuclei, and where intensities are measured, cells
have nucleus-to-cytoplasm ratios.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from skimage.measure import label as connected_components

from pipeline_lib.features.groups import FEATURE_GROUPS, LOCATION, FeatureGroup, Features, LabelImage, Pixels, measure

OBJECT_NUMBER = "ObjectNumber"
NUCLEI_PER_CELL = "Cells_Children_Nuclei_Count"
RATIO = "Cells_Intensity_NucleusCytoplasmRatio_"
LOG2_RATIO = "Cells_Intensity_Log2NucleusCytoplasmRatio_"

Labels = NDArray[np.integer[Any]]


def feature_columns(label_names: Sequence[str], channels: Sequence[str], groups: Sequence[str]) -> list[str]:
    """Columns that `measure_field` makes after ``ObjectNumber``, in their order."""
    image = np.zeros((len(channels), 1, 1))
    labels = {name: np.zeros((1, 1), dtype=np.uint32) for name in label_names}
    return list(measure_field(image, labels, channels, groups).columns[1:])


def measure_field(
    image: NDArray[Any],
    labels: Mapping[str, Labels],
    channels: Sequence[str],
    groups: Sequence[str],
) -> pd.DataFrame:
    """Measure the objects of a field.

    As in CellProfiler, integer intensities are divided by the largest number of their type. Floats are taken as they
    are and belong in 0..1.

    Args:
        image: (C, Y, X), finite.
        labels: Label images, (Y, X), by name ("nuclei", "cells", "cytoplasm"). Parts of one cell have one number.
        channels: Names of the C channels.
        groups: Names from `FEATURE_GROUPS`.

    Returns:
        One row per number in any label image, ascending: ``ObjectNumber`` (int64), then `feature_columns` (float64),
        NaN where a cell lacks that part or the part does not define the feature. Without objects there are no rows.

    Raises:
        ValueError: The arguments do not fit together; the message lists all that is wrong.
    """
    _check(image, labels, channels, groups)
    full_scale = np.iinfo(image.dtype).max if image.dtype.kind in "iu" else 1
    pixels = {name: channel.astype(np.float64) / full_scale for name, channel in zip(channels, image, strict=True)}
    parts = {name: Part.of(part) for name, part in labels.items()}
    numbers = np.unique(np.concatenate([part.numbers for part in parts.values()]))

    table: Features = {}
    for name, part in parts.items():
        for column, values in _measure_part(part.labels, pixels, [LOCATION, *(FEATURE_GROUPS[g] for g in groups)]):
            table[f"{name.capitalize()}_{column}"] = _spread(values, part.numbers, numbers)
    if {"nuclei", "cells"} <= parts.keys():
        table[NUCLEI_PER_CELL] = _spread(_nuclei_per_cell(parts), parts["cells"].numbers, numbers)
    if {"nuclei", "cytoplasm"} <= parts.keys() and "intensity" in groups:
        for channel in channels:
            table |= _ratios(table, channel)
    return pd.DataFrame({OBJECT_NUMBER: numbers} | table)


@dataclass(frozen=True)
class Part:
    """A label image without gaps. numbers: (n,), ascending, what its objects 1..n were called before."""

    numbers: NDArray[np.int64]
    labels: LabelImage

    @classmethod
    def of(cls, labels: Labels) -> Part:
        """Close the gaps of a label image."""
        numbers = np.unique(labels)
        numbers = numbers[numbers > 0]
        closed = np.where(labels > 0, np.searchsorted(numbers, labels) + 1, 0)
        return cls(numbers.astype(np.int64), closed.astype(np.int32))


def _measure_part(
    labels: LabelImage, pixels: Mapping[str, Pixels], groups: Sequence[FeatureGroup]
) -> Iterator[tuple[str, NDArray[np.float64]]]:
    """Columns without the name of the object, each with the values, (n,), of objects 1..n."""
    for group in groups:
        for channels in combinations(pixels, group.channels):
            for feature, measured in measure(group, labels, *(pixels[name] for name in channels)).items():
                yield _with_channels(feature, channels), measured


def _with_channels(feature: str, channels: Sequence[str]) -> str:
    """CellProfiler puts the channels between a feature's name, of which an axis is part, and its parameters."""
    words = feature.split("_")
    named = 3 if words[0] == "Location" else 2
    return "_".join([*words[:named], *channels, *words[named:]])


def _spread(values: NDArray[np.float64], numbers: NDArray[np.int64], rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """Values of the objects called `numbers`, on the rows of the table; NaN on the others."""
    spread = np.full(len(rows), np.nan)
    spread[np.searchsorted(rows, numbers)] = values
    return spread


def _nuclei_per_cell(parts: Mapping[str, Part]) -> NDArray[np.float64]:
    """Connected nuclei that bear the number of each cell."""
    nuclei = parts["nuclei"]
    components: NDArray[np.intp] = connected_components(nuclei.labels, connectivity=2)  # type: ignore[no-untyped-call]
    number = np.zeros(components.max(initial=0) + 1, dtype=np.int64)
    number[components] = np.concatenate([[0], nuclei.numbers])[nuclei.labels]
    owners, cells = np.sort(number[1:]), parts["cells"].numbers
    counts = np.searchsorted(owners, cells, side="right") - np.searchsorted(owners, cells, side="left")
    return counts.astype(np.float64)


def _ratios(table: Features, channel: str) -> Features:
    """Mean intensity of the nucleus over that of the cytoplasm, as recorded: no background is taken off."""
    nucleus = table[f"Nuclei_Intensity_MeanIntensity_{channel}"]
    cytoplasm = table[f"Cytoplasm_Intensity_MeanIntensity_{channel}"]
    ratio = np.full_like(nucleus, np.nan)
    np.divide(nucleus, cytoplasm, out=ratio, where=(nucleus > 0) & (cytoplasm > 0))
    return {RATIO + channel: ratio, LOG2_RATIO + channel: np.log2(ratio)}


def _check(
    image: NDArray[Any],
    labels: Mapping[str, Labels],
    channels: Sequence[str],
    groups: Collection[str],
) -> None:
    """Raise one error about everything that is wrong."""
    unknown = sorted(set(groups) - FEATURE_GROUPS.keys())
    shapes = {name: part.shape for name, part in labels.items() if part.shape != image.shape[1:]}
    faults = {
        f"image has shape {image.shape}, expected (C, Y, X) with C = {len(channels)}, one per channel": image.ndim != 3
        or len(image) != len(channels),
        f"channel names are not unique: {', '.join(channels)}": len(set(channels)) < len(channels),
        "no label image": not labels,
        f"label images of another shape than the image's (Y, X) = {image.shape[1:]}: {shapes}": bool(shapes),
        f"unknown feature groups {unknown}; choose from {list(FEATURE_GROUPS)}": bool(unknown),
        "image has pixels that are not finite; mend or drop it": not np.isfinite(image).all(),
    }
    found = [fault for fault, present in faults.items() if present]
    if found:
        raise ValueError("; ".join(found))
