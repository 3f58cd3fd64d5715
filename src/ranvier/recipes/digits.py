"""Handwritten digits, classified by a small convolutional spiking network that trains in about 20 seconds."""

from dataclasses import dataclass, field
from math import pi
from typing import ClassVar

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional

from ranvier.nn.neurons.leaky import LI, LIF
from ranvier.nn.sequential import Sequential
from ranvier.online import FEEDBACKS, GRADIENTS, Learner
from ranvier.online.methods import checked
from ranvier.recipes.recipe import Recipe


@dataclass(frozen=True)
class Net:
    """channels: those of the first convolution (the second has twice as many). hidden: number of hidden neurons. beta,
    readout_beta: decays per step in [0, 1].
    """

    channels: int = 16
    hidden: int = 128
    beta: float = 0.9
    readout_beta: float = 0.95


@dataclass(frozen=True)
class Wobble:
    """The largest random changes of training images, in both directions: rotation in degrees, shift in pixels, scale
    and shear as fractions.
    """

    degrees: float = 10.0
    shift: float = 0.8
    scale: float = 0.1
    shear: float = 0.1


@dataclass(frozen=True)
class Digits(Recipe):
    """1,797 real handwritten digits, 8 x 8 pixels, encoded as constant currents into three spiking layers.

    gradient: "bptt", or one of `ranvier.online.GRADIENTS` that learn forward in time ("eprop", "ottt", ...); feedback:
    how the error reaches the hidden layers of "eprop" ("symmetric", "random", "adaptive").
    """

    name: ClassVar[str] = "digits"
    data: str = "digits"
    gradient: str = "bptt"
    feedback: str = "symmetric"
    steps: int = 8
    epochs: int = 20
    lr: float = 4e-3
    net: Net = field(default_factory=Net)
    wobble: Wobble = field(default_factory=Wobble)

    def build(self) -> nn.Module:
        channels, hidden, beta = self.net.channels, self.net.hidden, self.net.beta
        net = Sequential(
            nn.Conv2d(1, channels, 3, padding=1), LIF(beta=beta),
            nn.Conv2d(channels, 2 * channels, 3, stride=2, padding=1), LIF(beta=beta),
            nn.Flatten(), nn.LazyLinear(hidden), LIF(beta=beta),
            nn.Linear(hidden, 10), LI(beta=self.net.readout_beta),
        )  # fmt: skip
        return net if self.gradient == "bptt" else Learner(net, self.gradient, self.feedback, (1, 8, 8))

    def __post_init__(self) -> None:
        super().__post_init__()
        checked("gradient", self.gradient, GRADIENTS)
        checked("feedback", self.feedback, FEEDBACKS)

    def augment(self, x: Tensor, generator: Generator) -> Tensor:
        return wobble(x, self.wobble, generator)


def wobble(x: Tensor, by: Wobble, generator: Generator) -> Tensor:
    """Return images x `[B, C, H, W]`, each rotated, scaled, sheared and shifted at random; pixels from outside
    are 0.
    """
    size = torch.tensor([x.shape[-1], x.shape[-2]], device=x.device)
    reach = torch.tensor([by.degrees * pi / 180, by.scale, by.scale, by.shear], dtype=x.dtype, device=x.device)
    draws = torch.rand(len(x), 6, generator=generator, dtype=x.dtype, device=x.device) * 2 - 1
    turn, wide, high, shear = (draws[:, :4] * reach).unbind(1)
    rows = x.new_zeros(len(x), 2, 3)  # affine map from new to old coordinates, both in [-1, 1]
    rows[:, 0, 0], rows[:, 0, 1] = (1 + wide) * turn.cos(), shear - (1 + high) * turn.sin()
    rows[:, 1, 0], rows[:, 1, 1] = (1 + wide) * turn.sin(), (1 + high) * turn.cos()
    rows[:, :, 2] = draws[:, 4:] * by.shift * 2 / size
    places = functional.affine_grid(rows, list(x.shape), align_corners=False)
    return functional.grid_sample(x, places, align_corners=False)
