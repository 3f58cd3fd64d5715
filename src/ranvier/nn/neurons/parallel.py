"""Parallel spiking neurons: no reset, so all steps are computed at once."""

import math
from typing import Any

import torch
from torch import Tensor, nn

from ranvier.nn import arguments
from ranvier.nn.length import Whole, count, span
from ranvier.nn.neurons.heaviside import Heaviside
from ranvier.nn.temporal import Temporal, check_sequence
from ranvier.surrogate import Surrogate


def _weight(steps: int) -> tuple[nn.Parameter, nn.Parameter]:
    """Return two parameters: a weight between all steps [T, T], and a bias for each step [T], which starts at -1 (minus
    the threshold).
    """
    weight = torch.empty(steps, steps)
    nn.init.kaiming_uniform_(weight, a=math.sqrt(5))
    return nn.Parameter(weight), nn.Parameter(torch.full((steps,), -1.0))


def _mixed(weight: Tensor, x: Tensor) -> Tensor:
    """Multiply x [T, B, *features] by a weight between steps, [steps, T] -> [steps, B, *features]."""
    return (weight.to(x.dtype) @ x.flatten(1)).unflatten(1, x.shape[1:])


def _along(bias: Tensor, x: Tensor) -> Tensor:
    """Return the bias [T] in the shape [T, 1, ...], so that it can be added to x."""
    return bias.to(x.dtype).view(-1, *(1,) * (x.dim() - 1))


class PSN(Whole):
    """Parallel spiking neuron: every step depends on all steps.

    h = W x + b along time;  z = 1 where h >= 0.

    x [T, B, *features] -> spikes of the same shape. steps: the fixed number T. W [T, T] and b [T] are learned; b starts
    at -1. Later steps affect earlier ones, so the layer cannot be streamed. Fang et al., Parallel spiking neurons with
    high efficiency and ability to learn long-term dependencies, NeurIPS 2023.

    >>> import torch, ranvier
    >>> ranvier.PSN(8)(torch.rand(8, 2, 3)).shape
    torch.Size([8, 2, 3])
    """

    def __init__(self, steps: int = 8, surrogate: Surrogate | None = None):
        super().__init__(steps)
        self.weight, self.bias = _weight(steps)
        self.fire = Heaviside(threshold=0.0, surrogate=arguments.surrogate(type(self).__name__, surrogate))

    def mix(self, x: Tensor) -> Tensor:
        return self.fire.scan(_mixed(self.weight, x) + _along(self.bias, x))[0]


class MaskedPSN(Temporal):
    """Parallel spiking neuron in which a step depends only on the last `order` steps.

    It is a `PSN` whose W is multiplied by masking * band + (1 - masking), where band is 1 for the last `order` steps
    and 0 elsewhere.

    x [T, B, *features] -> spikes of the same shape. masking in [0, 1] is a buffer; it may be increased during training
    from 0 (a `PSN`) to 1 (causal). At masking = 1 the layer can be streamed, up to step `steps`; below 1 it needs all
    `steps` steps in one call. Fang et al., NeurIPS 2023.

    >>> import torch, ranvier
    >>> ranvier.MaskedPSN(order=2, steps=8)(torch.rand(5, 2, 3)).shape
    torch.Size([5, 2, 3])
    """

    masking: Tensor

    def __init__(self, order: int = 2, steps: int = 8, *, masking: float = 1.0, surrogate: Surrogate | None = None):
        super().__init__()
        self.order, self.steps = count("MaskedPSN: order", order), count("MaskedPSN: steps", steps)
        if not 0.0 <= masking <= 1.0:
            raise ValueError(f"MaskedPSN: masking must lie between 0 and 1, got {masking!r}")
        self.weight, self.bias = _weight(steps)
        self.register_buffer("masking", torch.tensor(float(masking)))
        self.fire = Heaviside(threshold=0.0, surrogate=arguments.surrogate(type(self).__name__, surrogate))

    def masked(self) -> Tensor:
        """Return the weight [T, T] after masking."""
        band = torch.ones_like(self.weight).tril().triu(1 - self.order)
        return self.weight * (self.masking * band + (1.0 - self.masking))

    def run(self, x: Any, state: Any = None, names: tuple[str, ...] = ()) -> tuple[Any, Any, dict[str, Tensor]]:
        check_sequence(self, x)
        past = self.order - 1
        before = x.new_zeros(past, *x.shape[1:]) if state is None else state["past"].to(x.dtype).movedim(1, 0)
        begin, after = span(self, x, state, self.steps)
        end = begin + x.shape[0]
        if self.masking.is_meta or bool(self.masking == 1.0):
            seen = torch.cat([before, x])
            weight = nn.functional.pad(self.masked(), (past, 0))[begin:end, begin : end + past]
            h = _mixed(weight, seen)
        elif begin == 0 and end == self.steps:
            seen, h = torch.cat([before, x]), _mixed(self.masked(), x)
        else:
            raise ValueError(
                f"MaskedPSN: with masking = {self.masking.item():g}, below 1, later steps affect earlier ones, so it "
                f"needs x [{self.steps}, B, *features] in one call, got steps {begin} to {end}"
            )
        z = self.fire.scan(h + _along(self.bias[begin:end], x))[0]
        after["past"] = seen[seen.shape[0] - past :].movedim(0, 1)
        return z, after, {n: z for n in names}

    def explain(self, x: Any) -> str:
        return "all steps at once"


