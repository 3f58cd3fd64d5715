"""Convolution, norm, neuron and pool, the stage of a deep spiking net: in one pass over memory where that can be.

One after the other they keep four tensors of full size for backward: what the convolution gave, its normalised form,
the spikes, and what the pool needs to know. In one pass only the first is kept: the norm is two numbers per channel,
which the rule of the neuron reads with its input, and the pool takes the spikes while they are in cache. Backward
computes the rest again. `ranvier.Sequential` does this by itself, for CPU tensors; the results are those of the layers
one after the other, but for rounding.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ranvier.machines import choose
from ranvier.nn.convolution import Conv2d
from ranvier.nn.fold import fold, temporal
from ranvier.nn.neuron import Neuron
from ranvier.nn.norm import ThresholdBatchNorm2d
from ranvier.nn.onepass import DTYPES, one_pass
from ranvier.nn.temporal import Temporal, here

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
TRAIL = 1 << 22  # numbers: what the states of one row of windows may take over all ticks
HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def _pooling(pool: nn.Module | None) -> tuple[str, int]:
    """Kind and window of a pool of square windows side by side, or of none; window 0 if it is another pool."""
    if pool is None:
        return "max", 1
    kind, window = POOLS[type(pool)]
    sizes = {n for k in (window(pool), pool.stride) for n in (k if isinstance(k, tuple) else (k,))}
    one = sizes.pop() if len(sizes) == 1 and pool.padding in (0, (0, 0)) and not pool.ceil_mode else None
    return kind, one if isinstance(one, int) else 0


@dataclass(frozen=True)
class Stage:
    """Layers in a row, a neuron among them; the others may be absent, but not both norm and pool."""

    convolution: nn.Conv2d | None
    norm: Any
    neuron: Neuron
    pool: nn.Module | None

    @property
    def layers(self) -> list[nn.Module]:
        return [m for m in (self.convolution, self.norm, self.neuron, self.pool) if m is not None]

    def __call__(self, x: Any, onward: bool = False) -> Any:
        """x [T, B, C, H, W] -> [T, B, C', H', W']; with `onward`, channels stay last in memory for the next stage."""
        if not self._serves(x):
            return _one_by_one(self.layers, x)
        steps, batch = x.shape[:2]
        still = steps > 1 and x.stride(0) == 0  # one picture for all ticks
        y = x[0] if still else x.flatten(0, 1)
        if self.convolution is not None:
            y = self.convolution(_last(y))
        if not self._fits(y, steps):
            y = y.unsqueeze(0).expand(steps, *y.shape) if still else y.unflatten(0, (steps, batch))
            return _one_by_one(self.layers[self.convolution is not None :], y)
        z = one_pass(y, self.norm, self.neuron, *_pooling(self.pool), steps, batch)
        return z if onward else z.contiguous()

    def _serves(self, x: Any) -> bool:
        """Whether such an input may take the one pass."""
        return (
            type(x) is Tensor
            and x.dim() == 5
            and x.dtype in DTYPES
            and x.numel() > 0
            and not torch.compiler.is_compiling()
            and getattr(here, "book", None) is None  # the verbs see every layer by itself
            and choose.choose(x).machine == "cpu"
            and not any(getattr(m, hooks) for m in self.layers for hooks in HOOKS)
        )

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


def _one_by_one(layers: Sequence[nn.Module], x: Any) -> Any:
    for module in layers:
        x = module(x) if temporal(module) else fold(module, x)
    return x


def stages(modules: Sequence[nn.Module]) -> list[nn.Module | Stage]:
    """Layers in a row, those that make a stage put together."""
    found: list[nn.Module | Stage] = []
    k = 0
    while k < len(modules):
        one = _stage(modules, k)
        found.append(one or modules[k])
        k += len(one.layers) if one else 1
    return found


def _stage(modules: Sequence[nn.Module], k: int) -> Stage | None:
    def take(*kinds: type) -> Any:
        nonlocal k
        if k == len(modules) or type(modules[k]) not in kinds:
            return None
        k += 1
        return modules[k - 1]

    convolution, norm = take(nn.Conv2d, Conv2d), take(*NORMS)
    neuron = modules[k] if k < len(modules) else None
    if not isinstance(neuron, Neuron) or len(neuron.inputs) != 1 or not _plain(neuron):
        return None
    k += 1
    stage = Stage(convolution, norm, neuron, take(*POOLS))
    return (
        stage if stage.norm is not None or stage.pool is not None else None
    )  # alone, the neuron has a pass of its own


def _plain(neuron: Neuron) -> bool:
    """Whether the neuron is its rule and nothing else."""
    kind, own = type(neuron), ("run", "prepare", "initial", "_inputs")
    return (
        kind.forward is Temporal.forward
        and all(getattr(kind, n) is getattr(Neuron, n) for n in own)
        and len(neuron.bound(()).outputs) == 1
    )


def _last(x: Tensor) -> Tensor:
    """x [N, C, H, W] with channels last in memory, and strides that say so even where C is 1."""
    y = x.contiguous(memory_format=torch.channels_last)
    _, channels, height, width = x.shape
    return y.as_strided(y.shape, (height * width * channels, 1, width * channels, channels))
