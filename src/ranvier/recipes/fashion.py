"""Fashion-MNIST: images of clothes, classified by a network of four convolutions, or by one with spike-driven
attention.
"""

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional

from ranvier.nn import models
from ranvier.nn.neurons.leaky import LIF
from ranvier.recipes.recipe import Recipe


@dataclass(frozen=True)
class Net:
    """kind: "conv" (four convolutions) or "attention" (two, and a spike-driven attention). channels: those of the first
    layer; each of the next layers doubles them, but none has more than `most` times as many. positions: whether the
    readout reads every position of the last convolution, or their mean. heads: heads of the attention. beta: decay per
    step, in [0, 1].
    """

    kind: str = "conv"
    channels: int = 32
    most: int = 8
    positions: bool = True
    heads: int = 4
    beta: float = 0.5


@dataclass(frozen=True)
class FashionMNIST(Recipe):
    """70,000 images of clothes, 28 x 28 pixels, encoded as constant currents into a convolutional spiking network.

    shift: training images are moved by up to this number of pixels, in both directions.
    """

    name: ClassVar[str] = "fashion-mnist"
    data: str = "fashion-mnist"
    steps: int = 2
    epochs: int = 12
    batch: int = 128
    lr: float = 4e-3
    shift: int = 1
    net: Net = field(default_factory=Net)

    def build(self) -> nn.Module:
        def neuron() -> nn.Module:
            return LIF(beta=self.net.beta, detach_reset=True)

        width = self.net.channels
        if self.net.kind == "conv":
            widths = [width * min(2**k, self.net.most) for k in range(4)]
            return models.vgg(widths=widths, neuron=neuron, halve=1, side=28 if self.net.positions else 0)
        if self.net.kind == "attention":
            return models.spike_driven(features=2 * width, heads=self.net.heads, neuron=neuron)
        raise ValueError(f'net.kind must be "conv" or "attention", got {self.net.kind!r}')

    def augment(self, x: Tensor, generator: Generator) -> Tensor:
        """Move each image by a few pixels, and mirror it with a probability of one half; images of digits are not
        mirrored.
        """
        x = moved(x, self.shift, generator)
        if self.data != "fashion-mnist":
            return x
        mirrored = torch.rand(len(x), generator=generator, device=x.device) < 0.5
        return torch.where(mirrored.view(-1, *(1,) * (x.dim() - 1)), x.flip(-1), x)


def moved(x: Tensor, by: int, generator: Generator) -> Tensor:
    """Return images x `[B, C, H, W]`, each moved at random by up to `by` pixels down or up, and to the right or left;
    pixels from outside are 0.
    """
    high, wide = x.shape[-2:]
    draws = torch.randint(0, 2 * by + 1, (2, len(x), 1, 1, 1), generator=generator, device=x.device)
    rows = draws[0] + torch.arange(high, device=x.device).view(-1, 1)
    columns = draws[1] + torch.arange(wide, device=x.device)
    images, channels = (torch.arange(n, device=x.device) for n in x.shape[:2])
    return functional.pad(x, [by] * 4)[images.view(-1, 1, 1, 1), channels.view(-1, 1, 1), rows, columns]
