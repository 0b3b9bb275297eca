"""Images to label images: bring objects to the network's size, predict, come back, follow the flow."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from math import ceil
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline_lib.arrays.resample import resize_labels
from pipeline_lib.core.catalogue import DEFAULT_MODEL
from pipeline_lib.core.labels import median_diameter
from pipeline_lib.core.middle import middle
from pipeline_lib.core.sizes import SMALLEST_DIAMETER, SizeModel
from pipeline_lib.flows.blocked import FlowField
from pipeline_lib.flows.blocks import Readable, Scratch, Writable
from pipeline_lib.flows.device import masks_on_device
from pipeline_lib.flows.masks import MaskSettings, masks_from_flow
from pipeline_lib.nets.flownet import build
from pipeline_lib.tiling.placing import RunSettings, place
from pipeline_lib.tiling.predict import FLOW_UNIT, Net, PredictSettings, run_tiled, whole_images
from pipeline_lib.tiling.sources import Pixels, Resized, Source, in_steps, resized_bands

FLOW_CHANNELS = 3  # flow y, flow x, cell logit
STEPS = 200  # Euler steps for objects at the network's own size
ROWS_AT_ONCE = 256  # rows in which flows are stored
LARGEST_SAMPLE = 4096  # pixels along each axis, as the network sees them, that tell the diameter of objects
ESTIMATE_ROUNDS = 4
ESTIMATE_TOLERANCE = 0.05  # relative change of the diameter that ends the search

Image = NDArray[np.float32]
Labels = NDArray[np.uint32]
Field = tuple[NDArray[np.float32], NDArray[np.float32]]


@dataclass(frozen=True)
class Network:
    """A network ready to run.

    diam_mean: object diameter in pixels it works at. diam_labels: mean diameter of its training objects, the first
    guess without a size model. channels_in: how many channels it takes. sizes: how its styles tell diameters, if that
    is known.
    """

    net: Net
    diam_mean: float
    diam_labels: float
    channels_in: int
    predict: PredictSettings
    sizes: SizeModel | None = None

    def steps(self, diameter: float) -> int:
        """How many steps pixels walk along the flow: 200, in proportion more for objects larger than the network's."""
        return max(1, int(STEPS * diameter / self.diam_mean))

    def shape(self, shape: tuple[int, int], diameter: float) -> tuple[int, int]:
        """The size (Y, X) at which the network sees an image of `shape` whose objects measure `diameter` pixels."""
        rescale = self.diam_mean / diameter
        height, width = (max(1, int(length * rescale)) for length in shape)
        return height, width

    def pixels(self, image: Readable) -> Pixels:
        """A scaled (C, Y, X) image on the network's device; channels it lacks are zero."""
        return Pixels(image, self.channels_in, self.predict.device)


def prepare_network(
    state: Mapping[str, Tensor],
    run: RunSettings | None = None,
    sizes: SizeModel | None = None,
    name: str = "this network",
) -> Network:
    """Build the network of a state dict and place it on a device; errors call it by its `name`.

    sizes: its size model, if it has one. Raises ValueError for a device that is not there and for a network that does
    not predict flows.
    """
    net = build(state)
    if net.channels_out != FLOW_CHANNELS:
        raise ValueError(
            f"{name} restores images: it has {net.channels_out} output channel(s); segmentation needs {FLOW_CHANNELS}, "
            f"flow y, flow x and the cell logit, as {DEFAULT_MODEL} has"
        )
    placed, settings = place(net, run or RunSettings())
    return Network(
        net=placed,
        diam_mean=float(net.diam_mean),
        diam_labels=float(net.diam_labels),
        channels_in=net.channels_in,
        predict=settings,
        sizes=sizes,
    )


def segment_fields(network: Network, images: Sequence[Image], diameter: float, masks: MaskSettings) -> Iterator[Labels]:
    """Label images (Y, X), one by one, of scaled (C, Y, X) images whose objects measure about `diameter` pixels.

    On a GPU the network works on the next image while the labels of one are made. Images of equal size share batches.
    """
    steps = network.steps(diameter)
    for output in network.predict.overlap(_whole_outputs(network, images, diameter)):
        yield labels_of(output, masks, steps)


def flows_of_fields(network: Network, images: Sequence[Image], diameter: float) -> list[Field]:
    """Flow (2, Y, X), in pixels per step, and cell logit (Y, X) of each scaled (C, Y, X) image, at its own size.

    The network sees the image resized so that `diameter` becomes its own `diam_mean`. Channels an image lacks are zero.
    """
    outputs = (output.cpu().numpy() for output in _whole_outputs(network, images, diameter))
    return [(output[:2], output[2]) for output in outputs]


def flow_bands(network: Network, sources: Sequence[Source], diameter: float) -> Iterator[tuple[int, Tensor]]:
    """As `flows_of_fields` for images of any size, in bands of rows from top to bottom, image after image.

    Yields the image's number and (3, rows, X): flow y, flow x, cell logit. The bands depend on the image alone, not on
    how it is stored or what is done with them.
    """
    seen = [Resized(source, network.shape(source.shape[1:], diameter)) for source in sources]
    for number, bands in groupby(run_tiled(network.net, seen, network.predict), key=lambda band: band.image):
        outputs = (band.output for band in bands)
        for output in resized_bands(outputs, seen[number].shape[1:], sources[number].shape[1:]):
            yield number, _in_pixels_per_step(output)


