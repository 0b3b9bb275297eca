"""synthesize: draw a screening plate with known truth: raw files, plate map, plate sheet, `truth.ome.zarr`."""

from __future__ import annotations

import argparse
import csv
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import tifffile

from pipeline_lib.arrays.pyramid import level_steps, pyramid
from pipeline_lib.arrays.resample import shrink, shrink_labels
from pipeline_lib.core.colours import channel_colour
from pipeline_lib.core.wells import plate_shape
from pipeline_lib.io.commit import committed
from pipeline_lib.io.ngff import Channel, PlateInfo
from pipeline_lib.io.plate import commit_labels, create_plate, list_wells, write_field, write_well
from pipeline_lib.io.platesheets import SHEET_COLUMNS
from pipeline_lib.paths import labels_path, well_path
from pipeline_lib.synthesis import (
    CHANNELS,
    Field,
    Optics,
    Population,
    WellPlan,
    draw_compounds,
    draw_field,
    draw_varied_field,
    plan_plate,
    plan_varied,
    well_seed,
)

PIXEL_SIZE = 0.65  # micrometres
CELL_AREA = 3500.0  # pixels per cell at the default density
DAMAGED_LEFT = 0.6  # share of a damaged file that is left
OVERRIDES = "{segment: {labels: {cells: {method: network, channels: [GFP, DNA]}}}}"

log = logging.getLogger("wellpose")


@dataclass(frozen=True)
class Drawing:
    """What to draw. size: pixels along each side of a field; cells: mean number per field.

    varied: each field is a random scene of its own instead of a treatment; cells and compounds do not count then.
    """

    plate: str
    rows: int
    columns: int
    fields: int
    size: int
    cells: float
    compounds: int
    seed: int
    varied: bool = False


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's flags."""
    parser.add_argument("folder", type=Path, help="where the plate is written; it gets a plate sheet of its own")
    parser.add_argument("--plate", default="synthetic", help="id of the plate")
    parser.add_argument("--rows", type=int, default=4)
    parser.add_argument("--columns", type=int, default=6)
    parser.add_argument("--fields", type=int, default=1, help="fields per well")
    parser.add_argument("--size", type=int, default=512, help="pixels along each side of a field")
    parser.add_argument("--cells", type=float, help="mean number of cells per field; by default as the size allows")
    parser.add_argument("--compounds", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--varied", action="store_true", help="draw another cell line, stain and microscope in each field; no doses"
    )


def run(parsed: argparse.Namespace) -> None:
    """Draw the plate and tell where it is."""
    cells = parsed.cells if parsed.cells is not None else parsed.size**2 / CELL_AREA
    numbers = (
        parsed.plate,
        parsed.rows,
        parsed.columns,
        parsed.fields,
        parsed.size,
        cells,
        parsed.compounds,
        parsed.seed,
        parsed.varied,
    )
    synthesize(parsed.folder, Drawing(*numbers))
    log.info("synthesize: %s is listed in %s", parsed.plate, parsed.folder / "plates.tsv")


def synthesize(folder: Path, drawing: Drawing) -> None:
    """Write raw files, truth, plate sheet and, where there are treatments, the plate map to `folder`."""
    plans = _plans(drawing)
    truth = folder / "truth.ome.zarr"
    info = _plate_info(drawing, plans)
    create_plate(truth, info, fingerprint="")
    for number, plan in enumerate(plans, 1):
        _draw_well(folder / "raw", truth, plan, drawing, info)
        log.info("synthesize %s %s (%d/%d) %s", drawing.plate, plan.well, number, len(plans), plan.role)
    list_wells(truth, [plan.well for plan in plans])
    if not drawing.varied:
        _write_sheet(folder / "platemap.csv", ",", map(_mapped, plans))
    _write_sheet(folder / "plates.tsv", "\t", [_listed(drawing)])


def _plans(drawing: Drawing) -> tuple[WellPlan, ...]:
    if drawing.varied:
        return plan_varied(drawing.rows, drawing.columns)
    compounds = draw_compounds(drawing.compounds, drawing.seed)
    return plan_plate(drawing.rows, drawing.columns, compounds, drawing.seed)


