"""What every section of settings is: frozen, complete, and able to tell what of it changes a result."""

from __future__ import annotations

import json
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt

Percentiles = tuple[float, float]


def scheduling(default: object, description: str, pattern: str | None = None) -> Any:
    """A field that changes where or in which portions work runs, but not what it computes."""
    return Field(default, description=description, pattern=pattern, json_schema_extra={"scheduling": True})


def later(default: object, description: str) -> Any:
    """A field that came when plates had been made without it: with its default, it is as if it were not there."""
    return Field(default, description=description, json_schema_extra={"later": True})


class Section(BaseModel):
    """Frozen settings that know their own identity. Unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def identity(self) -> dict[str, Any]:
        """The settings that change a result, as plain JSON values."""
        return self.model_dump(mode="json", exclude=self._marked("scheduling") | self._untouched())

    def told(self) -> dict[str, Any]:
        """The whole section as plain JSON values, as records keep it."""
        return self.model_dump(mode="json", exclude=self._untouched())

    def to_json(self) -> str:
        """The whole section as one line of JSON, keys sorted: the form in which rules hand it to a stage."""
        return json.dumps(self.told(), sort_keys=True)

    def _untouched(self) -> set[str]:
        """Fields that came later and have their defaults."""
        fields = type(self).model_fields
        return {name for name in self._marked("later") if getattr(self, name) == fields[name].default}

    def _marked(self, mark: str) -> set[str]:
        fields = type(self).model_fields.items()
        extras = {name: field.json_schema_extra for name, field in fields}
        return {name for name, extra in extras.items() if isinstance(extra, dict) and extra.get(mark)}


class NetworkSection(Section):
    """What every stage that runs networks is told."""

    wells_per_job: PositiveInt = scheduling(48, "Wells of one job, which loads its networks once")
    device: str = scheduling("auto", "auto, cpu, cuda or cuda:N", pattern=r"^(auto|cpu|cuda(:[0-9]+)?)$")
    batch_size: PositiveInt | None = scheduling(
        None, "Tiles that go through the network at once; null: 2 on a processor, 32 on a GPU"
    )
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="auto: bfloat16 where the processor or GPU computes in it, else float32"
    )


def check_percentiles(key: str, percentiles: Percentiles) -> None:
    """Raise ValueError unless they rise and lie within 0..100."""
    low, high = percentiles
    if not 0 <= low < high <= 100:
        raise ValueError(f"{key}: {low}, {high} found; 0 <= low < high <= 100 is allowed")


def sections(annotation: Any) -> list[type[Section]]:
    """The section classes that the annotation of a field names."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return [annotation]
    return [section for argument in getattr(annotation, "__args__", ()) for section in sections(argument)]
