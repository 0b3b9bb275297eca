"""Network weights on disk: find, check, read, write.

Reads safetensors and the official Cellpose 1-3 checkpoints (PyTorch files holding a plain state dict). Nothing in a
file is ever executed. torch is imported only when tensors are read or written, so finding and hashing stay fast.
"""

from __future__ import annotations

import math
import os
import shlex
import struct
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from pickle import PROTO, UnpicklingError
from typing import TYPE_CHECKING

from pipeline_lib.core.catalogue import Model, close_names, network_names, official, usual_diameter
from pipeline_lib.io.checksums import checksum
from pipeline_lib.io.commit import committed
from pipeline_lib.io.headers import in_order

if TYPE_CHECKING:
    from torch import Tensor

SHIPPED = Path(__file__).parents[1] / "weights"
MODELS_VARIABLE = "CELLPOSE_LOCAL_MODELS_PATH"
USER_MODELS = "gui_models.txt"
DIAMETERS = ("diam_mean", "diam_labels")
_WIDTHS = (32, 64, 128, 256)
_FIRST = "downsample.down.res_down_0.conv.conv_0.2.weight"
_HEAD = "output.2.weight"
_CHANNELS_IN, _CHANNELS_OUT = (1, 2), (1, 3)  # restoration and one-channel nets, segmentation
_NO_MODEL = "incomplete, or no model file"
_DAMAGED = (  # what torch raises at bytes that are not what it wrote
    UnpicklingError, RuntimeError, EOFError, ValueError, LookupError, TypeError, AttributeError, AssertionError,
    struct.error,
)  # fmt: skip

Shape = tuple[int, ...]


class WeightsError(ValueError):
    """A weights file that is missing, unsafe, or made for another network."""


@dataclass(frozen=True)
class Weights:
    """One checked checkpoint.

    state: all 313 entries, floating ones in float32. diam_mean: object diameter in pixels that the network works at.
    diam_labels: mean diameter of its training objects. sha256: of the file. name: the file's, without its ending.
    """

    name: str
    sha256: str
    state: Mapping[str, Tensor]
    diam_mean: float
    diam_labels: float
    channels_in: int
    channels_out: int


def models_folder() -> Path:
    """The cache of models, shared with Cellpose: `$CELLPOSE_LOCAL_MODELS_PATH`, else `~/.cellpose/models`."""
    return Path(os.environ.get(MODELS_VARIABLE) or Path.home() / ".cellpose" / "models").expanduser()


def user_models() -> tuple[str, ...]:
    """Names of models that users added to the cache: the lines of its `gui_models.txt`."""
    listed = models_folder() / USER_MODELS
    lines = listed.read_text(encoding="utf-8").splitlines() if listed.is_file() else []
    return tuple(dict.fromkeys(line.strip() for line in lines if line.strip()))


def shipped_models() -> list[str]:
    """Names of the models that come with this software."""
    return sorted(path.stem for path in SHIPPED.glob("*.safetensors") if not path.name.startswith("size_"))


def find_weights(name_or_path: str | Path) -> Path:
    """The file that a model name or path stands for. Nothing is downloaded.

    Anything with a folder is a path. A bare name is that of a shipped model, of an official one ("cyto2" is the file
    "cyto2torch_0"), or of any file in the cache of models; one with an ending is first tried as a path.
    Raises WeightsError: no such file, with the command that fetches it where there is one; or a model that no network
    here can run.
    """
    asked = Path(name_or_path).expanduser()
    if asked.name != str(name_or_path) or (asked.suffix and asked.is_file()):
        if not asked.is_file():
            raise WeightsError(f"{asked}: no such weights file")
        return asked
    model = official(asked.name)
    if model and (model.refused or model.kind == "size"):
        raise WeightsError(f"{asked.name} {model.refused or 'is a size model, not a network'}")
    for candidate in _candidates(asked.name, model):
        if candidate.is_file():
            return candidate
    raise WeightsError(_absent(asked.name, model))


def find_size_model(name_or_path: str | Path) -> Path | None:
    """The size model that lies beside a network's weights: `size_<file>.npy`, or `.safetensors`; None without one.

    Raises WeightsError: the weights themselves are not there.
    """
    weights = find_weights(name_or_path)
    stems = dict.fromkeys((weights.name, weights.stem))
    candidates = (weights.with_name(f"size_{stem}{ending}") for stem in stems for ending in (".npy", ".safetensors"))
    return next((path for path in candidates if path.is_file()), None)


def checksums(named: Mapping[str, str]) -> dict[str, str]:
    """Label image -> checksum of the weights that are named for it."""
    return {label: checksum(find_weights(weights)) for label, weights in named.items()}


def size_checksums(named: Mapping[str, str]) -> dict[str, str]:
    """As `checksums`, of the size models beside the weights, called "<label image>'s size model", if any."""
    found = {f"{label}'s size model": find_size_model(weights) for label, weights in named.items()}
    return {label: checksum(path) for label, path in found.items() if path}


