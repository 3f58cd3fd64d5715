"""Layers one after the other."""

from typing import Any

from torch import nn

from ranvier.nn.fold import Fold, fold, temporal
from ranvier.nn.stage import Stage, stages

__all__ = ["Fold", "Sequential", "fold", "temporal"]


class Sequential(nn.Sequential):
    """Layers one after the other. x [T, B, *features]; modules that do not know time see every tick as one sample.

    >>> import torch, ranvier
    >>> from torch import nn
    >>> net = ranvier.Sequential(nn.Conv2d(1, 4, 3), ranvier.LIF(), nn.Flatten(), nn.LazyLinear(10), ranvier.LI())
    >>> net(torch.rand(5, 2, 1, 8, 8)).shape
    torch.Size([5, 2, 10])
    """

    def forward(self, x: Any) -> Any:  # type: ignore[override]
        layers = stages(list(self))
        for k, layer in enumerate(layers):
            if isinstance(layer, Stage):
                behind = layers[k + 1] if k + 1 < len(layers) else None
                x = layer(x, onward=isinstance(behind, Stage) and behind.convolution is not None)
            else:
                x = layer(x) if temporal(layer) else fold(layer, x)
        return x
