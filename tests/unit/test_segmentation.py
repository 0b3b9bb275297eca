"""Images to labels, with a hand-made network whose answer is known: discs of light point to their centres."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pipeline_lib import segmentation
from pipeline_lib.core.labels import median_diameter
from pipeline_lib.core.sizes import SizeModel
from pipeline_lib.flows.masks import MaskSettings
from pipeline_lib.io.weights import find_weights, load_weights
from pipeline_lib.metrics import average_precision
from pipeline_lib.nets.flownet import FlowNet, build
from pipeline_lib.segmentation import (
    Network,
    estimate_diameter,
    flows_of_fields,
    prepare_network,
    segment_fields,
)
from pipeline_lib.tiling.placing import RunSettings
from pipeline_lib.tiling.predict import PredictSettings

MASKS = MaskSettings(flow_threshold=None)
EXACT = RunSettings(device="cpu", precision="float32")


class UphillNet(nn.Module):
    """Flow is the direction of the brightness gradient; light is inside. Right for cones of light of any size."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[int, ...]] = []

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        self.seen.append(tuple(x.shape))
        slope = torch.stack(torch.gradient(x[:, 0], dim=(1, 2)), dim=1)
        flow = 5 * slope / (slope.norm(dim=1, keepdim=True) + 1e-6)
        return torch.cat([flow, x[:, :1] - 0.02], dim=1), torch.zeros(len(x), 256)


def network_of(net: nn.Module, diameter: float = 20.0) -> Network:
    return Network(net, diameter, diameter, 2, PredictSettings(8, torch.device("cpu"), torch.float32))  # type: ignore[arg-type]


def cones(diameter: float, side: int = 240) -> np.ndarray:
    """A (1, Y, X) image of 4 x 4 cones of light, 1 at the top and 0 from half a diameter on."""
    spacing = side // 4
    from_centre = (np.arange(side) % spacing) - (spacing - 1) / 2
    distance = np.hypot(from_centre[:, None], from_centre[None, :])
    return np.clip(1 - 2 * distance / diameter, 0, None)[None].astype(np.float32)


@pytest.mark.parametrize("diameter", [15.0, 20.0, 40.0])
def test_every_cone_becomes_one_object_of_its_size(diameter: float) -> None:
    (labels,) = segment_fields(network_of(UphillNet()), [cones(diameter)], diameter, MASKS)
    assert labels.shape == (240, 240)
    assert labels.dtype == np.uint32
    assert labels.max() == 16
    found = median_diameter([labels])
    assert found is not None
    assert abs(found - diameter) < 0.1 * diameter


def test_the_network_sees_objects_at_its_own_size() -> None:
    net = UphillNet()
    flows_of_fields(network_of(net), [cones(40.0)], 40.0)  # 240 x 20 / 40 = 120, padded to 144
    assert net.seen == [(1, 2, 144, 144)]


def test_flow_keeps_its_length_and_the_image_its_size() -> None:
    image = cones(40.0)[:, :200, :231]
    ((flow, logit),) = flows_of_fields(network_of(UphillNet()), [image], 40.0)
    assert flow.shape == (2, 200, 231)
    assert logit.shape == (200, 231)
    on_a_slope = (29, 15)  # left of the first centre: the way is right
    np.testing.assert_allclose(flow[:, *on_a_slope], [0, 1], atol=0.1)


def test_images_of_several_sizes_equal_each_alone() -> None:
    images = [cones(15.0), cones(15.0)[:, :100, :77], cones(30.0)]
    network = network_of(UphillNet())
    together = segment_fields(network, images, 18.0, MASKS)
    for image, labels in zip(images, together, strict=True):
        np.testing.assert_array_equal(labels, next(segment_fields(network, [image], 18.0, MASKS)))


