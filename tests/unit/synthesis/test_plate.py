"""Plans of plates: controls, dose series, faults, and independent sources of chance."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline_lib.core.wells import row_column
from pipeline_lib.synthesis import (
    Compound,
    Optics,
    Population,
    WellPlan,
    draw_compounds,
    draw_field,
    plan_plate,
    plan_varied,
    well_seed,
)


def wells_of(plans: tuple[WellPlan, ...], role: str) -> list[str]:
    return [plan.well for plan in plans if plan.role == role]


def test_a_96_well_plate() -> None:
    plans = plan_plate(8, 12, draw_compounds(8, seed=1), seed=1)
    assert [plan.well for plan in plans] == [f"{row}{column:02d}" for row in "ABCDEFGH" for column in range(1, 13)]
    assert wells_of(plans, "negative") == [f"{row}01" for row in "ABCDEFGH"]
    assert wells_of(plans, "positive") == [f"{row}12" for row in "ABCDEFGH"]
    assert len(wells_of(plans, "empty")) == 1
    damaged = [plan for plan in plans if plan.damaged]
    assert [plan.role for plan in damaged] == ["treatment"]


def test_a_row_holds_a_falling_dose_series_of_one_compound() -> None:
    plans = [plan for plan in plan_plate(8, 12, draw_compounds(8, seed=1), seed=1) if plan.role == "treatment"]
    whole = [row for row, count in Counter(plan.well[0] for plan in plans).items() if count == 10]
    assert len(whole) >= 7  # the empty well is in the other
    for row in whole:
        series = [plan for plan in plans if plan.well[0] == row]
        assert len({plan.compound for plan in series}) == 1
        doses = [plan.dose or 0.0 for plan in series]
        np.testing.assert_allclose(np.diff(np.log(doses)), np.log(1e-4) / 9, rtol=0.01)
        responses = [plan.response for plan in series]
        assert responses == sorted(responses, reverse=True)


@pytest.mark.parametrize(
    ("rows", "columns", "negative", "treatment", "positive"),
    [
        (1, 1, ["A01"], 0, []),
        (1, 3, ["A01", "A02"], 0, ["A03"]),
        (2, 2, ["A01", "B01"], 0, ["A02", "B02"]),
        (4, 1, ["A01", "B01"], 0, ["C01", "D01"]),
        (2, 3, ["A01", "B01"], 2, ["A03", "B03"]),
        (1, 8, ["A01", "A02"], 4, ["A07", "A08"]),
        (2, 6, ["A01", "A02", "B01"], 6, ["A06", "B05", "B06"]),
        (3, 4, ["A01", "B01", "C01"], 6, ["A04", "B04", "C04"]),
    ],
)
def test_small_plates(rows: int, columns: int, negative: list[str], treatment: int, positive: list[str]) -> None:
    plans = plan_plate(rows, columns, draw_compounds(min(treatment, 2), seed=0), seed=0)
    assert len({plan.well for plan in plans}) == rows * columns
    assert wells_of(plans, "negative") == negative
    assert wells_of(plans, "positive") == positive
    faulty = treatment >= 6
    assert len(wells_of(plans, "treatment")) == treatment - faulty
    assert len(wells_of(plans, "empty")) == sum(plan.damaged for plan in plans) == faulty


def test_long_series_start_again() -> None:
    plans = plan_plate(4, 10, [Compound("only", ec50=1.0)], seed=0)
    doses = Counter(plan.dose for plan in plans if plan.role == "treatment")
    assert len(doses) == 10
    assert sum(doses.values()) == 31  # 32 wells, one of them empty


def test_a_varied_plate_has_all_wells_and_no_treatments() -> None:
    plans = plan_varied(2, 3)
    assert wells_of(plans, "varied") == ["A01", "A02", "A03", "B01", "B02", "B03"]
    assert not any(plan.damaged or plan.compound for plan in plans)


def test_the_seed_moves_the_faulty_wells_only() -> None:
    compounds = draw_compounds(8, seed=0)
    first, again, other = (plan_plate(8, 12, compounds, seed) for seed in (0, 0, 1))
    assert first == again
    changed = [a.well for a, b in zip(first, other, strict=True) if a != b]
    faulty = [plan.well for plan in (*first, *other) if plan.damaged or plan.role == "empty"]
    assert set(changed) == set(faulty)


def test_response_curve_anchors() -> None:
    compound = Compound("x", ec50=2.0, hill=2.0, efficacy=0.8)
    assert compound.response(2.0) == pytest.approx(0.4)
    assert compound.response(6.0) == pytest.approx(0.8 * 9 / 10)
    assert compound.response(1e-9) == pytest.approx(0, abs=1e-6)


def test_toxic_doses_lose_cells() -> None:
    plans = plan_plate(1, 5, [Compound("x", ec50=0.3, efficacy=1.0, toxicity=0.5)], seed=0)
    plan = plans[2]
    assert plan.dose == 30.0
    assert plan.cells == pytest.approx(1 - 0.5 * plan.response)


@pytest.mark.parametrize(("count", "columns", "allowed"), [(0, 12, "1 to 80"), (81, 12, "1 to 80"), (1, 2, "0 fit")])
def test_compounds_that_do_not_fit(count: int, columns: int, allowed: str) -> None:
    with pytest.raises(ValueError, match=f"{count} compounds for .* treatment wells; {allowed}"):
        plan_plate(8, columns, draw_compounds(count, seed=0), seed=0)


def test_every_field_has_its_own_chance() -> None:
    sources = [(seed, well, field) for seed in (0, 1) for well in ("A01", "A02", "B01") for field in (0, 1)]
    draws = {tuple(well_seed(*source).integers(0, 2**63, 2).tolist()) for source in sources}
    assert len(draws) == len(sources)


def test_a_field_drawn_alone_is_the_one_of_the_plate() -> None:
    plans = plan_plate(2, 3, draw_compounds(1, seed=4), seed=4)

    def draw(plan: WellPlan, field: int) -> NDArray[np.uint16]:
        population = Population(cells=8 * plan.cells, nucleus_px=14)
        return draw_field((64, 64), population, Optics(), plan.response, well_seed(4, plan.well, field)).image

    whole = {(plan.well, field): draw(plan, field) for plan in plans for field in (1, 0)}
    alone = next(plan for plan in plans if row_column(plan.well) == (1, 1))
    np.testing.assert_array_equal(draw(alone, 1), whole["B02", 1])
    assert (whole["B02", 0] != whole["B02", 1]).any()
