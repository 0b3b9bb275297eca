"""Images to label images: bring objects to the network's size, predict, come back, follow the flow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline_lib.arrays.resample import resize
from pipeline_lib.core.labels import areas
from pipeline_lib.flows.masks import MaskSettings, masks_from_flow
from pipeline_lib.nets.flownet import FlowNet, build
from pipeline_lib.tiling.predict import Precision, PredictSettings, pick_device, pick_precision, predict_many

STEPS = 200  # Euler steps for objects at the network's own size
SMALLEST_DIAMETER = 5.0
ESTIMATE_ROUNDS = 4
ESTIMATE_TOLERANCE = 0.05  # relative change of the diameter that ends the search

Image = NDArray[np.float32]
Labels = NDArray[np.uint32]
Field = tuple[NDArray[np.float32], NDArray[np.float32]]


@dataclass(frozen=True)
class Network:
    """A network ready to run.

    diam_mean: object diameter in pixels it works at. diam_labels: mean diameter of its training objects, the first
    guess for a plate. channels_in: how many channels it takes.
    """

    net: FlowNet
    diam_mean: float
    diam_labels: float
    channels_in: int
    device: torch.device
    precision: torch.dtype


def prepare_network(state: Mapping[str, Tensor], device: str = "auto", precision: Precision = "auto") -> Network:
    """Build the network of a state dict and place it on a device. Raises ValueError for a device that is not there."""
    place = pick_device(device)
    net = build(state).to(place)
    return Network(
        net=net.to(memory_format=torch.channels_last),  # type: ignore[call-overload]  # not in torch's stubs
        diam_mean=float(net.diam_mean),
        diam_labels=float(net.diam_labels),
        channels_in=net.channels_in,
        device=place,
        precision=pick_precision(precision, place),
    )


def segment_fields(
    network: Network, images: Sequence[Image], diameter: float, masks: MaskSettings, batch_size: int = 8
) -> list[Labels]:
    """Label images (Y, X) of scaled (C, Y, X) images whose objects measure about `diameter` pixels.

    Pixels walk 200 steps along the flow, in proportion more for objects larger than the network's own, unless `masks`
    says how many.
    """
    steps = max(1, int(STEPS * diameter / network.diam_mean))
    fields = flows_of_fields(network, images, diameter, batch_size)
    return [masks_from_flow(flow, logit, masks, steps) for flow, logit in fields]


def flows_of_fields(network: Network, images: Sequence[Image], diameter: float, batch_size: int = 8) -> list[Field]:
    """Flow (2, Y, X) of unit length and cell logit (Y, X) of each scaled (C, Y, X) image, at its own size.

    The network sees the image resized so that `diameter` becomes its own `diam_mean`. Channels an image lacks are zero.
    """
    scaled = [resize(_filled(image, network), _network_shape(image, network, diameter)) for image in images]
    settings = PredictSettings(batch_size, network.device, network.precision)
    return [
        (resize(found.flow, image.shape[1:]), resize(found.logit[None], image.shape[1:])[0])
        for image, found in zip(images, predict_many(network.net, scaled, settings), strict=True)
    ]


def estimate_diameter(network: Network, images: Sequence[Image], masks: MaskSettings, batch_size: int = 8) -> float:
    """The median diameter, in pixels, of the objects in a sample of scaled (C, Y, X) images.

    Starts from the training objects' diameter and segments with each new estimate, until it changes by less than 5 %
    or four times. Without any object the training diameter is the answer.
    """
    diameter = network.diam_labels
    for _ in range(ESTIMATE_ROUNDS):
        found = median_diameter(segment_fields(network, images, diameter, masks, batch_size))
        if found is None:
            return network.diam_labels
        previous, diameter = diameter, max(found, SMALLEST_DIAMETER)
        if abs(diameter - previous) < ESTIMATE_TOLERANCE * previous:
            break
    return diameter


def median_diameter(label_images: Sequence[Labels]) -> float | None:
    """Median over all objects of the diameter of the disc of equal area, in pixels; None without objects."""
    sizes = np.concatenate([np.zeros(0, np.int64), *map(areas, label_images)])
    present = sizes[sizes > 0]
    return float(np.median(2 * np.sqrt(present / np.pi))) if present.size else None


def _network_shape(image: Image, network: Network, diameter: float) -> tuple[int, int]:
    rescale = network.diam_mean / diameter
    height, width = (max(1, int(length * rescale)) for length in image.shape[1:])
    return height, width


def _filled(image: Image, network: Network) -> Image:
    """The image with as many channels as the network takes, those it lacks being zero."""
    missing = network.channels_in - len(image)
    if missing < 0:
        raise ValueError(f"an image of {len(image)} channels found; this network takes up to {network.channels_in}")
    return np.pad(image, ((0, missing), (0, 0), (0, 0)))