class SlidingPSN(Temporal):
    """Parallel spiking neuron with one weight for each of the last `order` steps, the same at every step.

    h[t] = (sum over i of weight[i] x[t - order + 1 + i]) + bias;  z = 1 where h >= 0.

    x [T, B, *features] -> spikes of the same shape, for any T; it can be streamed exactly. weight [order] starts at
    2^-(order - 1), ..., 1/2, 1, or at random values with exponential=False; bias starts at -1. method: "matrix" (a
    banded matrix between steps) or "convolution" over time; both compute the same sum. Fang et al., NeurIPS 2023.

    >>> import torch, ranvier
    >>> ranvier.SlidingPSN(order=2)(torch.tensor([0.8, 0.8, 0.0]).reshape(3, 1, 1)).flatten().tolist()
    [0.0, 1.0, 0.0]
    """

    def __init__(
        self,
        order: int = 2,
        *,
        exponential: bool = True,
        method: str = "matrix",
        surrogate: Surrogate | None = None,
    ):
        super().__init__()
        self.order = count("SlidingPSN: order", order)
        if method not in METHODS:
            raise ValueError(f"SlidingPSN: method must be one of {list(METHODS)}, got {method!r}")
        self.method = method
        weight = 0.5 ** torch.arange(order - 1, -1, -1.0)
        if not exponential:
            nn.init.kaiming_uniform_(weight.unsqueeze(0), a=math.sqrt(5))
        self.weight, self.bias = nn.Parameter(weight), nn.Parameter(torch.full((1,), -1.0))
        self.fire = Heaviside(threshold=0.0, surrogate=arguments.surrogate(type(self).__name__, surrogate))

    def run(self, x: Any, state: Any = None, names: tuple[str, ...] = ()) -> tuple[Any, Any, dict[str, Tensor]]:
        check_sequence(self, x)
        past = self.order - 1
        before = x.new_zeros(past, *x.shape[1:]) if state is None else state["past"].to(x.dtype).movedim(1, 0)
        seen = torch.cat([before, x])
        z = self.fire.scan(METHODS[self.method](self.weight.to(x.dtype), seen) + self.bias.to(x.dtype))[0]
        return z, {"past": seen[seen.shape[0] - past :].movedim(0, 1)}, {n: z for n in names}

    def explain(self, x: Any) -> str:
        return f"all steps at once, as a {self.method}"


def _banded(weight: Tensor, seen: Tensor) -> Tensor:
    """Apply the weights to the inputs `seen` [T + order - 1, ...] by one matrix product with a banded matrix."""
    order = weight.shape[0]
    steps = seen.shape[0] - order + 1
    lag = torch.arange(seen.shape[0], device=seen.device) - torch.arange(steps, device=seen.device).unsqueeze(1)
    band = torch.where((lag >= 0) & (lag < order), weight[lag.clamp(0, order - 1)], 0.0)
    return _mixed(band, seen)


def _convolved(weight: Tensor, seen: Tensor) -> Tensor:
    """Apply the weights to the inputs `seen` [T + order - 1, ...] by a convolution over time."""
    columns = seen.flatten(1).t().unsqueeze(1)  # [N, 1, T + order - 1]
    h = nn.functional.conv1d(columns, weight.view(1, 1, -1))
    return h.squeeze(1).t().unflatten(1, seen.shape[1:])


METHODS = {"matrix": _banded, "convolution": _convolved}
