"""The loops over time that update traces on a GPU; the steps are printed from one rule (see `triton_traces.py`).

Axes: T steps, N neurons, S states, K weights into each neuron, TRACED states with traces, Q own arguments.
"""

import triton
import triton.language as tl

from ranvier.backends.triton_kernels import read_params, read_stack, read_step, real, write_stack, zeros
from ranvier.backends.triton_ops import REAL


@triton.jit
def observed(inputs, state, parameters, grads):
    """Compute one step -> (states after, the factors found at it)."""


@triton.jit
def weight_step(found, came, trace):
    """Compute one step of the traces of weights, from their inputs came [BLOCK, WIDTH] -> (what the step adds to the
    gradient, the traces after it).
    """


@triton.jit
def own_step(found, trace, like):
    """Compute one step of the traces of own arguments -> (Q blocks to add to gradients, Q TRACED blocks of traces)."""


@triton.jit
def signal_step(found, like):
    """Compute the gradients with respect to the arguments in `Call.signals` at one step."""


# ---------------------------------------------------------------- the loops
@triton.jit(do_not_specialize=["T"])
def carry_own(inputs, initial, parameters, grads, strides, own, sums, signals, T, N, wide: tl.constexpr,
              S: tl.constexpr, QS: tl.constexpr, Q: tl.constexpr, BLOCK: tl.constexpr):  # fmt: skip
    """Update the traces of the own arguments, such as learned parameters.

    inputs, signals: tuples of [T, N]; grads: tuple of [T, N], or [1, N] with stride 0; initial [S, N]; own [Q TRACED,
    N], the traces, updated in place; sums [Q, N], the gradients.
    """
    N = tl.cast(N, tl.int64)
    offs = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    mask = offs < N
    p = read_params(parameters, offs, mask, wide)
    state = read_stack(initial, offs, mask, N, S)
    trace = read_stack(own, offs, mask, N, QS)
    total = zeros(offs, Q)
    like = tl.zeros([BLOCK], REAL)
    for t in range(T):
        x = real(read_rows(inputs, t, offs, mask, N))
        g = real(read_step(grads, strides, t, offs, mask))
        state, found = observed(x, state, p, g)
        each, trace = own_step(found, trace, like)
        more = ()
        for k in tl.static_range(Q):
            more = more + (total[k] + each[k],)
        total = more
        row = signal_step(found, like)
        for k in tl.static_range(len(signals)):
            tl.store(signals[k] + t * N + offs, row[k], mask=mask)
    write_stack(own, offs, mask, N, trace, QS)
    write_stack(sums, offs, mask, N, total, Q)


@triton.jit
def read_rows(pointers, t, offs, mask, N):
    """Load one block of step t from each of a tuple of contiguous [T, N] tensors."""
    row = ()
    for k in tl.static_range(len(pointers)):
        row = row + (tl.load(pointers[k] + (tl.cast(t, tl.int64) * N + offs), mask=mask, other=0.0),)
    return row


@triton.jit(do_not_specialize=["T"])
def carry_weights(inputs, initial, parameters, grads, strides, came, weight, into, T, N, K, PER_SAMPLE, PLACES, R,
                  blocks, wide: tl.constexpr, S: tl.constexpr, TRACED: tl.constexpr, BLOCK: tl.constexpr,
                  WIDTH: tl.constexpr):  # fmt: skip
    """Update the traces of the weights. The arguments are those of `carry_own`, and came [T, R, K]; weight [TRACED, N,
    K], the traces, updated in place; into [N, K], the gradients. A sample has PER_SAMPLE neurons; PLACES of them share
    a row of weights.
    """
    N = tl.cast(N, tl.int64)
    K = tl.cast(K, tl.int64)
    pid = tl.program_id(0)
    offs = (pid // blocks).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    ks = (pid % blocks).to(tl.int64) * WIDTH + tl.arange(0, WIDTH)
    mask = offs < N
    both = mask[:, None] & (ks < K)[None, :]
    at = offs[:, None] * K + ks[None, :]
    rows = (offs // PER_SAMPLE) * PLACES + offs % PLACES
    source = rows[:, None] * K + ks[None, :]
    p = read_params(parameters, offs, mask, wide)
    state = read_stack(initial, offs, mask, N, S)
    trace = read_stack(weight, at, both, N * K, TRACED)
    total = tl.zeros([BLOCK, WIDTH], REAL)
    for t in range(T):
        x = real(read_rows(inputs, t, offs, mask, N))
        g = real(read_step(grads, strides, t, offs, mask))
        state, found = observed(x, state, p, g)
        a = tl.load(came + tl.cast(t, tl.int64) * R * K + source, mask=both, other=0.0)
        each, trace = weight_step(found, a, trace)
        total += each
    write_stack(weight, at, both, N * K, trace, TRACED)
    tl.store(into + at, total, mask=both)
