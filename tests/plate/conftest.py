"""A small plate with every kind of trouble, taken through the whole workflow once."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from plates import Run, grow_cells

from pipeline_lib.stages.synthesize import Drawing, synthesize

SIZE, CELLS = 160, 9.0


@pytest.fixture(scope="session")
def draw_plate(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int, int], Run]:
    """Draw a tiny plate of some rows and columns in a new folder."""

    def draw(rows: int, columns: int) -> Run:
        folder = tmp_path_factory.mktemp("plate")
        synthesize(folder, Drawing("tiny", rows, columns, fields=2, size=SIZE, cells=CELLS, compounds=1, seed=3))
        grow_cells(folder)
        return Run(folder)

    return draw


@pytest.fixture(scope="session")
def troubled(draw_plate: Callable[[int, int], Run]) -> tuple[Run, dict[str, str]]:
    """A finished plate of 3 x 4 wells, and what is wrong with its wells: name -> a word of the reason."""
    run = draw_plate(3, 4)
    raw = run.folder / "raw"
    cut = min(raw.glob("*.tif"), key=lambda path: path.stat().st_size).name[:3]  # the plan has one damaged well
    sound = [f"{row}{column:02d}" for column in (2, 3) for row in "ABC" if f"{row}{column:02d}" != cut]
    text, lacking, bare = sound[:3]
    (raw / f"{text}_s1_wDNA.tif").write_text("not a picture\n")
    (raw / f"{lacking}_s2_wGFP.tif").unlink()
    for path in raw.glob(f"{bare}_*"):  # it stays on the plate map
        path.unlink()
    done = run.snakemake()
    assert done.returncode == 0, done.stdout + done.stderr
    return run, {cut: "cut off", text: "not a TIFF", lacking: "lacks 1 image", bare: "has no image"}
