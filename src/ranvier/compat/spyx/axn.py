"""Spyx's activations: a step function with a surrogate derivative. Each function here returns an activation, which is a
function of membrane minus threshold.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ranvier import surrogate
from ranvier.derive.trace import trace
from ranvier.ops import spike, spike_derivative
from ranvier.surrogate import Surrogate

Function = Callable[[Tensor], Tensor]


def heaviside(x: Tensor) -> Tensor:
    """1 where x > 0, else 0, in the dtype of x."""
    return (x > 0).to(x.dtype)


class Activation:
    """A step function with a surrogate derivative; neurons that use it run fused. `surrogate` is None if the function
    is not a step function, or cannot be fused.
    """

    def __init__(self, slope: Surrogate | None, own: Function | None = None):
        self.surrogate, self.own = slope, own

    def __call__(self, x: Tensor) -> Tensor:
        if self.own is not None:
            return self.own(x)
        with spike_derivative(self.surrogate, x.dtype):  # type: ignore[arg-type]
            return spike(x, strict=True)


class _Own(torch.autograd.Function):
    """A forward and a backward function from the user, which are called with torch tensors."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, bwd: Function, fwd: Function) -> Tensor:
        ctx.save_for_backward(x)
        ctx.bwd = bwd
        return fwd(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        (x,) = ctx.saved_tensors
        return grads[0] * ctx.bwd(x), None, None


def _identity(x: Any) -> Any:
    return x


def custom(bwd: Function = _identity, fwd: Function = heaviside) -> Activation:
    """An activation that computes fwd(x) forward, and grad * bwd(x) backward. By default bwd(x) is x, as in Spyx; for a
    straight-through gradient write `custom(torch.ones_like)`, or use `ranvier.surrogate.straight_through`.

    If bwd is plain arithmetic, it is fused into the neuron; if it calls torch, the neuron runs step by step.
    """
    slope = surrogate.custom(bwd)
    fused = fwd is heaviside and _can_be_fused(slope)
    return Activation(slope) if fused else Activation(None, lambda x: _Own.apply(x, bwd, fwd))


def _can_be_fused(slope: Surrogate) -> bool:
    try:
        trace(lambda u: ((slope(u),), ()), ["u"])
    except Exception:  # a function that raises any error on a symbol may still work on tensors
        return False
    return True


def tanh(k: float = 1) -> Activation:
    """Surrogate derivative sech(k x)^2."""
    return Activation(surrogate.tanh(k))


def boxcar(width: float = 2, height: float = 0.5) -> Activation:
    """Surrogate derivative `height` where |x| < width / 2."""
    return Activation(surrogate.boxcar(width, height))


def triangular(k: float = 2) -> Activation:
    """Surrogate derivative max(0, 1 - |k x|)."""
    return Activation(surrogate.triangular(k))


def arctan(k: float = 2) -> Activation:
    """Surrogate derivative 1 / (pi (1 + (k pi x)^2))."""
    return Activation(surrogate.arctan(k))


def superspike(k: float = 25) -> Activation:
    """Surrogate derivative 1 / (1 + k |x|)^2, the default of every neuron."""
    return Activation(surrogate.superspike(k))
