"""synthesize: draw a screening plate with known truth: raw files, plate map, plate sheet, `truth.ome.zarr`.

The raw files are those of a microscope of choice: the same pixels, in its folders and with its index files.
"""

from __future__ import annotations

import argparse
import csv
import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from pipeline_lib.arrays.pyramid import level_steps, pyramid
from pipeline_lib.arrays.resample import shrink, shrink_labels
from pipeline_lib.core.colours import channel_colour
from pipeline_lib.core.manifest import ChannelFacts, PlateFacts, Position
from pipeline_lib.core.wells import plate_shape
from pipeline_lib.io.commit import committed
from pipeline_lib.io.layouts import LAYOUTS, Measurement
from pipeline_lib.io.ngff import Channel, PlateInfo
from pipeline_lib.io.plate import commit_labels, create_plate, list_wells, write_field, write_well
from pipeline_lib.io.platesheets import SHEET_COLUMNS
from pipeline_lib.paths import labels_path, well_path
from pipeline_lib.settings.ingest import SYNTHETIC_PATTERN
from pipeline_lib.synthesis import (
    CHANNELS,
    Field,
    Optics,
    Population,
    Scene,
    Staining,
    WellPlan,
    draw_compounds,
    draw_scene,
    draw_variety,
    plan_plate,
    plan_varied,
    well_seed,
)
from pipeline_lib.synthesis.optics import photograph

PIXEL_SIZE = 0.65  # micrometres
Z_STEP = 3.0  # micrometres between planes
DEFOCUS = 1.2  # px; blur on top at this distance from the focus: half the radius of the cone of light of NA 0.45
BLUREST = 20.0  # px; the most that `Optics` can have
LIGHT = {
    "DNA": ChannelFacts("DNA", excitation_nm=405.0, emission_nm=450.0, exposure_ms=100.0),
    "GFP": ChannelFacts("GFP", excitation_nm=488.0, emission_nm=525.0, exposure_ms=200.0),
}
"""What the microscope says of each of `CHANNELS`."""
ACQUIRED = "2026-01-01T12:00:00+00:00"
CELL_AREA = 3500.0  # pixels per cell at the default density
DAMAGED_LEFT = 0.6  # share of a damaged file that is left
OVERRIDES = "{segment: {labels: {cells: {method: network, channels: [GFP, DNA]}}}}"
UNNAMED = {"cellinsight": ("0", "1"), "imagexpress_export": ("1", "2")}
"""Layout -> its ids of `CHANNELS`, where neither ids nor index say their names."""
STACK_PATTERN = SYNTHETIC_PATTERN.replace(r"\.tiff?$", r"_z(?P<z>[0-9]+)\.tiff?$")

log = logging.getLogger("wellpose")


@dataclass(frozen=True)
class Drawing:
    """What to draw. size: pixels along each side of a field; cells: mean number per field.

    varied: each field is a random scene of its own instead of a treatment; cells and compounds do not count then.
    planes: of each field's stack; the truth is that of the middle one, plane `planes // 2` from 0, which is in focus.
    layout: whose folders and index files are written, a key of `LAYOUTS`.
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
    planes: int = 1
    layout: str = "pattern"

    def __post_init__(self) -> None:
        for name, number in (("fields", self.fields), ("planes", self.planes)):
            if number < 1:
                raise ValueError(f"{name} is {number}; 1 or more are needed")

    @property
    def focus(self) -> int:
        """The plane in focus."""
        return self.planes // 2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's flags."""
    parser.add_argument("folder", type=Path, help="where the plate is written; it gets a plate sheet of its own")
    parser.add_argument("--plate", default="synthetic", help="id of the plate")
    parser.add_argument("--rows", type=int, default=4)
    parser.add_argument("--columns", type=int, default=6)
    parser.add_argument("--fields", type=int, default=1, help="fields per well")
    parser.add_argument("--planes", type=int, default=1, help="z planes of each field, the middle one in focus")
    parser.add_argument("--size", type=int, default=512, help="pixels along each side of a field")
    parser.add_argument("--cells", type=float, help="mean number of cells per field; by default as the size allows")
    parser.add_argument("--compounds", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--varied", action="store_true", help="draw another cell line, stain and microscope in each field; no doses"
    )
    parser.add_argument(
        "--as",
        dest="layout",
        choices=sorted(LAYOUTS),
        default="pattern",
        help="whose folders, file names and index files are written; pattern, the default: plain TIFF files",
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
        parsed.planes,
        parsed.layout,
    )
    synthesize(parsed.folder, Drawing(*numbers))
    log.info("synthesize: %s is listed in %s", parsed.plate, parsed.folder / "plates.tsv")


def synthesize(folder: Path, drawing: Drawing) -> None:
    """Write raw files, truth, plate sheet and, where there are treatments, the plate map to `folder`."""
    plans = _plans(drawing)
    plate, info = _measurement(drawing, plans), _plate_info(drawing, plans)
    truth = folder / "truth.ome.zarr"
    create_plate(truth, info, fingerprint="")
    for number, plan in enumerate(plans, 1):
        _draw_well(folder, plan, drawing, plate, info)
        log.info("synthesize %s %s (%d/%d) %s", drawing.plate, plan.well, number, len(plans), plan.role)
    LAYOUTS[drawing.layout].write_index(folder / "raw", plate)
    list_wells(truth, [plan.well for plan in plans])
    if not drawing.varied:
        _write_sheet(folder / "platemap.csv", ",", map(_mapped, plans))
    _write_sheet(folder / "plates.tsv", "\t", [_listed(drawing)])


