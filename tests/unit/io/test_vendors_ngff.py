"""OME-Zarr plates that exist already, of Zarr v2 and v3: written here plainly, and by this library."""

from __future__ import annotations

import json
import shutil
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaozarrs
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from measurements import draw, plate_of, read, write
from numpy.typing import NDArray

from pipeline_lib.core.manifest import ChannelFacts, Manifest
from pipeline_lib.io.images import UnreadableImage
from pipeline_lib.io.manifests import is_current
from pipeline_lib.io.ngff import Channel, PlateInfo
from pipeline_lib.io.plate import create_plate, list_wells, write_field, write_well
from pipeline_lib.io.raw_images import read_image
from pipeline_lib.io.vendors import READERS, scan_plate
from pipeline_lib.io.vendors.ngff import finest_array, label_groups

READER = READERS["ngff"]
WELLS = {"B/03": (1, 2), "H/12": (7, 11)}
SIZES = {"t": 2, "c": 2, "z": 3, "y": 4, "x": 6}
UNITS = {"t": "minute", "z": "nanometer", "y": "micrometer", "x": "micrometer"}
SCALES = {"t": 2.0, "c": 1.0, "z": 1500.0, "y": 0.65, "x": 0.65}
versions = pytest.mark.parametrize("version", ["0.4", "0.5"])


def scan(folder: Path) -> Manifest:
    return scan_plate("P", folder, "ngff", "")


def group(path: Path, attributes: dict[str, Any], version: str) -> None:
    """Write the metadata of a group, by hand."""
    path.mkdir(parents=True, exist_ok=True)
    if version == "0.4":
        (path / ".zgroup").write_text('{"zarr_format": 2}')
        (path / ".zattrs").write_text(json.dumps(attributes))
        return
    content = {"zarr_format": 3, "node_type": "group", "attributes": {"ome": {"version": "0.5", **attributes}}}
    (path / "zarr.json").write_text(json.dumps(content))


def image_of(axes: str, translation: list[float] | None = None) -> dict[str, Any]:
    """The metadata of an image of two levels, with channel names."""
    described = [{"name": axis, **({"unit": UNITS[axis]} if axis in UNITS else {})} for axis in axes]
    changes: list[dict[str, Any]] = [{"type": "scale", "scale": [SCALES[axis] for axis in axes]}]
    if translation:
        changes.append({"type": "translation", "translation": [*[0.0] * (len(axes) - 2), *translation]})
    levels = [{"path": "fine/0", "coordinateTransformations": changes}, {"path": "1"}]
    labels = [{"label": "DNA"}, {"label": "GFP"}][: SIZES["c"] if "c" in axes else 1]
    return {"multiscales": [{"axes": described, "datasets": levels}], "omero": {"channels": labels}}


def pixels_of(axes: str) -> NDArray[np.uint16]:
    shape = [SIZES[axis] for axis in axes]
    return np.arange(np.prod(shape), dtype=np.uint16).reshape(shape)


def make_plate(store: Path, version: str, axes: str = "tczyx") -> Path:
    """Two wells of two fields, all alike but for their places."""
    wells = [{"path": path, "rowIndex": row, "columnIndex": column} for path, (row, column) in WELLS.items()]
    rows = [{"name": name} for name in "ABCDEFGH"]
    columns = [{"name": f"{number:02d}"} for number in range(1, 13)]
    plate = {"wells": wells, "rows": rows, "columns": columns, "acquisitions": [{"id": 0, "starttime": 1772616030}]}
    group(store, {"plate": {"version": version, **plate}}, version)
    for path, (field, number) in product(WELLS, enumerate(("2", "10"))):
        group(store / path, {"well": {"images": [{"path": n, "acquisition": 0} for n in ("2", "10")]}}, version)
        group(store / path / number, image_of(axes, [10.0 * field, -5.0]), version)
        how: dict[str, Any] = {"zarr_format": 2 if version == "0.4" else 3}
        if version == "0.4":
            how["chunk_key_encoding"] = {"name": "v2", "separator": "/"}
        like = pixels_of(axes)
        zarr.create_array(store / path / number / "fine/0", shape=like.shape, dtype=like.dtype, **how)[:] = like
    return store


