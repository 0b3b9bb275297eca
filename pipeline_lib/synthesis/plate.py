"""What each well of a synthetic plate holds, and the source of chance of each of its fields."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from pipeline_lib.core.wells import row_column, well_name
from pipeline_lib.synthesis.ranges import require

Role = Literal["negative", "positive", "treatment", "empty", "varied"]

LOWEST_DOSE, HIGHEST_DOSE = 0.003, 30.0  # uM
_DOSE_LEVELS = 10
_POSITIVE_RESPONSE = 0.95
_POSITIVE_CELLS = 0.9
_FULL_CONTROLS_FROM = 12  # wells of a plate with three controls of each kind
_FAULTY_FROM = 6  # treatment wells that make room for an empty and a damaged one


@dataclass(frozen=True)
class Compound:
    """The truth about one compound: response = efficacy * dose^hill / (dose^hill + ec50^hill).

    Attributes:
        name: Any name.
        ec50: Dose of half the effect, uM.
        hill: Steepness of the curve.
        efficacy: Response at high dose, 0..1.
        toxicity: Share of the cells lost at high dose, 0..1.
    """

    name: str
    ec50: float
    hill: float = 1.2
    efficacy: float = 1.0
    toxicity: float = 0.0

    def __post_init__(self) -> None:
        require(self, {"ec50": (1e-6, 1e6), "hill": (0.1, 10), "efficacy": (0, 1), "toxicity": (0, 1)})

    def response(self, dose: float) -> float:
        """Response at a dose in uM, 0..1."""
        return self.efficacy / (1 + math.pow(self.ec50 / dose, self.hill))


@dataclass(frozen=True)
class WellPlan:
    """What one well holds.

    Attributes:
        well: Name, such as "B03".
        role: What the well is for.
        compound: Name of the compound, "" in an empty well.
        dose: uM; None in controls and the empty well.
        response: 0 for a marker in the cytoplasm, 1 for a marker in the nucleus.
        cells: Factor on the mean cell count; 0 in the empty well.
        damaged: Whether its file is to be cut short.
    """

    well: str
    role: Role
    compound: str
    dose: float | None
    response: float
    cells: float
    damaged: bool = False


def draw_compounds(count: int, seed: int) -> tuple[Compound, ...]:
    """Compounds with EC50s spread evenly over the logarithm of the doses, in random order; some lose cells."""
    rng = np.random.default_rng(seed)
    middle = np.geomspace(LOWEST_DOSE, HIGHEST_DOSE, count + 2)[1:-1]
    return tuple(
        Compound(f"compound_{k + 1:02d}", ec50=ec50, hill=rng.uniform(0.8, 2), toxicity=rng.uniform(0, 0.4))
        for k, ec50 in enumerate(rng.permutation(middle).tolist())
    )


def plan_plate(rows: int, columns: int, compounds: Sequence[Compound], seed: int) -> tuple[WellPlan, ...]:
    """Plan every well of a plate, row by row.

    Negative controls fill the first column, positive controls the last; plates of 12 wells or more have at least
    three of each, smaller ones two where they fit. The wells between are shared evenly among the compounds, each a
    series of falling doses. Given at least 6 of them, one is left empty and another is damaged, by `seed`.

    Raises:
        ValueError: The treatment wells and the compounds do not fit each other.
    """
    negatives, between, positives = _parts(rows, columns)
    plans = [
        *(WellPlan(well, "negative", "DMSO", None, 0.0, 1.0) for well in negatives),
        *_with_faults(_dose_series(between, compounds), seed),
        *(WellPlan(well, "positive", "reference", None, _POSITIVE_RESPONSE, _POSITIVE_CELLS) for well in positives),
    ]
    return tuple(sorted(plans, key=lambda plan: row_column(plan.well)))


def plan_varied(rows: int, columns: int) -> tuple[WellPlan, ...]:
    """Plan a plate without treatments, row by row: each of its fields is to be a scene of its own."""
    wells = [well_name(row, column) for row in range(rows) for column in range(columns)]
    return tuple(WellPlan(well, "varied", "", None, 0.0, 1.0) for well in wells)


def well_seed(seed: int, well: str, field: int) -> np.random.Generator:
    """Make the source of chance of one field: the same in any order of drawing, independent of every other field."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(*row_column(well), field)))


def _parts(rows: int, columns: int) -> tuple[list[str], list[str], list[str]]:
    """Wells of the negative controls, of the compounds (row by row) and of the positive controls."""
    wells = [(row, column) for column in range(columns) for row in range(rows)]
    wanted = max(rows, 3 if len(wells) >= _FULL_CONTROLS_FROM else 2)
    first = min(wanted, math.ceil(len(wells) / 2))
    last = len(wells) - min(wanted, len(wells) // 2)
    parts = wells[:first], sorted(wells[first:last]), wells[last:]
    negatives, between, positives = ([well_name(*at) for at in part] for part in parts)
    return negatives, between, positives


def _dose_series(wells: Sequence[str], compounds: Sequence[Compound]) -> list[WellPlan]:
    """Give each compound an equal run of wells and falling doses; runs longer than ten start again."""
    if len(compounds) > len(wells) or (wells and not compounds):
        allowed = f"1 to {len(wells)}" if wells else "0"
        raise ValueError(f"{len(compounds)} compounds for {len(wells)} treatment wells; {allowed} fit this plate")
    if not wells:
        return []
    plans = []
    for compound, run in zip(compounds, np.array_split(np.asarray(wells), len(compounds)), strict=True):
        doses = _doses(min(len(run), _DOSE_LEVELS))
        plans += [_treat(well, compound, doses[k % len(doses)]) for k, well in enumerate(run.tolist())]
    return plans


def _doses(levels: int) -> list[float]:
    """Falling doses in uM, evenly spaced in the logarithm, with three digits."""
    return [float(f"{dose:.3g}") for dose in np.geomspace(HIGHEST_DOSE, LOWEST_DOSE, levels)]


def _treat(well: str, compound: Compound, dose: float) -> WellPlan:
    lost = compound.toxicity * compound.response(dose)
    return WellPlan(well, "treatment", compound.name, dose, compound.response(dose), 1 - lost)


def _with_faults(plans: list[WellPlan], seed: int) -> list[WellPlan]:
    """Empty one well and damage another, if there are enough."""
    if len(plans) < _FAULTY_FROM:
        return plans
    empty, damaged = np.random.default_rng(seed).choice(len(plans), 2, replace=False)
    plans = list(plans)
    plans[empty] = WellPlan(plans[empty].well, "empty", "", None, 0.0, 0.0)
    plans[damaged] = replace(plans[damaged], damaged=True)
    return plans