def _plans(drawing: Drawing) -> tuple[WellPlan, ...]:
    if drawing.varied:
        return plan_varied(drawing.rows, drawing.columns)
    compounds = draw_compounds(drawing.compounds, drawing.seed)
    return plan_plate(drawing.rows, drawing.columns, compounds, drawing.seed)


def _draw_well(folder: Path, plan: WellPlan, drawing: Drawing, plate: Measurement, info: PlateInfo) -> None:
    """Raw files and truth of one well; where the plan says so, the last raw file of each field is cut short."""
    write_images = LAYOUTS[drawing.layout].write_field
    with committed(folder / "truth.ome.zarr" / well_path(plan.well)) as well:
        for index in range(drawing.fields):
            planes = [_draw_plane(drawing, plan, index, plane) for plane in range(drawing.planes)]
            stack = np.stack([plane.image for plane in planes], axis=1)  # (C, Z, Y, X)
            files = write_images(folder / "raw", plate, plan.well, index, stack[None])
            if plan.damaged:
                _cut_short(files[-1])
            _write_truth(well, index, planes[drawing.focus], info)
        write_well(well, range(drawing.fields), {})


def _draw_plane(drawing: Drawing, plan: WellPlan, index: int, plane: int) -> Field:
    """One plane of a field: the same cells at another distance from the focus, with noise of its own."""
    rng = well_seed(drawing.seed, plan.well, index)
    noise = rng.spawn(drawing.planes)[plane]
    scene = _scene(drawing, plan, rng)
    distance = abs(plane - drawing.focus)
    optics = replace(scene.optics, blur_px=min(math.hypot(scene.optics.blur_px, DEFOCUS * distance), BLUREST))
    field = draw_scene((drawing.size, drawing.size), replace(scene, optics=optics), rng)
    return field if not distance else replace(field, image=photograph(field.clean, optics, noise))


def _scene(drawing: Drawing, plan: WellPlan, rng: np.random.Generator) -> Scene:
    """What a field in focus is drawn from; takes its chance from `rng`, as the drawing will go on to do."""
    if drawing.varied:
        return draw_variety((drawing.size, drawing.size), rng)
    population = Population(cells=drawing.cells * plan.cells)
    return Scene(population, _optics(drawing.seed, rng), Staining(plan.response))


def _optics(seed: int, rng: np.random.Generator) -> Optics:
    """A microscope: its light is tilted alike for the whole plate, its focus differs from field to field."""
    tilt_y, tilt_x = np.random.default_rng(seed).uniform(-0.1, 0.1, 2)
    usual = Optics()
    return replace(usual, blur_px=usual.blur_px * rng.uniform(0.8, 1.4), tilt=(float(tilt_y), float(tilt_x)))


def _cut_short(path: Path) -> None:
    """Leave the first part of a file, as a full disk does."""
    whole = path.read_bytes()
    with committed(path) as temporary:
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


def _measurement(drawing: Drawing, plans: Sequence[WellPlan]) -> Measurement:
    """What the microscope knows of the plate."""
    wells = tuple(plan.well for plan in plans)
    rows, columns = plate_shape(wells)
    facts = PlateFacts(
        pixel_size=PIXEL_SIZE,
        z_step=Z_STEP if drawing.planes > 1 else None,
        magnification=10.0,
        numerical_aperture=0.45,
        plate_type=f"{rows * columns} wells",
        acquired=ACQUIRED,
        instrument="Wellpose",
    )
    channels = tuple(LIGHT[name] for name in CHANNELS)
    shape = (1, len(channels), drawing.planes, drawing.size, drawing.size)
    return Measurement(drawing.plate, rows, columns, wells, channels, facts, _positions(drawing), shape, "uint16")


def _positions(drawing: Drawing) -> tuple[Position, ...]:
    """Of each field from the middle of the well, row by row of a grid as square as can be; fields touch."""
    across = math.ceil(math.sqrt(drawing.fields))
    down = math.ceil(drawing.fields / across)
    step = round(drawing.size * PIXEL_SIZE, 6)
    places = (divmod(index, across) for index in range(drawing.fields))
    return tuple(((row - (down - 1) / 2) * step, (column - (across - 1) / 2) * step) for row, column in places)


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
    cells = (drawing.plate, "raw", LAYOUTS[drawing.layout].format, plate_map, _overrides(drawing))
    return dict(zip(SHEET_COLUMNS, cells, strict=True))


def _overrides(drawing: Drawing) -> str:
    """The plate's own settings, as YAML: what makes cells of its channels, and how to read what names do not say."""
    reading = []
    if ids := UNNAMED.get(drawing.layout):
        named = (f"'{key}': {{name: {name}}}" for key, name in zip(ids, CHANNELS, strict=True))
        reading.append(f"channels: {{{', '.join(named)}}}")
    if drawing.layout == "pattern" and drawing.planes > 1:
        reading.append(f"pattern: '{STACK_PATTERN}'")
    return f"{{ingest: {{{', '.join(reading)}}}, {OVERRIDES[1:]}" if reading else OVERRIDES


def _write_sheet(path: Path, delimiter: str, lines: Iterable[Mapping[str, object]]) -> None:
    rows = list(lines)
    with committed(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(rows[0]), delimiter=delimiter, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
