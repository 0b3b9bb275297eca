"""What damaged files have led to: each defect that `tests/fuzz` has found, as one case."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
from fuzz.guard import watched

from pipeline_lib.io.images import UnreadableImage, read_planes
from pipeline_lib.io.markup import elements, read_tree
from pipeline_lib.io.vendors.base import beside
from pipeline_lib.io.vendors.tiff import describe, metaseries
from pipeline_lib.io.vendors.zarr_planes import read

READERS = {"read_tree": read_tree, "elements": lambda path: list(elements(path, "a"))}
every_reader = pytest.mark.parametrize("reader", READERS.values(), ids=READERS)


@every_reader
@pytest.mark.parametrize(
    "encoding", ["big5", "utf-7", "idna", "nothing-like-it", "x" * 100_000], ids=lambda name: name[:20]
)
def test_xml_in_an_encoding_that_cannot_be_read_is_told_with_its_file(tmp_path: Path, reader, encoding: str) -> None:
    (tmp_path / "Index.xml").write_text(f'<?xml version="1.0" encoding="{encoding}"?><a b="1">x</a>')
    with pytest.raises(ValueError, match=r"Index\.xml is not whole XML") as caught:
        reader(tmp_path / "Index.xml")
    assert type(caught.value) is ValueError
    assert len(str(caught.value)) < 1000


@every_reader
def test_a_document_type_is_refused_whatever_it_says(tmp_path: Path, reader) -> None:
    (tmp_path / "Index.xml").write_text('<!DOCTYPE a [<!ENTITY x "y">]><a>&x;</a>')
    with pytest.raises(ValueError, match=r"Index\.xml has a document type"):
        reader(tmp_path / "Index.xml")


def test_entities_in_the_description_of_an_image_are_not_expanded() -> None:
    text = '<MetaData><prop id="_IllumSetting_" value="{}"/></MetaData>'
    assert metaseries(text.format("DAPI")).channel_name == "DAPI"
    assert metaseries('<!DOCTYPE a [<!ENTITY x "y">]>' + text.format("&x;")).channel_name is None


def test_an_image_that_names_other_files_does_not_have_them_opened(tmp_path: Path) -> None:
    """A stack is read from its own pages, whatever its OME-XML says of other files."""
    raw, pixels = tmp_path / "raw", np.arange(3 * 24 * 32, dtype=np.uint16).reshape(3, 24, 32)
    raw.mkdir()
    tifffile.imwrite(tmp_path / "secret.tif", pixels[0], photometric="minisblack")
    tifffile.imwrite(
        raw / "a.tif", pixels, photometric="minisblack", description=_naming("../secret.tif"), metadata=None
    )
    with watched(raw) as watch:
        found = read_planes(raw / "a.tif")
        assert describe(raw / "a.tif").shape == (3, 24, 32)
    np.testing.assert_array_equal(found, pixels)
    assert watch.trespasses == []


def _naming(name: str) -> bytes:
    """OME-XML of a stack, the planes of which are in three files."""
    planes = "".join(
        f'<TiffData FirstZ="{z}" IFD="0" PlaneCount="1"><UUID FileName="{name}">urn:uuid:{z}</UUID></TiffData>'
        for z in range(3)
    )
    return (
        '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="urn:uuid:9"><Image ID="Image:0">'
        '<Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint16" '
        'SizeX="32" SizeY="24" SizeZ="3" SizeC="1" SizeT="1">'
        f'<Channel ID="Channel:0" SamplesPerPixel="1"/>{planes}</Pixels></Image></OME>'
    ).encode()


@pytest.mark.parametrize("name", ["x" * 256 + ".tif", "x/" * 600 + "a.tif", "é" * 128, "x" * 200_000, "../a.tif"])
def test_an_index_cannot_name_a_file_that_no_folder_can_hold(name: str) -> None:
    with pytest.raises(ValueError, match=r"data/Index\.xml names the file .*a name below its own folder") as caught:
        beside("data/Index.xml", name)
    assert len(str(caught.value)) < 300


def test_an_index_can_name_a_file_with_a_long_name() -> None:
    assert beside("data/Index.xml", "x" * 251 + ".tif") == "data/" + "x" * 251 + ".tif"


def test_an_image_whose_name_is_too_long_or_a_loop_of_links_is_trouble_of_its_well(tmp_path: Path) -> None:
    (tmp_path / "loop.tif").symlink_to("loop.tif")
    for name in ("x" * 300, "loop.tif"):
        with pytest.raises(UnreadableImage, match=r"too long|symbolic links"):
            read_planes(tmp_path / name)


def test_a_message_does_not_repeat_what_a_damaged_array_says_at_length(tmp_path: Path) -> None:
    told = {"zarr_format": 3, "node_type": "x" * 100_000, "shape": [24, 32], "data_type": "uint16"}
    (tmp_path / "zarr.json").write_text(json.dumps(told))
    with pytest.raises(UnreadableImage) as caught:
        read(tmp_path, 0)
    assert 0 < len(str(caught.value)) < 1000
