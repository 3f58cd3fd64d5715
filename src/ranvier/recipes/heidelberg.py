"""Spoken digits as spikes of a model cochlea: feed-forward, recurrent, delayed and adaptive layers side by side."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from torch import Generator, Tensor, nn

from ranvier.data import Recordings, shd, shift
from ranvier.nn.delay import DelayedLinear
from ranvier.nn.dropout import Dropout
from ranvier.nn.init import recurrent, spread
from ranvier.nn.linear import Linear
from ranvier.nn.neurons.adlif import SEAdLIF
from ranvier.nn.neurons.leaky import LI, LIF
from ranvier.nn.sequential import Sequential
from ranvier.recipes.recipe import Recipe, unknown


@dataclass(frozen=True)
class Net:
    """kind: "feedforward", "recurrent", "delays" (learned, one per connection) or "adlif". hidden: neurons per layer.
    layers: number of hidden layers. longest: longest time constant of a LIF in steps. delay: longest delay in steps.
    dropout: share of dropped spikes.
    """

    kind: str = "recurrent"
    hidden: int = 128
    layers: int = 2
    longest: float = 20.0
    delay: int = 15
    dropout: float = 0.3


def lif(net: Net) -> nn.Module:
    return LIF(beta=spread(net.hidden, 2.0, net.longest), learn=("beta",), shape=net.hidden)


# The neurons of each kind, and the standard deviation of their input before training: a SEAdLIF multiplies its input by
# 1 - alpha, so it needs more.
NEURONS = {
    "feedforward": (lif, 1.0),
    "recurrent": (lambda net: recurrent(LIF, net.hidden, shortest=2.0, longest=net.longest, learn=("beta",)), 1.0),
    "delays": (lif, 1.0),
    "adlif": (lambda net: SEAdLIF.published(net.hidden), 5.0),
}


@dataclass(frozen=True)
class HeidelbergDigits(Recipe):
    """Spiking Heidelberg Digits, or other files in their format: `examples/heidelberg_digits.py` writes synthetic ones.

    channels, duration: see `ranvier.data.shd`. held_out: the training speaker whose recordings are the validation set.
    shift: training recordings are moved by up to this number of channels, like a higher or lower voice.
    """

    name: ClassVar[str] = "heidelberg-digits"
    data: str = "shd"
    encoding: str = "none"
    steps: int = 100
    channels: int = 70
    duration: float = 1.0
    held_out: int = 11
    shift: int = 2
    epochs: int = 20
    batch: int = 32
    lr: float = 1e-2
    net: Net = field(default_factory=Net)

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.data, self.encoding) != ("shd", "none"):
            wanted = 'data="shd" (for other files in its format, name their folder) and encoding="none"'
            raise ValueError(f"{self.name}: wanted {wanted}, got {self.data!r} and {self.encoding!r}")
        if not 0 <= self.shift < self.channels:
            raise ValueError(f"{self.name}: shift must lie in [0, {self.channels}), the channels, got {self.shift}")

    def splits(self, folder: str | Path | None = None) -> Recordings:
        return shd(folder, self.steps, self.channels, self.duration, held_out=(self.held_out,))

    def build(self) -> nn.Module:
        net, rows, width = self.net, [], self.channels
        if net.kind not in NEURONS:
            raise ValueError(unknown("net.kind", net.kind, NEURONS))
        for _ in range(net.layers):
            delayed, (neurons, gain) = net.kind == "delays", NEURONS[net.kind]
            linear = DelayedLinear(width, net.hidden, net.delay) if delayed else Linear(width, net.hidden)
            norm, width = nn.BatchNorm1d(net.hidden), net.hidden
            nn.init.constant_(norm.weight, gain)
            rows += [linear, norm, neurons(net), Dropout(net.dropout)]
        return Sequential(*rows, Linear(width, 20), LI(beta=0.9))

    def augment(self, x: Tensor, generator: Generator) -> Tensor:
        return shift(x, self.shift, (2,), generator, sample_axis=1)
