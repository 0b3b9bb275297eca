"""The images that segment and measure read: raw ones, or what `restore` made of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline_lib.arrays.resample import resize
from pipeline_lib.core.errors import DataTrouble
from pipeline_lib.io.plate import read_field, stored_fingerprint
from pipeline_lib.io.records import read_json
from pipeline_lib.paths import PlatePaths
from pipeline_lib.provenance import code_digest, fingerprint
from pipeline_lib.settings import Images

IMAGES_AT_ONCE = 8  # fields or time points of a well that are in memory together ...
PIXELS_AT_ONCE = 8 * 2160 * 2160  # ... and as many of them as have so many pixels, but at least one


class NotRestored(DataTrouble):
    """Restored images that are wanted and not there."""

    kind = "not restored"


@dataclass(frozen=True)
class WellImages:
    """The raw or the restored images of a plate's wells."""

    plate: PlatePaths
    images: Images

    @cached_property
    def restoration(self) -> dict[str, Any]:
        """What `prepare` chose for the plate: `ranges`, `diameters`, `ratio`."""
        return read_json(self.plate.restoration)

    @property
    def ratio(self) -> float:
        """How many times as many pixels along each side as raw images these have."""
        return float(self.restoration["ratio"]) if self.images == "restored" else 1.0

    def fingerprint(self, well: str) -> str | None:
        """What tells the images of a well from others; None where there are no raw ones.

        Restored images are known by what they are made from, whether they are there or not: what was made from
        temporary ones stays current when they have gone.
        """
        raw = stored_fingerprint(self.plate.raw_well(well))
        if raw is None or self.images == "raw":
            return raw
        return fingerprint(raw=raw, restoration=self.restoration, code=code_digest("restore"))

    def read(self, well: str, field: int, time: int) -> NDArray[Any]:
        """One field as (C, Y, X), at the size it is stored in.

        Raises:
            NotRestored: The restored images that are wanted are not there.
        """
        if self.images == "raw":
            return read_field(self.plate.raw, well, field, time)
        if stored_fingerprint(self.plate.restored_well(well)) != self.fingerprint(well):
            raise NotRestored(
                f"well {well} has no restored images of the kind that is wanted; the records of restore say why. Those "
                f"that were deleted: wellpose reset {self.plate.folder} --stage restore, then snakemake"
            )
        return read_field(self.plate.restored, well, field, time)


def portions(fields: Sequence[int], times: int, shape: tuple[int, int]) -> Iterator[list[tuple[int, int]]]:
    """Field and time point of each image (Y, X) of a well, as many at a time as are in memory together."""
    places = [(field, time) for field in fields for time in range(times)]
    some = max(1, min(IMAGES_AT_ONCE, PIXELS_AT_ONCE // (shape[0] * shape[1])))
    for start in range(0, len(places), some):
        yield places[start : start + some]


def at_size(image: NDArray[Any], shape: tuple[int, int]) -> NDArray[Any]:
    """An image (C, Y, X) at another size, in 32-bit floats; as it is where it has that size."""
    return image if image.shape[1:] == shape else resize(image.astype(np.float32), shape)
