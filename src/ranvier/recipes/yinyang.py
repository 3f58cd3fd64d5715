"""The Yin-Yang figure: a small test of learning with spike times or currents, in seconds."""

from dataclasses import dataclass, field
from typing import ClassVar

from torch import nn

from ranvier.nn.neurons.leaky import LI, LIF
from ranvier.nn.sequential import Sequential
from ranvier.recipes.recipe import Recipe


@dataclass(frozen=True)
class Net:
    """hidden neurons in each of two layers, decays per tick in [0, 1]."""

    hidden: int = 128
    beta: float = 0.9
    readout_beta: float = 0.95


@dataclass(frozen=True)
class YinYang(Recipe):
    """Points of the Yin-Yang figure: is a place on the yin, the yang or a dot? Four currents, two spiking layers."""

    name: ClassVar[str] = "yinyang"
    data: str = "yinyang"
    steps: int = 16
    epochs: int = 40
    batch: int = 128
    lr: float = 5e-3
    smoothing: float = 0.0
    net: Net = field(default_factory=Net)

    def build(self) -> nn.Module:
        hidden, beta = self.net.hidden, self.net.beta
        return Sequential(
            nn.LazyLinear(hidden), LIF(beta=beta),
            nn.Linear(hidden, hidden), LIF(beta=beta),
            nn.Linear(hidden, 3), LI(beta=self.net.readout_beta),
        )  # fmt: skip
