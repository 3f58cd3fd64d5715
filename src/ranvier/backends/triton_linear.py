"""A recurrence without reset on the GPU, parallel over time, in one kernel launch (`triton_linear_kernels.py`)."""

import torch
from torch import Tensor

FEW = 2048  # up to this number of neurons, each program runs fewer neurons but longer chunks of time


def recurrence(c: Tensor, x: Tensor, back: bool) -> Tensor:
    """Compute v[t] = c[t] v[t - 1] + x[t] from v[-1] = 0, or with `back` v[t] = c[t + 1] v[t + 1] + x[t] from v[T] = 0.

    x [T, B, *F], real or complex in single or double precision; c of the same dtype, [T, B, *F] or broadcastable to
    [B, *F].
    """
    from ranvier.backends import triton_backend, triton_linear_kernels

    changing, x = c.dim() == x.dim(), x.contiguous().resolve_conj()
    wide = c.numel() > 1
    c = c.expand(x.shape if changing else x.shape[1:] if wide else c.shape).contiguous().resolve_conj()
    v, steps, neurons = torch.empty_like(x), len(x), x[0].numel()
    parts = [torch.view_as_real(one) if one.is_complex() else one for one in (c, x, v)]
    chunk, few = (128, 8) if neurons <= FEW else (64, 16)
    triton_backend.launch(
        triton_linear_kernels.recurrence, -(-neurons // few), x, *parts, steps, neurons, CHANGING=changing, WIDE=wide,
        COMPLEX=x.is_complex(), BACK=back, STEPS=chunk, BLOCK=few, num_warps=4,
    )  # fmt: skip
    return v
