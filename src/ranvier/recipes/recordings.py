"""Real recordings: spoken digits, speakers of a vowel, exercises recorded by a watch, and digits pixel by pixel."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import torch
from torch import Generator, Tensor, nn

from ranvier.data import Splits, smartwatch
from ranvier.recipes.signal import Net, Signal, played


@dataclass(frozen=True)
class SpokenDigits(Signal):
    """3,000 spoken digits as 13 cepstral coefficients over 6 to 92 frames."""

    name: ClassVar[str] = "spoken-digits"
    data: str = "spoken-digits"
    steps: int = 92
    epochs: int = 50
    lr: float = 5e-3
    net: Net = field(default_factory=lambda: Net(neuron="lif"))

    def build(self) -> nn.Module:
        return self.layers(self.net, features=13, classes=10)


@dataclass(frozen=True)
class JapaneseVowels(Signal):
    """Which of nine men says "ae"? 12 coefficients over 7 to 29 frames, with the published split.

    offset: standard deviation of a random number that is added to each coefficient of a training recording, the same at
    all frames, because voices and microphones differ from day to day.
    """

    name: ClassVar[str] = "japanese-vowels"
    data: str = "japanese-vowels"
    steps: int = 29
    epochs: int = 80
    batch: int = 27
    lr: float = 5e-3
    noise: float = 0.3
    offset: float = 0.5
    net: Net = field(default_factory=lambda: Net(hidden=256, neuron="silif", layers=1, dropout=0.3, readout_beta=0.0))

    def build(self) -> nn.Module:
        return self.layers(self.net, features=12, classes=9)

    def augment(self, x: Tensor, generator: Generator) -> Tensor:
        x = super().augment(x, generator)
        draws = torch.randn(len(x), 1, x.shape[2], generator=generator, dtype=x.dtype, device=x.device)
        return x + self.offset * draws


@dataclass(frozen=True)
class Smartwatch(Signal):
    """Seven exercises, from four seconds of a watch on the wrist; the people of the test set are not in the training
    set.

    fold: which of five pairs of people is the test set, 0 to 4. turn: standard deviation, in radians, of a random
    rotation of training recordings, because people wear a watch in different ways. every: this number of steps of a
    recording is averaged to one step of the network (4: 12.5 Hz). A faster recording ends earlier, and its rotations
    are faster.
    """

    name: ClassVar[str] = "smartwatch"
    data: str = "smartwatch"
    steps: int = 200
    epochs: int = 24
    lr: float = 5e-3
    noise: float = 0.2
    stretch: float = 0.4
    turn: float = 0.3
    every: int = 4
    fold: int = 0
    net: Net = field(default_factory=lambda: Net(longest=30.0, dropout=0.3))

    def splits(self, folder: str | Path | None = None) -> Splits:
        return smartwatch(folder, self.fold)

    def build(self) -> nn.Module:
        return self.layers(self.net, features=6, classes=7)

    def augment(self, x: Tensor, generator: Generator) -> Tensor:
        speeds = self.speeds(x, generator)
        x = played(nn.functional.pad(x, (0, 0, 0, 1), value=torch.nan), speeds)[:, :-1]  # NaN after the end
        x = torch.cat([x[..., :3], x[..., 3:] * speeds.unsqueeze(-1)], 2)
        x = x + self.noise * torch.randn(x.shape, generator=generator, dtype=x.dtype, device=x.device)
        a, b, c = (self.turn * torch.randn(3, len(x), generator=generator, dtype=x.dtype, device=x.device)).unbind(0)
        zero = torch.zeros_like(a)
        # the matrix whose exponential is a rotation by the angles a, b, c about the three axes
        rates = torch.stack([zero, -c, b, c, zero, -a, -b, a, zero], 1).view(-1, 3, 3)
        rotation = torch.matrix_exp(rates)
        return torch.einsum("bij,btsj->btsi", rotation, x.unflatten(2, (2, 3))).flatten(2)

    def encode(self, x: Tensor, generator: Generator) -> Tensor:
        x = x[:, : x.shape[1] // self.every * self.every]
        return super().encode(x.unflatten(1, (-1, self.every)).mean(2), generator)


@dataclass(frozen=True)
class SequentialMNIST(Signal):
    """Handwritten digits, one pixel per step in 784 steps; `--set data=permuted-mnist` uses another order of pixels."""

    name: ClassVar[str] = "sequential-mnist"
    data: str = "sequential-mnist"
    steps: int = 784
    epochs: int = 10
    batch: int = 50
    lr: float = 1e-2
    noise: float = 0.0
    stretch: float = 0.0
    net: Net = field(
        default_factory=lambda: Net(neuron="brf", longest=1000.0, gain=30.0, dropout=0.0, readout_beta=0.97)
    )

    def build(self) -> nn.Module:
        return self.layers(self.net, features=1, classes=10)

    def augment(self, x: Tensor, generator: Generator) -> Tensor:
        return x
