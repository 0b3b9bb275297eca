"""From settings to a network and its input: shared by calibrate, restore and segment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline_lib.arrays.normalise import normalise, percentile_range
from pipeline_lib.flows.masks import MaskSettings
from pipeline_lib.io.devices import take_gpu, visible_gpus
from pipeline_lib.io.size_models import size_model_of
from pipeline_lib.io.weights import find_weights, load_weights
from pipeline_lib.restoration import Restorer, prepare_restorer
from pipeline_lib.segmentation import Network, prepare_network
from pipeline_lib.settings import NetworkLabels, NetworkSection, SegmentSettings
from pipeline_lib.tiling.placing import RunSettings


def load_network(made: NetworkLabels, settings: NetworkSection) -> Network:
    """The network of a label image, on the device the settings choose: where there are several GPUs, a free one."""
    state = load_weights(find_weights(made.weights)).state
    return prepare_network(state, _run(settings), size_model_of(made.weights), made.weights)


def load_restorer(weights: str, settings: NetworkSection) -> Restorer:
    """The restoration network of these weights, on the device the settings choose, as `load_network`."""
    return prepare_restorer(load_weights(find_weights(weights)).state, _run(settings), name=weights)


def _run(settings: NetworkSection) -> RunSettings:
    return RunSettings(_device(settings.device), settings.precision, settings.batch_size)


@cache
def _own_gpu(names: tuple[str, ...]) -> tuple[str, object]:
    """The GPU of this process, which it keeps until it ends."""
    return take_gpu(names)


def _device(chosen: str) -> str:
    """The device to run on. Of several GPUs that nobody chose from, this process takes one for itself."""
    names = visible_gpus()
    if chosen not in ("auto", "cuda") or len(names) < 2:
        return chosen
    return f"cuda:{names.index(_own_gpu(tuple(names))[0])}"


def mask_settings(made: NetworkLabels) -> MaskSettings:
    """How flows of this label image become objects."""
    return MaskSettings(
        cellprob_threshold=made.cellprob_threshold,
        flow_threshold=made.flow_threshold,
        min_size=made.min_size,
        niter=made.niter,
        enclosed=made.enclosed,
    )


def network_input(
    image: NDArray[Any],
    names: Sequence[str],
    made: NetworkLabels,
    settings: SegmentSettings,
    ranges: Mapping[str, Sequence[float]] | None,
) -> NDArray[np.float32]:
    """The channels a network reads, scaled: (1 or 2, Y, X), as many as the settings name.

    image: (C, Y, X) with channels called `names`. ranges: channel -> intensities of 0 and 1 for the whole plate; None:
    each field has its own.
    """
    chosen = np.stack([image[names.index(name)] for name in made.channels])
    if ranges is None:
        limits = [percentile_range(channel, settings.percentiles) for channel in chosen]
    else:
        limits = [(ranges[name][0], ranges[name][1]) for name in made.channels]
    return normalise(chosen, limits)