@versions
@pytest.mark.parametrize("place", [".", "P.zarr", "deep/down/P.ome.zarr"])
def test_planes_facts_and_places(tmp_path: Path, version: str, place: str) -> None:
    make_plate(tmp_path / place, version)
    manifest = scan(tmp_path)
    prefix = "" if place == "." else f"{place}/"
    assert manifest.wells == ("B03", "H12")
    assert (manifest.rows, manifest.columns, manifest.missing) == (8, 12, ())
    found = {(f.field, int(f.channel), f.time, f.z): (f.path, f.page) for f in manifest.of_well("B03")}
    assert found == {
        (field, c, t, z): (f"{prefix}B/03/{number}/fine/0", t * 6 + c * 3 + z)
        for (field, number), c, t, z in product(enumerate(("2", "10")), range(2), range(2), range(3))
    }
    facts = manifest.facts
    assert (facts.pixel_size, facts.z_step, facts.time_step) == (0.65, 1.5, 120.0)
    assert facts.acquired == "2026-03-04T09:20:30+00:00"
    assert manifest.channel_facts == {"0": ChannelFacts("DNA"), "1": ChannelFacts("GFP")}
    middle = (1.5 * 0.65, -5.0 + 2.5 * 0.65)  # of the first pixel at (0, -5), and of 4 x 6 pixels
    assert manifest.positions["H12"] == {0: pytest.approx(middle), 1: pytest.approx((middle[0] + 10.0, middle[1]))}
    assert {path for path, _ in manifest.directories} >= {f"{prefix}B/03", f"{prefix}H/12", "."}


@versions
@pytest.mark.parametrize("axes", ["tczyx", "ctzyx", "zctyx", "czyx", "tzyx", "tcyx", "zyx", "cyx", "tyx", "yx"])
def test_axes_in_any_order(tmp_path: Path, version: str, axes: str) -> None:
    make_plate(tmp_path, version, axes)
    manifest = scan(tmp_path)
    wanted = pixels_of(axes)
    assert len(manifest.of_well("B03")) == 2 * wanted.size // 24
    for file in manifest.of_well("H12"):
        at = {"t": file.time, "c": int(file.channel), "z": file.z}
        plane = read_image(manifest, file)
        assert plane.dtype == np.uint16
        np.testing.assert_array_equal(plane[0], wanted[tuple(at[axis] for axis in axes[:-2])])
    assert (manifest.facts.z_step is None) == ("z" not in axes)
    assert (manifest.facts.time_step is None) == ("t" not in axes)


def test_a_plate_of_our_own_is_read_again(tmp_path: Path) -> None:
    channels = (Channel("1", "DNA", "0000FF", (0, 9)), Channel("2", "GFP", "00FF00", (0, 9)))
    info = PlateInfo("P", 8, 12, 1, 1, channels, 0.5, (4, 6), "uint16")
    image = pixels_of("tczyx")[:1]
    create_plate(tmp_path / "raw.ome.zarr", info, "")
    write_field(tmp_path / "raw.ome.zarr/B/03", 0, [image], [1], info)
    write_well(tmp_path / "raw.ome.zarr/B/03", [0], {})
    list_wells(tmp_path / "raw.ome.zarr", ["B03"])
    manifest = scan(tmp_path)
    np.testing.assert_array_equal(read(manifest)["B03", 0], image)
    assert (manifest.facts.pixel_size, manifest.facts.z_step) == (0.5, None)
    assert manifest.positions == {}


def test_the_layout_is_valid(tmp_path: Path) -> None:
    plate = plate_of()
    files = write(tmp_path, "ngff", plate, draw(plate))
    store = tmp_path / "P7.ome.zarr"
    yaozarrs.validate_zarr_store(store)
    assert all(path.is_file() for path in files)
    assert len(files) == 3 * 3 * 12
    assert scan(tmp_path).facts.acquired == "2026-03-04T09:20:30+00:00"


@versions
def test_sparse_plates_have_the_wells_of_their_names(tmp_path: Path, version: str) -> None:
    """Where only two rows are listed, the rank of a row is not its letter."""
    make_plate(tmp_path, version)
    change(tmp_path, lambda plate: plate["plate"].update(rows=[{"name": "B"}, {"name": "H"}]))
    change(tmp_path, lambda plate: [well.update(rowIndex=n) for n, well in enumerate(plate["plate"]["wells"])])
    manifest = scan(tmp_path)
    assert manifest.wells == ("B03", "H12")
    assert (manifest.rows, manifest.columns) == (8, 12)


