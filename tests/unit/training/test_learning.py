"""Learning: the loss by hand, the schedules by their published figures, starts, averages, and going on after a kill."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import nn

from pipeline_lib.nets.flownet import FlowNet
from pipeline_lib.settings import TrainSettings
from pipeline_lib.training.crops import Batch
from pipeline_lib.training.learning import Learner, Place, flow_loss, learning_rate, mean_of, start_from


def batch(seed: int = 0, count: int = 2, size: int = 16) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    inside = (torch.rand(count, size, size, generator=generator) > 0.5).float()
    flows = (
        torch.nn.functional.normalize(torch.randn(count, 2, size, size, generator=generator), dim=1) * inside[:, None]
    )
    return Batch(torch.randn(count, 2, size, size, generator=generator), flows, inside)


def learner(**changed: object) -> Learner:
    torch.manual_seed(3)
    settings = TrainSettings(device="cpu", precision="float32", **changed)  # type: ignore[arg-type]
    return Learner(FlowNet(), settings, Place.chosen(settings), flow_loss)


def test_the_loss_by_hand() -> None:
    wanted = Batch(torch.zeros(1, 2, 1, 2), torch.tensor([[[[0.6, 0.0]], [[0.8, 0.0]]]]), torch.tensor([[[1.0, 0.0]]]))
    output = torch.tensor([[[[2.0, 1.0]], [[4.0, 0.0]], [[0.0, 2.0]]]])
    flows = ((2 - 3) ** 2 + 1**2 + (4 - 4) ** 2 + 0) / 4 / 2
    logits = (math.log(2) + (2 + math.log(1 + math.exp(-2)))) / 2
    assert float(flow_loss(output, wanted)) == pytest.approx(flows + logits)


def rates(schedule: str, *shares: float) -> list[float]:
    settings = TrainSettings(learning_rate=1.0, schedule=schedule, warm_up=0.1)  # type: ignore[arg-type]
    return [learning_rate(settings, share) for share in shares]


def test_every_schedule_warms_up() -> None:
    for schedule in ("cosine", "cyto3", "constant"):
        assert rates(schedule, 0, 0.05, 0.1) == pytest.approx([0, 0.5, 1])


def test_cosine_falls_to_nothing() -> None:
    assert rates("cosine", 0.55, 1.0) == pytest.approx([0.5, 0.0])


def test_cyto3_halves_ten_times_in_the_last_100_of_5000_epochs() -> None:
    epochs = [4899, 4901, 4909, 4911, 4999]
    assert rates("cyto3", *(epoch / 5000 for epoch in epochs)) == pytest.approx([1, 1 / 2, 1 / 2, 1 / 4, 1 / 1024])
    assert rates("constant", 0.5, 1.0) == [1, 1]


def test_a_start_copies_everything_and_wakes_channels_that_were_never_seen() -> None:
    torch.manual_seed(0)
    old, new = FlowNet(), FlowNet()
    norm = old.downsample.down["res_down_0"].conv["conv_0"][0]  # type: ignore[union-attr, index]
    norm.running_mean[:], norm.running_var[:] = torch.tensor([0.3, 1e-9]), torch.tensor([2.0, 1e-20])  # type: ignore[union-attr, operator]
    start_from(new, old.state_dict())
    changed = [key for key, value in new.state_dict().items() if not torch.equal(value, old.state_dict()[key])]
    woken = "downsample.down.res_down_0.conv.conv_0.0.running_"
    assert changed == [f"{woken}mean", f"{woken}var"]
    assert new.state_dict()[f"{woken}var"].tolist() == [2.0, 1.0]
    assert new.state_dict()[f"{woken}mean"].tolist() == pytest.approx([0.3, 0.0])


def test_a_head_of_another_width_is_not_copied() -> None:
    torch.manual_seed(0)
    old, new = FlowNet(2, 1), FlowNet(2, 3)
    before = copy.deepcopy(new.state_dict())
    start_from(new, old.state_dict())
    assert torch.equal(new.state_dict()["output.2.weight"], before["output.2.weight"])
    assert torch.equal(new.state_dict()["output.0.weight"], old.state_dict()["output.0.weight"])


def test_a_start_with_other_channels_is_refused() -> None:
    with pytest.raises(ValueError, match="do not fit a network of 2 channels"):
        start_from(FlowNet(2), FlowNet(1).state_dict())


def test_the_mean_of_weights_is_theirs_number_by_number() -> None:
    torch.manual_seed(0)
    first, second = FlowNet().state_dict(), FlowNet().state_dict()
    mean = mean_of([first, first, second])
    key = "upsample.up.res_up_1.conv.conv_1.conv.2.weight"
    assert torch.allclose(mean[key], (2 * first[key] + second[key]) / 3, atol=1e-7)
    assert {name: value.dtype for name, value in mean.items()} == {n: value.dtype for n, value in first.items()}
    assert all(torch.equal(value, first[name]) for name, value in mean_of([first]).items())


def test_weights_that_do_not_fit_each_other_have_no_mean() -> None:
    first, other = FlowNet().state_dict(), FlowNet().state_dict()
    with pytest.raises(ValueError, match="networks with other channels"):
        mean_of([first, FlowNet(1).state_dict()])
    other["diam_mean"] = torch.tensor([17.0])
    with pytest.raises(ValueError, match=r"diameters of \[17.0, 30.0\] pixels"):
        mean_of([first, other])


def test_one_batch_can_be_learnt_by_heart() -> None:
    pupil, told = learner(average=0.5), batch()
    losses = [float(pupil.learn(told, 3e-3)) for _ in range(10)]
    assert losses[-1] < 0.8 * losses[0]


def test_the_average_is_the_running_mean_of_the_weights() -> None:
    pupil, wanted = learner(average=0.9), None
    key = "output.2.weight"
    for step in range(1, 6):
        before = pupil.weights()[key]
        pupil.learn(batch(step), 1e-3)
        now = pupil.net.state_dict()[key]
        decay = min(0.9, (1 + step) / (10 + step))
        wanted = decay * before + (1 - decay) * now
        torch.testing.assert_close(pupil.weights()[key], wanted)


def test_without_average_the_weights_are_the_networks() -> None:
    pupil = learner(average=0)
    pupil.learn(batch(), 1e-3)
    assert all(torch.equal(value, pupil.net.state_dict()[key]) for key, value in pupil.weights().items())


def test_a_learner_that_goes_on_ends_where_one_that_never_stopped_does() -> None:
    straight, first, second = learner(), learner(), learner()
    for step in range(4):
        straight.learn(batch(step), 1e-3)
    for step in range(2):
        first.learn(batch(step), 1e-3)
    second.resume(copy.deepcopy(first.state()))
    for step in range(2, 4):
        second.learn(batch(step), 1e-3)
    assert second.steps == straight.steps == 4
    assert all(torch.equal(value, second.weights()[key]) for key, value in straight.weights().items())


def test_memory_layouts_learn_the_same() -> None:
    plain, last = learner(channels_last=False), learner(channels_last=True)
    losses = [[float(pupil.learn(batch(step), 1e-3)) for step in range(3)] for pupil in (plain, last)]
    assert losses[0][0] == pytest.approx(losses[1][0], rel=1e-5)
    assert losses[0] == pytest.approx(losses[1], rel=0.02)  # Adam's first steps magnify what rounding does to gradients
    kernels = [m.weight for m in last.net.modules() if isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3)]
    assert all(kernel.is_contiguous(memory_format=torch.channels_last) for kernel in kernels)
