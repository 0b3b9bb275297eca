"""Learning to restore: losses by hand and by the frozen network, which stays; crops that share their geometry."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from unit.training.test_crops import ellipses

from pipeline_lib.core.labelled import Labelled
from pipeline_lib.nets.flownet import FlowNet, build
from pipeline_lib.settings import RestorationTrainSettings
from pipeline_lib.training import restoration
from pipeline_lib.training.examples import Example, TrainingImages, prepare
from pipeline_lib.training.learning import Learner, Place, flow_loss, learning_rate
from pipeline_lib.training.restoration import (
    WEIGHTS,
    RestorationBatch,
    RestorationCrops,
    RestorationLoss,
    correlations,
    one_channel,
    perceptual_loss,
)

CPU = Place(torch.device("cpu"))


@pytest.fixture(scope="module")
def frozen() -> dict[str, torch.Tensor]:
    """A network of two channels with statistics of its own."""
    torch.manual_seed(0)
    net = FlowNet()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None and module.running_var is not None
            module.running_mean.uniform_(-0.2, 0.2)
            module.running_var.uniform_(0.5, 2)
    return net.state_dict()


@pytest.fixture(scope="module")
def example() -> Example:
    rng = np.random.default_rng(0)
    labels = ellipses()
    image = np.stack([200 * (labels > 0) + rng.uniform(10, 90, labels.shape), np.zeros(labels.shape)])
    return prepare(Labelled("a", image, labels), torch.device("cpu"))


def batch(seed: int = 0, count: int = 2, size: int = 32) -> RestorationBatch:
    generator = torch.Generator().manual_seed(seed)
    images, clean, inside = (torch.rand(count, 1, size, size, generator=generator) for _ in range(3))
    inside = (inside[:, 0] > 0.5).float()
    return RestorationBatch(
        images, clean, torch.rand(count, 2, size, size, generator=generator) * inside[:, None], inside
    )


def crops(example: Example, diam_mean: float | None = None, **changed: object) -> RestorationCrops:
    told = RestorationTrainSettings.model_validate({"batch_size": 3, "crop": 64, **changed})
    return RestorationCrops([TrainingImages("set", [example])], diam_mean or example.diameter, told)


def test_correlations_by_hand() -> None:
    maps = np.array([[1.0, 2.0, 3.0, 6.0], [2.0, 0.0, 2.0, 4.0]])
    by_hand = np.corrcoef(maps) * 3 / 4  # unbiased deviations, but a mean over all four pixels
    np.testing.assert_allclose(correlations(torch.tensor(maps).reshape(1, 2, 2, 2))[0], by_hand, rtol=1e-6)


def test_the_perceptual_loss_by_hand() -> None:
    rng = np.random.default_rng(1)
    found, wanted = ([rng.normal(size=(2, channels, 4, 4)) for channels in (3, 2)] for _ in range(2))
    by_hand = []
    for image in range(2):
        levels = []
        for first, second in zip(found, wanted, strict=True):
            c, target = (np.corrcoef(maps[image].reshape(len(maps[image]), -1)) * 15 / 16 for maps in (first, second))
            levels.append(((c - target) ** 2).mean() / (target.std(ddof=1) + 1e-6) ** 2)
        by_hand.append(sum(levels))
    told = perceptual_loss(*([torch.tensor(maps) for maps in side] for side in (found, wanted)))
    assert float(told) == pytest.approx(np.mean(by_hand), rel=1e-5)


def test_maps_without_contrast_give_a_number() -> None:
    flat = torch.ones(1, 3, 4, 4, requires_grad=True)
    loss = perceptual_loss([flat], [torch.rand(1, 3, 4, 4)])
    loss.backward()  # type: ignore[no-untyped-call]
    assert torch.isfinite(loss) and flat.grad is not None and torch.isfinite(flat.grad).all()


def test_nothing_is_to_be_learnt_from_what_equals_the_clean_image(frozen: dict[str, torch.Tensor]) -> None:
    told = batch()
    for losses in ("per", "rec"):
        assert float(RestorationLoss(frozen, losses, CPU)(told.clean, told)) == pytest.approx(0, abs=1e-6)
        assert float(RestorationLoss(frozen, losses, CPU)(told.images, told)) > 0


def test_losses_are_those_of_the_frozen_network_and_of_pixels(frozen: dict[str, torch.Tensor]) -> None:
    told = batch()
    net = build(one_channel(frozen))
    with torch.no_grad():
        segmentation = float(flow_loss(net(told.images)[0], told))
        perceptual = float(perceptual_loss(net.encode(told.images), net.encode(told.clean)))
    pixels = 80 * float((told.images - told.clean).square().mean())
    found = {losses: float(RestorationLoss(frozen, losses, CPU)(told.images, told)) for losses in WEIGHTS}
    wanted = {"per_seg": perceptual + 1.5 * segmentation, "per": perceptual, "seg": segmentation, "rec": pixels}
    assert found == pytest.approx(wanted, rel=1e-4)


def test_one_channel_is_the_network_without_what_the_second_adds(frozen: dict[str, torch.Tensor]) -> None:
    """An empty second channel is not nothing: its norm makes a constant of it, which the conversion leaves out."""
    image = torch.rand(1, 1, 32, 32)
    whole, alone = build(frozen), build(one_channel(frozen))
    both = torch.cat([image, torch.zeros_like(image)], dim=1)
    with torch.no_grad():
        assert not torch.allclose(whole(both)[0], alone(image)[0], atol=1e-3)
        first = whole.downsample.down["res_down_0"]
        for kernel in (first.conv["conv_0"][2], first.proj[1]):  # type: ignore[union-attr, index]
            kernel.weight[:, 1] = 0  # type: ignore[union-attr, index, operator]
        torch.testing.assert_close(whole(both)[0], alone(image)[0], atol=1e-5, rtol=1e-4)
    assert one_channel(one_channel(frozen)).keys() == frozen.keys()


def test_the_frozen_network_passes_gradients_on_and_stays(frozen: dict[str, torch.Tensor]) -> None:
    torch.manual_seed(1)
    loss = RestorationLoss(frozen, "per_seg", CPU)
    before = {key: value.clone() for key, value in loss._frozen.state_dict().items()}
    pupil = Learner(FlowNet(1, 1), RestorationTrainSettings(average=0), CPU, loss)
    losses = [float(pupil.learn(batch(), 3e-3)) for _ in range(6)]
    assert losses[-1] < losses[0]
    assert all(torch.equal(value, before[key]) for key, value in loss._frozen.state_dict().items())
    assert all(weight.grad is None for weight in loss._frozen.parameters())
    assert all(weight.grad is not None for weight in pupil.net.parameters())


def test_a_step_and_a_seed_say_what_is_drawn(example: Example) -> None:
    first, again, other = crops(example).batch(5), crops(example).batch(5), crops(example, seed=1).batch(5)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first.clean, other.clean)
    assert [tuple(part.shape) for part in first] == [(3, 1, 64, 64), (3, 1, 64, 64), (3, 2, 64, 64), (3, 64, 64)]


def test_what_is_made_worse_lies_where_its_clean_copy_and_its_truth_do(
    example: Example, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(restoration, "degrade", lambda clean, *_: clean)
    told = crops(example).batch(0)
    assert torch.equal(told.images, told.clean)
    bright, dark = (float(told.clean[:, 0][told.inside == chosen].mean()) for chosen in (1, 0))
    assert bright > 2 * dark


@pytest.mark.parametrize("diam_mean", [10.0, 20.0])
def test_objects_have_three_to_five_quarters_of_the_networks_size(example: Example, diam_mean: float) -> None:
    told = crops(example, diam_mean, batch_size=12, crop=32).batch(0)
    whole = crops(example, diam_mean, batch_size=12, crop=192).batch(0)
    ratio = float(whole.inside.sum()) / 12 / 4 / (np.pi / 4 * diam_mean**2)
    assert 0.75**2 * 0.8 < ratio < 1.25**2
    assert told.inside.shape == (12, 32, 32)


def test_crops_for_uneven_blur_are_not_turned(example: Example, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows of a picture whose values depend on y alone stay level."""
    level = torch.linspace(0, 1, 96).repeat(96, 1).T.half()
    ramp = Example(torch.stack([level, level]), example.flow, example.inside, example.diameter)
    monkeypatch.setattr(restoration, "degrade", lambda clean, *_: clean)
    middle = (slice(None), 0, slice(5, 11), slice(5, 11))  # beyond the window that is made worse there is nothing
    told = crops(ramp, kind="aniso", crop=16).batch(0).clean[middle]
    assert float((told - told.mean(dim=2, keepdim=True)).abs().max()) < 1e-3
    turned = crops(ramp, kind="denoise", crop=16).batch(0).clean[middle]
    assert float((turned - turned.mean(dim=2, keepdim=True)).abs().max()) > 1e-2


def test_the_schedule_halves_nine_times_in_the_last_90_of_2000_epochs() -> None:
    told = RestorationTrainSettings(learning_rate=1.0, schedule="cyto3", warm_up=0)
    epochs = [1900, 1911, 1919, 1921, 1999]
    assert [learning_rate(told, epoch / 2000) for epoch in epochs] == pytest.approx([1, 1 / 2, 1 / 2, 1 / 4, 1 / 512])
