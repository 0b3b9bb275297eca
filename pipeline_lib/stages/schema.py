"""schema: write what is generated from the settings: `config/config.yaml`, its JSON schema and `config/README.md`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import yaml
from pydantic.fields import FieldInfo

from pipeline_lib.settings import Section, Settings, sections

HEADER = """\
# Every setting with its default. Edit the values freely; keys that are left out keep their defaults. What each key
# means, and how one plate gets values of its own: config/README.md. Wrong keys and values are told before any job.
# yaml-language-server: $schema=config.schema.json
"""
README_HEAD = """\
# Configuration

`config.yaml` holds the settings of a run, `plates.tsv` its plates. Both are checked before any job starts, and all
faults are told at once. This page and `config.yaml` are generated from `pipeline_lib/settings` by `make config`.

## The plate sheet, `plates.tsv`

Columns are separated by tabs; lines that begin with `#` are ignored; relative paths are relative to the sheet.

| column | |
|---|---|
| `plate` | the plate's id: letters, digits, `_`, `-`, `.` |
| `folder` | its raw folder |
| `format` | `auto`, or one of the raw formats in the [README](../README.md#raw-formats), such as `operetta` |
| `plate_map` | optional: CSV with one line per well: `well` (or `row` and `column`) and any other columns |
| `overrides` | optional: settings of this plate only: a YAML file, or YAML itself: `{measure: {features: [shape]}}` |
| a setting | optional, any number: a column such as `segment.labels.nuclei.diameter` or `ingest.plate_format` |

A column named by a setting gives each plate its own value, written as YAML; where the cell is empty, the plate has the
value of the config. Such a column wins over `overrides`, and `overrides` over the config. `wellpose diff` tells which
wells a change of any of them would make anew.

A well on the plate map without any image is reported as a hole. See `examples/` for a real plate.

## Settings

A change reruns the stage it belongs to and what follows, for all wells, and nothing else. Keys marked *scheduling* say
how work is portioned and recompute nothing.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's flags."""
    parser.add_argument("--folder", type=Path, default=Path("config"), help="where the files are written")


def run(parsed: argparse.Namespace) -> None:
    """Write the generated files."""
    for name, text in generated().items():
        (parsed.folder / name).write_text(text, encoding="utf-8")


def generated() -> dict[str, str]:
    """File name -> content of everything that is made from the settings."""
    return {
        "config.yaml": HEADER + _yaml(Settings()),
        "config.schema.json": json.dumps(Settings.model_json_schema(), indent=1) + "\n",
        "README.md": README_HEAD + "".join(_tables()),
    }


def _yaml(settings: Section) -> str:
    return yaml.safe_dump(settings.model_dump(mode="json"), sort_keys=False, width=120, default_flow_style=None)


def _tables() -> Iterator[str]:
    """One Markdown table per section."""
    top = {name: field for name, field in Settings.model_fields.items() if not sections(field.annotation)}
    yield _table("Top level", top)
    told: dict[type[Section], str] = {}
    for name, field in Settings.model_fields.items():
        for section in sections(field.annotation):
            yield from _of_section(name, section, told)


def _of_section(path: str, section: type[Section], told: dict[type[Section], str]) -> Iterator[str]:
    """The table of a section, then those of the sections inside it. One that was told before is only named."""
    method = section.model_fields["method"].default if "method" in section.model_fields else None
    title = f"{path}, method {method}" if method else path
    if section in told:
        yield f"\n### {title}\nAs `{told[section]}`.\n"
        return
    told[section] = path
    yield _table(title, section.model_fields, (section.__doc__ or "").splitlines()[0])
    for name, field in section.model_fields.items():
        for inner in sections(field.annotation):
            yield from _of_section(f"{path}.{name}", inner, told)


def _table(path: str, fields: dict[str, FieldInfo], told: str = "") -> str:
    lines = [f"| `{name}` | {_default(field)} | {_meaning(field)} |" for name, field in fields.items()]
    return "\n".join(
        [f"\n### {path}", *([told] if told else []), "", "| key | default | |", "|---|---|---|", *lines, ""]
    )


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if isinstance(value, Section):
        return "below"
    return f"`{json.dumps(value)}`".replace("|", "\\|")


def _meaning(field: FieldInfo) -> str:
    extra = field.json_schema_extra
    marked = " (*scheduling*)" if isinstance(extra, dict) and extra.get("scheduling") else ""
    return (field.description or "see below").replace("|", "\\|") + marked
