"""Arrays that we write are those of the Zarr library, and what a disk gives back altered does not pass for written."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from zarr.codecs import BloscCodec, BloscShuffle, Crc32cCodec

from pipeline_lib.io.arrays import write_array
from pipeline_lib.io.shards import ShardedArray, create_array, write_shards

DTYPES = ("uint8", "uint16", "int16", "uint32", "float32")
AXIS = st.tuples(st.integers(1, 9), st.integers(1, 4), st.integers(1, 3))  # size, chunk, chunks of a shard
Lengths = tuple[int, ...]


def random(shape: Lengths, dtype: str = "uint16") -> NDArray[Any]:
    return np.random.default_rng(0).integers(0, 100, shape).astype(dtype)


def files(path: Path) -> dict[str, int]:
    """Shard -> bytes."""
    return {str(file.relative_to(path)): file.stat().st_size for file in path.glob("c/**/*") if file.is_file()}


def created_by_zarr(path: Path, like: NDArray[Any], names: Lengths | str, chunks: Lengths, shards: Lengths) -> Any:
    return zarr.create_array(
        path,
        shape=like.shape,
        dtype=like.dtype,
        chunks=chunks,
        shards=shards,
        dimension_names=tuple(names),
        compressors=[BloscCodec(cname="zstd", clevel=3, shuffle=BloscShuffle.bitshuffle), Crc32cCodec()],
        attributes={"a": [1.5, None]},
        config={"write_empty_chunks": True},
    )


@given(axes=st.lists(AXIS, min_size=1, max_size=4), dtype=st.sampled_from(DTYPES), empty=st.booleans())
@settings(max_examples=60, deadline=None)
def test_we_write_what_zarr_writes(
    tmp_path_factory: pytest.TempPathFactory, axes: list[tuple[int, int, int]], dtype: str, empty: bool
) -> None:
    """The same metadata, and files of the same names and sizes, though the chunks may lie in another order."""
    path = tmp_path_factory.mktemp("arrays")
    shape, chunks = tuple(size for size, _, _ in axes), tuple(chunk for _, chunk, _ in axes)
    shards = tuple(chunk * count for _, chunk, count in axes)
    image = np.zeros(shape, dtype) if empty else random(shape, dtype)
    names = "tczy"[: len(axes)]
    create_array(path / "ours", image, names, chunks, shards, {"a": [1.5, None]})
    write_shards(path / "ours", image, chunks, shards)
    created_by_zarr(path / "theirs", image, names, chunks, shards)[...] = image
    np.testing.assert_array_equal(zarr.open_array(path / "ours", mode="r")[...], image)
    assert files(path / "ours") == files(path / "theirs")
    ours, theirs = (json.loads((path / name / "zarr.json").read_text()) for name in ("ours", "theirs"))
    assert ours == theirs


def test_numbers_are_stored_little_endian(tmp_path: Path) -> None:
    image = random((7, 9)).astype(">u2")
    create_array(tmp_path / "0", image, "yx", (4, 4), (8, 8))
    write_shards(tmp_path / "0", image, (4, 4), (8, 8))
    np.testing.assert_array_equal(zarr.open_array(tmp_path / "0", mode="r")[...], image)


# --- the look back


def flipped(content: bytes, place: int) -> bytes:
    return content[:place] + bytes([content[place] ^ 0x10]) + content[place + 1 :]


def spoil(monkeypatch: pytest.MonkeyPatch, damage: Callable[[bytes], bytes | None]) -> None:
    """From here on, files are on the disk as `damage` makes them, or, where it gives None, not at all."""
    opened = Path.open

    def spoiled(path: Path, *how: Any, **more: Any) -> Any:
        if how == ("rb",):
            with opened(path, "rb") as sound:
                content = damage(sound.read())
            path.unlink()
            if content is not None:
                with opened(path, "wb") as damaged:
                    damaged.write(content)
        return opened(path, *how, **more)

    monkeypatch.setattr(Path, "open", spoiled)


def test_no_altered_byte_is_overlooked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every third byte of a shard in turn: of its chunks, its index and the checksums."""
    image = random((2, 9, 11))
    write_array(tmp_path / "sound", image, "cyx")
    [length] = files(tmp_path / "sound").values()
    for place in range(0, length, 3):
        with monkeypatch.context() as patched:
            spoil(patched, partial(flipped, place=place))
            with pytest.raises(OSError, match="what was read back is not what was written; check the disk"):
                write_array(tmp_path / "0", image, "cyx")


