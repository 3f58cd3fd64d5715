"""Pack spikes into bits, 64 in a word, and unpack them: one pass over the numbers, one pass over the words."""

import numpy as np

from ranvier.backends.numba_cache import kept
from ranvier.spikes.vector import count, nonzero64, spread64, store

kernel = kept()
ONE = np.uint64(1)


@kernel
def pack(x, bits):
    """Set bit k % 64 of bits[m, k / 64] where x[m, k] is not zero. Return how many numbers are not zero, and whether
    all of them are 1.
    """
    events, whole = 0, x.shape[1] // 64 * 64
    odd = np.int32(0)
    for m in range(x.shape[0]):
        row = x[m]
        for k in range(0, whole, 64):
            word = nonzero64(x, m, k)
            bits[m, k // 64] = word
            events += count(word)
        if whole < x.shape[1]:
            word = np.uint64(0)
            for k in range(whole, x.shape[1]):
                word |= np.uint64(row[k] != 0) << np.uint64(k - whole)
            bits[m, whole // 64] = word
            events += count(word)
        for k in range(x.shape[1]):
            odd |= np.int32((row[k] != 0) & (row[k] != 1))
    return events, odd == 0


@kernel
def unpack(bits, x):
    """Write x [M, K], zeros and ones, from its bits."""
    whole = x.shape[1] // 64 * 64
    for m in range(x.shape[0]):
        for k in range(0, whole, 64):
            store(x, m, k, spread64(bits[m, k // 64]))
        for k in range(whole, x.shape[1]):
            x[m, k] = (bits[m, k // 64] >> np.uint64(k % 64)) & ONE


@kernel
def transpose(bits, columns, out):
    """Copy bit k % 64 of bits[m, k / 64] to bit m % 64 of out[k, m / 64], one square of 64 by 64 bits at a time.

    A square is transposed in six passes, for j = 32, 16, ..., 1: each pass swaps the upper right and the lower left
    quarter of every block of 2 j by 2 j bits.
    """
    square = np.empty(64, np.uint64)
    for w in range(bits.shape[1]):
        for h in range(out.shape[1]):
            for i in range(64):
                square[i] = bits[64 * h + i, w] if 64 * h + i < bits.shape[0] else np.uint64(0)
            j, mask = 32, np.uint64(0x00000000FFFFFFFF)
            while j:
                k = 0
                for _ in range(32):
                    swap = ((square[k] >> np.uint64(j)) ^ square[k + j]) & mask
                    square[k] ^= swap << np.uint64(j)
                    square[k + j] ^= swap
                    k = (k + j + 1) & ~j
                j >>= 1
                mask ^= mask << np.uint64(j)
            for i in range(min(64, columns - 64 * w)):
                out[64 * w + i, h] = square[i]


@kernel
def pixels(bits, channels, size, out):
    """Rearrange the bits of N images: from one row per channel, [N C, words(H W)], to one row per pixel, [N H W,
    words(C)].
    """
    for n in range(bits.shape[0] // channels):
        transpose(bits[n * channels : (n + 1) * channels], size, out[n * size : (n + 1) * size])