def _draw_well(raw: Path, truth: Path, plan: WellPlan, drawing: Drawing, info: PlateInfo) -> None:
    with committed(truth / well_path(plan.well)) as well:
        for index in range(drawing.fields):
            field = _draw_one(drawing, plan, index)
            _write_images(raw, f"{plan.well}_s{index + 1}", field, plan)
            _write_truth(well, index, field, info)
        write_well(well, range(drawing.fields), {})


def _draw_one(drawing: Drawing, plan: WellPlan, index: int) -> Field:
    rng = well_seed(drawing.seed, plan.well, index)
    shape = (drawing.size, drawing.size)
    if drawing.varied:
        return draw_varied_field(shape, rng)
    population = Population(cells=drawing.cells * plan.cells)
    return draw_field(shape, population, _optics(drawing.seed, rng), plan.response, rng)


def _optics(seed: int, rng: np.random.Generator) -> Optics:
    """A microscope: its light is tilted alike for the whole plate, its focus differs from field to field."""
    tilt_y, tilt_x = np.random.default_rng(seed).uniform(-0.1, 0.1, 2)
    usual = Optics()
    return replace(usual, blur_px=usual.blur_px * rng.uniform(0.8, 1.4), tilt=(float(tilt_y), float(tilt_x)))


def _write_images(raw: Path, name: str, field: Field, plan: WellPlan) -> None:
    """One TIFF per channel, the last cut short where the plan says so."""
    raw.mkdir(parents=True, exist_ok=True)
    centimetres = 1e4 / PIXEL_SIZE
    for channel, plane in zip(CHANNELS, field.image, strict=True):
        path = raw / f"{name}_w{channel}.tif"
        with committed(path) as temporary:
            tifffile.imwrite(temporary, plane, resolution=(centimetres, centimetres), resolutionunit="CENTIMETER")
            if plan.damaged and channel == CHANNELS[-1]:
                whole = temporary.read_bytes()
                temporary.write_bytes(whole[: int(len(whole) * DAMAGED_LEFT)])


def _write_truth(well: Path, index: int, field: Field, info: PlateInfo) -> None:
    """The noise-free image, with nuclei and cells as its label images."""
    steps = level_steps(*field.nuclei.shape)
    write_field(well, index, [level[None, :, None] for level in pyramid(field.clean, shrink)], steps, info)
    labels = {
        name: [level[None] for level in pyramid(found, shrink_labels)]
        for name, found in (("nuclei", field.nuclei), ("cells", field.cells))
    }
    commit_labels(well / labels_path(index), "", labels, steps, info, {})


def _plate_info(drawing: Drawing, plans: Iterable[WellPlan]) -> PlateInfo:
    rows, columns = plate_shape(plan.well for plan in plans)
    channels = tuple(
        Channel(name, name, channel_colour(name, None, index), (150.0, 2000.0)) for index, name in enumerate(CHANNELS)
    )
    shape = (drawing.size, drawing.size)
    return PlateInfo(drawing.plate, rows, columns, drawing.fields, 1, channels, PIXEL_SIZE, shape, "float32")


def _mapped(plan: WellPlan) -> dict[str, object]:
    """The line of a well on the plate map."""
    dose = "" if plan.dose is None else plan.dose
    role = "" if plan.role == "empty" else plan.role
    return {"well": plan.well, "role": role, "compound": plan.compound, "dose": dose}


def _listed(drawing: Drawing) -> dict[str, object]:
    """The line of the plate on its sheet."""
    plate_map = "" if drawing.varied else "platemap.csv"
    return dict(zip(SHEET_COLUMNS, (drawing.plate, "raw", "pattern", plate_map, OVERRIDES), strict=True))


def _write_sheet(path: Path, delimiter: str, lines: Iterable[Mapping[str, object]]) -> None:
    rows = list(lines)
    with committed(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(rows[0]), delimiter=delimiter, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
