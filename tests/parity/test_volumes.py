"""Flows and objects of volumes, and stitched planes, against cellpose 3.1.1.2, run as a black box on the CPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from pipeline_lib.core.labels import renumber
from pipeline_lib.flows.masks import MaskSettings
from pipeline_lib.flows.stitch import stitch_planes
from pipeline_lib.flows.volume import clean, end_voxels, masks_from_volume_flow
from pipeline_lib.io.weights import load_weights
from pipeline_lib.metrics import average_precision
from pipeline_lib.nets.flownet import FlowNet
from pipeline_lib.segmentation import Network, prepare_network
from pipeline_lib.tiling.placing import RunSettings
from pipeline_lib.volumes import VolumeSettings, segment_volume, volume_flows

pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("ignore")]  # the peer's warnings are not ours


@pytest.fixture(scope="module", params=["random", "starter"])
def weights(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    if request.param == "starter":
        return Path(request.getfixturevalue("shared")) / "weights" / "starter_nuclei.pth"
    torch.manual_seed(1)
    path = tmp_path_factory.mktemp("weights") / "random.pth"
    torch.save(FlowNet().state_dict(), path)
    return path


def network_of(weights: Path) -> Network:
    return prepare_network(load_weights(weights).state, RunSettings("cpu", "float32"))


def peer_flows(peer: Any, weights: Path, volume: np.ndarray, **how: float) -> tuple[np.ndarray, ...]:
    """The peer's flow, five times a pixel per step, and logit of a scaled (Z, Y, X) volume."""
    model = peer.models.CellposeModel(gpu=False, pretrained_model=str(weights))
    given = {"channels": [0, 0], "normalize": False, "z_axis": 0, "do_3D": True, "compute_masks": False}
    _, (_, flow, logit, *_), _ = model.eval(volume, **given, **how)
    return flow, logit


def touching_balls(seed: int, shape: tuple[int, int, int] = (28, 44, 48), apart: float = 1.3) -> tuple[np.ndarray, ...]:
    """Balls cut straight where they meet, and what a fair network says about them from three sides."""
    reach = 8
    rng = np.random.default_rng(seed)
    middles: list[np.ndarray] = []
    for point in rng.uniform(2, np.array(shape) - 3, size=(80, 3)):
        if all(np.linalg.norm(point - other) >= apart * reach for other in middles):
            middles.append(point)
    offsets = np.array(middles)[:, :, None, None, None] - np.indices(shape)
    distance = np.linalg.norm(offsets, axis=1)
    nearest, inside = distance.argmin(axis=0), distance.min(axis=0) <= reach
    towards = inside * np.take_along_axis(offsets, nearest[None, None], axis=0)[0]
    flow = 0.2 * rng.normal(size=towards.shape)
    for plane in ([1, 2], [0, 2], [0, 1]):
        flow[plane] += towards[plane] / (np.linalg.norm(towards[plane], axis=0) + 1)
    labels = renumber(np.where(inside, nearest + 1, 0))
    return labels, flow.astype(np.float32), np.where(inside, 5, -5).astype(np.float32)


@pytest.mark.parametrize(("rescale", "anisotropy", "tolerance"), [(1.0, 1.0, 2e-5), (1.0, 1.5, 2e-5), (1.3, 1.7, 5e-5)])
def test_flows_of_a_volume(peer: Any, weights: Path, rescale: float, anisotropy: float, tolerance: float) -> None:
    """Where the peer resizes several channels at once, OpenCV rounds their coordinates."""
    network, volume = network_of(weights), np.random.default_rng(0).random((6, 20, 25), np.float32)
    diameter = network.diam_mean / rescale
    wanted_flow, wanted_logit = peer_flows(peer, weights, volume, diameter=diameter, anisotropy=anisotropy)
    flow, logit = volume_flows(network, volume[None], diameter, anisotropy)
    np.testing.assert_allclose(5 * flow, wanted_flow, rtol=0, atol=tolerance)
    np.testing.assert_allclose(logit, wanted_logit, rtol=0, atol=tolerance)
    assert wanted_flow.std() > 1e-3


