"""The stage of a batch norm and its neurons on sequences [T, B, N], computed in one pass over memory.

The norm becomes a scale and a shift per neuron, which the kernel of the neurons applies to its input; so the output of
the norm is neither written to memory nor saved for backward, which computes it again. With states, or for a record, the
two layers run one after the other, with the same arithmetic.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any, Self

from torch import Tensor, nn

from ranvier.nn.fold import still
from ranvier.nn.neuron import Neuron
from ranvier.nn.normalised import normalised, one_pass_of_rows, pictures
from ranvier.nn.plan import Stage, plain_neuron
from ranvier.nn.stage_convolution import DTYPES, TRAIL

WIDE = 256  # numbers in a row from which longer rows are not faster


class NormStage(Stage):
    """A batch norm and a neuron."""

    folds = False
    temporal: Neuron

    def __init__(self, norm: nn.BatchNorm1d, neuron: Neuron):
        self.norm, self.temporal, self.layers = norm, neuron, (norm, neuron)

    @classmethod
    def begin(cls, layers: Sequence[nn.Module]) -> Self | None:
        norm, neuron, *_ = (*layers[:2], None, None)
        return cls(norm, neuron) if type(norm) is nn.BatchNorm1d and plain_neuron(neuron) else None  # type: ignore

    def serves(self, x: Any) -> bool:
        """Whether x is a sequence [T, B, N] of the norm's features and dtype, with enough values for its statistics."""
        if not isinstance(x, Tensor) or x.dim() != 3 or x.dtype not in DTYPES or not x.numel():
            return False
        norm, one = self.norm, x.numel() == x.shape[2]
        if one and (norm.training or norm.running_mean is None):
            return False
        tensors = [norm.weight, norm.bias, norm.running_mean, norm.running_var]
        return all(v is None or (v.shape == x.shape[2:] and v.dtype == x.dtype) for v in tensors)

    def __call__(self, x: Tensor) -> Tensor:
        steps, batch, count = x.shape
        most = TRAIL // (steps * max(1, len(self.temporal.states)) * count)  # samples whose states fit
        if not (together := _together(batch, count, most)):
            return self.run(x)[0]
        return one_pass_of_rows(self._once(x), self.norm, self.temporal, together, steps)

    def run(self, x: Any, state: Any = None, names: tuple[str, ...] = ()) -> tuple[Any, Any, dict[str, Tensor]]:
        y = self._once(x)
        u = normalised(pictures(y), self.norm, len(x) // len(y)).permute(0, 2, 3, 1).flatten(1, 2)
        return self.temporal.run(u.expand(x.shape), state, names)

    def _once(self, x: Tensor) -> Tensor:
        """Return x, or only its first step if all steps are the same."""
        return (x[:1] if still(x) else x).contiguous()


@cache
def _together(batch: int, count: int, most: int) -> int:
    """Return how many samples with `count` neurons are computed together: the smallest divisor of `batch` that makes
    rows WIDE, or else the largest one up to `most`; 0 if there is none.
    """
    divisors = [k for k in range(1, min(batch, most) + 1) if batch % k == 0]
    return next((k for k in divisors if k * count >= WIDE), divisors[-1] if divisors else 0)
