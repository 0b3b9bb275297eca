"""Shard files that we write are those of the Zarr library, and no damage to one passes for what was written."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline_lib.io.arrays import create_array, is_stored, write_array
from pipeline_lib.io.shards import hold, write_shards

DTYPES = ("uint8", "uint16", "int16", "uint32", "float32")
AXIS = st.tuples(st.integers(1, 9), st.integers(1, 4), st.integers(1, 3))  # size, chunk, chunks of a shard
CHUNKS, SHARDS = (1, 4, 5), (2, 8, 10)  # of `written`


def random(shape: tuple[int, ...], dtype: str = "uint16") -> NDArray[Any]:
    return np.random.default_rng(0).integers(0, 100, shape).astype(dtype)


def files(path: Path) -> dict[str, int]:
    """Shard -> bytes."""
    return {str(file.relative_to(path)): file.stat().st_size for file in path.glob("c/**/*") if file.is_file()}


@pytest.fixture
def written(tmp_path: Path) -> tuple[Path, NDArray[Any]]:
    """Two channels in four shards, some of whose chunks reach over the border or lie beyond it."""
    image = random((2, 9, 11))
    create_array(tmp_path / "0", image, ("c", "y", "x"), CHUNKS, SHARDS)
    write_shards(tmp_path / "0", image, CHUNKS, SHARDS)
    return tmp_path / "0", image


@given(axes=st.lists(AXIS, min_size=1, max_size=4), dtype=st.sampled_from(DTYPES), empty=st.booleans())
@settings(max_examples=60, deadline=None)
def test_zarr_reads_what_we_write_and_we_know_what_zarr_writes(
    tmp_path_factory: pytest.TempPathFactory, axes: list[tuple[int, int, int]], dtype: str, empty: bool
) -> None:
    """Files of the same names and sizes, though the chunks may lie in another order."""
    path = tmp_path_factory.mktemp("arrays")
    shape, chunks = tuple(size for size, _, _ in axes), tuple(chunk for _, chunk, _ in axes)
    shards = tuple(chunk * count for _, chunk, count in axes)
    image = np.zeros(shape, dtype) if empty else random(shape, dtype)
    names = tuple("tczy"[: len(axes)])
    create_array(path / "ours", image, names, chunks, shards)
    write_shards(path / "ours", image, chunks, shards)
    create_array(path / "theirs", image, names, chunks, shards)[...] = image
    np.testing.assert_array_equal(zarr.open_array(path / "ours", mode="r")[...], image)
    assert files(path / "ours") == files(path / "theirs")
    for name in ("ours", "theirs"):
        assert hold(path / name, image, chunks, shards)
        other = image.copy()
        other.flat[-1] += 1
        assert not hold(path / name, other, chunks, shards)


def test_numbers_are_stored_little_endian(tmp_path: Path) -> None:
    image = random((7, 9)).astype(">u2")
    create_array(tmp_path / "0", image.astype("<u2"), ("y", "x"), (4, 4), (8, 8))
    write_shards(tmp_path / "0", image, (4, 4), (8, 8))
    np.testing.assert_array_equal(zarr.open_array(tmp_path / "0", mode="r")[...], image)
    assert hold(tmp_path / "0", image, (4, 4), (8, 8))


def test_no_altered_byte_is_overlooked(written: tuple[Path, NDArray[Any]]) -> None:
    """Every byte of a shard in turn."""
    path, image = written
    file = path / "c" / "0" / "0" / "1"
    whole = file.read_bytes()
    for place in range(len(whole)):
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 0x10]) + whole[place + 1 :])
        assert not hold(path, image, CHUNKS, SHARDS), place
    file.write_bytes(whole)
    assert hold(path, image, CHUNKS, SHARDS)


@pytest.mark.parametrize("left", [0, 1, 3, 4, 30, 70, 100])
def test_a_shard_that_was_cut_off(written: tuple[Path, NDArray[Any]], left: int) -> None:
    path, image = written
    os.truncate(path / "c" / "0" / "1" / "0", left)
    assert not hold(path, image, CHUNKS, SHARDS)


def test_a_shard_that_is_gone(written: tuple[Path, NDArray[Any]]) -> None:
    path, image = written
    (path / "c" / "0" / "1" / "1").unlink()
    assert not hold(path, image, CHUNKS, SHARDS)


def test_trouble_with_the_disk_is_raised(
    written: tuple[Path, NDArray[Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(5, "Input/output error")

    path, image = written
    monkeypatch.setattr(Path, "read_bytes", fail)
    with pytest.raises(OSError, match="Input/output"):
        hold(path, image, CHUNKS, SHARDS)
    monkeypatch.setattr(Path, "open", fail)
    with pytest.raises(OSError, match="Input/output"):
        write_shards(tmp_path / "1", image, CHUNKS, SHARDS)


# --- whole arrays


def changed(image: NDArray[Any]) -> NDArray[Any]:
    other = image.copy()
    other[0, 0, 0] ^= 1
    return other


@pytest.mark.parametrize(
    ("asked", "stored"),
    [
        (lambda image: image, True),
        (lambda image: image[None, :, None], True),  # axes of length 1 that are not stored
        (changed, False),
        (lambda image: image[:, :-1], False),
        (lambda image: image.astype(np.int16), False),
    ],
)
def test_an_array_is_stored_as_it_is(
    tmp_path: Path, asked: Callable[[NDArray[Any]], NDArray[Any]], stored: bool
) -> None:
    image = random((2, 40, 50))
    write_array(tmp_path / "0", image, "cyx")
    assert is_stored(tmp_path / "0", asked(image)) is stored


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"codecs": [], "shape": [2, 9, 11]}', '{"codecs": 5}'])
def test_an_array_without_metadata_is_not_stored(written: tuple[Path, NDArray[Any]], text: str) -> None:
    path, image = written
    assert is_stored(path, image)
    (path / "zarr.json").write_text(text)
    assert not is_stored(path, image)
    (path / "zarr.json").unlink()
    assert not is_stored(path, image)