def test_rows_with_numbers_are_told_by_their_ranks(tmp_path: Path) -> None:
    make_plate(tmp_path, "0.4")
    (tmp_path / "B").rename(tmp_path / "2")
    change(tmp_path, lambda plate: plate["plate"]["wells"][0].update(path="2/03"))
    assert scan(tmp_path).wells == ("B03", "H12")


def change(path: Path, how: Any) -> None:
    """Change the OME metadata of a group in place."""
    name = ".zattrs" if (path / ".zattrs").exists() else "zarr.json"
    content = json.loads((path / name).read_text())
    how(content if name == ".zattrs" else content["attributes"]["ome"])
    (path / name).write_text(json.dumps(content))


@versions
def test_a_well_that_is_gone_is_missing(tmp_path: Path, version: str) -> None:
    make_plate(tmp_path, version)
    shutil.rmtree(tmp_path / "H/12")
    manifest = scan(tmp_path)
    assert (manifest.wells, manifest.missing) == (("B03",), ("H12",))


@versions
def test_lost_fields_have_the_planes_of_others(tmp_path: Path, version: str) -> None:
    make_plate(tmp_path, version)
    whole = scan(tmp_path)
    shutil.rmtree(tmp_path / "B/03/2")
    shutil.rmtree(tmp_path / "B/03/10/fine/0")
    manifest = scan(tmp_path)
    assert manifest.files == whole.files
    for file in manifest.of_well("B03"):
        with pytest.raises(UnreadableImage, match="there is no Zarr array"):
            read_image(manifest, file)
        with pytest.raises(UnreadableImage, match="there is no Zarr array"):
            READER.describe(tmp_path / file.path)
    assert set(manifest.positions) == {"H12"}


def test_a_change_in_a_well_is_noticed(tmp_path: Path) -> None:
    make_plate(tmp_path / "P.zarr", "0.5")
    shutil.move(tmp_path / "P.zarr/H/12", tmp_path.parent / "aside")
    manifest = scan(tmp_path)
    assert manifest.missing == ("H12",)
    assert is_current(manifest, tmp_path, "ngff", "")
    shutil.move(tmp_path.parent / "aside", tmp_path / "P.zarr/H/12")
    assert not is_current(manifest, tmp_path, "ngff", "")


@versions
def test_a_chunk_without_a_file_is_zero(tmp_path: Path, version: str) -> None:
    make_plate(tmp_path, version)
    array = tmp_path / "B/03/2/fine/0"
    for path in array.rglob("*"):
        if path.is_file() and path.name not in ("zarr.json", ".zarray", ".zattrs"):
            path.unlink()
    assert not READER.read(array, 0).any()


@versions
def test_damaged_chunks(tmp_path: Path, version: str) -> None:
    make_plate(tmp_path, version)
    array = tmp_path / "B/03/2/fine/0"
    [chunk] = [path for path in array.rglob("*") if path.is_file() and path.name.isdecimal()]
    chunk.write_bytes(chunk.read_bytes()[:-7])
    with pytest.raises(UnreadableImage, match="a chunk is damaged"):
        READER.read(array, 0)
    with pytest.raises(UnreadableImage, match="plane 13 is asked for, and the array has 12"):
        READER.read(array, 12)


@pytest.mark.parametrize("codec", ["gzip", "bz2", "lzma", "zlib"])
def test_damage_that_codecs_call_trouble_of_the_disk(tmp_path: Path, codec: str) -> None:
    numcodecs = pytest.importorskip("numcodecs")
    how = {"gzip": numcodecs.GZip, "bz2": numcodecs.BZ2, "lzma": numcodecs.LZMA, "zlib": numcodecs.Zlib}[codec]()
    array = zarr.create_array(tmp_path, shape=(4, 6), dtype="uint16", zarr_format=2, compressors=how)
    array[:] = 7
    (tmp_path / "0.0").write_bytes(b"damaged, all of it")
    with pytest.raises(UnreadableImage):
        READER.read(tmp_path, 0)


