"""The stage of a convolutional network: convolution, norm, neuron and pool, computed in one pass over memory.

Run one by one, these layers save four tensors of full size for backward: the output of the convolution, the output of
the norm, the spikes, and the positions of the maxima in the pool. In one pass only the first is saved. The norm becomes
a scale and a shift per channel, which the kernel of the neuron applies to its input; the pool reads the spikes while
they are in cache. Backward recomputes the rest.

If a state is passed in, returned or recorded, the layers run one by one, with the same arithmetic.
"""

from collections.abc import Callable, Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn

from ranvier.nn.convolution import Conv2d
from ranvier.nn.fold import fold, still
from ranvier.nn.neuron import Neuron
from ranvier.nn.norm import ThresholdBatchNorm2d
from ranvier.nn.normalised import normalised, one_pass
from ranvier.nn.plan import Stage, plain_neuron
from ranvier.nn.temporal import Temporal, here

DTYPES = torch.float32, torch.float64
NORMS = nn.BatchNorm2d, ThresholdBatchNorm2d
TRAIL = 1 << 22  # most numbers for the states of one row of pooling windows over all steps


def _max_window(pool: nn.MaxPool2d) -> Any:
    return pool.kernel_size if pool.dilation in (1, (1, 1)) and not pool.return_indices else None


def _mean_window(pool: nn.AvgPool2d) -> Any:
    return pool.kernel_size if pool.divisor_override is None else None


# For each type of pool: its kind, and a function that returns its window, or None if a stage cannot run this pool.
POOLS: dict[type, tuple[str, Callable[[Any], Any]]] = {
    nn.MaxPool2d: ("max", _max_window),
    nn.AvgPool2d: ("mean", _mean_window),
}


def _pooling(pool: nn.Module | None) -> tuple[str, int]:
    """Return the kind and the window size of a pool with square windows that do not overlap. The size is 1 if there is
    no pool, and 0 for any other pool.
    """
    if pool is None:
        return "max", 1
    kind, window = POOLS[type(pool)]
    sizes = {n for k in (window(pool), pool.stride) for n in (k if isinstance(k, tuple) else (k,))}
    one = sizes.pop() if len(sizes) == 1 and pool.padding in (0, (0, 0)) and not pool.ceil_mode else None
    return kind, one if isinstance(one, int) else 0


