"""Bounds of parameters that also hold during learning.

The rule of a neuron uses a learned value after clamping it to its bounds. At a bound, the gradient passes if gradient
descent would move the value inwards, and is zero if it would move the value further out. So no value leaves its bounds,
and no value gets stuck at a bound. If the momentum of an optimiser has moved a value outside, it is set to the bound
before the next forward pass.
"""

from typing import Any

import torch
from torch import Tensor, nn

from ranvier.backends import choose

Edge = float | Tensor


def _inwards(g: Tensor, below: Tensor, above: Tensor) -> Tensor:
    """Return the gradient, with zero where gradient descent would move a value out of its bounds."""
    return torch.where((below & (g > 0)) | (above & (g < 0)), torch.zeros_like(g), g)


class _Bounded(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(value: Tensor, low: Tensor, high: Tensor) -> Tensor:
        return torch.clamp(value, low, high)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        value, low, high = inputs
        ctx.save_for_backward(value <= low, value >= high)
        ctx.save_for_forward(value <= low, value >= high)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        return _inwards(grads[0], *ctx.saved_tensors), None, None

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Tensor:
        return -_inwards(-tangents[0], *ctx.saved_tensors)


@torch.library.custom_op("ranvier::bounded", mutates_args=())
def _compiled(value: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """`bounded` as a torch operator, which torch.compile treats as one unit."""
    return torch.clamp(value, low, high)


@_compiled.register_fake
def _(value: Tensor, low: Tensor, high: Tensor) -> Tensor:
    return torch.empty_like(value)


def _keep(ctx: Any, inputs: tuple, output: Tensor) -> None:
    value, low, high = inputs
    ctx.save_for_backward(value <= low, value >= high)


_compiled.register_autograd(lambda ctx, g: (_inwards(g, *ctx.saved_tensors), None, None), setup_context=_keep)


def bounded(value: Tensor, low: Edge, high: Edge) -> Tensor:
    """Return `value` clamped to [low, high]; gradient descent may move it inwards, but not outwards.

    >>> import torch
    >>> delay = torch.nn.Parameter(torch.tensor(8.3))
    >>> y = bounded(delay, 0.0, 8.0)
    >>> y.backward()  # descent lowers the delay: inwards
    >>> y.item(), delay.grad.item()
    (8.0, 1.0)
    """

    def edge(e: Edge) -> Tensor:
        return e.detach().to(value) if isinstance(e, Tensor) else value.new_full((), e)

    low, high = edge(low), edge(high)
    if torch.compiler.is_compiling():
        return _compiled(value, low, high) if value.requires_grad else torch.clamp(value, low, high)
    if type(value) is nn.Parameter and not choose.transformed():
        value.data.clamp_(low, high)
    return _Bounded.apply(value, low, high)  # type: ignore[return-value]
