"""The layers that replace ReLU and max pooling in a converted network, and `QCFS`, an activation for training before
the conversion.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ranvier.nn.bounds import bounded
from ranvier.nn.neuron import Neuron, Param, State
from ranvier.nn.temporal import Temporal, check_sequence, promoted
from ranvier.ops import inject, spike


class RateIF(Neuron):
    """Integrate-and-fire that replaces a ReLU: the mean of its output over time approaches relu(mean of x).

    v = v + x;  z = threshold where v >= threshold, else 0;  v = v - z;  the output is z.

    x [T, B, *features] -> z of the same shape. The height of a spike is the threshold, so the layers behind the neuron
    need no new weights. v starts at half the threshold, so that the mean after T steps is relu(x) *rounded* to a whole
    number of spikes. The mean cannot be above the threshold. threshold: a number, or a tensor broadcastable to the
    features. Rueckauer et al., Conversion of continuous-valued deep networks, 2017; Deng & Gu, Optimal conversion,
    2021.

    >>> import torch
    >>> from ranvier.convert import RateIF
    >>> RateIF(2.0)(torch.full((4, 1, 1), 1.1)).flatten()
    tensor([2., 0., 2., 0.])
    """

    threshold = Param(1.0, "membrane at which a spike is fired, and the height of the spike", low=0.0)
    begin = Param(0.5, "membrane before the first step")
    v = State("begin", "membrane")

    @staticmethod
    def rule(x, v, threshold, begin):
        v = v + x
        z = spike(v - threshold) * threshold
        return z, v - z

    def __init__(self, threshold: float | Tensor = 1.0, **keywords: Any):
        super().__init__(threshold=threshold, begin=0.5 * threshold, **keywords)


class _Total(Neuron):
    """The sum of all input so far."""

    total = State(0.0)

    @staticmethod
    def rule(x, total):
        total = total + x
        return total, total


class _Change(Neuron):
    """The increase of the input since the last step."""

    last = State(0.0)

    @staticmethod
    def rule(x, last):
        return x - last, x


_TOTAL, _CHANGE = _Total(), _Change()


class MaxOfRates(Temporal):
    """Max pooling of the summed input: the sum of its output over time is the pool of the sum of its input.

    y[t] = pool(x[1] + ... + x[t]) - pool(x[1] + ... + x[t - 1]).

    Max pooling of every step separately would be wrong: two neurons that spike alternately would count twice. This
    layer is exact at every step, and spikes of one height stay spikes of that height (up to rounding).

    pool: any function [B, *features] -> [B, *pooled] with pool(a x) = a pool(x) for a > 0. x [T, B, *features].

    >>> import torch
    >>> from ranvier.convert import MaxOfRates
    >>> x = torch.tensor([[1.0, 0.0], [0.0, 1.0]]).reshape(2, 1, 1, 2)
    >>> MaxOfRates(torch.nn.MaxPool1d(2))(x).flatten()
    tensor([1., 0.])
    """

    records = ("total", "best", "z")
    relays = True

    def __init__(self, pool: Callable[[Tensor], Tensor]):
        super().__init__()
        self.pool = pool

    def run(self, x: Any, state: Any = None, names: tuple[str, ...] = ()) -> tuple[Any, Any, dict[str, Tensor]]:
        check_sequence(self, x)
        if state is None:
            before = torch.zeros(x.shape[1:], dtype=promoted(x.dtype), device=x.device)
            state = {"total": before, "best": self.pool(before)}
        total, summed = _TOTAL.scan(x, {"total": state["total"]})
        best = self._pooled(total) if len(x) else x.new_empty(0, *state["best"].shape)
        y, risen = _CHANGE.scan(best, {"last": state["best"]})
        traces = {"total": total, "best": best, "z": y}
        return y, {"total": summed["total"], "best": risen["last"]}, {n: traces[n] for n in names}

    def _pooled(self, total: Tensor) -> Tensor:
        """Pool every step of [T, B, *features]."""
        pictures = total.flatten(0, 1)
        if pictures.dim() == 4 and pictures.shape[1] >= 8:  # torch pools such images four times as fast
            pictures = pictures.contiguous(memory_format=torch.channels_last)
        return self.pool(pictures).unflatten(0, total.shape[:2])

    def explain(self, x: Any) -> str:
        return f"{_TOTAL.explain(x)}; pooled by torch"


class QCFS(nn.Module):
    """Quantise, clip, floor, shift: a ReLU with `levels` discrete levels, for training a network that will run in few
    time steps.

    y = threshold / levels * clip(floor(x levels / threshold + 1/2), 0, levels), differentiated as the clipped ramp.

    x of any shape; the threshold is trained. The mean output of a `RateIF` is the same after `levels` steps of constant
    input. Bu et al., Optimal ANN-SNN conversion for high-accuracy and ultra-low-latency spiking neural networks, ICLR
    2022.

    >>> import torch
    >>> from ranvier.convert import QCFS
    >>> QCFS(threshold=1.0, levels=4)(torch.tensor([-1.0, 0.1, 0.2, 0.6, 3.0])).detach()
    tensor([0.0000, 0.0000, 0.2500, 0.5000, 1.0000])
    """

    def __init__(self, threshold: float = 8.0, levels: int = 8):
        super().__init__()
        if not isinstance(levels, int) or levels < 1:
            raise ValueError(f"QCFS: levels must be a whole number above 0, got {levels!r}")
        if not (math.isfinite(threshold) and threshold > 0):
            raise ValueError(f"QCFS: threshold must be a positive number, got {threshold!r}")
        self.threshold, self.levels = nn.Parameter(torch.full((1,), float(threshold))), levels

    def forward(self, x: Tensor) -> Tensor:
        threshold = bounded(self.threshold, 1e-6, math.inf)
        ramp = (x / threshold).clamp(0.0, 1.0)
        return threshold * inject(ramp, (ramp * self.levels + 0.5).floor() / self.levels)

    def extra_repr(self) -> str:
        shown = "" if self.threshold.is_meta else f"threshold={self.threshold.item():g}, "
        return f"{shown}levels={self.levels}"
