"""Profiles of Snakemake: which file a name stands for here, and what it says.

Snakemake itself is asked for the places and for the file, because its rules are odd: what bears the name in the working
folder wins, even if it is no profile; and `profiles/default` is merged in, key by key, on top.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

SNAKEFILES = ("Snakefile", "snakefile", "workflow/Snakefile", "workflow/snakefile")
DEFAULTS = ("default", "profiles/default")  # a folder `default` in the working folder counts before `profiles/default`


@dataclass(frozen=True)
class Lookup:
    """What `--profile NAME` means in the working folder.

    used: the file Snakemake reads, None if it finds none. shadowed: other files of that name, which it does not read.
    places: where it looks, in order. blocked: something in the working folder that bears the name and is no profile.
    """

    used: Path | None
    shadowed: tuple[Path, ...]
    places: tuple[Path, ...]
    blocked: Path | None = None


@dataclass(frozen=True)
class RunProfile:
    """What Snakemake is told by a profile and the default profile together.

    keys: those of both, the default's win. changed: keys to which the default gives another value than the profile.
    """

    file: Path
    keys: Mapping[str, Any] = field(default_factory=dict)
    default: Path | None = None
    changed: tuple[str, ...] = ()

    @property
    def is_slurm(self) -> bool:
        """Whether jobs go to SLURM."""
        return self.keys.get("executor") == "slurm"

    @property
    def default_resources(self) -> dict[str, Any]:
        """Resource -> value for rules that ask for none."""
        return _pairs(self.keys.get("default-resources"))

    def set_resources(self, rule: str) -> dict[str, Any]:
        """Resource -> value that wins over what the rule asks for."""
        return _of_rule(self.keys.get("set-resources"), rule)

    def threads(self, rule: str, asked: int) -> int:
        """Threads of a rule that asks for `asked`."""
        return int(_pairs(self.keys.get("set-threads")).get(rule, asked))


def user_profiles() -> Path:
    """The folder of the user's own profiles, such as `~/.config/snakemake`."""
    from snakemake.common import get_appdirs  # type: ignore[import-untyped]

    return Path(get_appdirs().user_config_dir)


def find_profile(name: str) -> Lookup:
    """What a name or path stands for in the working folder."""
    from snakemake.common import get_appdirs

    here = Path.cwd()
    places = (here, user_profiles(), Path(get_appdirs().site_config_dir))
    used = profile_file(name)
    candidates = [found for place in places if (found := profile_file(str(place / name)))]
    shadowed = [path for path in candidates if used and not path.samefile(used)]
    stuck = here / name if used is None and (here / name).exists() else None
    return Lookup(used, tuple(dict.fromkeys(shadowed)), places, stuck)


def profile_file(name: str) -> Path | None:
    """The file that Snakemake reads for a name or path; None if it finds none."""
    from snakemake.cli import get_profile_dir  # type: ignore[import-untyped]

    found = get_profile_dir(name)
    return Path(found[1]).absolute() if found else None


def read_run_profile(file: Path) -> RunProfile:
    """A profile with the default profile that Snakemake merges in when it starts in the working folder.

    Raises:
        ValueError: One of the two is no YAML mapping.
    """
    own = read_keys(file)
    default = _default_profile()
    over = read_keys(default) if default and not default.samefile(file) else {}
    changed = tuple(key for key, value in over.items() if key in own and own[key] != value)
    return RunProfile(file, {**own, **over}, default, changed)


def read_keys(file: Path) -> dict[str, Any]:
    """What one profile says.

    Raises:
        ValueError: It is no YAML mapping.
    """
    try:
        keys = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeError) as error:
        raise ValueError(f"{file} is not YAML: {error}") from error
    if not isinstance(keys, dict):
        raise ValueError(f"{file} holds a {type(keys).__name__}; keys of Snakemake such as `jobs: 100` are allowed")
    return keys


def snakefile_here() -> Path | None:
    """The Snakefile that Snakemake takes in the working folder if none is named."""
    return next((path for name in SNAKEFILES if (path := Path.cwd() / name).is_file()), None)


def _default_profile() -> Path | None:
    """Looked for only where the working folder has a Snakefile: that of the profile is not known yet at that time."""
    snakefile = snakefile_here()
    if snakefile is None:
        return None
    places = [*(Path.cwd() / name for name in DEFAULTS), snakefile.parent / DEFAULTS[-1]]
    first = next((place for place in places if place.exists()), None)
    return profile_file(str(first)) if first else None


def _pairs(given: object) -> dict[str, Any]:
    """Of a mapping, or of a list such as [mem_mb=2000], which Snakemake takes too."""
    if isinstance(given, Mapping):
        return dict(given)
    words = [str(word).partition("=") for word in given] if isinstance(given, Sequence) else []
    return {key: _number(value) for key, _, value in words}


def _of_rule(given: object, rule: str) -> dict[str, Any]:
    """Of a mapping rule -> resources, or of a list such as [segment:mem_mb=2000]."""
    if isinstance(given, Mapping):
        return _pairs(given.get(rule))
    words = [str(word).partition(":") for word in given] if isinstance(given, Sequence) else []
    return _pairs([pair for name, _, pair in words if name == rule])


def _number(text: str) -> int | str:
    return int(text) if text.lstrip("-").isdecimal() else text
