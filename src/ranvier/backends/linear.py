"""Recurrences without reset, in parallel over time: v[t] = a v[t - 1] + x[t].

Two steps of such a recurrence are one step of another, (a, x) then (b, y) = (b a, b x + y), so log2(T) passes of
doubling do the work of T steps. That is more arithmetic for less waiting: it pays where there are too few neurons to
fill the backend (a GPU with some thousands), and never on a CPU, where a tile of neurons walks through time at the
speed of memory. `worth` decides; `benchmarks/run.py parallel` measures.
"""

from typing import Any

import torch
from torch import Tensor

FILLS = 1 << 15  # neurons that keep a large GPU busy by themselves (132 processors with some 256 threads each)
LONG = 64  # steps from which log2(T) launches are fewer than the waiting of T dependent steps


def worth(x: Tensor) -> bool:
    """Whether a sequence x [T, B, *F] is better done in parallel over time."""
    return x.is_cuda and x.shape[0] >= LONG and x[0].numel() < FILLS


def scan(decay: Tensor, x: Tensor, initial: Tensor) -> Tensor:
    """v[t] = decay v[t - 1] + x[t] with v[-1] = initial, by doubling; real or complex, twice differentiable.

    x [T, B, *F]; initial [B, *F]; decay broadcastable to [B, *F], or [T, B, *F] if it changes with time. Gives v of
    the shape of x.

    >>> scan(torch.tensor(0.5), torch.ones(3, 1, 1), torch.zeros(1, 1)).flatten()
    tensor([1.0000, 1.5000, 1.7500])
    """
    if not len(x):
        return x + initial
    changing = decay.dim() == x.dim()
    first = (decay[0] if changing else decay) * initial
    return _Scan.apply(decay, torch.cat([(x[0] + first).unsqueeze(0), x[1:]]), changing)


class _Scan(torch.autograd.Function):
    """From v[-1] = 0. Its derivative is the same recurrence, backwards."""

    @staticmethod
    def forward(ctx: Any, decay: Tensor, x: Tensor, changing: bool) -> Tensor:
        v = _doubling(decay, x, changing)
        ctx.changing = changing
        ctx.save_for_backward(decay, v)
        return v

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor, None]:
        decay, v = ctx.saved_tensors
        back = decay.conj()
        if ctx.changing:  # what leaves step t is carried by the decay of step t + 1
            back = torch.cat([torch.zeros_like(back[:1]), back[1:].flip(0)])
        g_x = _Scan.apply(back, grads[0].flip(0), ctx.changing).flip(0)
        before = torch.cat([torch.zeros_like(v[:1]), v[:-1]])
        g_decay = (g_x * before.conj()).sum_to_size(decay.shape) if ctx.needs_input_grad[0] else None
        return g_decay, g_x, None


def _doubling(decay: Tensor, x: Tensor, changing: bool) -> Tensor:
    v, d = x.clone(memory_format=torch.contiguous_format), 1
    while d < len(x):
        v[d:] += (decay[d:] if changing else decay) * v[:-d]
        later = decay[d:] * decay[:-d] if changing else decay * decay
        decay = torch.cat([decay[:d], later]) if changing else later
        d *= 2
    return v
