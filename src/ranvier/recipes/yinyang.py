"""The Yin-Yang data set, learned from spike times: with exact gradients, or with surrogate gradients of the same
network.
"""

from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Generator, Tensor, nn

from ranvier.nn.linear import Linear
from ranvier.nn.neurons.timed import TimedLI, TimedLIF
from ranvier.nn.sequential import Sequential
from ranvier.nn.timed import TimedMap, encode_times
from ranvier.recipes.recipe import Recipe, refuse_unused
from ranvier.surrogate import superspike
from ranvier.train import loss


@dataclass(frozen=True)
class Net:
    """hidden: number of hidden neurons. tau_mem, tau_syn: time constants in seconds. mean, deviation: mean and standard
    deviation of the initial weights of the hidden neurons. readout: standard deviation of the readout's weights. slope:
    that of the surrogate (superspike).
    """

    hidden: int = 200
    tau_mem: float = 20e-3
    tau_syn: float = 5e-3
    mean: float = 2.0
    deviation: float = 1.5
    readout: float = 0.1
    slope: float = 25.0


@dataclass(frozen=True)
class YinYang(Recipe):
    """Points of the Yin-Yang figure as spike times: is a point on the yin, the yang or a dot? The network has one
    hidden layer.

    gradient: "eventprop" uses the exact derivatives of spike times, "surrogate" uses surrogate derivatives. dt: length
    of a step in seconds. late: spike time in seconds of a coordinate of 1 (a coordinate of 0 spikes at 0). bias: time
    in seconds of a spike that is the same for all samples. sharpness: factor of the readout's mean membrane before the
    softmax.
    """

    name: ClassVar[str] = "yinyang"
    data: str = "yinyang"
    gradient: str = "eventprop"
    steps: int = 50
    dt: float = 1e-3
    late: float = 30e-3
    bias: float = 10e-3
    sharpness: float = 20.0
    epochs: int = 100
    batch: int = 128
    lr: float = 1e-2
    weight_decay: float = 0.0
    smoothing: float = 0.0
    net: Net = field(default_factory=Net)

    def __post_init__(self) -> None:
        super().__post_init__()
        refuse_unused(self, "encoding")
        self.neurons()  # makes the neurons once, so that a wrong gradient, dt or time constant raises its error now

    def neurons(self) -> tuple[TimedLIF, TimedLI]:
        """Return the hidden neurons and the readout."""
        constants: dict[str, Any] = {"tau_mem": self.net.tau_mem, "tau_syn": self.net.tau_syn, "dt": self.dt}
        slope: dict[str, Any] = {"surrogate": superspike(self.net.slope)} if self.gradient == "surrogate" else {}
        chosen: dict[str, Any] = {"gradient": self.gradient, **slope}
        return TimedLIF(**chosen, **constants), TimedLI(**constants)

    def build(self) -> nn.Module:
        first, second = Linear(5, self.net.hidden, bias=False), Linear(self.net.hidden, 3, bias=False)
        nn.init.normal_(first.weight, self.net.mean, self.net.deviation)
        nn.init.normal_(second.weight, 0.0, self.net.readout)
        hidden, readout = self.neurons()
        return Sequential(TimedMap(first), hidden, TimedMap(second), readout)

    def encode(self, x: Tensor, generator: Generator) -> Any:
        """Encode x `[B, 4]` in [0, 1] as timed spikes, a pair of tensors `[T, B, 5]`: one spike per coordinate at the
        time x * late, and the bias spike.
        """
        times = torch.cat([x * self.late, x.new_full((len(x), 1), self.bias)], 1)
        return encode_times(times, self.steps, self.neurons()[0].to(x.device))

    def loss(self) -> loss.Loss:
        """Return the loss: cross-entropy of the readout's mean over time, multiplied by `sharpness`."""
        return loss.integral_crossentropy(self.smoothing, temperature=self.steps / self.sharpness)
