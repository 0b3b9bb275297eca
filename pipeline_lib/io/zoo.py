"""Official models in the cache: bring them there and check what is there.

The authors publish no checksums. So the first download of a model is trusted, openly: its SHA-256 is reported and kept
in `<file>.sha256` beside it, and from then on that file must not change. Who knows the right checksum beforehand pins
it, and nothing else is accepted.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from pipeline_lib.core.catalogue import Model, official
from pipeline_lib.io.checksums import checksum, read_sums, sum_file, write_sum
from pipeline_lib.io.download import Patience, Progress, claimed, deliver, download, drop
from pipeline_lib.io.size_models import load_size_model
from pipeline_lib.io.weights import SHIPPED, USER_MODELS, WeightsError, check_begin, load_weights, models_folder

OFFICIAL = "https://www.cellpose.org/models"
log = logging.getLogger("wellpose")


@dataclass(frozen=True)
class Source:
    """Where models come from. mirror: URL or folder that holds the files. pins: file name -> SHA-256 it must have."""

    mirror: str = OFFICIAL
    pins: Mapping[str, str] = field(default_factory=dict)
    patience: Patience = field(default_factory=Patience)

    def url(self, file: str) -> str:
        """Where one file is."""
        base = self.mirror if "://" in self.mirror else Path(self.mirror).expanduser().resolve().as_uri()
        return f"{base.rstrip('/')}/{quote(file)}"


@dataclass(frozen=True)
class Fetched:
    """A model that is in the cache now. trusted: nothing told beforehand which checksum it should have."""

    path: Path
    sha256: str
    downloaded: bool
    trusted: bool


@dataclass(frozen=True)
class Verdict:
    """What was found of one file in the cache. fault: what is wrong; empty if nothing is. pinned: its sum is known."""

    path: Path
    sha256: str
    fault: str
    pinned: bool


def fetch(model: Model, source: Source, progress: Progress) -> Fetched:
    """Bring a model into the cache, whole and checked, or leave the cache as it was.

    A good file that is there already is kept. Two processes that fetch the same model wait for each other.
    Raises WeightsError: refused architecture, wrong checksum, or not a model. DownloadError: not to be had.
    """
    if model.refused:
        raise WeightsError(f"{model.name} {model.refused}")
    target = models_folder() / model.file
    pin = source.pins.get(model.file) or _kept_sum(target)
    with claimed(target.with_name(f".{model.file}.part")) as part:
        here = target.is_file() and not _fault(target, target, pin)
        if here:
            drop(part)  # of a download that somebody else has finished
        else:
            download(source.url(model.file), part, source.patience, progress)
            if fault := _fault(part, target, pin):
                drop(part)
                raise WeightsError(f"{source.url(model.file)}: {fault}. Nothing was kept")
        sha256 = checksum(target if here else part)
        write_sum(target, sha256)
        if not here:
            deliver(part, target)
    return Fetched(target, sha256, downloaded=not here, trusted=pin is None)


def verify(pins: Mapping[str, str]) -> Iterator[Verdict]:
    """Check every shipped and cached model: its checksum, if one is known, and whether it loads.

    Models of another architecture, which the cache may hold for other programs, are checked by their sum alone.
    """
    for path in model_files():
        try:
            pin = pins.get(path.name) or _kept_sum(path)
            fault = _fault(path, path, pin)
        except ValueError as error:
            pin, fault = None, str(error)
        yield Verdict(path, checksum(path), fault, pinned=pin is not None)


def model_files() -> list[Path]:
    """The shipped models, then those in the cache, official or not, each in order of name."""
    folders = [folder for folder in (SHIPPED, models_folder()) if folder.is_dir()]
    return [path for folder in folders for path in sorted(folder.iterdir()) if _is_model(path)]


def _is_model(path: Path) -> bool:
    other = path.name == USER_MODELS or path.suffix == ".sha256" or path.name.startswith(".")
    return path.is_file() and not other


def _kept_sum(path: Path) -> str | None:
    """The checksum written down beside a file."""
    kept = sum_file(path)
    return read_sums(kept).get(path.name) if kept.is_file() else None


def _fault(path: Path, target: Path, pin: str | None) -> str:
    """What is wrong with a file that is, or shall become, `target`; empty if nothing is."""
    if pin and (found := checksum(path)) != pin:
        return f"wrong checksum: SHA-256 {found} instead of {pin}"
    model = official(target.name)
    if model and model.refused:
        return ""
    try:
        if target.suffix == ".npy" or (target.name.startswith("size_") and target.suffix == ".safetensors"):
            check_begin(path)
            load_size_model(path)
            return ""
        weights = load_weights(path)
    except WeightsError as error:
        return str(error).removeprefix(f"{path}: ")  # the caller names the file, or where it came from
    channels = (weights.channels_in, weights.channels_out)
    if model and model.channels != channels:
        return f"a network of {channels[0]} -> {channels[1]} channels, not {model.name}, whose are {model.channels}"
    return ""
