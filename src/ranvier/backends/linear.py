"""Recurrences without reset, in parallel over time: v[t] = a v[t - 1] + x[t].

A step (a, x) followed by a step (b, y) equals the single step (b a, b x + y). So a pass can combine all pairs of
neighbouring steps into longer steps, and log2(T) passes compute all T steps. This needs more arithmetic, but fewer
operations wait for each other. It is faster when the neurons are too few to keep the device busy (some thousands on a
GPU). It is never faster on a CPU, where the loop over time runs at the speed of memory. `worth` decides;
`benchmarks/run.py parallel` measures. A backend may have a kernel that computes all steps in one pass; otherwise the
passes are operations of torch.
"""

from typing import Any

import torch
from torch import Tensor

from ranvier.backends import choose, op

FILLS = 1 << 15  # number of neurons that keeps a large GPU busy (132 processors with some 256 threads each)
LONG = 64  # steps above which a loop over time is slower than the scan of a chunk (an estimate, not measured)


def worth(x: Tensor) -> bool:
    """Whether a sequence x [T, B, *F] is computed faster in parallel over time."""
    return x.is_cuda and x.shape[0] >= LONG and x[0].numel() < FILLS


def scan(decay: Tensor, x: Tensor, initial: Tensor) -> Tensor:
    """Compute v[t] = decay v[t - 1] + x[t] with v[-1] = initial, real or complex, differentiable any number of times.

    x [T, B, *F]; initial [B, *F]; decay broadcastable to [B, *F], or [T, B, *F] if it changes with time. Returns v in
    the shape of x.

    >>> scan(torch.tensor(0.5), torch.ones(3, 1, 1), torch.zeros(1, 1)).flatten()
    tensor([1.0000, 1.5000, 1.7500])
    """
    if not len(x):
        return x + initial
    changing = decay.dim() == x.dim()
    first = (decay[0] if changing else decay) * initial
    return _Scan.apply(decay, torch.cat([(x[0] + first).unsqueeze(0), x[1:]]), False)


class _Scan(torch.autograd.Function):
    """Compute v[t] = c[t] v[t - 1] + x[t] from v[-1] = 0; with `back` v[t] = c[t + 1] v[t + 1] + x[t] from v[T] = 0.
    Each of the two recurrences computes the gradient of the other.
    """

    @staticmethod
    def forward(ctx: Any, c: Tensor, x: Tensor, back: bool) -> Tensor:
        kernel = None if op.traced((c, x)) else choose.chosen(x).recurrence
        v = _doubling(c, x, back) if kernel is None else kernel(c, x, back)
        ctx.back = back
        ctx.save_for_backward(c, v)
        return v

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor, None]:
        c, v = ctx.saved_tensors
        g_x = _Scan.apply(c.conj(), grads[0], not ctx.back)
        if not ctx.needs_input_grad[0]:
            return None, g_x, None
        now, last = (g_x[:-1], v[1:]) if ctx.back else (g_x[1:], v[:-1])
        g_c = torch.cat([torch.zeros_like(v[:1]), now * last.conj()])
        return g_c.sum_to_size(c.shape), g_x, None


def _doubling(c: Tensor, x: Tensor, back: bool) -> Tensor:
    changing = c.dim() == x.dim()
    if back:
        c = torch.cat([torch.zeros_like(c[:1]), c[1:].flip(0)]) if changing else c
        return _doubling(c, x.flip(0), False).flip(0)
    v, d = x.clone(memory_format=torch.contiguous_format), 1
    while d < len(x):
        v[d:] += (c[d:] if changing else c) * v[:-d]
        later = c[d:] * c[:-d] if changing else c * c
        c = torch.cat([c[:d], later]) if changing else later
        d *= 2
    return v
