"""Arrays on disk for the time of a computation: large, compressed, and gone afterwards."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.codecs import BloscCodec

CHUNK = (256, 1024)  # (Y, X) pixels

Factory = Callable[[str, tuple[int, int], np.dtype[Any]], Any]


@contextmanager
def scratch_arrays(folder: Path | None = None) -> Iterator[Factory]:
    """A function that makes (Y, X) arrays of zeros by name, in a new folder that is removed at the end.

    folder: where; None: the system's folder for temporary files, which TMPDIR chooses. An image needs up to 28 bytes
    per pixel there, in practice about a third.
    """
    with tempfile.TemporaryDirectory(prefix="wellpose-", dir=folder) as place:

        def make(name: str, shape: tuple[int, int], dtype: np.dtype[Any]) -> zarr.Array[Any]:
            chunks = tuple(min(most, length) for most, length in zip(CHUNK, shape, strict=True))
            return zarr.create_array(
                Path(place) / name,
                shape=shape,
                dtype=dtype,
                chunks=chunks,
                compressors=BloscCodec(cname="lz4", clevel=1, shuffle="bitshuffle"),
                fill_value=0,
            )

        yield make