def test_trouble_of_the_disk_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    zarr.create_array(tmp_path, shape=(4, 6), dtype="uint16")

    def fail(*_: object, **__: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(zarr, "open_array", fail)
    with pytest.raises(OSError, match="Input/output error"):
        READER.read(tmp_path, 0)


@pytest.mark.parametrize(
    ("dtype", "version", "bits"), [("<u2", 2, 16), (">u2", 2, 16), ("|u1", 2, 8), ("<f4", 2, 32), ("int32", 3, 32)]
)
def test_number_types(tmp_path: Path, dtype: str, version: int, bits: int) -> None:
    array = zarr.create_array(tmp_path, shape=(3, 4, 6), dtype=np.dtype(dtype), zarr_format=version)  # type: ignore[call-overload]
    array[:] = np.arange(72).reshape(3, 4, 6)
    info = READER.describe(tmp_path)
    assert (info.shape, info.bit_depth) == ((1, 4, 6), bits)
    plane = READER.read(tmp_path, 2)
    assert plane.dtype.name == info.dtype == np.dtype(dtype).newbyteorder("=").name
    assert plane.dtype.isnative
    np.testing.assert_array_equal(plane[0], np.arange(48, 72).reshape(4, 6))
    assert READER.read(tmp_path, None).shape == (3, 4, 6)


@pytest.mark.parametrize("dtype", ["float64", "int64", "bool", "complex64"])
def test_other_number_types_are_no_images(tmp_path: Path, dtype: str) -> None:
    zarr.create_array(tmp_path, shape=(4, 6), dtype=dtype)
    for use in (READER.describe, lambda path: READER.read(path, 0)):
        with pytest.raises(UnreadableImage, match="is no image"):
            use(tmp_path)


def test_numbers_that_are_not_finite(tmp_path: Path) -> None:
    zarr.create_array(tmp_path, shape=(4, 6), dtype="float32")[:] = np.nan
    with pytest.raises(UnreadableImage, match="infinite or not a number"):
        READER.read(tmp_path, 0)


def test_an_array_that_claims_too_much(tmp_path: Path) -> None:
    zarr.create_array(tmp_path, shape=(99_999, 99_999), dtype="uint16", chunks=(10, 10))
    with pytest.raises(UnreadableImage, match="is no image"):
        READER.read(tmp_path, 0)


DAMAGE: dict[str, tuple[str, Any, str]] = {
    "no wells": (".", lambda a: a["plate"].pop("wells"), "`wells` is missing: a list is expected"),
    "wells of numbers": (".", lambda a: a["plate"].update(wells=[1]), r"`wells` is \[1\]: a list of objects"),
    "no path": (".", lambda a: a["plate"]["wells"][0].pop("path"), "`path` is missing"),
    "leads out": (".", lambda a: a["plate"]["wells"][0].update(path="../../B/03"), "names the file '../../B/03'"),
    "absolute": (".", lambda a: a["plate"]["wells"][0].update(path="/B/03"), "names the file '/B/03'"),
    "long": (".", lambda a: a["plate"]["wells"][0].update(path="B" * 300), "`path` is 'B"),
    "far well": (".", lambda a: a["plate"]["wells"][0].update(path="x/y", rowIndex=99), "no plate .* at row 99"),
    "true": (".", lambda a: a["plate"]["wells"][0].update(path="x/y", rowIndex=True), "`rowIndex` is True"),
    "twice": (".", lambda a: a["plate"]["wells"][0].update(path="H/12"), "well H12 is listed twice"),
    "rows": (".", lambda a: a["plate"].update(rows=[{}] * 40), "no plate has a well at row 39"),
    "starttime": (".", lambda a: a["plate"]["acquisitions"][0].update(starttime=1e30), "`starttime` is 1e\\+30"),
    "runs": (".", lambda a: a["plate"].update(acquisitions=5), "`acquisitions` is 5"),
    "version": (".", lambda a: (a.update(version="0.6"), a["plate"].pop("version")), "its version is '0.6'"),
    "no well": ("B/03", lambda a: a.pop("well"), "`well` with `images` is expected"),
    "no images": ("B/03", lambda a: a["well"].update(images=[]), r"`images` is \[\]"),
    "same field": ("B/03", lambda a: a["well"]["images"][0].update(path="10"), "a field is listed twice among 10, 10"),
    "two runs": ("B/03", lambda a: a["well"]["images"][0].update(acquisition=1), "images of 2 acquisitions"),
    "field leads out": ("B/03", lambda a: a["well"]["images"][0].update(path=".."), "names the file '..'"),
    "no multiscales": ("B/03/2", lambda a: a.pop("multiscales"), "`multiscales` is missing"),
    "no datasets": ("B/03/2", lambda a: a["multiscales"][0].update(datasets=[]), r"`datasets` is \[\]"),
    "data lead out": ("B/03/2", lambda a: a["multiscales"][0]["datasets"][0].update(path="../0"), "the file '../0'"),
    "no axes": ("B/03/2", lambda a: a["multiscales"][0].pop("axes"), "`axes` is missing"),
    "x before y": ("B/03/2", lambda a: a["multiscales"][0]["axes"].reverse(), "its axes are x, y, z, c, t"),
    "few axes": ("B/03/2", lambda a: a["multiscales"][0]["axes"].pop(0), "it has 4 axes, and its array 5 dimensions"),
    "scale": ("B/03/2", lambda a: changes(a)[0].update(scale=[1, 2]), r"`scale` is \[1, 2\]: 5 numbers are expected"),
    "scale 0": ("B/03/2", lambda a: changes(a)[0].update(scale=[1, 1, 1, 0, 1]), "numbers above 0 are expected"),
    "NaN": ("B/03/2", lambda a: changes(a)[0].update(scale=[1, 1, 1, float("nan"), 1]), "5 numbers are expected"),
    "far": ("B/03/2", lambda a: changes(a)[1].update(translation=[1, 1, 1, 1, 10**400]), "5 numbers are expected"),
    "names": ("B/03/2", lambda a: a["omero"]["channels"].reverse(), "has the channels"),
}  # fmt: skip


def changes(attributes: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = attributes["multiscales"][0]["datasets"][0]["coordinateTransformations"]
    return found


@versions
@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_told(tmp_path: Path, version: str, name: str) -> None:
    place, how, told = DAMAGE[name]
    make_plate(tmp_path, version)
    change(tmp_path / place, how)
    with pytest.raises(ValueError, match=told) as caught:
        scan(tmp_path)
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize("place", ["B/03", "B/03/2", "B/03/2/fine/0", "."])
@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"\xff\xfe\x00", b"[" * 100_000, b'{"attributes": 5, "shape": []}', b'{"a": 1e999']
)
def test_damaged_json_is_told(tmp_path: Path, place: str, content: bytes) -> None:
    make_plate(tmp_path, "0.5")
    (tmp_path / place / "zarr.json").write_bytes(content)
    with pytest.raises(ValueError, match=rf"{tmp_path}/.*zarr.json"):
        scan(tmp_path)