def load_weights(path: Path) -> Weights:
    """Read and check a `.safetensors` file or a PyTorch state dict of the Cellpose 1-3 network.

    Files without diameters get the usual ones for their name. A file that bears the name of an official model works at
    the diameter of that model, whatever it says itself, as in Cellpose; what it was trained on, it says itself.
    Raises WeightsError: no file, not a plain state dict of tensors, a Cellpose 4 model, or another architecture.
    """
    if not path.is_file():
        raise WeightsError(f"{path}: no such weights file")
    check_begin(path)
    read = _read_safetensors(path) if path.suffix == ".safetensors" else _read_torch(path)
    state = {key: tensor.float() if tensor.is_floating_point() else tensor for key, tensor in read.items()}
    state = _usual_diameters(path.name, DIAMETERS) | state
    if official(path.name):
        state |= _usual_diameters(path.name, ("diam_mean",))
    _check_layout(state, path)
    diam_mean, diam_labels = (_diameter(state[key], key, path) for key in DIAMETERS)
    return Weights(
        name=path.stem,
        sha256=checksum(path),
        state=state,
        diam_mean=diam_mean,
        diam_labels=diam_labels,
        channels_in=state[_FIRST].shape[1],
        channels_out=state[_HEAD].shape[0],
    )


def check_begin(path: Path) -> None:
    """Raise WeightsError for a web page, which portals and servers send in place of a model."""
    with path.open("rb") as stream:
        if stream.read(64).lstrip().startswith(b"<"):
            raise WeightsError(f"{path}: {_NO_MODEL}: it begins with '<', as a web page does")


def save_safetensors(state: Mapping[str, Tensor], path: Path, metadata: Mapping[str, str]) -> None:
    """Write a state dict and its metadata in one rename; the same ones give the same bytes.

    Kernels and matrices are stored in float16, which halves the file. Vectors (biases, batch norms, diameters) keep
    float32: they are 1 % of the size, and variances near zero or above 65,504 would not survive.
    """
    from safetensors.torch import save

    stored = {key: _compact(tensor).contiguous() for key, tensor in state.items()}
    with committed(path) as temporary:
        temporary.write_bytes(in_order(save(stored, dict(metadata))))


def save_official(state: Mapping[str, Tensor], path: Path) -> None:
    """Write a state dict as Cellpose 1-3 does, in one rename; Cellpose loads it as `pretrained_model`.

    The same state gives the same bytes: saved to a path, the file would hold the name of a temporary one.
    """
    import torch

    content = BytesIO()
    torch.save({key: tensor.contiguous() for key, tensor in state.items()}, content)
    with committed(path) as temporary:
        temporary.write_bytes(content.getvalue())


def convert(source: Path, target: Path, metadata: Mapping[str, str]) -> None:
    """Rewrite a checked checkpoint as safetensors; the metadata gains the source's checksum."""
    weights = load_weights(source)
    save_safetensors(weights.state, target, {**metadata, "source_sha256": weights.sha256})


def layout(channels_in: int, channels_out: int) -> dict[str, Shape]:
    """Key and shape of each of the 313 entries of a Cellpose 1-3 state dict."""
    down_inputs, up_inputs = (channels_in, *_WIDTHS[:-1]), (*_WIDTHS[1:], _WIDTHS[-1])
    entries: dict[str, Shape] = dict.fromkeys(DIAMETERS, (1,))
    for k, (down_in, up_in, out) in enumerate(zip(down_inputs, up_inputs, _WIDTHS, strict=True)):
        down, up = f"downsample.down.res_down_{k}", f"upsample.up.res_up_{k}"
        for level, channels in ((down, down_in), (up, up_in)):
            entries |= _norm_and_conv(f"{level}.conv.conv_0", "2", (out, channels, 3, 3))
            entries |= _norm_and_conv(f"{level}.proj", "1", (out, channels, 1, 1))
        for i in (1, 2, 3):
            entries |= _norm_and_conv(f"{down}.conv.conv_{i}", "2", (out, out, 3, 3))
            entries |= _norm_and_conv(f"{up}.conv.conv_{i}.conv", "2", (out, out, 3, 3))
            entries |= {f"{up}.conv.conv_{i}.full.weight": (out, _WIDTHS[-1]), f"{up}.conv.conv_{i}.full.bias": (out,)}
    return entries | _norm_and_conv("output", "2", (channels_out, _WIDTHS[0], 1, 1))


def _norm_and_conv(prefix: str, position: str, kernel: Shape) -> dict[str, Shape]:
    """Batch norm at position 0 of a sequence and the convolution after it; kernel: (out, in, height, width)."""
    channels_out, channels_in = kernel[:2]
    vectors = ("weight", "bias", "running_mean", "running_var")
    norm = {f"{prefix}.0.{name}": (channels_in,) for name in vectors}
    conv = {f"{prefix}.{position}.weight": kernel, f"{prefix}.{position}.bias": (channels_out,)}
    return {**norm, f"{prefix}.0.num_batches_tracked": (), **conv}


def _candidates(name: str, model: Model | None) -> Iterator[Path]:
    """Files that a bare name may stand for, in order. An official name never stands for a user's file."""
    yield SHIPPED / f"{name}.safetensors"
    yield models_folder() / (model.file if model else name)
    yield models_folder() / f"{name}.safetensors"


