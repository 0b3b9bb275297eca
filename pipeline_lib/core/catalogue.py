"""The names of our own models, and the official Cellpose 1-3 models: file, input and output, and who may use each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal

DEFAULT_MODEL = "wellpose-1"  # shipped; nuclei, whole cells, phase contrast
RESTORATION_MODEL = "wellpose-oneclick-1"  # shipped; noise, blur and coarse pixels
RESTORATION_MODELS = {
    "denoise": "wellpose-denoise-1",
    "deblur": RESTORATION_MODEL,
    "upsample": RESTORATION_MODEL,
    "oneclick": RESTORATION_MODEL,
}
"""What is done to an image -> the shipped network that does it."""

Kind = Literal["segmentation", "restoration", "size"]

LICENCE_NOTE = "trained partly on CC-BY-NC data"
_FREE_OF_NC = {"yeast_BF_cp3", "yeast_PhC_cp3", "deepbacs_cp3"}


@dataclass(frozen=True)
class Model:
    """One official model.

    file: its name on the server and in the cache. channels: of the network's input and output; None for size models.
    refused: why this software cannot run it; empty for those it can.
    """

    name: str
    file: str
    kind: Kind
    channels: tuple[int, int] | None
    refused: str = ""

    @property
    def diam_mean(self) -> float:
        """Object diameter in pixels that the network works at."""
        return usual_diameter(self.name)

    @property
    def licence_note(self) -> str:
        """What to know before use; empty if nothing restricts it."""
        return "" if self.name in _FREE_OF_NC else LICENCE_NOTE


def usual_diameter(name: str) -> float:
    """Pixels: 17 for a model that is called after nuclei, 30 for all others."""
    return 17.0 if "nuclei" in name else 30.0


def official(name: str) -> Model | None:
    """The model of this name or file name."""
    return MODELS.get(name) or _BY_FILE.get(name)


def close_names(name: str, known: Iterable[str]) -> list[str]:
    """Up to three of the known names that `name` may have meant, most alike first, whatever their case."""
    folded = {one.casefold(): one for one in known}
    return [folded[match] for match in get_close_matches(name.casefold(), folded)]


def network_names() -> list[str]:
    """The official models that find objects or restore images, and can be run."""
    return [model.name for model in MODELS.values() if model.kind != "size" and not model.refused]


_RENAMED = {"cyto2": "cyto2torch_0", "cyto": "cytotorch_0", "nuclei": "nucleitorch_0"}
_SEGMENTATION = (
    "cyto3", "cyto2", "cyto", "nuclei", "cyto2_cp3", "tissuenet_cp3", "livecell_cp3", "yeast_PhC_cp3", "yeast_BF_cp3",
    "bact_phase_cp3", "bact_fluor_cp3", "deepbacs_cp3", "CP", "CPx", "TN1", "TN2", "TN3", "LC1", "LC2", "LC3", "LC4",
)  # fmt: skip
_SIZED = ("cyto3", "cyto2", "cyto", "nuclei")
_TASKS = ("denoise", "deblur", "upsample", "oneclick")
_REFUSED = {
    "neurips_cellpose_default": "reads 3 channels, another architecture",
    "neurips_grayscale_cyto2": "reads 3 channels, another architecture",
    "transformer_cp3": "has a transformer for an encoder, another architecture",
    "neurips_cellpose_transformer": "has a transformer for an encoder, another architecture",
    "cpsam": "is a Cellpose 4 (SAM) model, another architecture",
}


def _restoration_names() -> Iterator[str]:
    """Tasks times the segmentation model they serve; those trained with one loss only; those for uneven voxels."""
    for served in ("cyto3", "cyto2", "nuclei"):
        yield from (f"{task}_{served}" for task in _TASKS)
    for served in ("cyto2", "nuclei"):
        yield from (f"{task}_{loss}_{served}" for task in _TASKS for loss in ("per", "seg", "rec"))
        yield f"aniso_{served}"


def _models() -> Iterator[Model]:
    for name in _SEGMENTATION:
        yield Model(name, _RENAMED.get(name, name), "segmentation", (2, 3))
    for name in _SIZED:
        yield Model(f"size_{name}", f"size_{_RENAMED.get(name, name)}.npy", "size", None)
    for name in _restoration_names():
        yield Model(name, name, "restoration", (1, 1))
    for name, reason in _REFUSED.items():
        yield Model(name, name, "segmentation", (3, 3), reason)


MODELS = {model.name: model for model in _models()}
_BY_FILE = {model.file: model for model in MODELS.values()}
