"""Planes out of TIFF files: exact values for sound files, one exception for every other kind."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from pipeline_lib.io.images import NUMBER_TYPES, UnreadableImage, read_planes

PLANE = np.random.default_rng(0).integers(0, 60_000, (40, 50)).astype(np.uint16)
STACK = np.random.default_rng(1).integers(0, 60_000, (4, 40, 50)).astype(np.uint16)
GREY: dict[str, Any] = {"photometric": "minisblack"}

SOUND: dict[str, tuple[NDArray[Any], dict[str, Any]]] = {
    "plain": (PLANE, {"rowsperstrip": 8}),
    "big endian": (PLANE, {"byteorder": ">"}),
    "tiles": (PLANE, {"tile": (16, 16)}),
    "deflate": (PLANE, {"compression": "zlib", "rowsperstrip": 8}),
    "LZW": (PLANE, {"compression": "lzw", "rowsperstrip": 8, "predictor": True}),
    "packbits": (PLANE, {"compression": "packbits", "rowsperstrip": 8}),
    "stack": (STACK, GREY),
    "BigTIFF stack": (STACK, {**GREY, "bigtiff": True}),
    "deflate stack": (STACK, {**GREY, "compression": "zlib"}),
    "pages": (STACK, {**GREY, "metadata": None}),
    "ImageJ stack": (STACK, {"imagej": True, "metadata": {"axes": "ZYX"}}),
    "OME stack": (STACK, {**GREY, "ome": True, "metadata": {"axes": "ZYX"}}),
}
sound = pytest.mark.parametrize("kind", SOUND)


def written(path: Path, kind: str) -> NDArray[Any]:
    """Write a sound file; returns its planes."""
    values, options = SOUND[kind]
    tifffile.imwrite(path, values, **options)
    return values.reshape(-1, *values.shape[-2:])


def refusal(path: Path) -> str:
    """The message with which a file is refused: one line that begins with its path."""
    with pytest.raises(UnreadableImage) as caught:
        read_planes(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message


@sound
def test_sound_files_give_their_values(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "image.tif"
    planes = written(path, kind)
    found = read_planes(path)
    np.testing.assert_array_equal(found, planes)
    assert found.dtype == np.uint16
    assert found.dtype.isnative


@pytest.mark.parametrize("dtype", NUMBER_TYPES)
def test_number_types_are_kept(tmp_path: Path, dtype: str) -> None:
    values = (PLANE - 30_000.0).astype(dtype) if not dtype.startswith("u") else PLANE.astype(dtype)
    tifffile.imwrite(tmp_path / "image.tif", values)
    found = read_planes(tmp_path / "image.tif")
    assert found.dtype == dtype
    np.testing.assert_array_equal(found[0], values)


@sound
def test_a_cut_file_is_refused_wherever_it_is_cut_or_has_lost_no_pixel(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "image.tif"
    planes = written(path, kind)
    content = path.read_bytes()
    refused = 0
    for length in [*range(0, len(content), max(1, len(content) // 60)), len(content) - 1]:
        path.write_bytes(content[:length])
        try:
            np.testing.assert_array_equal(read_planes(path), planes)
        except UnreadableImage:
            refused += 1
    assert refused >= 55  # what may be cut without harm is the text behind the pixels


@pytest.mark.parametrize("kind", ["ImageJ stack", "OME stack"])
def test_a_page_list_that_breaks_off_is_not_a_shorter_stack(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "image.tif"
    written(path, kind)
    with tifffile.TiffFile(path) as tif:
        second = tif.pages[1].offset
    path.write_bytes(path.read_bytes()[:second])
    with tifffile.TiffFile(path) as tif:
        assert len(tif.pages) == 1  # what is left looks like one sound page
    assert "the list of pages breaks off after 1" in refusal(path)


def test_a_cut_real_file_is_refused_and_names_the_loss(tmp_path: Path, shared: Path) -> None:
    whole = shared / "data" / "plates" / "bbbc013" / "Channel1-01-A-01.tif"
    content = whole.read_bytes()
    assert read_planes(whole).shape == (1, 640, 640)
    path = tmp_path / "cut.tif"
    for length in [*range(1, len(content), len(content) // 40), len(content) - 1]:
        path.write_bytes(content[:length])
        message = refusal(path)
    assert "the file is cut off: 1 of 2 strips" in message


def test_a_real_metaxpress_file_cut_anywhere_is_refused_or_whole(tmp_path: Path, shared: Path) -> None:
    source = min((shared / "data" / "plates" / "imagexpress").rglob("*_w1*.tif"))
    content, planes = source.read_bytes(), read_planes(source)
    path = tmp_path / "cut.tif"
    for length in range(1, len(content), len(content) // 40):
        path.write_bytes(content[:length])
        try:
            np.testing.assert_array_equal(read_planes(path), planes)
        except UnreadableImage as error:
            assert str(path) in str(error)


@sound
def test_damaged_bytes_raise_nothing_else(tmp_path: Path, kind: str) -> None:
    """A flipped byte in the header may pass unseen, but nothing but `UnreadableImage` comes out."""
    path = tmp_path / "image.tif"
    written(path, kind)
    content = path.read_bytes()
    random = np.random.default_rng(2)
    refused = 0
    for _ in range(60):
        damaged = bytearray(content)
        damaged[random.integers(0, 200)] = random.integers(0, 256)
        path.write_bytes(damaged)
        try:
            read_planes(path)
        except UnreadableImage:
            refused += 1
    assert refused > 0


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "empty (0 bytes)"), (b"well,dose\nA01,3\n", "not a TIFF file"), (b"\x89PNG\r\n\x1a\n", "not a TIFF file"),
     (b"II*\0", "4 bytes"), (b"II*\0" + bytes(100), "")],
)  # fmt: skip
def test_files_that_are_no_tiff(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "image.tif"
    path.write_bytes(content)
    assert reason in refusal(path)


def test_missing_file_and_folder(tmp_path: Path) -> None:
    assert "No such file" in refusal(tmp_path / "none.tif")
    assert "s a directory" in refusal(tmp_path)


@pytest.mark.parametrize(
    ("values", "options", "reason"),
    [
        (np.moveaxis(STACK[:3], 0, -1), {"photometric": "rgb"}, "(40, 50, 3): expected one grey plane"),
        (STACK[:3], {"photometric": "rgb", "planarconfig": "separate"}, "(3, 40, 50): expected one grey plane"),
        (np.stack([STACK, STACK]), GREY, "(2, 4, 40, 50): expected one stack (Z, Y, X)"),
        (STACK, {"imagej": True, "metadata": {"axes": "CYX"}}, "no time points or channels"),
        (STACK, {"imagej": True, "metadata": {"axes": "TYX"}}, "no time points or channels"),
        (STACK, {**GREY, "ome": True, "metadata": {"axes": "CYX"}}, "no time points or channels"),
        (PLANE > 9, {}, "the number type is bool: expected one of uint8, uint16"),
        (PLANE.astype(np.complex64), {}, "the number type is complex64"),
        (PLANE.astype(np.float64), {}, "the number type is float64"),
    ],
)
def test_images_that_are_no_stack_of_planes(
    tmp_path: Path, values: NDArray[Any], options: dict[str, Any], reason: str
) -> None:
    path = tmp_path / "image.tif"
    tifffile.imwrite(path, values, **options)
    assert reason in refusal(path)


@pytest.mark.parametrize(
    ("tag", "change", "reason"),
    [
        ("ImageLength", lambda rows: 2 * rows, "page 0 lists 5 strips or tiles of 10"),
        ("StripByteCounts", lambda counts: (*counts[:2], 0, *counts[3:]), "1 of 5 strips"),
        ("StripOffsets", lambda offsets: (*offsets[:2], 0, *offsets[3:]), "1 of 5 strips"),
    ],
)
def test_strips_that_were_never_written(tmp_path: Path, tag: str, change: Callable[[Any], Any], reason: str) -> None:
    path = tmp_path / "image.tif"
    written(path, "deflate")
    with tifffile.TiffFile(path, mode="r+") as tif:
        entry = tif.pages.first.tags[tag]
        entry.overwrite(change(entry.value))
    assert reason in refusal(path)


def test_a_stack_with_fewer_pages_than_it_tells_of(tmp_path: Path) -> None:
    path = tmp_path / "image.tif"
    tifffile.imwrite(path, PLANE, description='{"shape": [4, 40, 50]}', metadata=None)
    assert "metadata tell of QYX (4, 40, 50), but it has 1 pages" in refusal(path)


def test_pages_of_unequal_size_or_type(tmp_path: Path) -> None:
    path = tmp_path / "image.tif"
    with tifffile.TiffWriter(path) as writer:
        writer.write(PLANE)
        writer.write(PLANE[:20])
    assert "the pages differ in size or number type: ((20, 50), 'uint16'), ((40, 50), 'uint16')" in refusal(path)


def test_one_plane_that_describes_its_whole_plate_in_ome_xml_is_one_plane(tmp_path: Path) -> None:
    path = tmp_path / "image.ome.tif"
    tifffile.imwrite(path, STACK[:, None], ome=True, metadata={"axes": "CZYX"}, **GREY)
    with tifffile.TiffFile(path) as tif:
        xml = tif.ome_metadata
    tifffile.imwrite(path, PLANE, description=xml, metadata=None)
    np.testing.assert_array_equal(read_planes(path), PLANE[None])


def test_a_failing_disk_is_not_the_files_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "image.tif"
    tifffile.imwrite(path, PLANE)

    def fail(*_: object, **__: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(tifffile.TiffPage, "asarray", fail)
    with pytest.raises(OSError, match="Input/output error"):
        read_planes(path)


def test_damage_leaves_no_trace_in_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "image.tif"
    written(path, "OME stack")
    path.write_bytes(path.read_bytes()[:9000])
    with caplog.at_level(logging.DEBUG):
        refusal(path)
    assert caplog.records == []