def fetch_command(model: Model) -> str:
    """What to type, where there is internet, to get an official model into the same folder."""
    elsewhere = os.environ.get(MODELS_VARIABLE)
    folder = f"{MODELS_VARIABLE}={shlex.quote(elsewhere)} " if elsewhere else ""
    return f"{folder}wellpose models fetch {model.name}"


def _absent(name: str, model: Model | None) -> str:
    if model:
        return (
            f"{name} is an official model, but {models_folder() / model.file} is not there. Nothing is downloaded "
            f"during a run: on a computer with internet (on a cluster: the login node) type: {fetch_command(model)}"
        )
    present = _available()
    close = close_names(name, present) or close_names(name, network_names())  # what is here first
    meant = f" (did you mean {' or '.join(close)}?)" if close else ""
    return (
        f"no weights named {name!r}{meant} in {SHIPPED} or {models_folder()}; "
        f"available: {', '.join(present) or 'none'}. "
        "Give one of these names, or a path to a .safetensors or Cellpose 1-3 file"
    )


def _available() -> list[str]:
    """Names of the networks that are here."""
    folders = [folder for folder in (SHIPPED, models_folder()) if folder.is_dir()]
    files = [path for folder in folders for path in folder.iterdir() if path.is_file()]
    plain = {path.stem for path in files if path.suffix in ("", ".safetensors") and path.name[0] != "."}
    sizes = {name for name in plain if name.startswith("size_")}
    users = {name for name in user_models() if (models_folder() / name).is_file()}
    return sorted(plain - sizes | users)


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except SafetensorError as error:
        raise WeightsError(f"{path}: not a whole safetensors file ({error})") from error


def _read_torch(path: Path) -> dict[str, Tensor]:
    import torch

    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except _DAMAGED:
        if not (zipfile.is_zipfile(path) or _is_pickle(path)):
            raise WeightsError(f"{path}: {_NO_MODEL}") from None
        raise WeightsError(
            f"{path}: damaged, or holds more than tensors, which is refused because unpickling it could run code. "
            "A PyTorch file with a plain state dict (key -> tensor) is allowed"
        ) from None  # torch's own message advises to load the file with code execution allowed
    if not (isinstance(state, dict) and all(isinstance(value, torch.Tensor) for value in state.values())):
        raise WeightsError(f"{path}: {_describe(state)} found; a plain state dict (key -> tensor) is allowed")
    return dict(state)


def _is_pickle(path: Path) -> bool:
    """Whether a file begins like those of PyTorch before 1.6."""
    with path.open("rb") as stream:
        return stream.read(1) == PROTO


def _describe(found: object) -> str:
    if not isinstance(found, dict):
        return f"a {type(found).__name__}"
    kinds = sorted({type(value).__name__ for value in found.values()})
    return f"a dict with keys {_few(map(str, found))} holding {', '.join(kinds)}"


def _check_layout(state: Mapping[str, Tensor], path: Path) -> None:
    """Raise WeightsError, naming every difference, unless the state is that of a Cellpose 1-3 network."""
    if "W2" in state:
        raise WeightsError(f"{path}: a Cellpose 4 (SAM) model, another architecture; give a Cellpose 1-3 model")
    found = {key: tuple(tensor.shape) for key, tensor in state.items()}
    channels_in = (*found.get(_FIRST, ()), 2, 2)[1]
    channels_out = (*found.get(_HEAD, ()), 3)[0]
    wanted = layout(channels_in, channels_out)
    common = wanted.keys() & found.keys()
    odd = [f"{key} {found[key]} instead of {wanted[key]}" for key in common if found[key] != wanted[key]]
    if channels_in not in _CHANNELS_IN or channels_out not in _CHANNELS_OUT:
        odd.append(f"{channels_in} -> {channels_out} channels instead of 1 or 2 -> 1 or 3")
    faults = {"missing": wanted.keys() - found.keys(), "unexpected": found.keys() - wanted.keys(), "wrong shape": odd}
    said = [f"{len(items)} {fault}: {_few(sorted(items))}" for fault, items in faults.items() if items]
    if said:
        raise WeightsError(f"{path}: not a Cellpose 1-3 network. {'; '.join(said)}")


def _few(items: Iterable[str]) -> str:
    """The first five, joined."""
    listed = list(items)
    return ", ".join(listed[:5]) + (", ..." if len(listed) > 5 else "")


def _usual_diameters(file_name: str, keys: Iterable[str]) -> dict[str, Tensor]:
    import torch

    return {key: torch.tensor([usual_diameter(file_name)]) for key in keys}


def _diameter(entry: Tensor, key: str, path: Path) -> float:
    value = float(entry)
    if not (math.isfinite(value) and value > 0):
        raise WeightsError(f"{path}: {key} is {value}; a positive number of pixels is allowed")
    return value


def _compact(tensor: Tensor) -> Tensor:
    """Float16 for floating tensors of two or more axes, all else as it is."""
    return tensor.half() if tensor.is_floating_point() and tensor.ndim > 1 else tensor
