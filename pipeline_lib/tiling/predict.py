"""A network over images of any size: cut into tiles, run in batches, blended back."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline_lib.tiling.boxes import TileGrid

Net = Callable[[Tensor], tuple[Tensor, Tensor]]
Tile = tuple[slice, slice]
Precision = Literal["auto", "float32", "bfloat16"]

FLOW_UNIT = 5.0  # network output for a flow of one pixel per step


@dataclass(frozen=True)
class PredictSettings:
    """How tiles go through the network: how many at once, where, and in which number type it computes."""

    batch_size: int
    device: torch.device
    precision: torch.dtype


class Prediction(NamedTuple):
    """What a network says about one image.

    flow: (2, Y, X), y first, length 1 = one pixel (the network's own output is five times that). logit: (Y, X), above 0
    inside cells. style: (256,), of length 1.
    """

    flow: NDArray[np.float32]
    logit: NDArray[np.float32]
    style: NDArray[np.float32]


def pick_device(name: str) -> torch.device:
    """The device for cpu, cuda, cuda:N, or auto: a GPU where there is one. Raises ValueError if it is absent."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    kind, _, index = name.partition(":")
    if kind not in ("cpu", "cuda") or (index and not index.isdigit()):
        raise ValueError(f"device {name!r} found; auto, cpu, cuda or cuda:N is allowed")
    if kind == "cuda" and int(index or 0) >= torch.cuda.device_count():
        raise ValueError(f"device {name!r} found, but {torch.cuda.device_count()} GPUs are visible; use auto or cpu")
    return torch.device(name)


def pick_precision(name: Precision, device: torch.device) -> torch.dtype:
    """The number type to compute in; "auto" is bfloat16 where the hardware multiplies in it, else float32."""
    if name == "auto":
        return torch.bfloat16 if _has_bfloat16(device) else torch.float32
    return {"float32": torch.float32, "bfloat16": torch.bfloat16}[name]


def _has_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def predict(net: Net, image: NDArray[np.float32], settings: PredictSettings) -> Prediction:
    """The flow, cell logit and style of one scaled (C, Y, X) image."""
    return predict_many(net, [image], settings)[0]


def predict_many(net: Net, images: Sequence[NDArray[np.float32]], settings: PredictSettings) -> list[Prediction]:
    """As `predict` for images of any shapes; tiles of equal size share batches, whichever image they are from."""
    return [
        Prediction(output[:2] / np.float32(FLOW_UNIT), output[2], style)
        for output, style in run_tiled(net, images, settings)
    ]


def run_tiled(
    net: Net, images: Sequence[NDArray[np.float32]], settings: PredictSettings
) -> list[tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """Any network's blended output (C_out, Y, X) and style (256,) for each (C, Y, X) image."""
    canvases = [_Canvas(image) for image in images]
    for batch in _batches(canvases, settings.batch_size):
        tiles = np.stack([canvas.cut(tile) for canvas, tile in batch])
        for (canvas, tile), output, style in zip(batch, *_run(net, tiles, settings), strict=True):
            canvas.blend(tile, output, style)
    return [canvas.finish() for canvas in canvases]


class _Canvas:
    """One image on its way through the network: what is cut from, and what is painted on."""

    def __init__(self, image: NDArray[np.float32]) -> None:
        self.grid = TileGrid.cover((image.shape[1], image.shape[2]))
        y, x = self.grid.y, self.grid.x
        self._image = np.pad(image, ((0, 0), (y.before, y.after), (x.before, x.after)))
        self._weights = self.grid.weights()
        self._painted: NDArray[np.float32] | None = None
        self._style = np.zeros((), np.float32)

    def cut(self, tile: Tile) -> NDArray[np.float32]:
        return self._image[:, *tile]

    def blend(self, tile: Tile, output: NDArray[np.float32], style: NDArray[np.float32]) -> None:
        """Add one tile's output, weighted towards its middle, and its style."""
        if self._painted is None:
            self._painted = np.zeros((len(output), *self.grid.padded), np.float32)
        self._painted[:, *tile] += output * self._weights
        self._style = self._style + style

    def finish(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The weighted mean of all tiles without the padding, and the mean style brought to length 1."""
        assert self._painted is not None, "every grid has at least one tile"
        output = self._painted[:, *self.grid.inner] / self.grid.total_weights()[self.grid.inner]
        length = np.linalg.norm(self._style)
        return output.astype(np.float32), self._style / (length if length > 0 else np.float32(1))


def _batches(canvases: Sequence[_Canvas], size: int) -> Iterator[list[tuple[_Canvas, Tile]]]:
    """All tiles of all canvases, up to `size` of one shape at a time."""
    by_shape: defaultdict[tuple[int, int], list[tuple[_Canvas, Tile]]] = defaultdict(list)
    for canvas in canvases:
        by_shape[canvas.grid.tile].extend((canvas, tile) for tile in canvas.grid.tiles())
    for tiles in by_shape.values():
        for first in range(0, len(tiles), size):
            yield tiles[first : first + size]


@torch.inference_mode()
def _run(
    net: Net, tiles: NDArray[np.float32], settings: PredictSettings
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Output (N, C_out, Y, X) and styles (N, 256) of a stack of tiles (N, C, Y, X)."""
    autocast = torch.autocast(settings.device.type, torch.bfloat16, enabled=settings.precision == torch.bfloat16)
    exact = torch.backends.cudnn.flags(enabled=True, allow_tf32=False)  # else a GPU rounds float32 to 10 bits
    batch = torch.from_numpy(tiles).to(settings.device, memory_format=torch.channels_last)
    with autocast, exact:
        output, style = net(batch)
    return output.float().cpu().numpy(), style.float().cpu().numpy()