def test_chunks_that_changed_places_are_not_overlooked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is followed by its own checksum and is as long as the other; so is another array of noise."""
    noise = np.random.default_rng(0).integers(0, 65536, (2, 64, 64)).astype(np.uint16)
    write_array(tmp_path / "other", noise[::-1].copy(), "cyx")
    swapped = (tmp_path / "other" / "c/0/0/0").read_bytes()
    write_array(tmp_path / "sound", noise, "cyx")
    assert files(tmp_path / "sound") == files(tmp_path / "other")
    spoil(monkeypatch, lambda _: swapped)
    with pytest.raises(OSError, match="what was read back is not what was written"):
        write_array(tmp_path / "0", noise, "cyx")


def test_a_block_begins_with_a_chunk(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"a block at \(0, 3\) does not begin with a chunk of \(4, 4\)"):
        ShardedArray(tmp_path, (8, 8), (4, 4), (8, 8)).write((0, 3), random((4, 4)))


@given(shape=st.tuples(st.integers(1, 9), st.integers(1, 9)), chunk=st.integers(1, 4), order=st.randoms())
@settings(max_examples=40, deadline=None)
def test_blocks_may_come_in_any_order(
    tmp_path_factory: pytest.TempPathFactory, shape: Lengths, chunk: int, order: Random
) -> None:
    path, image = tmp_path_factory.mktemp("array"), random(shape)
    create_array(path, image, "yx", (chunk, chunk), (2 * chunk, 2 * chunk))
    target = ShardedArray(path, shape, (chunk, chunk), (2 * chunk, 2 * chunk))
    tops = list(range(0, shape[0], chunk))
    order.shuffle(tops)
    for top in tops:
        target.write((top, 0), image[top : top + chunk])
    target.finish()
    np.testing.assert_array_equal(zarr.open_array(path, mode="r")[...], image)


@pytest.mark.parametrize("left", [0, 1, 4, 100, -1])
def test_a_shard_that_was_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, left: int) -> None:
    spoil(monkeypatch, lambda content: content[:left])
    with pytest.raises(OSError, match=r"0/c/0/0: what was read back is not what was written"):
        write_array(tmp_path / "0", random((9, 11)), "yx")


@pytest.mark.parametrize("damage", [lambda content: content + b"\0", lambda _: None], ids=["too long", "gone"])
def test_a_shard_that_is_too_long_or_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: Callable[[bytes], bytes | None]
) -> None:
    spoil(monkeypatch, damage)
    with pytest.raises(OSError, match="what was read back is not what was written"):
        write_array(tmp_path / "0", random((9, 11)), "yx")


def test_a_look_back_at_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is larger than what is read at once."""
    monkeypatch.setattr("pipeline_lib.io.shards.PIECE", 10)
    write_array(tmp_path / "0", random((2, 9, 11)), "cyx")
    spoil(monkeypatch, lambda content: flipped(content, len(content) - 1))
    with pytest.raises(OSError, match="what was read back"):
        write_array(tmp_path / "1", random((2, 9, 11)), "cyx")


def test_trouble_with_the_disk_is_raised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(5, "Input/output error")

    image = random((2, 9, 11))
    create_array(tmp_path / "0", image, "cyx", (1, 9, 11), (2, 9, 11))
    monkeypatch.setattr(Path, "open", fail)
    with pytest.raises(OSError, match="Input/output"):
        write_shards(tmp_path / "0", image, (1, 9, 11), (2, 9, 11))
