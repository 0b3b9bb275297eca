"""A network over images of any size: cut into tiles, run in batches, blended back, row by row.

Tiles and batches follow the whole image's own grid, and rows are handed out as soon as no further tile touches them. So
the memory needed is that of one row of tiles, and the result is the same however it is consumed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby, islice
from typing import Literal, NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import normalize, pad

from pipeline_lib.core.ahead import ahead
from pipeline_lib.tiling.boxes import TILE, Tile, TileGrid
from pipeline_lib.tiling.sources import Source

Net = Callable[[Tensor], tuple[Tensor, Tensor]]
Precision = Literal["auto", "float32", "bfloat16"]

Item = TypeVar("Item")

FLOW_UNIT = 5.0  # network output for a flow of one pixel per step


@dataclass(frozen=True)
class PredictSettings:
    """How tiles go through the network: how many full ones at once, where, and in which number type it computes.

    On a processor two tiles at once are fastest: more do not fit into its caches. A GPU wants many.

    augment: also look at mirrored tiles and average (test-time augmentation); only for networks that predict flows.
    """

    batch_size: int
    device: torch.device
    precision: torch.dtype
    augment: bool = False

    def overlap(self, items: Iterable[Item]) -> Iterator[Item]:
        """The same items, made in advance while a GPU is busy; a processor has no time to spare."""
        return iter(items) if self.device.type == "cpu" else ahead(items)

    def grid(self, shape: tuple[int, int]) -> TileGrid:
        """The tiles of an image of `shape` (Y, X)."""
        return TileGrid.cover_twice(shape) if self.augment else TileGrid.cover(shape)


class Band(NamedTuple):
    """Some rows of the blended output of one image, all columns; an image's bands come in order and without gaps.

    image: its number among the sources. output: (C_out, rows, X). style: with the last band of an image its style
    (256,), of length 1; None before.
    """

    image: int
    output: Tensor
    style: Tensor | None


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


def whole_images(bands: Iterable[Band]) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """Each image's output (C_out, Y, X) and style (256,), put together from its bands."""
    for _, of_image in groupby(bands, key=lambda band: band.image):
        parts = list(of_image)
        style = parts[-1].style
        assert style is not None, "the last band brings the style"
        yield torch.cat([part.output for part in parts], dim=1).cpu().numpy(), style.cpu().numpy()


def run_tiled(net: Net, sources: Iterable[Source], settings: PredictSettings) -> Iterator[Band]:
    """Any network's blended output for each image, one image after the other, in bands of rows from top to bottom.

    On a GPU the next batch is read and cut while the network is busy with one.
    """
    for batch in settings.overlap(_batches(_cut(sources, settings), settings.batch_size)):
        outputs, styles = _run(net, torch.stack([cut.pixels for cut in batch]), settings)
        for cut, output, style in zip(batch, outputs, styles, strict=True):
            yield from cut.canvas.blend(cut.tile, output, style)


class _Cut(NamedTuple):
    """A tile on its way through the network, with the pixels (C, Y, X) that the network sees."""

    canvas: _Canvas
    tile: Tile
    pixels: Tensor


def _cut(sources: Iterable[Source], settings: PredictSettings) -> Iterator[_Cut]:
    """All tiles of all images."""
    for number, source in enumerate(sources):
        canvas = _Canvas(number, settings.grid(source.shape[1:]), settings.device)
        for row, tiles in groupby(canvas.grid.tiles(), key=lambda tile: tile.y):
            strip = _padded_rows(source, canvas.grid, row)
            for tile in tiles:
                yield _Cut(canvas, tile, strip[:, :, tile.x].flip(tile.mirrored))


def _padded_rows(source: Source, grid: TileGrid, rows: slice) -> Tensor:
    """Some rows of the padded image, which is zero around the source's own pixels."""
    start, stop = (min(max(edge - grid.y.before, 0), grid.y.length) for edge in (rows.start, rows.stop))
    above, below = start + grid.y.before - rows.start, rows.stop - grid.y.before - stop
    return pad(source.rows(start, stop), (grid.x.before, grid.x.after, above, below))


def _batches(tiles: Iterable[_Cut], size: int) -> Iterator[list[_Cut]]:
    """Up to `size` tiles of one shape at a time, in their order; as many more as they are smaller than full tiles."""
    for shape, alike in groupby(tiles, key=lambda cut: cut.pixels.shape):
        count = size * max(1, TILE * TILE // (shape[-2] * shape[-1]))
        while batch := list(islice(alike, count)):
            yield batch


class _Canvas:
    """What one image's tiles are painted on: the rows that the tiles of one row of the grid cover."""

    def __init__(self, number: int, grid: TileGrid, device: torch.device) -> None:
        self.grid = grid
        self._number = number
        self._weights = torch.from_numpy(grid.weights().astype(np.float32)).to(device)
        self._painted = torch.zeros(())
        self._style = torch.zeros(())
        self._count = 0

    def blend(self, tile: Tile, output: Tensor, style: Tensor) -> Iterator[Band]:
        """Add a tile's output, weighted towards its middle, and its style; the last tile of a row frees a band."""
        if not self._count:
            self._painted = output.new_zeros(len(output), self.grid.y.tile, self.grid.x.padded)
            self._style = torch.zeros_like(style)
        self._painted[:, :, tile.x] += _turned_back(output, tile.mirrored) * self._weights
        self._style = self._style + style
        self._count += 1
        if self._count % len(self.grid.x.starts) == 0:
            yield from self._finished(self._count // len(self.grid.x.starts) - 1)

    def _finished(self, row: int) -> Iterator[Band]:
        """After a row of tiles: the rows of pixels that no later tile touches, as weighted means, without padding."""
        y, x = self.grid.y, self.grid.x
        top, bottom = (*y.starts, y.padded)[row : row + 2]
        painted, self._painted = self._painted, pad(self._painted[:, bottom - top :], (0, 0, 0, bottom - top))
        inner = slice(max(top, y.inner.start), min(bottom, y.inner.stop))
        if inner.start < inner.stop:
            total = np.outer(y.total_weights()[inner], x.total_weights()[x.inner]).astype(np.float32)
            rows = painted[:, inner.start - top : inner.stop - top, x.inner]
            style = normalize(self._style, dim=0) if bottom == y.padded else None
            yield Band(self._number, rows / torch.from_numpy(total).to(rows.device), style)


def _turned_back(output: Tensor, mirrored: tuple[int, ...]) -> Tensor:
    """The output (flow y, flow x, logit) for a mirrored tile, as it is for the tile itself."""
    if not mirrored:
        return output
    signs = [-1.0 if -2 in mirrored else 1.0, -1.0 if -1 in mirrored else 1.0, 1.0]
    return output.flip(mirrored) * output.new_tensor(signs)[:, None, None]


@torch.inference_mode()
def _run(net: Net, tiles: Tensor, settings: PredictSettings) -> tuple[Tensor, Tensor]:
    """Output (N, C_out, Y, X) and styles (N, 256) of a stack of tiles (N, C, Y, X), in float32."""
    autocast = torch.autocast(settings.device.type, torch.bfloat16, enabled=settings.precision == torch.bfloat16)
    # On a GPU: float32 is not rounded to 10 bits, and the same tiles give the same output each time.
    exact = torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False)
    with autocast, exact:
        output, style = net(tiles.contiguous(memory_format=torch.channels_last))
    return output.float(), style.float()
