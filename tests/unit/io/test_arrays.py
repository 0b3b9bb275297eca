"""Arrays on disk: what was written comes back, or the reader is told; nothing in between."""

from __future__ import annotations

import json
import os
from itertools import product
from math import ceil, prod
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline_lib.io.arrays import (
    DamagedArray,
    read_array,
    read_frame,
    shard_count,
    shard_files,
    stored_as,
    write_array,
)


def random(*shape: int, dtype: str = "uint16", seed: int = 0) -> NDArray[Any]:
    return np.random.default_rng(seed).integers(0, 4000, shape).astype(dtype)


@pytest.fixture
def stored(tmp_path: Path) -> tuple[Path, NDArray[Any]]:
    """An array of two channels in one shard."""
    image = random(2, 40, 50)
    write_array(tmp_path / "0", image, "cyx")
    return tmp_path / "0", image


def shards_on_disk(path: Path) -> list[Path]:
    return sorted(file for file in (path / "c").rglob("*") if file.is_file())


CASES: list[tuple[str, tuple[int, ...], int]] = [
    ("yx", (1, 1), 1),
    ("cyx", (3, 70, 90), 1),
    ("tcyx", (4, 2, 20, 30), 4),
    ("czyx", (2, 5, 20, 30), 1),
    ("tyx", (3, 1027, 1501), 3),
    ("yx", (3, 4099), 2),
]


@pytest.mark.parametrize(("axes", "shape", "shards"), CASES)
def test_arrays_come_back_in_the_shards_they_are_to_have(
    tmp_path: Path, axes: str, shape: tuple[int, ...], shards: int
) -> None:
    image = random(*shape)
    write_array(tmp_path / "0", image, axes)
    np.testing.assert_array_equal(read_array(tmp_path / "0"), image)
    assert shards_on_disk(tmp_path / "0") == sorted(shard_files(tmp_path / "0"))
    assert len(shard_files(tmp_path / "0")) == shards
    assert zarr.open_array(tmp_path / "0", mode="r").metadata.dimension_names == tuple(axes)


LAYOUTS: list[tuple[str, tuple[int, ...], int, tuple[int, ...], int]] = [
    ("cyx", (4, 2160, 2160), 2, (4, 2160, 2160), 1),  # a usual field: one file
    ("cyx", (5, 4096, 4096), 2, (5, 4096, 4096), 1),
    ("tczyx", (9, 4, 5, 1080, 1080), 2, (1, 4, 5, 1080, 1080), 9),
    ("cyx", (4, 16384, 16384), 2, (4, 4096, 4096), 16),
    ("czyx", (5, 20, 4096, 4096), 2, (5, 20, 1024, 1024), 16),  # 200 of at most 256 MiB; as a whole it is 3.1 GiB
    ("czyx", (5, 20, 4096, 4096), 1, (5, 3, 4096, 4096), 7),
    ("czyx", (5, 20, 2048, 1024), 2, (5, 20, 1024, 1024), 2),
    ("czyx", (5, 1, 2160, 2160), 4, (5, 1, 2160, 2160), 1),
    ("czyx", (8, 20, 2048, 2560), 2, (8, 3, 2048, 2562), 7),  # fewer files than with all planes of a chunk: 12
    ("czyx", (2, 500, 1024, 1024), 2, (2, 64, 1024, 1024), 8),
    ("cyx", (900, 1024, 1024), 1, (256, 1024, 1024), 4),
]


@pytest.mark.parametrize(("axes", "shape", "itemsize", "shard", "count"), LAYOUTS)
def test_shards_by_hand(axes: str, shape: tuple[int, ...], itemsize: int, shard: tuple[int, ...], count: int) -> None:
    _, found = stored_as(shape, axes, itemsize)
    assert (found, shard_count(shape, axes, itemsize)) == (shard, count)


