"""The size model of a network: from the style of an image to the diameter of its objects.

Ridge regression of the log diameter (Stringer et al., Nature Methods 18, 100-106, 2021). Its penalty is found by cross
validation over images: a style has length 1, and the penalty of 1 that Cellpose takes hides most of what it tells.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from pipeline_lib.core.sizes import SizeModel
from pipeline_lib.nets.flownet import FlowNet, style_of
from pipeline_lib.training.crops import cut_out, place
from pipeline_lib.training.examples import Example, TrainingImages, draw_shares

LARGEST_CROP = 512  # px
SMALLEST_CROP = 64
STEP = 16  # crops measure multiples of it
PENALTIES = (1.0, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)  # tried from heavy to light
FOLDS = 10  # groups of images that are left out in turn
DRAWS_PER_IMAGE, MOST_DRAWS = 40, 2000


def usual_draws(sets: Sequence[TrainingImages]) -> int:
    """How many crops a size model is fitted to unless somebody says otherwise."""
    return min(MOST_DRAWS, DRAWS_PER_IMAGE * sum(len(one.examples) for one in sets))


def fit_size_model(
    net: FlowNet, sets: Sequence[TrainingImages], draws: int, seed: int, drawn: Callable[[], object] = lambda: None
) -> SizeModel:
    """Look at `draws` random crops of the training images, at 0.5 to 1.5 times their size, and fit diameter to style.

    The network sees them as it does when nothing is known of an image: as if its objects had the diameter of the
    training objects. drawn: called after each crop. The same seed gives the same model.
    """
    rng = np.random.default_rng([seed, draws])
    first = float(net.diam_mean / net.diam_labels)
    shares = draw_shares(sets)
    examples = [(e, shares[s.name] / len(s.examples)) for s in sets for e in s.examples if not math.isnan(e.diameter)]
    odds = np.array([share for _, share in examples])
    chosen = rng.choice(len(examples), draws, p=odds / odds.sum())
    styles, diameters = np.empty((draws, 256)), np.empty(draws)
    for row, index in enumerate(chosen):
        example, scale = examples[index][0], rng.uniform(0.5, 1.5)
        styles[row] = _style(net, example, first * scale, rng)
        diameters[row] = example.diameter * scale
        drawn()
    diam_mean = float(net.diam_mean)
    return ridge(styles, diameters, diam_mean, best_penalty(styles, diameters, chosen, rng))


def ridge(styles: NDArray[np.float64], diameters: NDArray[np.float64], diam_mean: float, penalty: float) -> SizeModel:
    """Fit ln(diameter / diam_mean) to the styles (n, 256), both centred."""
    wanted = np.log(diameters / diam_mean)
    smean, ymean = styles.mean(axis=0), float(wanted.mean())
    centred = styles - smean
    slope = np.linalg.solve(centred.T @ centred + penalty * np.eye(styles.shape[1]), centred.T @ (wanted - ymean))
    return SizeModel(A=slope, smean=smean, diam_mean=diam_mean, ymean=ymean)


def best_penalty(
    styles: NDArray[np.float64], diameters: NDArray[np.float64], images: NDArray[np.integer], rng: np.random.Generator
) -> float:
    """The heaviest penalty whose error on images left out is within one standard error of the least error.

    styles (n, 256), diameters (n,), images (n,): the number of the image each comes from. One image has the heaviest.
    Source: the one-standard-error rule; Hastie, Tibshirani, Friedman, The Elements of Statistical Learning, 7.10.
    """
    names, image = np.unique(images, return_inverse=True)
    folds = min(FOLDS, len(names))
    if folds < 2:
        return PENALTIES[0]
    left_out = rng.permutation(len(names))[image] % folds
    errors = np.array(
        [[_error(styles, diameters, left_out == fold, penalty) for fold in range(folds)] for penalty in PENALTIES]
    )
    means = errors.mean(axis=1)
    least = means.argmin()
    bound = means[least] + errors[least].std(ddof=1) / math.sqrt(folds)
    return PENALTIES[int(np.argmax(means <= bound))]


def _error(
    styles: NDArray[np.float64], diameters: NDArray[np.float64], left_out: NDArray[np.bool_], penalty: float
) -> float:
    """The mean squared error of the log diameter, on the samples left out, of a model fitted to the others."""
    model = ridge(styles[~left_out], diameters[~left_out], 1.0, penalty)
    told = (styles[left_out] - model.smean) @ model.A + model.ymean
    return float(np.mean((told - np.log(diameters[left_out])) ** 2))


@torch.no_grad()
def _style(net: nn.Module, example: Example, scale: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """The style (256,) of a random crop, as large as the image allows."""
    side = STEP * round(min(example.inside.shape) * scale / STEP)
    size = min(LARGEST_CROP, max(SMALLEST_CROP, side))
    images = cut_out([example], [place(tuple(example.inside.shape), size, scale, rng)], size).images
    assert isinstance(net, FlowNet)
    return style_of(net.encode(images)[-1])[0].double().cpu().numpy()
