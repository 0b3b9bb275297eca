"""What every section of settings is: frozen, complete, and able to tell what of it changes a result."""

from __future__ import annotations

import json
from typing import Any

from pydantic import BaseModel, ConfigDict, Field


def scheduling(default: object, description: str, pattern: str | None = None) -> Any:
    """A field that changes where or in which portions work runs, but not what it computes."""
    return Field(default, description=description, pattern=pattern, json_schema_extra={"scheduling": True})


class Section(BaseModel):
    """Frozen settings that know their own identity. Unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def identity(self) -> dict[str, Any]:
        """The settings that change a result, as plain JSON values."""
        skipped = {
            name
            for name, field in type(self).model_fields.items()
            if isinstance(field.json_schema_extra, dict) and field.json_schema_extra.get("scheduling")
        }
        return self.model_dump(mode="json", exclude=skipped)

    def to_json(self) -> str:
        """The whole section as one line of JSON, keys sorted: the form in which rules hand it to a stage."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=True)


def sections(annotation: Any) -> list[type[Section]]:
    """The section classes that the annotation of a field names."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return [annotation]
    return [section for argument in getattr(annotation, "__args__", ()) for section in sections(argument)]
