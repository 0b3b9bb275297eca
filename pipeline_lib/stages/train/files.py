"""The files of one training, each written whole or not at all."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline_lib.io.checkpoints import load_checkpoint, save_checkpoint
from pipeline_lib.io.commit import committed
from pipeline_lib.reporting.curves import beside, draw_curves
from pipeline_lib.settings import LearningSettings

SHOWN = " AP@0.5"  # ending of the scores that the curve shows


@dataclass(frozen=True)
class ModelFiles:
    """A folder that holds the weights of its own name and all that belongs to them."""

    folder: Path

    @property
    def name(self) -> str:
        return self.folder.resolve().name

    @property
    def weights(self) -> Path:
        return self.folder / f"{self.name}.safetensors"

    @property
    def official(self) -> Path:
        """The same weights as Cellpose 1-3 loads them."""
        return self.folder / f"{self.name}.pth"

    @property
    def sizes(self) -> Path:
        return self.folder / f"size_{self.name}.safetensors"

    @property
    def card(self) -> Path:
        return self.folder / f"{self.name}.md"

    def checkpoint(self, settings: LearningSettings) -> dict[str, Any] | None:
        """Where an earlier run of this training stopped; None at the beginning. Raises ValueError for another one."""
        path = self.folder / "checkpoint.pt"
        if not path.is_file():
            return None
        found = load_checkpoint(path)
        before, wanted = type(settings).model_validate(found["settings"]).identity(), settings.identity()
        if before != wanted:
            differing = sorted(key for key in wanted if before[key] != wanted[key])
            raise ValueError(
                f"{self.folder} holds a training with other settings ({', '.join(differing)}); "
                f"choose another --out, or remove {path} to begin anew"
            )
        return found

    def keep(self, state: Mapping[str, Any], settings: LearningSettings) -> None:
        """Write the checkpoint."""
        save_checkpoint({**state, "settings": settings.identity()}, self.folder / "checkpoint.pt")

    def write_tables(self, losses: Sequence[Mapping[str, Any]], scores: Sequence[Mapping[str, Any]]) -> None:
        """Write `losses.csv` and `validation.csv`."""
        for name, rows in (("losses.csv", losses), ("validation.csv", scores)):
            if rows:
                with committed(self.folder / name) as temporary, temporary.open("w", newline="") as stream:
                    writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
                    writer.writeheader()
                    writer.writerows(rows)

    def draw_curve(self, losses: Sequence[Mapping[str, Any]], scores: Sequence[Mapping[str, Any]]) -> None:
        """Write `curve.png`: the loss, and below it the validation scores, over the steps; none without steps."""
        if not losses:
            return
        steps = [row["step"] for row in losses]
        series = {"loss": (steps, [row["loss"] for row in losses])}
        pictures = [draw_curves(series, self.name, "step", "training loss", log_y=True)]
        names = [key for key in scores[0] if key.endswith(SHOWN)] if scores else []
        if names:
            tried = [row["step"] for row in scores]
            curves = {name.removesuffix(SHOWN): (tried, [row[name] for row in scores]) for name in names}
            pictures.append(draw_curves(curves, "Validation", "step", SHOWN.strip(), y_range=(0.0, 1.0)))
        with committed(self.folder / "curve.png") as temporary:
            beside(pictures, columns=1).save(temporary, format="PNG")
