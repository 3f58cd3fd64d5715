"""Layers one after the other."""

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

from torch import nn

from ranvier.nn.fold import Fold, fold, temporal
from ranvier.nn.stage import Stage
from ranvier.nn.stage_driven import DrivenStage
from ranvier.nn.stage_pictures import PictureStage
from ranvier.nn.temporal import here

__all__ = ["Fold", "Sequential", "fold", "temporal"]

STAGES = (PictureStage, DrivenStage)


def stages(modules: Sequence[nn.Module]) -> list[nn.Module | Stage]:
    """Layers in a row, those that make a stage put together."""
    found: list[nn.Module | Stage] = []
    rest = list(modules)
    while rest:
        one = next(filter(None, (kind.begin(rest) for kind in STAGES)), None)
        found.append(one or rest[0])
        del rest[: len(one.layers) if one else 1]
    return found


class Sequential(nn.Sequential):
    """Layers one after the other. x [T, B, *features]; modules that do not know time see every step as one sample.

    >>> import torch, ranvier
    >>> from torch import nn
    >>> net = ranvier.Sequential(nn.Conv2d(1, 4, 3), ranvier.LIF(), nn.Flatten(), nn.LazyLinear(10), ranvier.LI())
    >>> net(torch.rand(5, 2, 1, 8, 8)).shape
    torch.Size([5, 2, 10])
    """

    def forward(self, x: Any) -> Any:  # type: ignore[override]
        layers, watched = stages(list(self)), getattr(here, "stage", nullcontext)
        for layer, behind in zip(layers, [*layers[1:], None], strict=True):
            if isinstance(layer, Stage):
                with watched(layer):
                    x = layer(x, behind.takes if isinstance(behind, Stage) else "plain")
            else:
                x = layer(x) if temporal(layer) else fold(layer, x)
        return x
