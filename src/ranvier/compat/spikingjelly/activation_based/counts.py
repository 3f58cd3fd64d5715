"""Convert whole numbers to spikes, and back: for chips that support only spikes."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional


class _Unary(torch.autograd.Function):
    """Slot j of n is 1 where j < count; each slot passes back 1 / n of the count's gradient."""

    @staticmethod
    def forward(ctx: Any, counts: Tensor, slots: int) -> Tensor:
        at = torch.arange(slots, device=counts.device).view(1, slots, *(1,) * (counts.dim() - 1))
        ctx.slots = slots
        return (at < counts.unsqueeze(1)).to(counts.dtype).flatten(0, 1)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return grads[0].unflatten(0, (-1, ctx.slots)).mean(1), None


def unary(counts: Tensor, slots: int) -> Tensor:
    """Convert whole numbers to spikes, for chips that support only spikes: counts [T, *] in {0, ..., slots} -> [T
    slots, *].

    Step t becomes the steps t slots + j, with a spike in those of j < count; a count above `slots` fills all of them.
    The gradient of a count is the mean of the gradients of its slots. slots below 1 raises a ValueError. `counted` is
    the inverse.

    >>> import torch
    >>> unary(torch.tensor([2.0, 0.0, 1.0]), 2)
    tensor([1., 1., 0., 0., 1., 0.])
    """
    if isinstance(slots, bool) or not isinstance(slots, int) or slots < 1:
        raise ValueError(f"unary: slots must be a whole number of at least 1, got {slots!r}")
    return _Unary.apply(counts, slots)


def counted(spikes: Tensor, slots: int) -> Tensor:
    """The sum of every `slots` steps: [T, *] -> [ceil(T / slots), *]; the end is padded with zeros.

    >>> import torch
    >>> counted(torch.tensor([1.0, 1.0, 0.0, 0.0, 1.0]), 2)
    tensor([2., 0., 1.])
    """
    if isinstance(slots, bool) or not isinstance(slots, int) or slots < 1:
        raise ValueError(f"counted: slots must be a whole number of at least 1, got {slots!r}")
    missing = -len(spikes) % slots
    whole = functional.pad(spikes, (*(0, 0) * (spikes.dim() - 1), 0, missing))
    return whole.unflatten(0, (-1, slots)).sum(1)
