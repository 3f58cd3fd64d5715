"""The loops over time of a rule whose output returns through a recurrent weight, for GPUs. They are the last part of
the module of that rule.

A program runs all neurons of a block of samples, so it computes all spikes that return to these neurons. One kernel
runs the whole sequence with states in registers, and no program waits for another. The returning spikes go through a
scratch array of two steps, since every thread needs all neurons of a sample; the weight is read from the caches at each
step. Per step, neuron and sample, forward reads 4 bytes and writes 8 (u and the output), and backward reads 12 and
writes 4; per step, each program reads the whole weight from the L2 cache.

Axes: T steps, B samples, N neurons, S states, P parameters with a gradient. A program's block is [ROWS, COLUMNS]: some
samples, and N rounded up to a power of two.
"""
# ruff: noqa: RUF005 (Triton does not support starred tuples)

import triton
import triton.language as tl

# The module of a rule defines its own values of these names: it leaves out all text above the next line of dashes.
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
    """Return x weight [ROWS, COLUMNS] for the samples b and neurons n; x [B, N] and weight [N, N] have equal dtypes."""
    total = tl.zeros((b.shape[0], n.shape[0]), REAL)
    for start in tl.range(0, N, CHUNK, num_stages=DEPTH):
        k = start + tl.arange(0, CHUNK)
        left = tl.load(x + b[:, None] * N + k[None, :], mask=(b[:, None] < B) & (k[None, :] < N), other=0.0)
        right = tl.load(weight + k[:, None] * N + n[None, :], mask=(k[:, None] < N) & (n[None, :] < N), other=0.0)
        total = tl.dot(left, right, total, input_precision=PRECISION, out_dtype=REAL)
    return total


@triton.jit
def at_step(sequences, t, size):
    """Return step t of each of a tuple of [T, B, N] tensors."""
    steps = ()
    for k in tl.static_range(len(sequences)):
        steps = steps + (sequences[k] + t * size,)
    return steps


@triton.jit
def keep(step, offs, mask, row):
    """Store a block into a tensor of any dtype."""
    tl.store(step + offs, row.to(step.dtype.element_ty), mask=mask)


# ---------------------------------------------------------------- the loops over time
@triton.jit(do_not_specialize=["T", "segment"])
def feedback_forward(x, initial, parameters, weight, bias, last, outputs, u, final, marks, T, B, N, segment,
                     wide: tl.constexpr, S: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
                     CHUNK: tl.constexpr, PRECISION: tl.constexpr, DEPTH: tl.constexpr):  # fmt: skip
    """Compute u[t] = x[t] + y[t - 1] weight (+ bias), and y[t] and the states by the rule.

    x, u [T, B, N]; outputs: tuple of [T, B, N], whose first is y; weight [N, N]; bias [N] or None; initial, final [S,
    B, N]; parameters: tuple of [1] or [N]; marks [segments, S, B, N]: the states at the start of each segment. Scratch
    array: last [2, B, N] in the dtype of the weight; last[0] is the output before the first step.
    """
    b = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    n = tl.arange(0, COLUMNS)
    mask = (b[:, None] < B) & (n[None, :] < N)
    size = tl.cast(B, tl.int64) * N
    offs = b[:, None] * N + n[None, :]  # within a step, in 32 bits: full addresses would fill the registers
    p = read_params(parameters, n[None, :], n[None, :] < N, wide)
    state = read_stack(initial, offs, mask, size, S)
    for t in range(T):
        now = tl.load(x + t * size + offs, mask=mask, other=0.0).to(REAL)  # loaded while the product runs
        if bias is not None:
            now += tl.load(bias + n[None, :], mask=n[None, :] < N, other=0.0)
        now += returned(last + (t & 1) * size, weight, b, n, B, N, CHUNK, PRECISION, DEPTH)
        if t % segment == 0:
            write_stack(marks + (t // segment) * S * size, offs, mask, size, state, S)
        y, state = step((now,), state, p)
        keep(u + t * size, offs, mask, now)
        write(at_step(outputs, t, size), offs, mask, y)
        keep(last + (1 - (t & 1)) * size, offs, mask, y[0])
        tl.debug_barrier()  # the product of the next step reads values of other threads
    write_stack(final, offs, mask, size, state, S)


@triton.jit(do_not_specialize=["T", "segment", "segments"])
def feedback_backward(u, parameters, weight, last, g_outputs, g_final, g_u, g_initial, g_params, marks, trail, T, B, N,
                      segment, segments, wide: tl.constexpr, S: tl.constexpr, P: tl.constexpr, ROWS: tl.constexpr,
                      COLUMNS: tl.constexpr, CHUNK: tl.constexpr, PRECISION: tl.constexpr,
                      DEPTH: tl.constexpr):  # fmt: skip
    """Run backward through time: g_y[t] + g_u[t + 1] weight is the gradient of the output, and from it the adjoint of
    the rule computes g_u[t].

    u, g_u [T, B, N]; g_outputs: tuple of [T, B, N]; g_final, g_initial [S, B, N]; g_params [P, B, N], to which the
    gradients are added. Scratch arrays: last [2, B, N], filled with zeros, in the dtype of the weight; trail [segment,
    SEEN, B, N].
    """
    b = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    n = tl.arange(0, COLUMNS)
    mask = (b[:, None] < B) & (n[None, :] < N)
    size = tl.cast(B, tl.int64) * N
    offs = b[:, None] * N + n[None, :]  # within a step, in 32 bits: full addresses would fill the registers
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
        tl.debug_barrier()  # all threads must have written before any thread reads
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
