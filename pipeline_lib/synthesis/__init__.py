"""Pictures of cells with known truth: the plan of a plate, and its fields."""

from __future__ import annotations

from pipeline_lib.synthesis.field import CHANNELS, Field, Scene, draw_field, draw_scene
from pipeline_lib.synthesis.optics import Optics
from pipeline_lib.synthesis.plate import Compound, WellPlan, draw_compounds, plan_plate, plan_varied, well_seed
from pipeline_lib.synthesis.population import Population
from pipeline_lib.synthesis.staining import Staining
from pipeline_lib.synthesis.variety import draw_varied_field, draw_variety

__all__ = [
    "CHANNELS",
    "Compound",
    "Field",
    "Optics",
    "Population",
    "Scene",
    "Staining",
    "WellPlan",
    "draw_compounds",
    "draw_field",
    "draw_scene",
    "draw_varied_field",
    "draw_variety",
    "plan_plate",
    "plan_varied",
    "well_seed",
]
