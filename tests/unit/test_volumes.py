"""Volumes to labels with a hand-made network whose answer is known: balls of light point to their centres."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pipeline_lib.core.labels import areas
from pipeline_lib.flows.masks import MaskSettings
from pipeline_lib.nets.flownet import FlowNet
from pipeline_lib.segmentation import Network, flows_of_fields, prepare_network, segment_fields
from pipeline_lib.tiling.placing import RunSettings
from pipeline_lib.tiling.predict import PredictSettings
from pipeline_lib.volumes import VolumeSettings, segment_planes, segment_volume, volume_flows

MASKS = MaskSettings(flow_threshold=None)
PLAIN = VolumeSettings()


class UphillNet(nn.Module):
    """Flow climbs to where both channels are brightest and fades there over `fade`; above 0.1 is inside."""

    def __init__(self, fade: float = 0.03) -> None:
        super().__init__()
        self.fade = fade
        self.seen: list[tuple[int, ...]] = []

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        self.seen.append(tuple(x.shape))
        light = x.sum(dim=1)
        slope = torch.stack(torch.gradient(light, dim=(1, 2)), dim=1)
        flow = 5 * slope / (slope.norm(dim=1, keepdim=True) + self.fade)
        return torch.cat([flow, light[:, None] - 0.1], dim=1), torch.zeros(len(x), 256)


def network_of(net: nn.Module, diameter: float = 16.0) -> Network:
    return Network(net, diameter, diameter, 2, PredictSettings(8, torch.device("cpu"), torch.float32))  # type: ignore[arg-type]


def balls(diameter: float, shape: tuple[int, int, int] = (24, 48, 72), spacing: int = 24) -> np.ndarray:
    """A (1, Z, Y, X) volume of balls of light on a grid, 1 in the middle and 0 from half a diameter on."""
    from_centre = np.meshgrid(*((np.arange(length) % spacing) - spacing / 2 for length in shape), indexing="ij")
    squared = sum(offset**2 for offset in from_centre) / (diameter / 2) ** 2
    return np.clip(1 - squared, 0, None)[None].astype(np.float32)


@pytest.fixture(scope="module")
def random_network() -> Network:
    torch.manual_seed(0)
    return prepare_network(FlowNet().state_dict(), RunSettings(device="cpu", precision="float32"))


@pytest.mark.parametrize("diameter", [12.0, 16.0, 22.0])
def test_every_ball_becomes_one_object_of_its_size(diameter: float) -> None:
    volume = balls(diameter)
    labels = segment_volume(network_of(UphillNet()), volume, diameter, MASKS, PLAIN)
    assert labels.shape == volume.shape[1:]
    assert labels.dtype == np.uint32
    assert labels.max() == 6
    inside = np.count_nonzero(volume > 0.1) / 6
    np.testing.assert_allclose(areas(labels), inside, rtol=0.1)


def test_flattened_balls_are_round_to_the_network() -> None:
    volume = balls(22.0)[:, 1::3]
    net = UphillNet()
    labels = segment_volume(network_of(net), volume, 22.0, MASKS, VolumeSettings(anisotropy=3.0))
    assert labels.max() == 6
    # 8 planes of 48 x 72 become 17 of 34 x 52; 16 pixels or more are added around each plane.
    seen = {shape[2:]: sum(one[0] for one in net.seen if one[2:] == shape[2:]) for shape in net.seen}
    assert seen == {(64, 80): 17, (48, 80): 34, (48, 64): 52}


def test_flow_is_the_sum_of_two_sides_and_the_logit_of_three(random_network: Network) -> None:
    volume = np.random.default_rng(0).random((2, 3, 10, 6), np.float32)
    flow, logit = np.zeros((3, 3, 10, 6)), np.zeros((3, 10, 6))
    for axis, in_plane in ((0, [1, 2]), (1, [0, 2]), (2, [0, 1])):
        planes = list(np.moveaxis(volume, 1 + axis, 0))
        found = flows_of_fields(random_network, planes, random_network.diam_mean)
        flow[in_plane] += np.stack([np.moveaxis(np.stack([one[0][k] for one in found]), 0, axis) for k in (0, 1)])
        logit += np.moveaxis(np.stack([one[1] for one in found]), 0, axis)
    flow_found, logit_found = volume_flows(random_network, volume, random_network.diam_mean)
    np.testing.assert_allclose(flow_found, flow, rtol=0, atol=1e-5)
    np.testing.assert_allclose(logit_found, logit, rtol=0, atol=1e-5)
    assert flow_found.std() > 1e-3


@pytest.mark.parametrize("order", list(permutations(range(3)))[1:])
def test_axes_are_alike(order: tuple[int, int, int]) -> None:
    """For a network that does not know up from left, a turned volume has the turned flow."""
    network = network_of(UphillNet())
    volume = balls(13.0, (11, 30, 40), spacing=15)
    axes = (0, *(1 + axis for axis in order))
    flow, logit = volume_flows(network, volume, 19.0)
    turned_flow, turned_logit = volume_flows(network, volume.transpose(axes), 19.0)
    np.testing.assert_allclose(turned_flow, flow[list(order)].transpose(axes), rtol=0, atol=1e-5)
    np.testing.assert_allclose(turned_logit, logit.transpose(order), rtol=0, atol=1e-5)


def test_flow_points_to_the_middle_with_two_pixels_per_step() -> None:
    flow, logit = volume_flows(network_of(UphillNet(fade=1e-6)), balls(20.0), 16.0)  # nothing is resized
    np.testing.assert_allclose(flow[:, 5, 12, 12], [2, 0, 0], atol=0.05)
    np.testing.assert_allclose(flow[:, 12, 12, 20], [0, 0, -2], atol=0.05)
    np.testing.assert_allclose(logit[12, 12, 12], 3 * (1 - 0.1), atol=1e-5)


def test_smoothing_mends_what_noise_breaks() -> None:
    volume = balls(20.0)
    noisy = volume + np.random.default_rng(0).normal(scale=0.05, size=volume.shape).astype(np.float32)
    network = network_of(UphillNet())
    rough, smooth = (segment_volume(network, noisy, 16.0, MASKS, VolumeSettings(smoothing=s)) for s in (0.0, 2.0))
    assert smooth.max() == 6 < rough.max()
    np.testing.assert_allclose(areas(smooth), np.count_nonzero(volume > 0.1) / 6, rtol=0.1)


def test_channels_a_volume_lacks_are_zero() -> None:
    one = np.random.default_rng(0).random((1, 3, 10, 12), np.float32)
    two = np.concatenate([one, np.zeros_like(one)])
    (flow, logit), (same_flow, same_logit) = (volume_flows(network_of(UphillNet()), v, 16.0) for v in (one, two))
    np.testing.assert_array_equal(flow, same_flow)
    np.testing.assert_array_equal(logit, same_logit)


def test_what_is_no_volume_is_refused(random_network: Network) -> None:
    volume = np.zeros((1, 3, 10, 12), np.float32)
    broken = volume.copy()
    broken[0, 1, 2, 3] = np.nan
    for call in (
        lambda *given: volume_flows(random_network, *given),
        lambda *given: segment_planes(random_network, *given, MASKS, 0.25),
    ):
        with pytest.raises(ValueError, match="3 channels"):
            call(np.zeros((3, 3, 10, 12), np.float32), 30.0)
        with pytest.raises(ValueError, match="expected"):
            call(volume[0], 30.0)
        with pytest.raises(ValueError, match="empty along Z"):
            call(volume[:, :0], 30.0)
        with pytest.raises(ValueError, match="1 of 360"):
            call(broken, 30.0)
        with pytest.raises(ValueError, match=r"diameter 0\.0"):
            call(volume, 0.0)
    with pytest.raises(ValueError, match="anisotropy -1"):
        volume_flows(random_network, volume, 30.0, anisotropy=-1)


def test_constant_volume_has_no_objects() -> None:
    network, volume = network_of(UphillNet()), np.zeros((1, 4, 20, 20), np.float32)
    assert not segment_volume(network, volume, 16.0, MASKS, PLAIN).any()
    assert not segment_planes(network, volume, 16.0, MASKS, 0.25).any()


def test_volume_is_left_as_it_was() -> None:
    volume = balls(16.0)
    before = volume.copy()
    segment_volume(network_of(UphillNet()), volume, 16.0, MASKS, PLAIN)
    np.testing.assert_array_equal(volume, before)


def test_one_plane_is_a_field() -> None:
    network, volume = network_of(UphillNet()), balls(16.0)[:, 12:13]
    (field,) = segment_fields(network, [volume[:, 0]], 16.0, MASKS)
    assert field.max() == 6
    np.testing.assert_array_equal(segment_planes(network, volume, 16.0, MASKS, 0.25)[0], field)


def test_sections_of_a_ball_are_linked() -> None:
    volume = balls(20.0)
    labels = segment_planes(network_of(UphillNet()), volume, 20.0, MASKS, 0.25)
    assert labels.max() == 6
    np.testing.assert_allclose(areas(labels), np.count_nonzero(volume > 0.1) / 6, rtol=0.1)


def test_threshold_of_the_links_counts() -> None:
    """The first and last sections of a ball differ most in size."""
    network, volume = network_of(UphillNet()), balls(20.0)
    counts = [int(segment_planes(network, volume, 20.0, MASKS, threshold).max()) for threshold in (0.25, 0.8, 0.999)]
    assert counts == sorted(set(counts))


def test_smallest_size_is_that_of_the_linked_object() -> None:
    volume = balls(8.0, (24, 24, 24))
    sections = np.count_nonzero(volume[0] > 0.1, axis=(1, 2))
    masks = MaskSettings(flow_threshold=None, min_size=int(sections.max()) + 5)
    network = network_of(UphillNet(), 8.0)
    assert segment_planes(network, volume, 8.0, masks, 0.1).max() == 1
    assert not any(field.any() for field in segment_fields(network, list(volume.swapaxes(0, 1)), 8.0, masks))
