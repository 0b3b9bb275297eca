"""The end of a training: weights in both layouts, size model where objects are found, model card."""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from torch import Tensor

from pipeline_lib import __version__
from pipeline_lib.io.checksums import checksum, write_sum
from pipeline_lib.io.commit import committed
from pipeline_lib.io.size_models import save_size_model
from pipeline_lib.io.weights import save_official, save_safetensors
from pipeline_lib.nets.flownet import build
from pipeline_lib.settings import LearningSettings, RestorationTrainSettings, TrainingSet, TrainSettings
from pipeline_lib.stages._bar import bar
from pipeline_lib.stages.train.files import ModelFiles
from pipeline_lib.tiling.predict import pick_device
from pipeline_lib.training.examples import TrainingImages, draw_shares
from pipeline_lib.training.sizes import fit_size_model, usual_draws

log = logging.getLogger("wellpose")


def finish(
    state: Mapping[str, Tensor],
    told: Mapping[str, Any],
    *,
    sets: Sequence[TrainingImages],
    settings: LearningSettings,
    files: ModelFiles,
) -> None:
    """Write everything a user of the weights needs. told: the last row of scores, with the number of steps."""
    metadata = {"name": files.name, "data": _data(settings), "recipe": _recipe(settings, told["step"])}
    save_safetensors(state, files.weights, metadata)
    write_sum(files.weights, checksum(files.weights))
    save_official(state, files.official)
    if isinstance(settings, TrainSettings) and (draws := _size_draws(settings, sets)):
        net = build(state).to(pick_device(settings.device))
        with bar("size model", draws) as shown:
            sizes = fit_size_model(net, sets, draws, settings.seed, shown.update)
        save_size_model(sizes, files.sizes, metadata)
        write_sum(files.sizes, checksum(files.sizes))
    with committed(files.card) as temporary:
        temporary.write_text("\n".join(_card(state, sets, told, settings, files)) + "\n", encoding="utf-8")
    log.info("train: %s is ready: %s", files.name, files.weights)


def _size_draws(settings: TrainSettings, sets: Sequence[TrainingImages]) -> int:
    """How many crops the size model is fitted to; 0 without any object."""
    if all(math.isnan(example.diameter) for one in sets for example in one.examples):
        return 0
    return usual_draws(sets) if settings.size_draws is None else settings.size_draws


def _data(settings: LearningSettings) -> str:
    return "; ".join(f"{one.name}{f' ({one.licence})' if one.licence else ''}" for one in settings.sets)


def _recipe(settings: LearningSettings, steps: int) -> str:
    counts = Counter(Path(name).stem for name in settings.starts)
    names = [f"{count} x {name}" if count > 1 else name for name, count in counts.items()]
    start = f"the mean of {', '.join(names)}" if len(names) > 1 else "".join(counts) or "chance"
    if not steps:
        return f"{start}, as it is"
    return (
        f"from {start}, {steps:,} steps of {settings.batch_size} crops of {settings.crop} x "
        f"{settings.crop}, AdamW {settings.learning_rate:g} with schedule {settings.schedule}, weight averaging "
        f"{settings.average:g}"
    )


def _card(
    state: Mapping[str, Tensor],
    sets: Sequence[TrainingImages],
    told: Mapping[str, Any],
    settings: LearningSettings,
    files: ModelFiles,
) -> Iterator[str]:
    """The lines of the model card, in Markdown."""
    yield f"# {files.name}\n\n{_what(settings)}, trained by Wellpose {__version__}:"
    yield f"{_recipe(settings, told['step'])}."
    yield f"It works at objects of {float(state['diam_mean']):.0f} pixels; those it learnt from measured "
    yield f"{float(state['diam_labels']):.1f} on average.\n\n## Data\n"
    yield "| set | images | share of draws | licence and source |\n|---|---|---|---|"
    shares, described = draw_shares(sets), {one.name: one for one in settings.sets}
    for one in sets:
        yield f"| {one.name} | {len(one.examples)} | {shares[one.name]:.0%} | {_licence(described[one.name])} |"
    yield "\n## Validation, true diameter given\n\n| figure | value |\n|---|---|"
    yield from (f"| {name} | {value} |" for name, value in told.items() if name != "step")
    yield "\n## Files\n\n| file | SHA-256 |\n|---|---|"
    present = [path for path in (files.weights, files.official, files.sizes) if path.is_file()]
    yield from (f"| `{path.name}` | `{checksum(path)}` |" for path in present)
    yield f"\n## Settings\n\n```yaml\n{yaml.safe_dump({settings.section: settings.identity()}, sort_keys=False)}```"


def _what(settings: LearningSettings) -> str:
    if not isinstance(settings, RestorationTrainSettings):
        return "A Cellpose 3 network"
    return f"A Cellpose 3 restoration network ({settings.kind}, losses {settings.losses}, for {settings.frozen})"


def _licence(one: TrainingSet) -> str:
    return one.licence or ("drawn by this software" if one.format == "synthetic" else "not told")
