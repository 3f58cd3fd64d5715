"""Spikes as bits on a GPU, laid out as `bits.py` has them: an eighth of a byte each is kept for backward."""

import torch
from torch import Tensor

from ranvier.backends import triton_backend
from ranvier.spikes import bits

WORDS = 16  # a program packs: 1,024 numbers
UNPACKED = 1 << 24  # numbers that are there at once on the way back


def pack(x: Tensor) -> Tensor:
    """Which of x [M, K] are not zero, as bits [M, ceil(K / 64)]."""
    packed = torch.empty(len(x), bits.words(x.shape[1]), dtype=torch.int64, device=x.device)
    _launch("pack", x.contiguous(), packed)
    return packed


def unpack(packed: Tensor, columns: int, dtype: torch.dtype) -> Tensor:
    """Zeros and ones [M, columns] from bits [M, words]."""
    x = torch.empty(len(packed), columns, dtype=dtype, device=packed.device)
    _launch("unpack", x, packed.contiguous())
    return x


def gradient(packed: Tensor, g: Tensor, columns: int) -> Tensor:
    """g^T x [N, K] of spikes x, bits of [M, K], and g [M, N], some rows at a time."""
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
