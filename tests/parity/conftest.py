"""What every parity test needs: the peer, run as a black box, and weights for both."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="session")
def peer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModuleType]:
    """The package cellpose 3.1.1.2, without any model of its own. Missing in CI, it is a failure."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CELLPOSE_LOCAL_MODELS_PATH", str(tmp_path_factory.mktemp("models")))
        try:
            import cellpose.core
            import cellpose.dynamics
            import cellpose.metrics
            import cellpose.models
            import cellpose.resnet_torch
            import cellpose.transforms
            import cellpose.utils
        except ImportError:
            if os.environ.get("CI"):
                raise
            pytest.skip("cellpose is not installed: pip install --no-deps cellpose==3.1.1.2")
        yield cellpose


@pytest.fixture(scope="session")
def starter(shared: Path) -> Path:
    """A trained network for nuclei, in the official layout."""
    return shared / "weights" / "starter_nuclei.pth"