@pytest.mark.parametrize("shape", [[2, 2, 3, 4, 0], [2, 2, 3, 4, -6], [2, 2, 3, 4, 1.5], [2, 2, 3, 4, 10**9], "big"])
def test_damaged_shapes_are_told(tmp_path: Path, shape: object) -> None:
    make_plate(tmp_path, "0.5")
    path = tmp_path / "B/03/2/fine/0/zarr.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "shape": shape}))
    with pytest.raises(ValueError, match="`shape` is"):
        scan(tmp_path)
    with pytest.raises(UnreadableImage, match="`shape` is"):
        READER.read(path.parent, 0)


def test_too_many_planes(tmp_path: Path) -> None:
    make_plate(tmp_path, "0.5")
    path = tmp_path / "B/03/2/fine/0/zarr.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "shape": [99_999, 2, 99_999, 4, 6]}))
    with pytest.raises(ValueError, match=r"claim 19,999,600,0.. planes"):
        scan(tmp_path)


def test_faults_are_counted(tmp_path: Path) -> None:
    make_plate(tmp_path, "0.5")
    for path, number in product(WELLS, ("2", "10")):
        (tmp_path / path / number / "zarr.json").write_text("{")
    with pytest.raises(ValueError, match=r"2 faults in OME-Zarr metadata:\n  "):
        scan(tmp_path)


def test_channels_without_names(tmp_path: Path) -> None:
    """`omero` is for display: damage to it is no reason to leave a plate."""
    for told in (None, 5, {}, {"channels": None}, {"channels": [1]}, {"channels": [{"label": 7}, {}]}):
        make_plate(tmp_path, "0.5")
        for path, number in product(WELLS, ("2", "10")):
            change(tmp_path / path / number, lambda a, told=told: a.update(omero=told))
        assert scan(tmp_path).channel_names == {}
        shutil.rmtree(tmp_path)