@given(
    stack=st.tuples(st.integers(1, 9), st.integers(1, 20), st.integers(1, 300)),
    plane=st.tuples(st.integers(1, 20_000), st.integers(1, 20_000)),
    itemsize=st.sampled_from([1, 2, 4]),
)
@settings(max_examples=300, deadline=None)
def test_shards_of_any_image_fit_into_memory_and_are_few(
    stack: tuple[int, int, int], plane: tuple[int, int], itemsize: int
) -> None:
    shape = (*stack, *plane)
    chunks, shards = stored_as(shape, "tczyx", itemsize)
    assert all(shard % chunk == 0 for shard, chunk in zip(shards, chunks, strict=True))
    assert shards[0] == 1
    assert max(shards[3:]) < 4096 + 1024
    assert prod(shards) * itemsize <= 256 * 2**20
    grid = [ceil(size / chunk) for size, chunk in zip(shape, chunks, strict=True)]
    room = 256 * 2**20 // (prod(chunks) * itemsize)
    windows = ceil(grid[3] / (4096 // chunks[3] or 1)) * ceil(grid[4] / (4096 // chunks[4] or 1))
    least = stack[0] * max(windows, ceil(prod(grid[1:]) / room))
    assert least <= shard_count(shape, "tczyx", itemsize) <= 3 * least


def test_an_array_of_many_shards_is_written_shard_by_shard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Room for two chunks: 3 x 2 shards of 2 x 2 x 3 chunks."""
    monkeypatch.setattr("pipeline_lib.io.arrays.LARGEST_CHUNK", 10)
    monkeypatch.setattr("pipeline_lib.io.arrays.SHARD_BYTES", 2 * 2 * 10 * 10 * 2)
    image = random(2, 2, 25, 19)
    write_array(tmp_path / "0", image, "czyx")
    assert len(shards_on_disk(tmp_path / "0")) == shard_count(image.shape, "czyx")
    assert shards_on_disk(tmp_path / "0") == sorted(shard_files(tmp_path / "0"))
    np.testing.assert_array_equal(read_array(tmp_path / "0"), image)


@pytest.mark.parametrize("values", [0, 7])
def test_shards_of_a_single_value_are_there(tmp_path: Path, values: int) -> None:
    """A missing one would pass for zeros."""
    image = np.full((2, 3, 4200), values, np.uint16)
    write_array(tmp_path / "0", image, "cyx")
    assert shards_on_disk(tmp_path / "0") == sorted(shard_files(tmp_path / "0"))
    np.testing.assert_array_equal(read_array(tmp_path / "0"), image)


@given(
    shape=st.lists(st.integers(1, 5), min_size=1, max_size=3),
    chunks=st.lists(st.integers(1, 4), min_size=3, max_size=3),
    dtype=st.sampled_from(["uint8", "uint32", "float32"]),
)
@settings(max_examples=25, deadline=None)
def test_any_array_in_any_chunks_names_its_files(
    tmp_path_factory: pytest.TempPathFactory, shape: list[int], chunks: list[int], dtype: str
) -> None:
    path = tmp_path_factory.mktemp("array") / "0"
    image = random(*shape, dtype=dtype)
    some = tuple(chunks[: len(shape)])
    zarr.create_array(path, data=image, chunks=some, config={"write_empty_chunks": True})
    np.testing.assert_array_equal(read_array(path), image)
    places = product(*(range(ceil(size / chunk)) for size, chunk in zip(shape, some, strict=True)))
    assert shard_files(path) == [path.joinpath("c", *map(str, place)) for place in places]
    assert shards_on_disk(path) == sorted(shard_files(path))


def test_one_frame_with_all_axes(tmp_path: Path) -> None:
    still, movie = random(2, 20, 30), random(3, 2, 20, 30, seed=1)
    write_array(tmp_path / "still", still, "cyx")
    write_array(tmp_path / "movie", movie, "tcyx")
    np.testing.assert_array_equal(read_frame(tmp_path / "still", "tczyx", 0), still[:, None])
    np.testing.assert_array_equal(read_frame(tmp_path / "movie", "tczyx", 2), movie[2][:, None])


def test_only_the_frame_that_is_read_must_be_sound(tmp_path: Path) -> None:
    movie = random(3, 20, 30)
    write_array(tmp_path / "0", movie, "tyx")
    flip(shards_on_disk(tmp_path / "0")[1], 40)
    np.testing.assert_array_equal(read_frame(tmp_path / "0", "tyx", 2), movie[2])
    with pytest.raises(DamagedArray):
        read_frame(tmp_path / "0", "tyx", 1)


def flip(file: Path, place: int) -> None:
    content = bytearray(file.read_bytes())
    content[place] ^= 0x40
    file.write_bytes(bytes(content))


def test_no_altered_byte_passes_for_data(stored: tuple[Path, NDArray[Any]]) -> None:
    """Every tenth byte of a shard in turn: its chunks and its index of chunks."""
    path, image = stored
    [shard] = shards_on_disk(path)
    whole = shard.read_bytes()
    for place in [*range(0, len(whole), len(whole) // 60), *range(len(whole) - 8, len(whole))]:
        flip(shard, place)
        with pytest.raises(DamagedArray, match="a chunk is damaged"):
            read_array(path)
        shard.write_bytes(whole)
    np.testing.assert_array_equal(read_array(path), image)


@pytest.mark.parametrize("share", [0.01, 0.3, 0.9, 0.999])
def test_a_shard_that_was_cut_off(stored: tuple[Path, NDArray[Any]], share: float) -> None:
    path, _ = stored
    [shard] = shards_on_disk(path)
    os.truncate(shard, int(shard.stat().st_size * share))
    with pytest.raises(DamagedArray) as told:
        read_array(path)
    assert str(path) in str(told.value)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("harm", [lambda file: os.truncate(file, 0), Path.unlink])
def test_a_lost_shard(stored: tuple[Path, NDArray[Any]], harm: Any) -> None:
    path, _ = stored
    [shard] = shards_on_disk(path)
    harm(shard)
    with pytest.raises(DamagedArray, match=r"1 shard\(s\) are missing or empty, such as c/0/0/0"):
        read_array(path)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"shape": [3], "chunk_grid": 5}', "\0\0"])
def test_metadata_that_are_none(stored: tuple[Path, NDArray[Any]], text: str) -> None:
    path, _ = stored
    (path / "zarr.json").write_text(text)
    with pytest.raises(DamagedArray, match="its metadata cannot be read"):
        read_array(path)


@pytest.mark.parametrize("key", ["shape", "data_type", "codecs", "chunk_grid", "node_type"])
def test_metadata_that_lack_something(stored: tuple[Path, NDArray[Any]], key: str) -> None:
    path, _ = stored
    content = json.loads((path / "zarr.json").read_text())
    del content[key]
    (path / "zarr.json").write_text(json.dumps(content))
    with pytest.raises(DamagedArray):
        read_array(path)


def test_an_array_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DamagedArray, match="its metadata cannot be read"):
        read_array(tmp_path / "0")


def test_damage_is_trouble_with_data_and_a_bad_machine_is_not(
    stored: tuple[Path, NDArray[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, _ = stored
    for error in (MemoryError(), OSError(5, "Input/output error")):

        def fail(*_: object, error: BaseException = error, **__: object) -> None:
            raise error

        monkeypatch.setattr(zarr, "open_array", fail)
        with pytest.raises(type(error)):
            read_array(path)
