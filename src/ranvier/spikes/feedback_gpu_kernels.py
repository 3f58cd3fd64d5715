"""The loops over time of a rule whose output returns through a weight, for GPUs; they end the module of that rule.

A program owns all neurons of a block of samples, so what returns at a step was made by the program itself: one kernel
carries the whole sequence, states in registers, and no program waits for another. What returns passes through a
scratch of two steps, for every thread needs all neurons of a sample; the weight is read again each step, from the
caches it stays in. Per step, neuron and sample: forward 4 bytes in and 8 out (u and the output), backward 12 in and 4
out, and per step and program the whole weight from the second cache.

Axes: T steps, B samples, N neurons, S states, P parameters with a gradient. A program's block is [ROWS, COLUMNS]: some
samples, and N filled up to a power of two.
"""
# ruff: noqa: RUF005 (Triton knows no starred tuples)

import triton
import triton.language as tl

# In the module of a rule these are its own; what stands above the next line is left out there.
from ranvier.backends.triton_kernels import (
    SEEN,
    adjoint,
    advance,
    read,
    read_params,
    read_stack,
    seen,
    step,
    write,
    write_stack,
)
from ranvier.backends.triton_ops import REAL


# ---------------------------------------------------------------- the product of a block
@triton.jit
def returned(x, weight, b, n, B, N, CHUNK: tl.constexpr, PRECISION: tl.constexpr, DEPTH: tl.constexpr):
    """x weight [ROWS, COLUMNS] for the samples b and neurons n; x [B, N] and weight [N, N] of one dtype."""
    total = tl.zeros((b.shape[0], n.shape[0]), REAL)
    for start in tl.range(0, N, CHUNK, num_stages=DEPTH):
        k = start + tl.arange(0, CHUNK)
        left = tl.load(x + b[:, None] * N + k[None, :], mask=(b[:, None] < B) & (k[None, :] < N), other=0.0)
        right = tl.load(weight + k[:, None] * N + n[None, :], mask=(k[:, None] < N) & (n[None, :] < N), other=0.0)
        total = tl.dot(left, right, total, input_precision=PRECISION, out_dtype=REAL)
    return total


@triton.jit
def at_step(sequences, t, size):
    """Step t of each of a tuple of [T, B, N] tensors."""
    steps = ()
    for k in tl.static_range(len(sequences)):
        steps = steps + (sequences[k] + t * size,)
    return steps


@triton.jit
def keep(step, offs, mask, row):
    """A block into a tensor of any dtype."""
    tl.store(step + offs, row.to(step.dtype.element_ty), mask=mask)


# ---------------------------------------------------------------- the loops over time
@triton.jit(do_not_specialize=["T", "segment"])
def feedback_forward(x, initial, parameters, weight, bias, last, outputs, u, final, marks, T, B, N, segment,
                     wide: tl.constexpr, S: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
                     CHUNK: tl.constexpr, PRECISION: tl.constexpr, DEPTH: tl.constexpr):  # fmt: skip
    """u[t] = x[t] + y[t - 1] weight (+ bias), y[t] and the states by the rule.

    x, u [T, B, N]; outputs: tuple of [T, B, N], y the first; weight [N, N]; bias [N] or None; initial, final
    [S, B, N]; parameters: tuple of [1] or [N]; marks [segments, S, B, N]: the states at the start of each segment.
    Scratch: last [2, B, N] in the dtype of the weight, its first the output before the first step.
    """
    b = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    n = tl.arange(0, COLUMNS)
    mask = (b[:, None] < B) & (n[None, :] < N)
    size = tl.cast(B, tl.int64) * N
    offs = b[:, None] * N + n[None, :]  # of a step, 32 bits: addresses would fill the registers
    p = read_params(parameters, n[None, :], n[None, :] < N, wide)
    state = read_stack(initial, offs, mask, size, S)
    for t in range(T):
        now = tl.load(x + t * size + offs, mask=mask, other=0.0).to(REAL)  # on its way during the product
        if bias is not None:
            now += tl.load(bias + n[None, :], mask=n[None, :] < N, other=0.0)
        now += returned(last + (t & 1) * size, weight, b, n, B, N, CHUNK, PRECISION, DEPTH)
        if t % segment == 0:
            write_stack(marks + (t // segment) * S * size, offs, mask, size, state, S)
        y, state = step((now,), state, p)
        keep(u + t * size, offs, mask, now)
        write(at_step(outputs, t, size), offs, mask, y)
        keep(last + (1 - (t & 1)) * size, offs, mask, y[0])
        tl.debug_barrier()  # the next step's product reads what other threads wrote
    write_stack(final, offs, mask, size, state, S)


@triton.jit(do_not_specialize=["T", "segment", "segments"])
def feedback_backward(u, parameters, weight, last, g_outputs, g_final, g_u, g_initial, g_params, marks, trail, T, B, N,
                      segment, segments, wide: tl.constexpr, S: tl.constexpr, P: tl.constexpr, ROWS: tl.constexpr,
                      COLUMNS: tl.constexpr, CHUNK: tl.constexpr, PRECISION: tl.constexpr,
                      DEPTH: tl.constexpr):  # fmt: skip
    """Back through time: g_y[t] + g_u[t + 1] weight is the gradient of the output, then the adjoint gives g_u[t].

    u, g_u [T, B, N]; g_outputs: tuple of [T, B, N]; g_final, g_initial [S, B, N]; g_params [P, B, N], added to.
    Scratch: last [2, B, N] of zeros, in the dtype of the weight; trail [segment, SEEN, B, N].
    """
    b = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    n = tl.arange(0, COLUMNS)
    mask = (b[:, None] < B) & (n[None, :] < N)
    size = tl.cast(B, tl.int64) * N
    offs = b[:, None] * N + n[None, :]  # of a step, 32 bits: addresses would fill the registers
    p = read_params(parameters, n[None, :], n[None, :] < N, wide)
    carry = read_stack(g_final, offs, mask, size, S)
    sums = read_stack(g_params, offs, mask, size, P)
    for back in range(segments):
        m = segments - 1 - back
        start = m * segment
        length = tl.minimum(segment, T - start)
        state = seen(read_stack(marks + m * S * size, offs, mask, size, S))
        for k in range(length):
            write_stack(trail + k * SEEN * size, offs, mask, size, state, SEEN)
            state = advance(read((u + (start + k) * size,), offs, mask), state, p)
        tl.debug_barrier()  # what this block wrote it will read
        for i in range(length):
            k = length - 1 - i
            t = start + k
            now = read((u + t * size,), offs, mask)
            before = read_stack(trail + k * SEEN * size, offs, mask, size, SEEN)
            g = read(at_step(g_outputs, t, size), offs, mask)
            g_y = (g[0] + returned(last + (1 - (t & 1)) * size, weight, b, n, B, N, CHUNK, PRECISION, DEPTH),)
            for j in tl.static_range(1, len(g_outputs)):
                g_y = g_y + (g[j],)
            carry, gx, gp = adjoint(now, before, p, g_y, carry)
            keep(g_u + t * size, offs, mask, gx[0])
            keep(last + (t & 1) * size, offs, mask, gx[0])
            more = ()
            for j in tl.static_range(P):
                more = more + (sums[j] + gp[j],)
            sums = more
            tl.debug_barrier()
    write_stack(g_initial, offs, mask, size, carry, S)
    write_stack(g_params, offs, mask, size, sums, P)
