"""Learning: loss, schedule, optimiser, weight averaging.

The loss and one schedule are those of Cellpose 3 (Stringer & Pachitariu 2025).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, mse_loss

from pipeline_lib.nets.flownet import EncoderLevel, FlowNet
from pipeline_lib.nets.quicker import quicken
from pipeline_lib.settings import LearningSettings
from pipeline_lib.tiling.predict import FLOW_UNIT, pick_device, pick_precision

_UNSEEN = 1e-6  # variance of an input channel that held nothing in all of a training
State = dict[str, Any]


class Shown(Protocol):
    """A batch of any training. images: (N, C, S, S) float32, what the network sees."""

    @property
    def images(self) -> Tensor: ...


class Truth(Shown, Protocol):
    """A batch with what is in its images. flows: (N, 2, S, S), y first. inside: (N, S, S), 0 or 1."""

    @property
    def flows(self) -> Tensor: ...
    @property
    def inside(self) -> Tensor: ...


B = TypeVar("B", bound=Shown)
Loss = Callable[[Tensor, B], Tensor]
"""From a network's output (N, C_out, S, S), float32, and the batch it saw to one number."""


def flow_loss(output: Tensor, batch: Truth) -> Tensor:
    """Half the mean squared error of the flows plus the cross entropy of the cell logit: means over all pixels.

    output: (N, 3, S, S), whose flows the network gives five times as long.
    """
    flows = mse_loss(output[:, :2], FLOW_UNIT * batch.flows) / 2
    return flows + binary_cross_entropy_with_logits(output[:, 2], batch.inside)


def learning_rate(settings: LearningSettings, done: float) -> float:
    """The rate when a share `done` (0..1) of the training is over: a linear warm-up, then the schedule.

    cosine falls to 0 along half a wave. cyto3 is constant and halves again and again towards the end, as Cellpose's
    does for a network of this kind. constant stays.
    """
    if done < settings.warm_up:
        return settings.learning_rate * done / settings.warm_up
    if settings.schedule == "cosine":
        left = (done - settings.warm_up) / (1 - settings.warm_up)
        return settings.learning_rate * (1 + math.cos(math.pi * min(1.0, left))) / 2
    if settings.schedule == "cyto3":
        first, lasting = settings.last_plateaus
        return float(settings.learning_rate * 0.5 ** max(0, math.ceil((done - first) / lasting)))
    return settings.learning_rate


