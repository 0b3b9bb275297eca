"""Containers through `bioio`, which is not installed for tests: a small stand-in with the same few names."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline_lib.core.manifest import ChannelFacts, Manifest
from pipeline_lib.io.images import UnreadableImage
from pipeline_lib.io.raw_images import describe_image, read_image
from pipeline_lib.io.vendors import scan_plate

SHAPES = {"B03": (2, 2, 3, 4, 6), "Well H12": (1, 2, 2, 4, 6)}


def pixels(scene: int, shape: tuple[int, ...]) -> NDArray[np.uint16]:
    return (np.arange(np.prod(shape)) + 1000 * scene).reshape(shape).astype(np.uint16)


class BioImage:
    """One file, whose text lists its scenes: `name: T C Z` on each line."""

    def __init__(self, path: Path) -> None:
        text = Path(path).read_text()
        if text == "damaged":
            raise RuntimeError("no plug-in\nfor it")
        lines = [line.split(": ") for line in text.splitlines()]
        self.scenes = tuple(name for name, _ in lines)
        self._shapes = [(*map(int, sizes.split()), 4, 6) for _, sizes in lines]
        self.channel_names = ["DAPI", "FITC"]
        self.physical_pixel_sizes = SimpleNamespace(X=0.325, Y=0.325, Z=1.5)
        self.dtype = np.dtype(np.uint16)
        self._order = "TCZYXS" if "colour" in text else "TCZYX"
        self.set_scene(0)

    def set_scene(self, scene: int) -> None:
        self._scene = scene
        sizes = dict(zip("TCZYX", self._shapes[scene], strict=True))
        self.dims = SimpleNamespace(order=self._order, **sizes)

    def get_image_dask_data(self, order: str, **at: int) -> NDArray[np.uint16]:
        assert order == "YX"
        return pixels(self._scene, self._shapes[self._scene])[at["T"], at["C"], at["Z"]]


@pytest.fixture
def bioio(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    module: Any = ModuleType("bioio")
    module.BioImage = BioImage
    monkeypatch.setitem(sys.modules, "bioio", module)
    return module  # type: ignore[no-any-return]


def scan(folder: Path, **files: str) -> Manifest:
    for name, scenes in files.items():
        (folder / name.replace("__", ".")).write_text(scenes)
    return scan_plate("P", folder, "bioio", "")


def test_without_bioio_it_is_said_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bioio", None)  # as if it were not installed
    with pytest.raises(ValueError, match="not installed: pip install bioio bioio-nd2"):
        scan(tmp_path, a__nd2="B03: 1 1 1")


def test_scenes_are_fields_of_wells(tmp_path: Path, bioio: ModuleType) -> None:
    text = "".join(f"{name}: {t} {c} {z}\n" for name, (t, c, z, _, _) in SHAPES.items())
    manifest = scan(tmp_path, a__nd2=text, b__czi="B3: 2 2 3\n")
    assert (manifest.wells, manifest.channels) == (("B03", "H12"), ("0", "1"))
    assert manifest.channel_facts == {"0": ChannelFacts("DAPI"), "1": ChannelFacts("FITC")}
    assert (manifest.facts.pixel_size, manifest.facts.z_step) == (0.325, 1.5)
    assert len(manifest.files) == 12 + 4 + 12
    assert {(file.field, file.path) for file in manifest.of_well("B03")} == {(0, "a.nd2"), (1, "b.czi")}
    for file in manifest.files:
        scene = 1 if file.well == "H12" else 0
        wanted = pixels(scene, [*SHAPES.values()][scene])[file.time, int(file.channel), file.z]
        np.testing.assert_array_equal(read_image(manifest, file), wanted[None])
    info = describe_image(manifest, manifest.files[0])
    assert (info.shape, info.dtype, info.bit_depth) == ((1, 4, 6), "uint16", 16)


@pytest.mark.parametrize(
    ("scene", "well"),
    [
        ("B03", "B03"), ("B3", "B03"), ("Well B03", "B03"), ("wellB12", "B12"), ("plate/Well_AF48", "AF48"),
        ("P2-C4", "C04"), ("A1-A1", "A01"), ("B03 field 2", "B03"), ("Position 7", "D05"), ("XYPos:0", "D05"),
        ("DAPI", "D05"),
    ],
)  # fmt: skip
def test_names_of_scenes(tmp_path: Path, bioio: ModuleType, scene: str, well: str) -> None:
    """Where a scene names no well, the file does."""
    (tmp_path / "run_D05.lif").write_text(f"{scene}: 1 1 1")
    assert scan(tmp_path).wells == (well,)


def test_faults_are_told_together(tmp_path: Path, bioio: ModuleType) -> None:
    with pytest.raises(ValueError, match="4 files are not usable") as caught:
        scan(tmp_path, a__nd2="damaged", b__nd2="Position 1: 1 1 1", c__nd2="colour B03: 1 1 1", d__nd2="B03: 1 0 1")
    told = str(caught.value)
    assert "a.nd2: bioio cannot read it (no plug-in for it)" in told
    assert "b.nd2: neither the scene 'Position 1' nor the file's name has a well in it" in told
    assert "c.nd2: its axes are TCZYXS" in told
    assert "and 1 more" in told


def test_files_that_are_gone_or_damaged_later(tmp_path: Path, bioio: ModuleType) -> None:
    manifest = scan(tmp_path, a__nd2="B03: 1 2 1")
    [first, second] = manifest.files
    (tmp_path / "a.nd2").write_text("B03: 1 1 1")
    with pytest.raises(UnreadableImage, match=r"a.nd2: index 1 is out of bounds"):
        read_image(manifest, second)
    (tmp_path / "a.nd2").write_text("damaged")
    with pytest.raises(UnreadableImage, match="bioio cannot read it"):
        read_image(manifest, first)
    (tmp_path / "a.nd2").unlink()
    with pytest.raises(UnreadableImage, match="No such file"):
        describe_image(manifest, first)


def test_such_files_are_recognised(tmp_path: Path, bioio: ModuleType) -> None:
    (tmp_path / "a.CZI").write_text("B03: 1 1 1")
    assert scan_plate("P", tmp_path, "auto", "").format == "bioio"
