"""Spikes as bits: 64 a word, an eighth of a byte each instead of four bytes.

Bits are int64 tensors on CPU whose last axis counts words; bit k % 64 of word k / 64 is spike k of its row.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ranvier.backends.threads import spread

WORTH = 1 << 20  # numbers that threads share


class Packed(NamedTuple):
    """The bits of a matrix, how many are set, and whether they say all (no number but 0 and 1 was there)."""

    bits: Tensor
    events: int
    spikes: bool


def words(columns: int) -> int:
    """How many words hold a row."""
    return -(-columns // 64)


def view(bits: Tensor) -> np.ndarray:
    """Bits as the kernels take them."""
    return bits.numpy().view(np.uint64)


def packed(x: Tensor, into: Tensor | None = None) -> Packed:
    """The bits of a float32 matrix x [M, K], in one pass; written to `into` [M, words] if that is given."""
    from ranvier.spikes import bits_kernels

    bits = torch.empty(len(x), words(x.shape[1]), dtype=torch.int64) if into is None else into
    numbers, whole, found = x.contiguous().numpy(), view(bits), []

    def work(lo: int, hi: int) -> None:
        found.append(bits_kernels.pack(numbers[lo:hi], whole[lo:hi]))

    spread(work, len(x), max(1, len(x) // 8), x.numel() > WORTH)
    return Packed(bits, sum(events for events, _ in found), all(spikes for _, spikes in found))


def pack(x: Tensor) -> Tensor:
    """Which of x [*, K] are not zero, as bits [*, ceil(K / 64)].

    >>> import torch
    >>> from ranvier.spikes import bits
    >>> bits.pack(torch.tensor([[1.0, 0.0, 1.0]]))
    tensor([[5]])
    """
    return packed((x != 0).reshape(-1, x.shape[-1]).float()).bits.view(*x.shape[:-1], words(x.shape[-1]))


def unpack(bits: Tensor, columns: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Zeros and ones [*, columns] from bits [*, words].

    >>> import torch
    >>> from ranvier.spikes import bits
    >>> bits.unpack(torch.tensor([[5]]), 3)
    tensor([[1., 0., 1.]])
    """
    from ranvier.spikes import bits_kernels

    _check(bits, columns)
    x = torch.empty(*bits.shape[:-1], columns)
    bits_kernels.unpack(view(bits[None].flatten(0, -2).contiguous()), x[None].flatten(0, -2).numpy())
    return x.to(dtype)


def transpose(bits: Tensor, columns: int) -> Tensor:
    """The bits [M, words] of M rows of so many columns, as those of the transposed matrix [columns, ceil(M / 64)]."""
    from ranvier.spikes import bits_kernels

    _check(bits, columns)
    out = torch.empty(columns, words(len(bits)), dtype=torch.int64)
    bits_kernels.transpose(view(bits.contiguous()), columns, view(out))
    return out


def pixels(bits: Tensor, channels: int, size: int) -> Tensor:
    """Bits of channels of `size` pixels, [N channels, words(size)], as bits of pixels, [N size, words(channels)]."""
    from ranvier.spikes import bits_kernels

    _check(bits, size)
    out = torch.empty(len(bits) // channels * size, words(channels), dtype=torch.int64)
    bits_kernels.pixels(view(bits), channels, size, view(out))
    return out


def count(bits: Tensor) -> int:
    """How many bits are set."""
    return int(np.bitwise_count(view(bits.contiguous())).sum())


def _check(bits: Tensor, columns: int) -> None:
    if bits.dtype != torch.int64 or bits.shape[-1] != words(columns):
        raise ValueError(
            f"bits of {columns} columns are int64 with {words(columns)} words a row, got {bits.dtype} of shape "
            f"{tuple(bits.shape)}; make them with ranvier.spikes.bits.pack"
        )
