"""Convolution, norm, neuron and pool, the stage of a deep spiking net: in one pass over memory where that can be.

One after the other they keep four tensors of full size for backward: what the convolution gave, its normalised form,
the spikes, and what the pool needs to know. In one pass only the first is kept: the norm is two numbers per channel,
which the rule of the neuron reads with its input, and the pool takes the spikes while they are in cache. Backward
computes the rest again.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor, nn

from ranvier.nn.convolution import Conv2d
from ranvier.nn.neuron import Neuron
from ranvier.nn.norm import ThresholdBatchNorm2d
from ranvier.nn.onepass import one_pass
from ranvier.nn.stage import DTYPES, Form, Stage, one_by_one, plain_neuron, serves

NORMS = (nn.BatchNorm2d, ThresholdBatchNorm2d)


def _max_window(pool: nn.MaxPool2d) -> Any:
    return pool.kernel_size if pool.dilation in (1, (1, 1)) and not pool.return_indices else None


def _mean_window(pool: nn.AvgPool2d) -> Any:
    return pool.kernel_size if pool.divisor_override is None else None


# For each pool: its kind, and its window, or None if it does what a stage cannot.
POOLS: dict[type, tuple[str, Callable[[Any], Any]]] = {
    nn.MaxPool2d: ("max", _max_window),
    nn.AvgPool2d: ("mean", _mean_window),
}
TRAIL = 1 << 22  # numbers: what the states of one row of windows may take over all steps


def _pooling(pool: nn.Module | None) -> tuple[str, int]:
    """Kind and window of a pool of square windows side by side, or of none; window 0 if it is another pool."""
    if pool is None:
        return "max", 1
    kind, window = POOLS[type(pool)]
    sizes = {n for k in (window(pool), pool.stride) for n in (k if isinstance(k, tuple) else (k,))}
    one = sizes.pop() if len(sizes) == 1 and pool.padding in (0, (0, 0)) and not pool.ceil_mode else None
    return kind, one if isinstance(one, int) else 0


@dataclass(frozen=True)
class PictureStage(Stage):
    """Layers in a row, a neuron among them; the others may be absent, but not both norm and pool."""

    convolution: nn.Conv2d | None
    norm: Any
    neuron: Neuron
    pool: nn.Module | None

    @classmethod
    def begin(cls, modules: Sequence[nn.Module]) -> Self | None:
        """The stage that these layers begin with, if they do."""
        rest = list(modules)

        def take(*kinds: type) -> Any:
            return rest.pop(0) if rest and type(rest[0]) in kinds else None

        convolution, norm = take(nn.Conv2d, Conv2d), take(*NORMS)
        neuron: Any = rest.pop(0) if rest else None
        pool = take(*POOLS)
        if not plain_neuron(neuron) or (norm is None and pool is None):  # alone, the neuron has a pass of its own
            return None
        return cls(convolution, norm, neuron, pool)

    @property
    def layers(self) -> list[nn.Module]:
        return [m for m in (self.convolution, self.norm, self.neuron, self.pool) if m is not None]

    @property
    def takes(self) -> Form:
        return "plain" if self.convolution is None else "channels last"

    def __call__(self, x: Any, form: Form = "plain") -> Any:
        """x [T, B, C, H, W] -> [T, B, C', H', W']."""
        if not serves(self.layers, x, axes=5):
            return one_by_one(self.layers, x)
        steps, batch = x.shape[:2]
        still = steps > 1 and x.stride(0) == 0  # one picture for all steps
        y = x[0] if still else x.flatten(0, 1)
        if self.convolution is not None:
            y = self.convolution(_last(y))
        if not self._fits(y, steps):
            y = y.unsqueeze(0).expand(steps, *y.shape) if still else y.unflatten(0, (steps, batch))
            return one_by_one(self.layers[self.convolution is not None :], y)
        z = one_pass(y, self.norm, self.neuron, *_pooling(self.pool), steps, batch)
        return z if form == "channels last" else z.contiguous()

    def _fits(self, y: Tensor, steps: int) -> bool:
        """Whether pictures [N, C, H, W], what the convolution gave, can be pooled row of windows by row of windows."""
        _, window = _pooling(self.pool)
        row = steps * len(self.neuron.states) * window * y.shape[1] * y.shape[3]
        return (
            0 < window <= min(y.shape[2:])
            and row <= TRAIL
            and y.dtype in DTYPES
            and y.is_contiguous(memory_format=torch.channels_last)
            and (self.norm is None or (self.norm.num_features == y.shape[1] and y.numel() > y.shape[1]))
        )


def _last(x: Tensor) -> Tensor:
    """x [N, C, H, W] with channels last in memory, and strides that say so even where C is 1."""
    y = x.contiguous(memory_format=torch.channels_last)
    _, channels, height, width = x.shape
    return y.as_strided(y.shape, (height * width * channels, 1, width * channels, channels))
