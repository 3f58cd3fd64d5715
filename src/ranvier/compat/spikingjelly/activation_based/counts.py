"""Convert spike counts to binary spikes, and back, for chips that support only binary spikes."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional


class _Unary(torch.autograd.Function):
    """Slot j of `slots` is 1 where j < count. The gradient of a count is the mean of the gradients of its slots."""

    @staticmethod
    def forward(ctx: Any, counts: Tensor, slots: int) -> Tensor:
        at = torch.arange(slots, device=counts.device).view(1, slots, *(1,) * (counts.dim() - 1))
        ctx.slots = slots
        return (at < counts.unsqueeze(1)).to(counts.dtype).flatten(0, 1)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return grads[0].unflatten(0, (-1, ctx.slots)).mean(1), None


def unary(counts: Tensor, slots: int) -> Tensor:
    """Convert counts [T, *] in {0, ..., slots} to binary spikes [T * slots, *].

    Each step becomes `slots` steps, and the first `count` of them have a spike; a count above `slots` fills all of
    them. The gradient of a count is the mean of the gradients of its slots. slots below 1 raises a ValueError.
    `counted` is the inverse.

    >>> import torch
    >>> unary(torch.tensor([2.0, 0.0, 1.0]), 2)
    tensor([1., 1., 0., 0., 1., 0.])
    """
    if isinstance(slots, bool) or not isinstance(slots, int) or slots < 1:
        raise ValueError(f"unary: slots must be a whole number of at least 1, got {slots!r}")
    return _Unary.apply(counts, slots)


def counted(spikes: Tensor, slots: int) -> Tensor:
    """Sum over each group of `slots` steps: [T, *] -> [ceil(T / slots), *]. The last group is padded with zeros.

    >>> import torch
    >>> counted(torch.tensor([1.0, 1.0, 0.0, 0.0, 1.0]), 2)
    tensor([2., 0., 1.])
    """
    if isinstance(slots, bool) or not isinstance(slots, int) or slots < 1:
        raise ValueError(f"counted: slots must be a whole number of at least 1, got {slots!r}")
    missing = -len(spikes) % slots
    whole = functional.pad(spikes, (*(0, 0) * (spikes.dim() - 1), 0, missing))
    return whole.unflatten(0, (-1, slots)).sum(1)
