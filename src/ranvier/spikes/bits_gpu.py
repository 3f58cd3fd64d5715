"""Spikes as bits on a GPU, in the layout of `bits.py`: one bit per spike is saved for backward."""

import torch
from torch import Tensor

from ranvier.backends import triton_backend
from ranvier.spikes import bits

WORDS = 16  # words of one program: it packs 1,024 numbers
UNPACKED = 1 << 24  # numbers that are unpacked at a time in backward


def pack(x: Tensor) -> Tensor:
    """Pack x [M, K] into bits [M, ceil(K / 64)]: a bit is set where the number is not zero."""
    packed = torch.empty(len(x), bits.words(x.shape[1]), dtype=torch.int64, device=x.device)
    _launch("pack", x.contiguous(), packed)
    return packed


def unpack(packed: Tensor, columns: int, dtype: torch.dtype) -> Tensor:
    """Unpack bits [M, words] into numbers 0 and 1, [M, columns]."""
    x = torch.empty(len(packed), columns, dtype=dtype, device=packed.device)
    _launch("unpack", x, packed.contiguous())
    return x


def gradient(packed: Tensor, g: Tensor, columns: int) -> Tensor:
    """Return g^T x [N, K] for g [M, N] and spikes x [M, K], given as bits. Only some rows are unpacked at a time, to
    save memory.
    """
    step = max(1, UNPACKED // columns)
    total = g.new_zeros(g.shape[1], columns)
    for lo in range(0, len(g), step):
        some = slice(lo, lo + step)
        total.addmm_(g[some].t(), unpack(packed[some], columns, g.dtype))
    return total


def _launch(name: str, x: Tensor, packed: Tensor) -> None:
    from ranvier.spikes import bits_gpu_kernels

    rows, columns = x.shape
    if packed.numel():
        kernel, programs = getattr(bits_gpu_kernels, name), -(-packed.numel() // WORDS)
        triton_backend.launch(kernel, programs, x, x, packed, rows, columns, packed.shape[1], WORDS=WORDS, num_warps=4)
