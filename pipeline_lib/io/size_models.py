"""Size models on disk: the official files, which are pickles, and a safetensors form of our own.

Unpickling a file runs what the file says. Here it can say no more than "an array of these bytes": each numpy name in it
stands for a plain class of this module, every other name is refused, and the arrays are made from the bytes afterwards.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline_lib.core.sizes import SizeModel
from pipeline_lib.io.checksums import checksum
from pipeline_lib.io.commit import committed
from pipeline_lib.io.headers import in_order
from pipeline_lib.io.weights import WeightsError, find_size_model

_KEYS = ("A", "smean", "diam_mean", "ymean")
_LARGEST = 1 << 20  # bytes; the real ones have a few thousand


def size_model_of(name_or_path: str | Path) -> SizeModel | None:
    """The size model that lies beside a network's weights, read; None without one.

    Raises WeightsError: the weights are not there, or the size model cannot be read.
    """
    found = find_size_model(name_or_path)
    return load_size_model(found) if found else None


def load_size_model(path: Path) -> SizeModel:
    """Read and check a `.safetensors` file or an official size model, a pickled dict {A, smean, diam_mean, ymean}.

    Raises WeightsError: no file, damaged, holds more than arrays and numbers, or is not a size model.
    """
    if not path.is_file():
        raise WeightsError(f"{path}: no such size model")
    if path.stat().st_size > _LARGEST:
        raise WeightsError(f"{path}: {path.stat().st_size} bytes; a size model has a few thousand")
    entries = _read_safetensors(path) if path.suffix == ".safetensors" else _read_pickle(path)
    try:
        return _model(entries)
    except (ValueError, TypeError) as error:
        raise WeightsError(f"{path}: {error}") from error


def save_size_model(model: SizeModel, path: Path, metadata: Mapping[str, str]) -> None:
    """Write a size model and its metadata as safetensors, in one rename; the same ones give the same bytes."""
    from safetensors.numpy import save

    entries = {key: np.atleast_1d(np.asarray(getattr(model, key), np.float64)) for key in _KEYS}
    with committed(path) as temporary:
        temporary.write_bytes(in_order(save(entries, dict(metadata))))


def convert_size_model(source: Path, target: Path, metadata: Mapping[str, str]) -> None:
    """Rewrite a checked size model as safetensors; the metadata gains the source's checksum."""
    save_size_model(load_size_model(source), target, {**metadata, "source_sha256": checksum(source)})


def _model(entries: Mapping[str, NDArray[Any]]) -> SizeModel:
    if missing := [key for key in _KEYS if key not in entries]:
        raise ValueError(
            f"not a size model: lacks {', '.join(missing)}; has {', '.join(map(str, entries)) or 'nothing'}"
        )
    values = {key: np.asarray(entries[key], np.float64) for key in _KEYS}
    return SizeModel(
        A=values["A"], smean=values["smean"], diam_mean=values["diam_mean"].item(), ymean=values["ymean"].item()
    )


def _read_safetensors(path: Path) -> dict[str, NDArray[Any]]:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        return load_file(path)
    except SafetensorError as error:
        raise WeightsError(f"{path}: not a whole safetensors file ({error})") from error


def _read_pickle(path: Path) -> dict[str, NDArray[Any]]:
    content = path.read_bytes()
    try:
        found = _plain(_ArraysOnly(io.BytesIO(content[_header_length(content) :])).load())
    except _Refused as error:
        raise WeightsError(
            f"{path}: refused, because it asks for {error}, which could run code; arrays and numbers are allowed"
        ) from None
    except Exception as error:  # unpickling damaged bytes may raise anything
        raise WeightsError(f"{path}: damaged, or not a size model ({error})") from error
    if isinstance(found, list) and len(found) == 1:  # an array of one object, which is how numpy saves a dict
        [found] = found
    if not isinstance(found, dict):
        raise WeightsError(f"{path}: a {type(found).__name__} found; a dict with {', '.join(_KEYS)} is allowed")
    return found


def _header_length(content: bytes) -> int:
    """Bytes before the pickle: the header that `numpy.save` writes, if there is one."""
    stream = io.BytesIO(content)
    if not content.startswith(np.lib.format.MAGIC_PREFIX):
        return 0
    version = np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    read(stream)
    return stream.tell()


class _Refused(Exception):
    """A name in a pickle that is not among the few allowed."""


class _Dtype:
    """Stands for `numpy.dtype`: kind and size, such as "f8", then the byte order."""

    def __init__(self, code: str, *_: object) -> None:
        self.code, self.order = code, "|"

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.order = state[1]

    def made(self) -> np.dtype[Any]:
        dtype = np.dtype(self.order + self.code)
        if dtype.kind not in "fiub":
            raise ValueError(f"numbers expected, {dtype} found")
        return dtype


class _Array:
    """Stands for an array that is being put together: shape, numpy dtype, memory order, bytes or list of objects."""

    def __init__(self, *_: object) -> None:
        self.parts: tuple[Any, ...] = ()

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.parts = state[1:]

    def made(self) -> Any:
        shape, dtype, fortran, content = self.parts
        if isinstance(content, list):
            return [_plain(item) for item in content]
        return np.frombuffer(content, dtype.made()).reshape(shape, order="F" if fortran else "C")


class _Scalar:
    """Stands for one number."""

    def __init__(self, dtype: _Dtype, content: bytes) -> None:
        self.dtype, self.content = dtype, content

    def made(self) -> Any:
        return np.frombuffer(self.content, self.dtype.made()).reshape(())


class _FromBuffer:
    """Stands for an array of a newer pickle protocol: bytes, numpy dtype, shape, memory order."""

    def __init__(self, content: bytes, dtype: _Dtype, shape: tuple[int, ...], order: str) -> None:
        self.array = _Array()
        self.array.parts = (shape, dtype, order == "F", bytes(content))

    def made(self) -> Any:
        return self.array.made()


def _latin1(text: str, _: str) -> bytes:
    """Stands for `_codecs.encode`, with which the oldest pickle protocols spell bytes."""
    return text.encode("latin-1")


_STAND_INS: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Dtype,
    ("_codecs", "encode"): _latin1,
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _Array for core in ("core", "_core")},
    **{(f"numpy.{core}.multiarray", "scalar"): _Scalar for core in ("core", "_core")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): _FromBuffer for core in ("core", "_core")},
}


class _ArraysOnly(pickle.Unpickler):
    """Knows the names of which numpy arrays and numbers are made, and no other."""

    def find_class(self, module_name: str, global_name: str) -> Any:
        try:
            return _STAND_INS[module_name, global_name]
        except KeyError:
            raise _Refused(f"{module_name}.{global_name}") from None


def _plain(found: Any) -> Any:
    """What was unpickled, stand-ins replaced by what they stand for."""
    if isinstance(found, _Array | _Scalar | _FromBuffer):
        return found.made()
    if isinstance(found, dict):
        return {key: _plain(value) for key, value in found.items()}
    return found
