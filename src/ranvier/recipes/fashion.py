"""Fashion-MNIST: images of clothes, classified by a network of four convolutions, or by one with spike-driven
attention.
"""

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Generator, Tensor, nn

from ranvier.nn import models
from ranvier.nn.neurons.leaky import LIF
from ranvier.recipes.recipe import Recipe


@dataclass(frozen=True)
class Net:
    """kind: "conv" (four convolutions) or "attention" (two, and a spike-driven attention). channels: those of the first
    layer; each of the next two layers at most doubles them. heads: heads of the attention. beta: decay per step, in
    [0, 1].
    """

    kind: str = "conv"
    channels: int = 16
    heads: int = 4
    beta: float = 0.5


@dataclass(frozen=True)
class FashionMNIST(Recipe):
    """70,000 images of clothes, 28 x 28 pixels, encoded as constant currents into a convolutional spiking network."""

    name: ClassVar[str] = "fashion-mnist"
    data: str = "fashion-mnist"
    steps: int = 4
    epochs: int = 4
    batch: int = 128
    lr: float = 4e-3
    net: Net = field(default_factory=Net)

    def build(self) -> nn.Module:
        def neuron() -> nn.Module:
            return LIF(beta=self.net.beta, detach_reset=True)

        width = self.net.channels
        if self.net.kind == "conv":
            return models.vgg(widths=(width, 2 * width, 4 * width, 4 * width), neuron=neuron, halve=1)
        if self.net.kind == "attention":
            return models.spike_driven(features=2 * width, heads=self.net.heads, neuron=neuron)
        raise ValueError(f'net.kind must be "conv" or "attention", got {self.net.kind!r}')

    def augment(self, x: Tensor, generator: Generator) -> Tensor:
        """Mirror each image with a probability of one half; images of digits are not mirrored."""
        if self.data != "fashion-mnist":
            return x
        mirrored = torch.rand(len(x), generator=generator, device=x.device) < 0.5
        return torch.where(mirrored.view(-1, *(1,) * (x.dim() - 1)), x.flip(-1), x)
