"""Shared parts of the recipes for recordings: signals of different lengths, and layers whose neurons have different
time constants.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor, nn

from ranvier.nn.dropout import Dropout
from ranvier.nn.init import spread
from ranvier.nn.linear import Linear
from ranvier.nn.neurons.adaptive import ALIF
from ranvier.nn.neurons.adlif import SiLIF
from ranvier.nn.neurons.balanced import BRF
from ranvier.nn.neurons.leaky import LI, LIF
from ranvier.nn.padded import Padded, lengths_of
from ranvier.nn.sequential import Sequential
from ranvier.recipes.recipe import Recipe, refuse_unused
from ranvier.train import loss, metric


@dataclass(frozen=True)
class OfOwnLength:
    """A loss or a metric for recordings of different lengths, padded with NaN: it finds the lengths in the traces."""

    score: Callable[..., Any]

    def __call__(self, traces: Tensor, labels: Tensor, lengths: Tensor | None = None) -> Any:
        return self.score(traces, labels, lengths_of(traces) if lengths is None else lengths)


def lif(hidden: int, longest: float) -> nn.Module:
    return LIF(beta=spread(hidden, 2.0, longest), learn=("beta",), shape=hidden)


def alif(hidden: int, longest: float) -> nn.Module:
    beta, rho = spread(hidden, 2.0, longest), spread(hidden, 2.0, 3.0 * longest)
    return ALIF(beta=beta, rho=rho, learn=("beta", "rho", "kappa"), shape=hidden)


def silif(hidden: int, longest: float) -> nn.Module:
    return SiLIF.published(hidden)


def brf(hidden: int, longest: float) -> nn.Module:
    """Oscillators with 1 to 60 rad / s, periods of 10 to 630 steps; oscillations decay within 10 to `longest` steps."""
    dt = 0.01
    omega, damping = (-spread(hidden, low, high).log() / dt for low, high in ((1 / 0.6, 100.0), (10.0, longest)))
    return BRF.published(hidden, omega=omega, damping=damping, dt=dt)


NEURONS = {"lif": lif, "alif": alif, "silif": silif, "brf": brf}


@dataclass(frozen=True)
class Net:
    """hidden: neurons per layer. layers: number of hidden layers. neuron: "lif", "alif", "silif" or "brf". longest:
    longest time constant in steps. gain: standard deviation of the neurons' input before training. dropout: share of
    dropped spikes. readout_beta: decay of the readout per step.
    """

    hidden: int = 128
    layers: int = 2
    neuron: str = "alif"
    longest: float = 30.0
    gain: float = 1.0
    dropout: float = 0.2
    readout_beta: float = 0.9


@dataclass(frozen=True)
class Signal(Recipe):
    """Recordings x `[B, T, features]`, NaN after the end of each, encoded as currents together with their changes.

    noise: standard deviation of the noise on training recordings. stretch: training recordings are played faster or
    slower by up to this fraction.
    """

    noise: float = 0.1
    stretch: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        refuse_unused(self, "encoding", "steps")

    def layers(self, net: Net, features: int, classes: int) -> nn.Module:
        """Return a sequence of linear layers, batch norms and neurons, and a readout."""
        if net.neuron not in NEURONS:
            raise ValueError(f"net.neuron must be one of {', '.join(NEURONS)}, got {net.neuron!r}")
        rows, width = [], 2 * features
        for _ in range(net.layers):
            neuron = NEURONS[net.neuron](net.hidden, net.longest)
            norm = nn.BatchNorm1d(net.hidden)
            nn.init.constant_(norm.weight, net.gain)
            rows += [Linear(width, net.hidden), norm, neuron, *([Dropout(net.dropout)] if net.dropout else [])]
            width = net.hidden
        return Padded(Sequential(*rows, Linear(width, classes), LI(beta=net.readout_beta)))

    def augment(self, x: Tensor, generator: Generator) -> Tensor:
        """Play each recording at a random speed, and add noise."""
        x = played(x, self.speeds(x, generator))
        return x + self.noise * torch.randn(x.shape, generator=generator, dtype=x.dtype, device=x.device)

    def speeds(self, x: Tensor, generator: Generator) -> Tensor:
        """Return a random speed for each recording: `[B, 1]`."""
        draws = torch.rand(len(x), 1, generator=generator, dtype=x.dtype, device=x.device)
        return 1.0 + self.stretch * (2.0 * draws - 1.0)

    def encode(self, x: Tensor, generator: Generator) -> Tensor:
        """Return `[T, B, 2 F]` for x `[B, T, F]`: the signal, and its change since the previous step."""
        x = x.transpose(0, 1)
        return torch.cat([x, x.diff(dim=0, prepend=x[:1])], 2)

    def loss(self) -> loss.Loss:
        """Return the loss: cross-entropy of the readout's mean over each recording."""
        return OfOwnLength(loss.mean_crossentropy(self.smoothing))

    def metric(self) -> Any:
        return OfOwnLength(metric.integral_accuracy())


def played(x: Tensor, speeds: Tensor) -> Tensor:
    """Play recordings x `[B, T, features]` at other speeds `[B, 1]`, interpolated between steps; what would come after
    the last step T is equal to it.
    """
    steps, features = x.shape[1:]
    place = torch.arange(steps, device=x.device) * speeds  # steps to read from

    def read(step: Tensor) -> Tensor:
        return x.gather(1, step.long().clamp(max=steps - 1).unsqueeze(-1).expand(-1, -1, features))

    before, part = read(place.floor()), (place % 1.0).unsqueeze(-1)
    return torch.where(part > 0, before + part * (read(place.floor() + 1) - before), before)
