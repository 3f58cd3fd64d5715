"""Spikes as bits, 64 in a word: a spike takes one bit instead of four bytes.

Bits are int64 tensors on the CPU whose last axis counts words; bit k % 64 of word k / 64 is spike k of its row.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ranvier.backends.buffers import empty
from ranvier.backends.threads import spread

WORTH = 1 << 20  # from this many numbers on, several threads share the work


class Packed(NamedTuple):
    """The bits of a matrix, the number of set bits, and whether the bits are exact: all numbers of the matrix are 0 or
    1.
    """

    bits: Tensor
    events: int
    spikes: bool


def words(columns: int) -> int:
    """Return the number of 64-bit words for a row of `columns` bits."""
    return -(-columns // 64)


def view(bits: Tensor) -> np.ndarray:
    """Return bits as a NumPy array of uint64 words, the form that kernels read."""
    return bits.numpy().view(np.uint64)


def packed(x: Tensor, into: Tensor | None = None) -> Packed:
    """Return the bits of a float32 matrix x [M, K], computed in one pass. into: a tensor [M, words] for the bits, if it
    exists already.
    """
    from ranvier.spikes import bits_kernels

    bits = x.new_empty(len(x), words(x.shape[1]), dtype=torch.int64) if into is None else into
    numbers, whole, found = x.contiguous().numpy(), view(bits), []

    def work(lo: int, hi: int) -> None:
        found.append(bits_kernels.pack(numbers[lo:hi], whole[lo:hi]))

    spread(work, len(x), max(1, len(x) // 8), x.numel() > WORTH)
    return Packed(bits, sum(events for events, _ in found), all(spikes for _, spikes in found))


def pack(x: Tensor) -> Tensor:
    """Pack x [*, K] into bits [*, ceil(K / 64)]: a bit is set where the number is not zero.

    >>> import torch
    >>> from ranvier.spikes import bits
    >>> bits.pack(torch.tensor([[1.0, 0.0, 1.0]]))
    tensor([[5]])
    """
    return packed((x != 0).reshape(-1, x.shape[-1]).float()).bits.view(*x.shape[:-1], words(x.shape[-1]))


def unpack(bits: Tensor, columns: int, dtype: torch.dtype = torch.float32, into: Tensor | None = None) -> Tensor:
    """Unpack bits [*, words] into numbers 0 and 1, [*, columns].

    into: memory to unpack into, float32 [*, columns]; None: new memory. Numbers of another dtype are a copy of it.

    >>> import torch
    >>> from ranvier.spikes import bits
    >>> bits.unpack(torch.tensor([[5]]), 3)
    tensor([[1., 0., 1.]])
    """
    from ranvier.spikes import bits_kernels

    _check(bits, columns)
    x = empty((*bits.shape[:-1], columns), torch.float32) if into is None else into
    given, numbers = view(bits[None].flatten(0, -2).contiguous()), x[None].flatten(0, -2).numpy()

    def work(lo: int, hi: int) -> None:
        bits_kernels.unpack(given[lo:hi], numbers[lo:hi])

    spread(work, len(given), max(1, len(given) // 8), x.numel() > WORTH)
    return x.to(dtype)


def transpose(bits: Tensor, columns: int) -> Tensor:
    """Transpose bits: [M, words] of M rows with `columns` columns -> [columns, ceil(M / 64)]."""
    from ranvier.spikes import bits_kernels

    _check(bits, columns)
    out = bits.new_empty(columns, words(len(bits)))
    bits_kernels.transpose(view(bits.contiguous()), columns, view(out))
    return out


def pixels(bits: Tensor, channels: int, size: int) -> Tensor:
    """Rearrange the bits of N images of `size` pixels: from one row per channel, [N channels, words(size)], to one row
    per pixel, [N size, words(channels)].
    """
    from ranvier.spikes import bits_kernels

    _check(bits, size)
    out = bits.new_empty(len(bits) // channels * size, words(channels))
    bits_kernels.pixels(view(bits), channels, size, view(out))
    return out


def count(bits: Tensor) -> int:
    """Return the number of set bits."""
    return int(np.bitwise_count(view(bits.contiguous())).sum())


def _check(bits: Tensor, columns: int) -> None:
    if bits.dtype != torch.int64 or bits.shape[-1] != words(columns):
        raise ValueError(
            f"bits of {columns} columns are int64 with {words(columns)} words a row, got {bits.dtype} of shape "
            f"{tuple(bits.shape)}; make them with ranvier.spikes.bits.pack"
        )
