"""Images too large for their flows to be held in memory, such as wells put together from many fields."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from pipeline_lib.api.segmentation import CORE
from pipeline_lib.flows.blocked import label_blocks
from pipeline_lib.flows.blocks import Blocks
from pipeline_lib.flows.masks import MaskSettings
from pipeline_lib.io.scratch import scratch_arrays
from pipeline_lib.segmentation import Labels, Network, store_flows


def segment_in_blocks(network: Network, image: NDArray[np.float32], diameter: float, masks: MaskSettings) -> Labels:
    """The label image (Y, X) that `segment_fields` makes of a scaled image (C, Y, X), with its flows on disk."""
    labels = np.zeros(image.shape[1:], np.uint32)
    halo = max(64, math.ceil(2 * diameter))
    with scratch_arrays() as scratch:
        flows = store_flows(network, network.pixels(image), diameter, scratch)
        label_blocks(flows, labels, masks, network.steps(diameter), Blocks(CORE, halo, scratch))
    return labels
