"""Pictures of cells with known truth: the plan of a plate, and its fields."""

from __future__ import annotations

from pipeline_lib.synthesis.field import CHANNELS, Field, draw_field
from pipeline_lib.synthesis.optics import Optics
from pipeline_lib.synthesis.plate import Compound, WellPlan, draw_compounds, plan_plate, well_seed
from pipeline_lib.synthesis.population import Population

__all__ = [
    "CHANNELS",
    "Compound",
    "Field",
    "Optics",
    "Population",
    "WellPlan",
    "draw_compounds",
    "draw_field",
    "plan_plate",
    "well_seed",
]
