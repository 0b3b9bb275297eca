"""Config as Snakemake takes it, for commands that plan without Snakemake."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import yaml

from pipeline_lib.workflow import Workflow, load_workflow, merged

DEFAULT = Path("config/config.yaml")


def add_config(parser: argparse.ArgumentParser) -> None:
    """The flags by which Snakemake takes its config."""
    parser.add_argument(
        "--configfile", type=Path, nargs="+", help=f"config files, later ones win (default: {DEFAULT}, if it is there)"
    )
    parser.add_argument("--config", nargs="+", default=[], metavar="KEY=VALUE", help="values that win over the files")


def planned_workflow(parsed: argparse.Namespace) -> Workflow:
    """The plates, settings, wells and batches that a run with these flags would have.

    Raises:
        ValueError: A file or value is not YAML, or the config has faults; the message names them all.
        FileNotFoundError: A config file is missing.
    """
    return load_workflow(read_config(parsed))


def read_config(parsed: argparse.Namespace) -> dict[str, Any]:
    """What `--configfile` and `--config` say together."""
    files = parsed.configfile or ([DEFAULT] if DEFAULT.exists() else [])
    config: dict[str, Any] = {}
    for path in files:
        config = merged(config, read_config_file(path))
    for word in parsed.config:
        key, equals, value = word.partition("=")
        if not equals:
            raise ValueError(f"--config {word!r}: KEY=VALUE is allowed, such as analysis=v2")
        config = merged(config, {key: _yaml(value, f"--config {key}")})
    return config


def read_config_file(path: Path) -> dict[str, Any]:
    """What a config file says. Raises ValueError for one that is not YAML or holds no sections."""
    content = _yaml(path.read_text(encoding="utf-8"), str(path)) or {}
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds a {type(content).__name__}; sections such as `segment:` are allowed")
    return content


def _yaml(text: str, source: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(f"{source} is not YAML: {error}") from error
