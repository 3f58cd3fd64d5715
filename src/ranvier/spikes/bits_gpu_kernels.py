"""Pack spikes into bits on a GPU, 64 in a word, and unpack them. Each program handles some words."""

import triton
import triton.language as tl


@triton.jit
def _places(rows, columns, words, WORDS: tl.constexpr):
    """Return the indices of this program's words and a mask of those that exist, and the same for the numbers whose
    bits they contain.
    """
    i = tl.program_id(0).to(tl.int64) * WORDS + tl.arange(0, WORDS)
    there, row = i < tl.cast(rows, tl.int64) * words, i // words
    k = (i - row * words)[:, None] * 64 + tl.arange(0, 64)[None, :]
    return i, there, row[:, None] * columns + k, there[:, None] & (k < columns)


@triton.jit(do_not_specialize=["rows"])
def pack(x, bits, rows, columns, words, WORDS: tl.constexpr):
    """Pack x [rows, columns] into bits [rows, words]: a bit is set where the number is not zero."""
    i, there, at, mask = _places(rows, columns, words, WORDS)
    spikes = (tl.load(x + at, mask=mask, other=0.0) != 0).to(tl.int64)
    tl.store(bits + i, tl.sum(spikes << tl.arange(0, 64)[None, :], 1), mask=there)


@triton.jit(do_not_specialize=["rows"])
def unpack(x, bits, rows, columns, words, WORDS: tl.constexpr):
    """Unpack bits [rows, words] into the numbers 0 and 1, x [rows, columns]."""
    i, there, at, mask = _places(rows, columns, words, WORDS)
    word = tl.load(bits + i, mask=there, other=0)[:, None]
    tl.store(x + at, ((word >> tl.arange(0, 64)[None, :]) & 1).to(x.dtype.element_ty), mask=mask)