def test_objects_of_a_volume_from_array_to_array(peer: Any, shared: Path) -> None:
    weights = shared / "weights" / "starter_nuclei.pth"
    truth = touching_balls(0, (20, 30, 40), apart=2.2)[0]
    volume = gaussian_filter((truth > 0).astype(np.float32), 1)
    model = peer.models.CellposeModel(gpu=False, pretrained_model=str(weights))
    given = {"channels": [0, 0], "normalize": False, "z_axis": 0, "do_3D": True}
    wanted, *_ = model.eval(volume, diameter=17.0, flow3D_smooth=1.0, **given)
    found = segment_volume(network_of(weights), volume[None], 17.0, MaskSettings(), VolumeSettings(smoothing=1.0))
    assert found.max() == wanted.max() == truth.max() > 1
    assert average_precision(renumber(wanted), found, (0.9,)) == [1.0]


@pytest.mark.parametrize("seed", range(3))
def test_objects_from_flows(peer: Any, seed: int) -> None:
    """The peer samples up to half a voxel beside the point, so paths differ but objects do not."""
    labels, flow, logit = touching_balls(seed)
    wanted = peer.dynamics.resize_and_compute_masks(
        5 * flow, logit, niter=200, do_3D=True, min_size=15, device=torch.device("cpu")
    )
    wanted = renumber(wanted[0] if isinstance(wanted, tuple) else wanted)
    found = masks_from_volume_flow(flow, logit, MaskSettings())
    assert found.max() == wanted.max() == labels.max() > 10
    assert average_precision(wanted, found, (0.75,))[0] >= 0.95


def test_points_are_sampled_where_they_are(peer: Any) -> None:
    """One step of one voxel takes the first plane to the second; in the peer the flow fades by half at the faces."""
    inside = np.ones((12, 9, 9), bool)
    flow = np.zeros((3, *inside.shape), np.float32)
    flow[0] = 1
    found = peer.dynamics.follow_flows(flow, np.nonzero(inside), niter=1, device=torch.device("cpu"))
    theirs = np.asarray(found[0] if isinstance(found, tuple) else found)
    middle = 9 * 9 // 2  # of the first plane
    assert theirs[0, middle] == pytest.approx(0.5, abs=1e-5)
    assert end_voxels(flow, inside, steps=1)[middle] == 9 * 9 + middle


@pytest.mark.parametrize("seed", range(3))
def test_holes_and_small_objects(peer: Any, seed: int) -> None:
    """Whole balls, since the peer takes dents in one edge of the bounding box for holes, and a ball is not there."""
    labels = np.zeros((14, 20, 46), np.uint32)
    for number, radius in enumerate((6, 4, 5), start=1):
        distance = np.linalg.norm(np.indices(labels.shape).T - (7, 10, 15 * number - 7), axis=-1).T
        labels[distance <= radius] = number
    labels *= np.random.default_rng(seed).random(labels.shape) > 0.2
    settings = MaskSettings(min_size=300)
    wanted = peer.utils.fill_holes_and_remove_small_masks(labels.astype(np.int32), min_size=300)
    found = clean(labels, settings)
    assert found.max() == 2
    assert np.count_nonzero(found) > 1.05 * np.count_nonzero(labels % 2)  # both large balls had holes
    np.testing.assert_array_equal(found, renumber(wanted))


@pytest.mark.parametrize("threshold", [0.1, 0.25, 1 / 3, 0.5])
def test_stitched_planes(peer: Any, threshold: float) -> None:
    for seed in range(40):
        rng = np.random.default_rng(seed)
        shape = 6, *rng.integers(3, 9, size=2)
        labels = np.stack([renumber(plane) for plane in rng.integers(0, rng.integers(2, 7), shape)]).astype(np.int32)
        if seed % 3 == 0:
            labels[rng.integers(2, 5)] = 0
        wanted = peer.utils.stitch3D(labels.copy(), threshold)
        np.testing.assert_array_equal(stitch_planes(labels, threshold), renumber(np.asarray(wanted)))


def test_stitching_differs_on_purpose(peer: Any) -> None:
    """After an empty second plane the peer counts from 1 again: objects far apart get one number."""
    plane = np.array([[1, 1, 2, 2]], np.int32)
    labels = np.stack([plane, 0 * plane, plane])
    assert np.asarray(peer.utils.stitch3D(labels.copy(), 0.25))[2].tolist() == [[1, 1, 2, 2]]
    assert stitch_planes(labels, 0.25)[2].tolist() == [[3, 3, 4, 4]]
