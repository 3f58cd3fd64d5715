"""The base class of all autograd functions of Ranvier.

Such a function reads its saved tensors once, computes first derivatives, and raises an error if a second derivative is
needed. Its outputs are never views (see `whole`), so a user can change them in place like any other tensor.
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
    """A function whose derivative is a kernel. A subclass defines `forward(ctx, ...)` and `gradients(ctx, saved,
    *grads)`.
    """

    saves_inputs = False
    """Whether every input that may need a gradient is saved unchanged. Then `create_graph=True` is allowed, and the
    error comes only if the gradient is differentiated. Otherwise `create_graph=True` raises the error, because the
    gradient would not be connected to the inputs, and its derivative would be a wrong zero."""

    @staticmethod
    def gradients(ctx: Any, saved: tuple[Tensor, ...], *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        """Return the gradient of every input, from the saved tensors and the gradients of the outputs (None means
        zero).
        """
        raise NotImplementedError

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        function, saved = ctx._forward_cls, ctx.saved_tensors  # read once: hooks may recompute them
        if not torch.is_grad_enabled():
            return function.gradients(ctx, saved, *grads)
        if not function.saves_inputs:
            raise RuntimeError(FIRST_ONLY)
        with torch.no_grad():
            found = function.gradients(ctx, saved, *grads)
        return tuple(None if g is None else _Once.apply(g, *saved, *grads) for g in found)


class _Once(torch.autograd.Function):
    """Return a gradient unchanged; its own derivative raises an error."""

    @staticmethod
    def forward(ctx: Any, g: Tensor, *depends: Tensor | None) -> Tensor:
        return g.clone()

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> None:
        raise RuntimeError(FIRST_ONLY)


def refuse(ctx: Any, *grads: Any) -> None:
    """Raise the error for a second derivative; this is the derivative of operators that have only first derivatives."""
    raise RuntimeError(FIRST_ONLY)


def whole(x: Tensor, shape: Sequence[int], stride: Sequence[int] | None = None) -> Tensor:
    """Return x with another shape or other strides, without a copy. torch does not treat the result as a view, so it
    may be changed in place.
    """
    if stride is None:
        return torch.ops.aten._unsafe_view(x, shape)
    return x.new_empty(0).set_(x.untyped_storage(), x.storage_offset(), shape, stride)


def array(x: Tensor) -> np.ndarray:
    """Return a parameter as an array for a kernel, without a copy. This is not `Tensor.numpy`, which makes it
    impossible to resize the storage of the parameter; but sharding frees this storage between uses.
    """
    return np.from_dlpack(x.detach())
