"""A recurrence without reset on a GPU: v[t] = c[t] v[t - 1] + x[t], or back in time v[t] = c[t + 1] v[t + 1] + x[t].

A program runs a few neurons through chunks of time. All steps of a chunk are computed at once by an associative scan: a
step (a, x) followed by a step (b, y) equals the single step (b a, b x + y). The last value of a chunk enters the first
step of the next chunk.

Axes: T steps, N neurons. Complex numbers are stored as pairs, [T, N, 2]. Per neuron and step x is read once and v
written once; c is read if it changes with time.
"""

import triton
import triton.language as tl


@triton.jit
def both(a, x, b, y):
    """Combine two steps into one."""
    return b * a, b * x + y


@triton.jit
def both_complex(a, ai, x, xi, b, bi, y, yi):
    """Combine two steps of complex numbers, given as real and imaginary parts, into one."""
    return b * a - bi * ai, b * ai + bi * a, b * x - bi * xi + y, b * xi + bi * x + yi


@triton.jit
def part(pointer, at, mask, PART: tl.constexpr, COMPLEX: tl.constexpr):
    """Load the real (PART = 0) or the imaginary (PART = 1) parts."""
    return tl.load(pointer + (at * 2 + PART if COMPLEX else at), mask=mask, other=0.0)


@triton.jit(do_not_specialize=["T"])
def recurrence(c, x, v, T, N, CHANGING: tl.constexpr, WIDE: tl.constexpr, COMPLEX: tl.constexpr, BACK: tl.constexpr,
               STEPS: tl.constexpr, BLOCK: tl.constexpr):  # fmt: skip
    """Compute v [T, N] from x [T, N] and c, which is [T, N] if it changes with time (CHANGING), else [N] if it differs
    between neurons (WIDE), else [1].
    """
    N = tl.cast(N, tl.int64)
    n = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)[None, :]
    k = tl.arange(0, STEPS)[:, None]
    carry = tl.zeros((1, BLOCK), x.dtype.element_ty)
    carry_i = carry
    for start in range(0, T, STEPS):
        t = (T - 1 - start - k if BACK else start + k).to(tl.int64)
        mask = (t >= 0) & (t < T) & (n < N)
        at = t * N + n
        if CHANGING:
            which = at + N if BACK else at
            known = mask & (t + 1 < T) if BACK else mask
        else:
            which = n + t * 0 if WIDE else (n + t) * 0
            known = mask
        a, now = part(c, which, known, 0, COMPLEX), part(x, at, mask, 0, COMPLEX)
        first = k + n * 0 == 0
        if COMPLEX:
            ai, now_i = part(c, which, known, 1, COMPLEX), part(x, at, mask, 1, COMPLEX)
            more, more_i = a * carry - ai * carry_i, a * carry_i + ai * carry
            now, now_i = tl.where(first, now + more, now), tl.where(first, now_i + more_i, now_i)
            _, _, y, yi = tl.associative_scan((a, ai, now, now_i), 0, both_complex)
            tl.store(v + at * 2, y, mask=mask)
            tl.store(v + at * 2 + 1, yi, mask=mask)
            carry_i = tl.sum(tl.where(k == STEPS - 1, yi, 0.0), 0, keep_dims=True)
        else:
            now = tl.where(first, now + a * carry, now)
            _, y = tl.associative_scan((a, now), 0, both)
            tl.store(v + at, y, mask=mask)
        carry = tl.sum(tl.where(k == STEPS - 1, y, 0.0), 0, keep_dims=True)
