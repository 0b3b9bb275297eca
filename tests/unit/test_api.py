"""Images in, labels out, for people at a Python prompt: what is found, what is refused, and what work is done."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import zarr

from pipeline_lib import api
from pipeline_lib.api import (
    ImageSettings,
    NormaliseSettings,
    RunSettings,
    find_diameter,
    find_flows,
    load_network,
    segment_image,
    segment_images,
    segment_large,
    segment_planes,
    segment_volume,
)
from pipeline_lib.flows.masks import masks_from_flow
from pipeline_lib.nets.flownet import FlowNet
from pipeline_lib.segmentation import Network

EXACT = RunSettings(device="cpu", precision="float32", batch_size=4)
FOUND = ImageSettings(diameter=17.0)


@pytest.fixture(scope="module")
def network() -> Network:
    return load_network("starter_nuclei", EXACT)


def discs(shape: tuple[int, int], radius: float = 8.0, spacing: int = 30) -> np.ndarray:
    """Soft discs on a grid, (1, Y, X) uint16."""
    away = [np.arange(length) % spacing - spacing / 2 for length in shape]
    distance = np.hypot(away[0][:, None], away[1][None])
    light = 1 / (1 + np.exp(2 * (distance - radius)))
    noise = np.random.default_rng(0).normal(0, 20, shape)
    return (500 + 3000 * light + noise).astype(np.uint16)[None]


class Counted:
    """An image that counts how often each of its rows is read."""

    def __init__(self, image: np.ndarray) -> None:
        self.image, self.shape = image, image.shape
        self.reads = np.zeros(image.shape[1], int)

    def __getitem__(self, place: tuple[slice, ...]) -> np.ndarray:
        if place[1] not in (slice(None), slice(0, 1)):  # where ranges and the number type are looked for
            self.reads[place[1]] += 1
        return self.image[place]


def test_discs_are_found_whatever_the_axes(network: Network) -> None:
    image = discs((120, 150))
    labels = segment_image(network, image, FOUND)
    assert labels.max() == 4 * 5
    assert labels.dtype == np.uint32
    np.testing.assert_array_equal(segment_image(network, image[0], FOUND), labels)
    several = np.concatenate([np.zeros_like(image), image, np.ones_like(image)])
    np.testing.assert_array_equal(segment_image(network, several, ImageSettings(channels=(1,), diameter=17.0)), labels)


def test_frames_are_independent(network: Network) -> None:
    frames = [discs((60, 60)), discs((60, 60)) * 3, discs((70, 50))]
    found = list(segment_images(network, frames, FOUND))
    for frame, labels in zip(frames, found, strict=True):
        np.testing.assert_array_equal(labels, segment_image(network, frame, FOUND))


def test_a_diameter_not_given_is_found(network: Network) -> None:
    image = discs((180, 180), radius=12, spacing=45)
    labels = segment_image(network, image)
    assert labels.max() == 16
    assert abs(find_diameter(network, image) - 24) < 4
    assert abs(find_diameter(network, image, ImageSettings(normalise=NormaliseSettings(smooth_radius=1))) - 24) < 4


@pytest.mark.parametrize(
    ("diameter", "normalise"),
    [
        (17.0, NormaliseSettings()),
        (14.3, NormaliseSettings(percentiles=(5, 95), invert=True)),
        (30.0, NormaliseSettings(lowhigh=((500, 3000),))),
    ],
)
def test_large_images_have_the_labels_of_small_ones(
    network: Network, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, diameter: float, normalise: NormaliseSettings
) -> None:
    """Through the real network, whatever the blocks and wherever the pixels lie."""
    image = discs((233, 250))
    image = 4000 - image if normalise.invert else image
    settings = ImageSettings(diameter=diameter, normalise=normalise)
    wanted = segment_image(network, image, settings)
    assert wanted.max() > 40
    monkeypatch.setattr(api.segmentation, "CORE", (100, 64))
    target = np.zeros(wanted.shape, np.uint32)
    segment_large(network, image, target, settings)
    np.testing.assert_array_equal(target, wanted)
    on_disk = zarr.create_array(tmp_path / "image", data=image, chunks=(1, 50, 70))
    stored = zarr.create_array(tmp_path / "labels", shape=wanted.shape, chunks=(64, 64), dtype=np.uint32)
    segment_large(network, on_disk, stored, settings)
    np.testing.assert_array_equal(stored[:], wanted)


def test_the_work_done_for_a_large_image(network: Network) -> None:
    """Every tile goes through the network once, and no row is read more often than tiles lie over it."""
    tiles = 0

    def counting(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        nonlocal tiles
        tiles += len(x)
        return network.net(x)

    image = Counted(discs((500, 300)))
    told: list[tuple[str, int, int]] = []
    report = segment_large(
        replace(network, net=counting),
        image,
        np.zeros((500, 300), np.uint32),
        FOUND,
        lambda *progress: told.append(progress),
    )
    assert tiles == 3 * 2  # 500 and 300 pixels are padded to 528 and 320; 1.2 x as much in tiles of 224 is 3 and 2
    assert image.reads.max() <= 2
    assert report.objects > 100
    assert {what for what, _, _ in told} == {"network", "labels"}
    assert all(0 < done <= total for _, done, total in told)
    assert [(done, total) for what, done, total in told if what == "network"][-1] == (500, 500)


def test_a_volume_is_linked_or_seen_from_three_sides(network: Network) -> None:
    volume = np.repeat(discs((30, 60))[:, None], 13, axis=1)
    volume[:, :2] = volume[:, -2:] = 500
    linked = segment_planes(network, volume[0], FOUND)
    assert linked.shape == volume.shape[1:]
    assert linked.max() == segment_volume(network, volume, FOUND).max() == 2


def test_flows_are_those_the_labels_are_made_from(network: Network) -> None:
    image = discs((80, 90))
    flow, logit = find_flows(network, image, FOUND)
    assert flow.shape == (2, 80, 90)
    labels = masks_from_flow(flow, logit, api.MaskSettings())
    np.testing.assert_array_equal(labels, segment_image(network, image, FOUND))


def test_a_constant_image_has_no_objects(network: Network) -> None:
    for value in (0, 7, 65535):
        assert not segment_image(network, np.full((1, 40, 50), value, np.uint16)).any()


@pytest.mark.parametrize(
    ("image", "fault"),
    [
        (np.array([[[1.0, np.nan], [np.inf, 3]]]), "channel 0 .* 2 of 4 values are NaN, infinite"),
        (np.zeros((1, 0, 5)), "is empty along Y"),
        (np.zeros((1, 4, 5), complex), "complex"),
        (np.zeros((3, 4, 5)), "3 channels, which come first; allowed are 1 to 2"),
        (np.zeros(5), "1 axes"),
        (np.zeros((1, 2, 4, 5)), "4 axes"),
        (np.array([["a", "b"]]), "no numbers"),
    ],
    ids=["nan", "empty", "complex", "channels", "1D", "4D", "text"],
)
def test_what_is_no_image_is_refused(network: Network, image: np.ndarray, fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        segment_image(network, image)
    if image.ndim > 2 and "nan" not in fault.lower():
        with pytest.raises(ValueError, match=fault):
            segment_large(network, image, np.zeros(image.shape[1:], np.uint32), FOUND)


def test_nan_in_a_large_image_is_noticed(network: Network) -> None:
    image = np.where(np.arange(900).reshape(1, 30, 30) == 7, np.nan, 1.0)
    image[0, 5:15, 5:15] = 9
    with pytest.raises(ValueError, match="NaN, infinite"):
        segment_large(network, image, np.zeros((30, 30), np.uint32), FOUND)


@pytest.mark.parametrize("diameter", [0, -3.0, float("nan"), float("inf")])
def test_impossible_settings_are_refused_all_at_once(diameter: float) -> None:
    with pytest.raises(ValueError, match=r"diameter is .*; channels are \(-1,\)"):
        ImageSettings(channels=(-1,), diameter=diameter)


@pytest.mark.parametrize(
    "target",
    [np.zeros((30, 29), np.uint32), np.zeros((1, 30, 30), np.uint32), np.zeros((30, 30), np.uint16)],
    ids=["size", "axes", "type"],
)
def test_a_target_that_cannot_hold_the_labels_is_refused_before_any_work(network: Network, target: np.ndarray) -> None:
    image = Counted(discs((30, 30)))
    with pytest.raises(ValueError, match=r"\(30, 30\) and uint32 are needed"):
        segment_large(network, image, target)
    assert not image.reads.any()


def test_no_images_have_no_labels(network: Network) -> None:
    assert list(segment_images(network, [])) == []


def test_the_diameter_is_looked_for_in_the_middle_alone(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    """What lies around it is not even read, beyond the one pass that finds the ranges."""
    monkeypatch.setattr(api.segmentation, "SAMPLE", 60)
    wide = discs((100, 300), radius=12, spacing=45)
    read = []

    class Watched:
        shape = wide.shape

        def __getitem__(self, place: tuple[slice, ...]) -> np.ndarray:
            read.append(wide[place].size)
            return wide[place]

    assert find_diameter(network, Watched(), ImageSettings(normalise=NormaliseSettings(lowhigh=((500, 3500),)))) > 5
    assert max(read) == 60 * 60


def test_channels_that_are_not_there_are_refused(network: Network) -> None:
    with pytest.raises(ValueError, match=r"channels \(3,\) found; this image has the channels 0 to 1"):
        segment_image(network, np.zeros((2, 9, 9)), ImageSettings(channels=(3,)))


@pytest.mark.parametrize(
    ("state", "fault"),
    [
        (lambda: FlowNet(1, 1).state_dict(), "some.pth restores images: it has 1 output"),
        (lambda: {"W2": torch.zeros(2)}, "Cellpose 4"),
        (lambda: {"weight": torch.zeros(2)}, "not a Cellpose 1-3 network"),
    ],
    ids=["restoration", "Cellpose 4", "other"],
)
def test_weights_of_another_architecture_are_refused(
    tmp_path: Path, state: Callable[[], dict[str, torch.Tensor]], fault: str
) -> None:
    torch.save(state(), tmp_path / "some.pth")
    with pytest.raises(ValueError, match=fault):
        load_network(tmp_path / "some.pth")
