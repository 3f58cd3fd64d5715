"""Plain modules (modules without state), applied to every step of a sequence."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ranvier.backends import choose, op
from ranvier.nn.convolution import Conv2d
from ranvier.nn.linear import Linear
from ranvier.nn.temporal import Temporal, check_sequence

# Plain modules whose output depends only on the input, not on the step. If the input is the same at all steps
# (x.expand(T, ...), stride 0 on axis 0), they run once for all steps.
_SAME_EVERY_STEP = (
    Linear, nn.Linear, nn.Conv1d, Conv2d, nn.Conv2d, nn.Conv3d, nn.Flatten, nn.Unflatten, nn.Identity, nn.ReLU, nn.GELU,
    nn.LayerNorm, nn.GroupNorm, nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d,
    nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, nn.AdaptiveAvgPool2d,
)  # fmt: skip


def temporal(module: nn.Module) -> bool:
    """Whether a module is a temporal layer or contains one."""
    return any(isinstance(m, (Temporal, Fold)) for m in module.modules())


def still(x: Any) -> bool:
    """Whether x [T, B, ...] is the same at all steps (stride 0) and needs no gradient, since a gradient may differ
    between steps.
    """
    return isinstance(x, Tensor) and x.dim() > 2 and x.shape[0] > 1 and x.stride(0) == 0 and not x.requires_grad


def same_every_step(module: nn.Module) -> bool:
    """Whether a plain module returns equal outputs for equal inputs at different steps (dropout does not)."""
    return all(type(m) in (*_SAME_EVERY_STEP, nn.Sequential) for m in module.modules())


def fold(module: nn.Module, x: Tensor) -> Any:
    """Apply a plain module to every step of x [T, B, *features] at once: time becomes part of the batch."""
    return folded(module, x, still(x))[0]


def folded(module: nn.Module, x: Tensor, constant: bool) -> tuple[Any, bool]:
    """Apply a module as `fold` does, and also return whether the output is the same at all steps.

    constant: whether x is the same at all steps, and no gradient of a single step is needed.
    """
    check_sequence(module, x)
    steps, batch = x.shape[:2]
    if constant and same_every_step(module):
        y = module(x[0])
        return y.unsqueeze(0).expand(steps, *y.shape), True
    given = samples(x)
    if given.requires_grad and choose.fuses(given) and stored_last(given):
        # the gradient of torch's mean over pixels is not channels last; rearranging it here saves this in every layer
        given.register_hook(_last)
    y = module(given)
    if not isinstance(y, Tensor):
        raise TypeError(
            f"{type(module).__name__} returns a {type(y).__name__}, but a module between layers must return one tensor "
            f"(torch's recurrent layers take the whole sequence: call them outside, before or after)"
        )
    return sequence(y, (steps, batch)), False


def stored_last(x: Tensor) -> bool:
    """Whether x are images [N, C, H, W] that are stored with channels last, and not in the usual order."""
    return x.dim() == 4 and not x.is_contiguous() and x.is_contiguous(memory_format=torch.channels_last)


def _last(g: Tensor) -> Tensor:
    return g.contiguous(memory_format=torch.channels_last)


def samples(x: Tensor) -> Tensor:
    """Return x [T, B, *features] as samples [T B, *features], with strides that are safe for torch's batch norm."""
    if torch.compiler.is_exporting():
        # with a view, torch's export would turn the stride into a condition on the number of samples
        return x.flatten(0, 1).clone(memory_format=torch.contiguous_format)
    return safe_strides(x.flatten(0, 1))


FORMATS = {4: torch.channels_last, 5: torch.channels_last_3d}


def safe_strides(x: Tensor) -> Tensor:
    """Return samples x [N, *features] unchanged, except that axes of size 1 get regular strides.

    Along an axis of size 1 any stride is valid, but torch's batch norm computes a wrong gradient for some strides.
    """
    if 1 not in x.shape or x.dim() < 3:
        return x
    for kind in (torch.contiguous_format, FORMATS.get(x.dim())):
        if kind is not None and x.is_contiguous(memory_format=kind):
            strides = torch.empty(x.shape, device="meta").contiguous(memory_format=kind).stride()
            return x if x.stride() == strides else x.as_strided(x.shape, strides)
    return x


def sequence(y: Tensor, size: Sequence[int]) -> Tensor:
    """Return samples y [T B, *features] as a sequence of `size` = [T, B], the inverse of `samples`."""
    return safe_gradient(y).unflatten(0, size)


def safe_gradient(y: Tensor) -> Tensor:
    """Return y unchanged; its gradient will have safe strides, see `safe_strides`."""
    if not (op.traced([y]) or choose.transformed()) and 1 in y.shape and y.dim() > 2 and y.requires_grad:
        y.register_hook(safe_strides)
    return y


class Fold(nn.Module):
    """A plain module applied to every step: x [T, B, *features] -> [T, B, *features']; time becomes part of the batch.

    `ranvier.Sequential` does this automatically; in your own network class, wrap modules that do not accept sequences.

    >>> import torch, ranvier
    >>> ranvier.Fold(torch.nn.Conv2d(1, 4, 3))(torch.rand(5, 2, 1, 8, 8)).shape
    torch.Size([5, 2, 4, 6, 6])
    """

    def __init__(self, module: nn.Module):
        super().__init__()
        self.module = module

    def forward(self, x: Tensor) -> Any:
        return fold(self.module, x)
