"""The base of all autograd functions of Ranvier.

It reads its saved tensors once, gives first derivatives, and raises an error when a second derivative is wanted.
Outputs are never views (see `whole`), so a user can change them in place like any other tensor.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

FIRST_ONLY = (
    "the fused kernels give first derivatives only; for second ones run the forward pass "
    'inside `with ranvier.backend("reference"):`'
)


class Function(torch.autograd.Function):
    """A function whose derivative is a kernel: define `forward(ctx, ...)` and `gradients(ctx, saved, *grads)`."""

    saves_inputs = False
    """Whether every input that may need a gradient is saved as it came. Then a gradient may be asked for with
    `create_graph=True`, and only who differentiates it is refused; else the asking is refused, since nothing would tie
    the gradient to its inputs, and its derivative would be zero without a word."""

    @staticmethod
    def gradients(ctx: Any, saved: tuple[Tensor, ...], *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        """Return the gradient of every input, computed from the saved tensors and the gradients of the outputs (None
        where zero).
        """
        raise NotImplementedError

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        function, saved = ctx._forward_cls, ctx.saved_tensors  # read once: hooks may compute them
        if not torch.is_grad_enabled():
            return function.gradients(ctx, saved, *grads)
        if not function.saves_inputs:
            raise RuntimeError(FIRST_ONLY)
        with torch.no_grad():
            found = function.gradients(ctx, saved, *grads)
        return tuple(None if g is None else _Once.apply(g, *saved, *grads) for g in found)


class _Once(torch.autograd.Function):
    """Return a gradient unchanged; differentiating it again raises an error."""

    @staticmethod
    def forward(ctx: Any, g: Tensor, *depends: Tensor | None) -> Tensor:
        return g.clone()

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> None:
        raise RuntimeError(FIRST_ONLY)


def refuse(ctx: Any, *grads: Any) -> None:
    """Raise the error for a second derivative of an operator that has only first derivatives."""
    raise RuntimeError(FIRST_ONLY)


def whole(x: Tensor, shape: Sequence[int], stride: Sequence[int] | None = None) -> Tensor:
    """Return x in another shape or with other strides. torch does not treat the result as a view, so it may be changed
    in place.
    """
    if stride is None:
        return torch.ops.aten._unsafe_view(x, shape)
    return x.new_empty(0).set_(x.untyped_storage(), x.storage_offset(), shape, stride)


def array(x: Tensor) -> np.ndarray:
    """Return the numbers of a parameter as an array for a kernel. `Tensor.numpy` would fix the size of the parameter's
    storage for good, but sharding frees that storage between uses.
    """
    return np.from_dlpack(x.detach())
