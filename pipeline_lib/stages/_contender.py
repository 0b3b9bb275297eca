"""A network as `evaluation` compares it."""

from __future__ import annotations

from dataclasses import replace

from pipeline_lib.api import ImageSettings, MaskSettings, Network, find_diameter, segment_image
from pipeline_lib.evaluation import Contender, Image, Labels


def contender(network: Network, masks: MaskSettings | None = None) -> Contender:
    """A loaded network, which sees as many of the two channels as it takes. masks: how flows become objects."""
    usual = ImageSettings(masks=masks or MaskSettings())

    def segment(image: Image, diameter: float | None) -> tuple[Labels, float]:
        read = image[: network.channels_in]
        used = find_diameter(network, read, usual) if diameter is None else diameter
        return segment_image(network, read, replace(usual, diameter=used)), used

    return Contender(segment, network.diam_labels)
