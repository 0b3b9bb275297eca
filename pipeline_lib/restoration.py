"""Images to restored images, without noise or blur: to the network's size, through it tile by tile, and back.

A restoration network reads one channel and gives one, in the same units: 0 and 1 are where scaling put them. It is run
on each channel for itself; nuclei and whole cells may each have a network and a diameter of their own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline_lib.core.catalogue import RESTORATION_MODEL
from pipeline_lib.nets.flownet import build
from pipeline_lib.tiling.placing import RunSettings, place
from pipeline_lib.tiling.predict import Net, PredictSettings, run_tiled
from pipeline_lib.tiling.sources import Pixels, Resized, Source, resized_bands

Plane = NDArray[np.float32]


@dataclass(frozen=True)
class Restorer:
    """A restoration network ready to run. diam_mean: object diameter in pixels it works at."""

    net: Net
    diam_mean: float
    predict: PredictSettings

    def seen(self, shape: tuple[int, int], diameter: float) -> tuple[int, int]:
        """The size (Y, X) at which the network sees an image of `shape` whose objects measure `diameter` pixels."""
        rescale = self.diam_mean / diameter
        height, width = (max(1, int(length * rescale)) for length in shape)
        return height, width

    def restored(self, shape: tuple[int, int], diameter: float, *, enlarge: bool) -> tuple[int, int]:
        """The size (Y, X) of the restored image. Raises ValueError for objects that need not be enlarged."""
        if enlarge and not diameter < self.diam_mean:
            raise ValueError(
                f"a diameter of {diameter:g} pixels found; enlarging brings smaller objects to the {self.diam_mean:g} "
                "pixels that this network works at: give the diameter that they have now, or do not enlarge"
            )
        return self.seen(shape, diameter) if enlarge else shape

    def pixels(self, image: Plane) -> Pixels:
        """A scaled (Y, X) image on the network's device."""
        return Pixels(image[None], 1, self.predict.device)


def prepare_restorer(
    state: Mapping[str, Tensor], run: RunSettings | None = None, name: str = "this network"
) -> Restorer:
    """Build the restoration network of a state dict and place it on a device; errors call it by its `name`.

    Raises ValueError for a device that is not there, for a network that does not turn one channel into one, and for
    averaging over mirrored tiles, which a network was not trained for.
    """
    run, net = run or RunSettings(), build(state)
    if (net.channels_in, net.channels_out) != (1, 1):
        raise ValueError(
            f"{name} {'segments' if net.channels_out > 1 else 'mixes channels'}: it has {net.channels_in} input and "
            f"{net.channels_out} output channels; restoring needs a network with 1 and 1, such as {RESTORATION_MODEL}"
        )
    if run.augment:
        raise ValueError("augment is True; mirrored tiles are averaged in segmentation only: leave it out")
    placed, settings = place(net, run)
    return Restorer(placed, float(net.diam_mean), settings)


def restore_fields(
    restorer: Restorer, images: Sequence[Plane], diameter: float, *, enlarge: bool = False
) -> Iterator[Plane]:
    """Each scaled (Y, X) image restored, one by one, as `restored_bands` does. Images of equal size share batches."""
    sources = [restorer.pixels(image) for image in images]
    for _, bands in groupby(_bands(restorer, sources, diameter, enlarge=enlarge), key=lambda band: band[0]):
        yield torch.cat([band for _, band in bands]).cpu().numpy()


def restored_bands(restorer: Restorer, source: Source, diameter: float, *, enlarge: bool = False) -> Iterator[Tensor]:
    """One scaled image (1, Y, X) of any size restored, in bands (rows, X) from top to bottom, on the network's device.

    The network sees the image resized so that `diameter`, that of its objects in pixels, becomes its own `diam_mean`.
    The result has the image's size, or with `enlarge` the one that the network saw: length * diam_mean / diameter,
    rounded down. It is neither scaled again nor clipped. Memory holds one row of tiles.

    Raises ValueError for `enlarge` where objects are not smaller than `diam_mean`.
    """
    return (band for _, band in _bands(restorer, [source], diameter, enlarge=enlarge))


def _bands(
    restorer: Restorer, sources: Sequence[Source], diameter: float, *, enlarge: bool
) -> Iterator[tuple[int, Tensor]]:
    """The bands (rows, X) of one image after the other, with the image's number."""
    shapes = [source.shape[1:] for source in sources]
    targets = [restorer.restored(shape, diameter, enlarge=enlarge) for shape in shapes]
    seen = [Resized(source, restorer.seen(shape, diameter)) for source, shape in zip(sources, shapes, strict=True)]
    for number, bands in groupby(run_tiled(restorer.net, seen, restorer.predict), key=lambda band: band.image):
        outputs = (band.output for band in bands)
        for output in resized_bands(outputs, seen[number].shape[1:], targets[number]):
            yield number, output[0]