@pytest.mark.parametrize("diameter", [12.0, 20.0, 50.0])
def test_the_diameter_is_found_from_a_wrong_start(diameter: float) -> None:
    images = [cones(diameter), np.zeros((1, 64, 64), np.float32)]
    found = estimate_diameter(network_of(UphillNet()), images, MASKS)
    assert abs(found - diameter) < 0.1 * diameter


@pytest.mark.parametrize("guess", [15.0, 60.0])
def test_the_styles_tell_where_the_search_for_a_diameter_starts(monkeypatch: pytest.MonkeyPatch, guess: float) -> None:
    """A network that finds objects as large as it is told stays where it starts, so it has to start at the truth."""

    def as_told(*arguments: Any) -> Iterator[np.ndarray]:
        yield (cones(arguments[2], side=320)[0] > 0).astype(np.uint32)[:80, :80]

    monkeypatch.setattr(segmentation, "segment_fields", as_told)
    network = network_of(UphillNet(), diameter=30.0)
    sizes = SizeModel(np.zeros(256), np.zeros(256), diam_mean=30.0, ymean=math.log(guess / 30))
    assert estimate_diameter(network, [cones(20.0)], MASKS) == pytest.approx(30, rel=0.02)
    assert estimate_diameter(replace(network, sizes=sizes), [cones(20.0)], MASKS) == pytest.approx(guess, rel=0.02)


def test_without_objects_the_training_diameter_is_the_answer() -> None:
    network = replace(network_of(UphillNet()), diam_labels=23.0)
    assert estimate_diameter(network, [np.zeros((1, 64, 64), np.float32)], MASKS) == 23.0
    assert estimate_diameter(network, [], MASKS) == 23.0


def test_channels_an_image_lacks_are_zero_and_too_many_are_refused() -> None:
    torch.manual_seed(0)
    network = prepare_network(FlowNet().state_dict(), EXACT)
    one = np.random.default_rng(0).random((1, 40, 40), np.float32)
    two = np.concatenate([one, np.zeros_like(one)])
    ((flow, _),), ((same, _),) = (flows_of_fields(network, [image], 30.0) for image in (one, two))
    np.testing.assert_array_equal(flow, same)
    with pytest.raises(ValueError, match=r"\(3, 40, 40\) found; this network takes \(C, Y, X\) with 1 to 2 channels"):
        flows_of_fields(network, [np.concatenate([two, one])], 30.0)


def test_a_network_carries_its_own_diameters() -> None:
    state = FlowNet(1, 3).state_dict() | {"diam_mean": torch.tensor([17.0]), "diam_labels": torch.tensor([21.0])}
    network = prepare_network(state, RunSettings(device="cpu", precision="bfloat16"))
    assert (network.diam_mean, network.diam_labels, network.channels_in) == (17.0, 21.0, 1)
    assert network.predict.precision == torch.bfloat16
    assert not build(state).training


def test_both_number_types_find_the_same_objects() -> None:
    """Flows differ by rounding, objects do not."""
    state = load_weights(find_weights("starter_nuclei")).state
    rng = np.random.default_rng(0)
    image = cones(17.0, side=120) + rng.normal(0, 0.02, (1, 120, 120)).astype(np.float32)
    exact, fast = (
        next(segment_fields(prepare_network(state, RunSettings("cpu", kind)), [image], 17.0, MaskSettings()))
        for kind in ("float32", "bfloat16")
    )
    assert exact.max() == 16
    assert average_precision(exact, fast, (0.8,))[0] == 1


def test_the_search_for_a_diameter_never_blows_images_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A small guess would enlarge the whole image; only its middle is looked at then."""
    monkeypatch.setattr(segmentation, "LARGEST_SAMPLE", 240)
    net = UphillNet()
    found = estimate_diameter(network_of(net, diameter=40.0), [cones(20.0)], MASKS)
    assert abs(found - 20) < 2
    assert sum(shape[0] for shape in net.seen) == 2 * 4  # two rounds at 240 pixels; the second would be 480: 9 tiles
