"""A network as `evaluation` compares it."""

from __future__ import annotations

from dataclasses import replace

from pipeline_lib import api
from pipeline_lib.evaluation import Contender, Image, Labels


def contender(network: api.Network, masks: api.MaskSettings | None = None) -> Contender:
    """A loaded network, which sees as many of the two channels as it takes. masks: how flows become objects."""
    usual = api.ImageSettings(masks=masks or api.MaskSettings())

    def segment(image: Image, diameter: float | None) -> tuple[Labels, float]:
        read = image[: network.channels_in]
        used = api.find_diameter(network, read, usual) if diameter is None else diameter
        return api.segment_image(network, read, replace(usual, diameter=used)), used

    return Contender(segment, network.diam_labels)