def mean_of(states: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """The mean of the weights of networks that were trained from one another.

    It is often nearly as good as the best of them on the images of each (Wortsman et al. 2022, model soups).

    Raises:
        ValueError: the networks differ in their channels or in the diameter they work at.
    """
    shapes = [{key: value.shape for key, value in state.items()} for state in states]
    if any(other != shapes[0] for other in shapes):
        raise ValueError("weights to start from are of networks with other channels: they have no mean")
    diameters = sorted({float(state["diam_mean"]) for state in states})
    if len(diameters) > 1:
        raise ValueError(f"weights to start from work at diameters of {diameters} pixels: they have no mean")
    return {
        key: torch.stack([state[key].float() for state in states]).mean(0).to(value.dtype)
        for key, value in states[0].items()
    }


def start_from(net: FlowNet, state: Mapping[str, Tensor]) -> None:
    """Copy weights into a new network.

    A head of another width keeps its own start, and input channels that the weights never saw get the statistics of a
    batch norm that has seen nothing.

    Raises:
        ValueError: the weights are those of a network with other channels.
    """
    own = net.state_dict()
    copied = {key: value for key, value in state.items() if key in own and value.shape == own[key].shape}
    strange = sorted(key for key in own.keys() - copied.keys() if not key.startswith("output."))
    if strange:
        raise ValueError(
            f"the weights to start from do not fit a network of {net.channels_in} channels: {', '.join(strange[:3])}"
        )
    net.load_state_dict(copied, strict=False)
    first = net.downsample.down["res_down_0"]
    assert isinstance(first, EncoderLevel)
    for sequence in (first.conv["conv_0"], first.proj):
        norm = cast("nn.Sequential", sequence)[0]
        assert isinstance(norm, nn.BatchNorm2d) and norm.running_var is not None and norm.running_mean is not None
        unseen = norm.running_var < _UNSEEN
        norm.running_mean[unseen], norm.running_var[unseen] = 0.0, 1.0


@dataclass(frozen=True)
class Place:
    """Where networks are while one learns, in which number type they compute, and how their memory is laid out."""

    device: torch.device
    precision: torch.dtype = torch.float32
    channels_last: bool = False

    @classmethod
    def chosen(cls, settings: LearningSettings) -> Place:
        """As the settings say. Raises ValueError for a device that is not there."""
        device = pick_device(settings.device)
        precision = pick_precision(settings.precision, device)
        automatic = device.type == "cpu" or precision != torch.float32
        return cls(device, precision, automatic if settings.channels_last is None else settings.channels_last)

    def settle(self, net: FlowNet) -> FlowNet:
        """The network, moved there, with convolutions as they are fastest."""
        net = net.to(self.device)
        if self.device.type == "cpu" and self.precision == torch.float32:
            quicken(net)
        return net.to(memory_format=torch.channels_last) if self.channels_last else net  # type: ignore[call-overload]

    def arranged(self, images: Tensor) -> Tensor:
        """Images (N, C, S, S) in the memory layout of the networks."""
        return images.contiguous(memory_format=torch.channels_last) if self.channels_last else images

    def computing(self) -> torch.autocast:
        """A context in which networks compute in this number type."""
        return torch.autocast(self.device.type, self.precision, enabled=self.precision != torch.float32)


class Learner(Generic[B]):
    """A network that learns, with its optimiser and the running average of its weights, which is what is kept."""

    def __init__(self, net: FlowNet, settings: LearningSettings, place: Place, loss: Loss[B]) -> None:
        self.net = place.settle(net)
        self.net.train()
        self._settings, self._place, self._loss = settings, place, loss
        self._optimiser = torch.optim.AdamW(
            self.net.parameters(), settings.learning_rate, weight_decay=settings.weight_decay, fused=True
        )
        self._average = {key: value.clone() for key, value in self._floating()}
        self.steps = 0

    def learn(self, batch: B, rate: float) -> Tensor:
        """One step along the gradient of one batch; returns the loss before it, still on the device."""
        for group in self._optimiser.param_groups:
            group["lr"] = rate
        with self._place.computing():
            output, _ = self.net(self._place.arranged(batch.images))
        loss = self._loss(output.float(), batch)
        self._optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimiser.step()
        self.steps += 1
        self._follow()
        return loss.detach()

    def weights(self) -> dict[str, Tensor]:
        """The state dict to keep: the average, or the network itself where averaging is off; on the processor."""
        state = {key: value.detach().cpu().clone() for key, value in self.net.state_dict().items()}
        if self._settings.average:
            state |= {key: value.cpu().clone() for key, value in self._average.items()}
        return state

    def state(self) -> State:
        """All that is needed to go on as if nothing had happened."""
        return {
            "steps": self.steps,
            "net": self.net.state_dict(),
            "average": self._average,
            "optimiser": self._optimiser.state_dict(),
        }

    def resume(self, state: State) -> None:
        """Go on from a state."""
        self.steps = int(state["steps"])
        self.net.load_state_dict(state["net"])
        self._optimiser.load_state_dict(state["optimiser"])
        self._average = {key: state["average"][key].to(value.device) for key, value in self._average.items()}

    @torch.no_grad()
    def _follow(self) -> None:
        """Move the average towards the weights; at the beginning quickly, since the first ones are worth little."""
        if not self._settings.average:
            return
        decay = min(self._settings.average, (1 + self.steps) / (10 + self.steps))
        keys, values = zip(*self._floating(), strict=True)
        torch._foreach_lerp_([self._average[key] for key in keys], list(values), 1 - decay)

    def _floating(self) -> list[tuple[str, Tensor]]:
        fixed = ("diam_mean", "diam_labels")
        state = self.net.state_dict()
        return [(key, v.detach()) for key, v in state.items() if v.is_floating_point() and key not in fixed]
