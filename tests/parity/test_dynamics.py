"""Flows, labels and scores against cellpose 3.1.1.2, run as a black box on the CPU."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from pipeline_lib.core.labels import renumber
from pipeline_lib.flows.masks import MaskSettings, masks_from_flow
from pipeline_lib.flows.targets import flows_from_labels
from pipeline_lib.metrics import average_precision, match

CPU = torch.device("cpu")

pytestmark = [
    pytest.mark.parity,
    # The peer warns about numpy and torch of today and about empty label images.
    pytest.mark.filterwarnings("ignore"),
]


def touching_cells(seed: int, reach: float = 14, shape: tuple[int, int] = (230, 250)) -> np.ndarray:
    """Round cells cut straight where they meet."""
    rng = np.random.default_rng(seed)
    middles = rng.uniform(0, shape, size=(45, 2))
    yy, xx = np.indices(shape)
    distance = np.stack([np.hypot(yy - y, (xx - x) * rng.uniform(0.7, 1.3)) for y, x in middles])
    return renumber(np.where(distance.min(axis=0) <= reach, distance.argmin(axis=0) + 1, 0))


def noisy_output(labels: np.ndarray, noise: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Imitate a fair network: flows and logits with smooth errors, larger in every third cell."""
    rng = np.random.default_rng(seed)
    error = gaussian_filter(rng.normal(size=(3, *labels.shape)), (0, 2, 2)) * 7
    flow = flows_from_labels(labels) + error[:2] * np.where(labels % 3 == 0, 2 * noise, noise)
    logit = np.where(labels > 0, 4, -4) + 1.5 * error[2]
    return flow.astype(np.float32), logit.astype(np.float32)


def agreement(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Fraction of pixels that belong to the same object in both images, whatever its number."""
    numbers = np.zeros(int(theirs.max()) + 1, dtype=np.int64)
    numbers[theirs[ours > 0]] = ours[ours > 0]
    return float(np.mean(np.where(theirs > 0, numbers[theirs], 0) == ours))


def assert_same_flow(labels: np.ndarray, theirs: np.ndarray) -> None:
    """Compare flows; at the middle of a symmetric object the heat is level and the peer scales rounding to length 1."""
    ours = flows_from_labels(labels)
    differs = np.abs(ours - theirs).max(axis=0) > 1e-6
    assert not ours[:, differs].any()
    assert np.count_nonzero(differs) <= 0.05 * np.unique(labels).size


@pytest.mark.parametrize("seed", range(4))
def test_flows_from_labels(peer, seed):
    labels = touching_cells(seed)
    assert_same_flow(labels, peer.dynamics.masks_to_flows(labels.astype(np.int32), device=CPU))


def test_flows_from_ragged_labels_in_many_parts(peer):
    rng = np.random.default_rng(5)
    labels = np.kron(rng.integers(0, 30, size=(20, 20)), np.ones((6, 6), dtype=int)) * (rng.random((120, 120)) > 0.1)
    assert_same_flow(labels, peer.dynamics.masks_to_flows(labels.astype(np.int32), device=CPU))


# Settings under which the peer's small-mask removal meets no gap in the numbers: no check, or no removal.
@pytest.mark.parametrize(
    "settings",
    [
        MaskSettings(flow_threshold=None),
        MaskSettings(flow_threshold=None, min_size=200, cellprob_threshold=1.5),
        MaskSettings(min_size=0),
        MaskSettings(min_size=0, flow_threshold=0.2, niter=77),
        MaskSettings(flow_threshold=None, max_size_fraction=0.008, niter=500),
    ],
    ids=str,
)
@pytest.mark.parametrize("noise", [0.0, 0.25])
def test_labels_from_flows(peer, settings, noise):
    for seed in range(3):
        flow, logit = noisy_output(touching_cells(seed), noise, seed)
        theirs = peer.dynamics.resize_and_compute_masks(
            flow * 5,
            logit,
            niter=settings.niter or 200,
            cellprob_threshold=settings.cellprob_threshold,
            flow_threshold=settings.flow_threshold,
            min_size=settings.min_size or -1,
            max_size_fraction=settings.max_size_fraction,
            device=CPU,
        )
        theirs = theirs[0] if isinstance(theirs, tuple) else theirs
        ours = masks_from_flow(flow, logit, settings)
        assert ours.max() == len(np.unique(theirs[theirs > 0])) > 5
        assert agreement(ours, theirs) > 0.999


def test_flow_check_drops_some_and_keeps_some():
    """The parity above means something only if its noise makes objects fail the check."""
    flow, logit = noisy_output(touching_cells(0), 0.25)
    counts = [masks_from_flow(flow, logit, MaskSettings(min_size=0, flow_threshold=t)).max() for t in (None, 0.4, 0.2)]
    assert counts[0] > counts[1] > counts[2] > 0


def test_where_we_differ_on_purpose(peer):
    """After the check left a gap in the numbers, the peer takes the number 4 for the small object, which is 5."""
    yy, xx = np.indices((40, 100))
    labels = np.zeros(yy.shape, dtype=np.uint32)
    for i, radius in enumerate([9, 9, 9, 9, 2.2]):
        labels[np.hypot(yy - 20, xx - 10 - 20 * i) <= radius] = i + 1
    flow = np.where(labels == 2, 0.1, 1).astype(np.float32) * flows_from_labels(labels)  # too short for the check
    logit = np.where(labels > 0, 4, -4).astype(np.float32)
    theirs = peer.dynamics.compute_masks(flow * 5, logit, niter=2000, flow_threshold=0.4, min_size=20, device=CPU)
    theirs = theirs[0] if isinstance(theirs, tuple) else theirs
    ours = masks_from_flow(flow, logit, MaskSettings(min_size=20, niter=2000))
    assert np.array_equal(ours > 0, np.isin(labels, [1, 3, 4]))
    assert np.array_equal(theirs > 0, np.isin(labels, [1, 3]))


def test_labels_of_a_real_field(peer, shared: Path):
    masks = sorted((shared / "data" / "dsb2018" / "val").glob("*_masks.png"))
    from skimage.io import imread

    labels = renumber(max((imread(path) for path in masks[:20]), key=np.max).astype(np.int32))
    theirs = peer.dynamics.masks_to_flows(labels.astype(np.int32), device=CPU)
    assert_same_flow(labels, theirs)

    flow, logit = noisy_output(labels, 0.3)
    theirs = peer.dynamics.compute_masks(flow * 5, logit, niter=200, flow_threshold=None, min_size=15, device=CPU)
    theirs = theirs[0] if isinstance(theirs, tuple) else theirs
    ours = masks_from_flow(flow, logit, MaskSettings(flow_threshold=None))
    assert ours.max() == len(np.unique(theirs[theirs > 0])) > 100
    assert agreement(ours, theirs) > 0.999


@pytest.mark.parametrize("seed", range(3))
def test_average_precision(peer, seed):
    truth = touching_cells(seed)
    prediction = masks_from_flow(*noisy_output(truth, 0.5, seed), MaskSettings(flow_threshold=None))
    thresholds = np.arange(0.3, 1.0, 0.05).tolist()
    ap, tp, fp, fn = peer.metrics.average_precision(truth, prediction, threshold=thresholds)
    assert average_precision(truth, prediction, thresholds) == pytest.approx(ap, abs=1e-6)
    assert len(set(ap.tolist())) > 5
    assert [match(truth, prediction, t) for t in thresholds] == list(zip(tp, fp, fn, strict=True))
