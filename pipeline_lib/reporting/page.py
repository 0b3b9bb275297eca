"""What every self-contained HTML page needs: resources, safe JSON, and the digests its security policy names."""

from __future__ import annotations

import base64
import hashlib
import json
import math
from collections.abc import Mapping
from importlib.resources import files


def plain(value: object) -> object:
    """Return a value as JSON types; NaN becomes None, unknown types their text."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item) for item in value]
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, (bool, int, float)) or value is None else str(value)


def json_for_html(payload: object) -> str:
    r"""Return JSON that no HTML parser takes for markup: every `<` is spelled `\u003c`."""
    return json.dumps(payload, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")


def digest(script: str) -> str:
    """Return the content security policy's source expression that admits exactly this inline script."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


def normal_newlines(source: str) -> str:
    """Return a script as browsers see it (and hash it): HTML parsing turns CR LF and CR into LF."""
    return source.replace("\r\n", "\n").replace("\r", "\n")


def resource(name: str) -> str:
    """The text of a file of this package."""
    return files(__package__).joinpath(name).read_text(encoding="utf-8")
