"""Checkpoints of a training: all that is needed to go on after a kill."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline_lib.io.commit import committed


def save_checkpoint(state: Mapping[str, Any], path: Path) -> None:
    """Write tensors, numbers, texts, lists and dicts in one rename: a full disk leaves the one before."""
    import torch

    with committed(path) as temporary:
        torch.save(dict(state), temporary)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint; nothing in it is executed. Raises ValueError: damaged, or no checkpoint."""
    import torch

    if not zipfile.is_zipfile(path):  # which torch's files are, when they are whole
        raise ValueError(f"{path}: not a whole checkpoint; remove it to begin anew")
    try:
        return dict(torch.load(path, map_location="cpu", weights_only=True))
    except (RuntimeError, pickle.UnpicklingError, EOFError, ValueError, TypeError) as error:
        raise ValueError(f"{path}: not a whole checkpoint ({error}); remove it to begin anew") from error