def _in_pixels_per_step(output: Tensor) -> Tensor:
    """The network's own output (3, Y, X) with flows in pixels per step."""
    return output / output.new_tensor([FLOW_UNIT, FLOW_UNIT, 1.0])[:, None, None]


def _whole_outputs(network: Network, images: Sequence[Image], diameter: float) -> Iterator[Tensor]:
    """Flow and logit (3, Y, X) of each image, on the network's device."""
    sources = [network.pixels(image) for image in images]
    for _, bands in groupby(flow_bands(network, sources, diameter), key=lambda band: band[0]):
        yield torch.cat([output for _, output in bands], dim=1)


def store_flows(
    network: Network,
    source: Source,
    diameter: float,
    scratch: Scratch,
    progress: Callable[[int, int], None] | None = None,
) -> FlowField:
    """The flow and cell logit of one image of any size, written into three arrays (Y, X) that `scratch` makes.

    progress: told how many rows of how many are written.
    """
    shape = source.shape[1:]
    planes = [scratch(name, shape, np.dtype(np.float32)) for name in ("flow y", "flow x", "logit")]
    bands = (output for _, output in flow_bands(network, [source], diameter))
    for rows, output in in_steps(bands, ROWS_AT_ONCE):
        for plane, values in zip(planes, output.cpu().numpy(), strict=True):
            plane[rows, slice(0, shape[1])] = values
        if progress:
            progress(rows.stop, shape[0])
    return FlowField(_Stack(tuple(planes[:2])), planes[2])


@dataclass(frozen=True)
class _Stack:
    """Arrays (Y, X) read as one (N, Y, X)."""

    planes: tuple[Writable, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self.planes), *self.planes[0].shape)

    def __getitem__(self, place: tuple[slice, ...]) -> NDArray[Any]:
        which, *box = place
        return np.stack([plane[tuple(box)] for plane in self.planes[which]])


def labels_of(output: Tensor, masks: MaskSettings, steps: int) -> Labels:
    """The label image (Y, X) of flow y, flow x and cell logit (3, Y, X), in pixels per step.

    The flow is followed where it is: in compiled code on the processor, in torch on a GPU; the labels are the same.
    """
    if output.device.type != "cpu":
        return masks_on_device(output[:2], output[2], masks, steps)
    found = np.ascontiguousarray(output.numpy())
    return masks_from_flow(found[:2], found[2], masks, steps)


def estimate_diameter(network: Network, images: Sequence[Image], masks: MaskSettings) -> float:
    """The median diameter, in pixels, of the objects in a sample of scaled (C, Y, X) images.

    Starts from what the images' styles tell, without a size model from the training objects' diameter, and segments
    with each new estimate, until it changes by less than 5 % or four times; in the middle of images that a small
    diameter would make too large. Without any object the training diameter is the answer.
    """
    diameter = _first_guess(network, images)
    for _ in range(ESTIMATE_ROUNDS):
        middles = [_middle(network, image, diameter) for image in images]
        found = median_diameter(list(segment_fields(network, middles, diameter, masks)))
        if found is None:
            return network.diam_labels
        previous, diameter = diameter, max(found, SMALLEST_DIAMETER)
        if abs(diameter - previous) < ESTIMATE_TOLERANCE * previous:
            break
    return diameter


def _first_guess(network: Network, images: Sequence[Image]) -> float:
    """Where the search for a diameter starts: far off, a network may outline what surrounds objects, and stay there."""
    if network.sizes is None or not images:
        return network.diam_labels
    styles = [_style(network, _middle(network, image, network.diam_labels)) for image in images]
    return float(np.median([network.sizes.diameter(style) for style in styles]))


def diameter_by_style(network: Network, model: SizeModel, image: Image, masks: MaskSettings) -> float:
    """The median object diameter of one scaled (C, Y, X) image, as Cellpose's size models tell it.

    The style of a first pass gives a guess; the objects found at that guess, with pixels walking on the network's own
    grid, give the answer: in the middle of the image where it would become too large. Without any object it is the
    diameter the network works at.
    """
    guess = model.diameter(_style(network, image))
    image = _middle(network, image, guess)
    shape = network.shape((image.shape[1], image.shape[2]), guess)
    small = Resized(network.pixels(image), shape)
    output = torch.cat([band.output for band in run_tiled(network.net, [small], network.predict)], dim=1)
    labels = labels_of(_in_pixels_per_step(output), masks, STEPS)
    return median_diameter([resize_labels(labels, image.shape[1:])]) or network.diam_mean


def _middle(network: Network, image: Image, diameter: float) -> Image:
    """As much around the middle as the network sees in LARGEST_SAMPLE x LARGEST_SAMPLE of its own pixels."""
    return image[:, *middle(image.shape[1:], ceil(LARGEST_SAMPLE * diameter / network.diam_mean))]


def _style(network: Network, image: Image) -> NDArray[np.float32]:
    """The style (256,) of an image seen as if its objects had the training objects' size."""
    seen = Resized(network.pixels(image), network.shape((image.shape[1], image.shape[2]), network.diam_labels))
    ((_, style),) = whole_images(run_tiled(network.net, [seen], network.predict))
    return style
