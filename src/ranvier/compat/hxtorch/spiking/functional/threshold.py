"""Step functions with a surrogate derivative, and the injection of recorded values."""

from typing import Any

import torch
from torch import Tensor

from ranvier import surrogate
from ranvier.ops import inject, spike, spike_derivative


def slope(method: str, alpha: Any) -> surrogate.Surrogate:
    """Return the surrogate for `method` and `alpha`."""
    if method != "superspike":
        raise ValueError(f"Threshold function '{method}' is not implemented yet; use 'superspike'")
    return surrogate.superspike(float(alpha)) if float(alpha) > 0 else surrogate.straight_through()


def threshold(input: Tensor, method: str, alpha: float | Tensor) -> Tensor:
    """1 where input > 0, else 0, in its dtype; derivative 1 / (alpha |input| + 1)^2. method: "superspike"."""
    with spike_derivative(slope(method, alpha), input.dtype):
        return spike(input, strict=True)


def superspike_func(input: Tensor, alpha: float | Tensor) -> Tensor:
    """Another name of `threshold`."""
    return threshold(input, "superspike", alpha)


class SuperSpike(torch.autograd.Function):
    """`SuperSpike.apply(x, alpha)`: 1 where x > 0; derivative 1 / (alpha |x| + 1)^2. alpha gets no gradient."""

    @staticmethod
    def forward(ctx: Any, input: Tensor, alpha: float | Tensor) -> Tensor:  # type: ignore[override]
        ctx.save_for_backward(input)
        ctx.alpha = alpha
        return threshold(input, "superspike", alpha)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return grads[0] * slope("superspike", ctx.alpha)(ctx.saved_tensors[0]), None


class Unterjubel:
    """`Unterjubel.apply(model, injected)` returns `injected`; in the backward pass, `model` gets the gradient."""

    apply = staticmethod(inject)
