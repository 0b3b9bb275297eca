"""What a label image and its intensities say about each object, in numbers."""

from pipeline_lib.features.field import feature_columns, measure_field
from pipeline_lib.features.groups import FEATURE_GROUPS

__all__ = ["FEATURE_GROUPS", "feature_columns", "measure_field"]