class ConvolutionStage(Stage):
    """A neuron together with a convolution, a norm and a pool. The convolution is optional, and so is either the norm
    or the pool.
    """

    folds = False
    temporal: Neuron

    def __init__(self, convolution: nn.Conv2d | None, norm: Any, neuron: Neuron, pool: nn.Module | None):
        self.convolution, self.norm, self.temporal, self.pool = convolution, norm, neuron, pool
        self.layers = tuple(m for m in (convolution, norm, neuron, pool) if m is not None)

    @classmethod
    def begin(cls, layers: Sequence[nn.Module]) -> Self | None:
        rest = list(layers)

        def take(*kinds: type) -> Any:
            return rest.pop(0) if rest and type(rest[0]) in kinds else None

        convolution, norm = take(nn.Conv2d, Conv2d), take(*NORMS)
        neuron: Any = rest.pop(0) if rest else None
        pool = take(*POOLS)
        if not plain_neuron(neuron) or (norm is None and pool is None):  # without both, the neuron alone is one pass
            return None
        return cls(convolution, norm, neuron, pool)

    def serves(self, x: Any) -> bool:
        """Whether x is a sequence of images [T, B, C, H, W] that this stage can run."""
        if not isinstance(x, Tensor) or x.dim() != 5 or x.dtype not in DTYPES or x.numel() == 0:
            return False
        convolution, norm = self.convolution, self.norm
        if convolution is not None and convolution.weight.dtype != x.dtype:
            return False
        channels = x.shape[2] if convolution is None else convolution.out_channels
        sizes = [] if norm is None else [norm.weight, norm.bias, norm.running_mean, norm.running_var]
        return all(v is None or (v.shape == (channels,) and v.dtype == x.dtype) for v in sizes)

    def __call__(self, x: Tensor) -> Tensor:
        """Run images x [T, B, C, H, W] from the initial state. If they are channels last in memory, the output is too,
        as with torch's convolution.
        """
        steps, batch = x.shape[:2]
        y = self._convolved(x)
        if not self._fits(y, steps):
            return self._in_turns(y, x.shape[:2], None, ())[0]
        z = one_pass(y, self.norm, self.temporal, *_pooling(self.pool), steps, batch)
        chained = isinstance(self.after, ConvolutionStage) and self.after.convolution is not None
        return z if chained or _are_last(x) else z.contiguous()

    def run(self, x: Any, state: Any = None, names: tuple[str, ...] = ()) -> tuple[Any, Any, dict[str, Tensor]]:
        return self._in_turns(self._convolved(x), x.shape[:2], state, names)

    def explanations(self, x: Any) -> list[tuple[nn.Module, str]]:
        names = ", ".join(type(layer).__name__ for layer in self.layers)
        return [
            (layer, layer.explain(x.flatten(0, 1)) if isinstance(layer, Conv2d) else f"numba: one stage ({names})")
            for layer in self.layers
        ]

    def _convolved(self, x: Tensor) -> Tensor:
        """Return the output of the convolution: [T B, C, H, W], or [B, C, H, W] if all steps are the same."""
        y = x[0] if still(x) else x.flatten(0, 1)
        return y if self.convolution is None else self.convolution(_last(y))

    def _in_turns(
        self, y: Tensor, size: Sequence[int], state: Any, names: tuple[str, ...]
    ) -> tuple[Any, Any, dict[str, Tensor]]:
        """Run norm, neuron and pool one after the other on images y, for `size` = [T, B]."""
        (steps, batch), norm = size, self.norm
        ours = norm is not None and self._has_layout(y)
        y = normalised(y, norm, steps * batch // len(y)) if ours else y
        y = y.unflatten(0, size) if len(y) == steps * batch else y.unsqueeze(0).expand(steps, *y.shape)
        if norm is not None and not ours:
            y = norm.run(y)[0] if isinstance(norm, Temporal) else fold(norm, y)
        if isinstance(norm, Temporal) and (book := getattr(here, "book", None)) is not None:
            book.passed(norm, y)
        z, after, traces = self.temporal.run(y, state, names)
        return z if self.pool is None else fold(self.pool, z), after, traces

    def _fits(self, y: Tensor, steps: int) -> bool:
        """Whether images y [N, C, H, W], the output of the convolution, can be pooled one row of windows at a time."""
        _, window = _pooling(self.pool)
        row = steps * len(self.temporal.states) * window * y.shape[1] * y.shape[3]
        return 0 < window <= min(y.shape[2:]) and row <= TRAIL and self._has_layout(y)

    def _has_layout(self, y: Tensor) -> bool:
        """Whether images [N, C, H, W] have the memory layout that kernels need, and enough values for a norm."""
        last = y.is_contiguous(memory_format=torch.channels_last)
        return y.dtype in DTYPES and last and (self.norm is None or y.numel() > y.shape[1])


def _are_last(x: Tensor) -> bool:
    """Whether images [T, B, C, H, W] are stored with channels last, and not in the usual order."""
    return x.permute(0, 1, 3, 4, 2).is_contiguous() and not x.is_contiguous()


def _last(x: Tensor) -> Tensor:
    """Return x [N, C, H, W] with channels last in memory, with strides that show this even if C is 1."""
    y = x.contiguous(memory_format=torch.channels_last)
    _, channels, height, width = x.shape
    strides = height * width * channels, 1, width * channels, channels
    return y if y.stride() == strides else y.as_strided(y.shape, strides)  # its derivative takes two passes