def test_lengths_without_a_unit_are_not_known(tmp_path: Path) -> None:
    make_plate(tmp_path, "0.5")
    for path, number in product(WELLS, ("2", "10")):
        change(tmp_path / path / number, lambda a: [axis.pop("unit", None) for axis in a["multiscales"][0]["axes"]])
    manifest = scan(tmp_path)
    assert (manifest.facts.pixel_size, manifest.facts.z_step, manifest.facts.time_step) == (None, None, None)
    assert manifest.positions == {}


def test_transformations_of_the_image_follow_those_of_the_array(tmp_path: Path) -> None:
    make_plate(tmp_path, "0.4")
    whole = [{"type": "scale", "scale": [1, 1, 1, 2, 2]}, {"type": "translation", "translation": [0, 0, 0, 1, 1]}]
    for path, number in product(WELLS, ("2", "10")):
        change(tmp_path / path / number, lambda a: a["multiscales"][0].update(coordinateTransformations=whole))
    manifest = scan(tmp_path)
    assert manifest.facts.pixel_size == 1.3
    assert manifest.positions["B03"][1] == pytest.approx((10 * 2 + 1 + 1.5 * 1.3, -5 * 2 + 1 + 2.5 * 1.3))


def test_several_stores_are_refused(tmp_path: Path) -> None:
    make_plate(tmp_path / "P.zarr", "0.5")
    make_plate(tmp_path / "Q.zarr", "0.4")
    with pytest.raises(ValueError, match=r"holds 2 index files, .*P.zarr/zarr.json, Q.zarr/.zgroup"):
        scan(tmp_path)


@versions
def test_an_image_is_no_plate(tmp_path: Path, version: str) -> None:
    group(tmp_path, image_of("cyx"), version)
    with pytest.raises(ValueError, match="describes no plate: `plate` with `wells` is expected"):
        scan(tmp_path)


@versions
def test_labels(tmp_path: Path, version: str) -> None:
    make_plate(tmp_path / "P.zarr", version)
    array = "P.zarr/B/03/2/fine/0"
    assert label_groups(tmp_path, array) == {}
    group(tmp_path / "P.zarr/B/03/2/labels", {"labels": ["nuclei", "more/cells"]}, version)
    group(tmp_path / "P.zarr/B/03/2/labels/nuclei", image_of("zyx"), version)
    found = label_groups(tmp_path, array)
    assert found == {"nuclei": "P.zarr/B/03/2/labels/nuclei", "more/cells": "P.zarr/B/03/2/labels/more/cells"}
    assert finest_array(tmp_path, found["nuclei"]) == "P.zarr/B/03/2/labels/nuclei/fine/0"
    with pytest.raises(ValueError, match="`multiscales` is missing"):
        finest_array(tmp_path, found["more/cells"])
    assert label_groups(tmp_path, "P.zarr/H/12/2/fine/0") == {}
    for names in (["../x"], [1], 5):
        group(tmp_path / "P.zarr/B/03/2/labels", {"labels": names}, version)
        with pytest.raises(ValueError, match="labels"):
            label_groups(tmp_path, array)


values = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 10**30), st.floats(), st.text(max_size=8), st.just("../x"), st.just([]),
    st.just([{}]), st.just({}), st.just("\ud800"),
)  # fmt: skip


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(["", "B/03", "B/03/2", "B/03/2/fine/0"]), st.integers(0, 100), values)
def test_any_value_in_the_wrong_place_is_a_value_error(tmp_path: Path, place: str, where: int, value: object) -> None:
    """One value anywhere in the metadata is replaced; it is refused, or the plate can do without it."""
    store = tmp_path / "P.zarr"
    if not store.exists():
        make_plate(store, "0.5")
    path = store / place / "zarr.json"
    before = path.read_text()
    content = json.loads(before)
    slots = list(_slots(content))
    holder, key = slots[where % len(slots)]
    holder[key] = value
    path.write_text(json.dumps(content))
    try:
        manifest = scan(tmp_path)
        assert manifest.to_json()
    except ValueError as error:
        assert str(error)
    finally:
        path.write_text(before)


def _slots(content: Any) -> Any:
    """(holder, key) of every value inside."""
    for key, value in content.items() if isinstance(content, dict) else enumerate(content):
        yield content, key
        if isinstance(value, dict | list):
            yield from _slots(value)
