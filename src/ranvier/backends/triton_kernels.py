"""The loops over time for GPUs, and what the words of a rule mean to Triton.

The text of this file, followed by the steps printed from one rule (see `triton_backend.py`), makes the module that runs
that rule. A program carries one block of neurons through all steps, its states in registers. Fused multiply-add is off
(`enable_fp_fusion=False` at launch), so spikes equal those of the reference bit for bit.

Axes: T steps, N neurons (batch and features together), S states, P parameters with a gradient.
Memory traffic per neuron and step: forward reads the inputs and writes the outputs; backward reads inputs (again) and
output gradients, writes input gradients, and keeps 2 sqrt(T) instead of T states per neuron in scratch (none, and reads
no inputs, where the rule is linear).
"""

import triton
import triton.language as tl

REAL = tl.constexpr(tl.float32)  # the dtype of states and of all arithmetic
STAGES = tl.constexpr(4)  # steps whose rows are asked for before they are wanted: a row takes long to come


# ---------------------------------------------------------------- the words
@triton.jit
def const(c: tl.constexpr):
    return tl.full((), c, REAL)  # a bare number may be rounded to float32 on its way


@triton.jit
def spike(u):
    return (u >= 0).to(u.dtype)


@triton.jit
def spike_strict(u):
    return (u > 0).to(u.dtype)


@triton.jit
def same(a):
    return a


@triton.jit
def inject(model, measured):
    return measured


@triton.jit
def where(condition, a, b):
    return tl.where(condition, a, b)


@triton.jit
def negate(condition):
    return condition == 0


@triton.jit
def div(a, b):
    if REAL == tl.float64:
        return a / b
    else:
        a, b = tl.broadcast(a, b)
        return tl.div_rn(a, b)  # plain division is approximate


@triton.jit
def exp(a):
    return tl.exp(a)


@triton.jit
def log(a):
    return tl.log(a)


@triton.jit
def sqrt(a):
    if REAL == tl.float64:
        return tl.sqrt(a)
    else:
        return tl.sqrt_rn(a)


@triton.jit
def tanh(a):
    e = tl.exp(-2.0 * tl.abs(a))
    far = (1.0 - e) / (1.0 + e)
    far = tl.where(a < 0, -far, far)
    if REAL == tl.float64:
        return far
    else:
        s = a * a
        near = a * (1.0 + s * (-1 / 3 + s * (2 / 15 + s * (-17 / 315 + s * (62 / 2835)))))
        return tl.where(tl.abs(a) < 0.3, near, far)


@triton.jit
def sigmoid(a):
    return 1.0 / (1.0 + tl.exp(-a))


@triton.jit
def softplus(a):
    return tl.maximum(a, 0.0) + tl.log(1.0 + tl.exp(-tl.abs(a)))


@triton.jit
def absolute(a):
    return tl.abs(a)


@triton.jit
def sign(a):
    return (a > 0).to(a.dtype) - (a < 0).to(a.dtype)


@triton.jit
def floor(a):
    return tl.floor(a)


@triton.jit
def nearest(a):
    # adding and taking away 1.5 * 2^(mantissa bits) rounds to the nearest whole number, halves to even
    if REAL == tl.float64:
        big: tl.constexpr = 6755399441055744.0
    else:
        big: tl.constexpr = 12582912.0
    return tl.where(tl.abs(a) < big / 3, (a + big) - big, a)


@triton.jit
def minimum(a, b):
    return tl.minimum(a, b)


@triton.jit
def maximum(a, b):
    return tl.maximum(a, b)


@triton.jit
def clamp(a, low, high):
    return tl.minimum(tl.maximum(a, low), high)


# ---------------------------------------------------------------- the steps: printed from the rule
@triton.jit
def spread(a, like):
    """A result over the whole block: one made of parameters alone is smaller."""
    return tl.broadcast_to(a, like.shape)


@triton.jit
def step(inputs, state, parameters):
    """One step -> (outputs, states after)."""


SEEN = tl.constexpr(0)  # the states that backward sees again: those its adjoint reads, and those they come from


@triton.jit
def seen(state):
    """These among all states."""


@triton.jit
def advance(inputs, state, parameters):
    """The same step without its outputs, from the states seen again -> these after."""


@triton.jit
def adjoint(inputs, state, parameters, g_outputs, carry):
    """Its vector-Jacobian product at the states seen again -> (gradients of all states before, of the wanted inputs,
    of the parameters).
    """


# ---------------------------------------------------------------- rows in and out
@triton.jit
def read(pointers, at, mask):
    """One block from each of a tuple of [T, N] tensors."""
    row = ()
    for k in tl.static_range(len(pointers)):
        row = row + (tl.load(pointers[k] + at, mask=mask, other=0.0).to(REAL),)
    return row


@triton.jit
def write(pointers, at, mask, row):
    """One block into each of a tuple of [T, N] tensors."""
    for k in tl.static_range(len(pointers)):
        tl.store(pointers[k] + at, row[k], mask=mask)


@triton.jit
def read_stack(pointer, at, mask, N, S: tl.constexpr):
    """S blocks from one [S, N] tensor."""
    row = ()
    for k in tl.static_range(S):
        row = row + (tl.load(pointer + k * N + at, mask=mask, other=0.0),)
    return row


@triton.jit
def write_stack(pointer, at, mask, N, row, S: tl.constexpr):
    """S blocks into one [S, N] tensor."""
    for k in tl.static_range(S):
        tl.store(pointer + k * N + at, row[k], mask=mask)


@triton.jit
def read_params(pointers, offs, mask, wide: tl.constexpr):
    """Parameters: one number for all, or one per neuron (1 beyond the last: a rule may divide by them)."""
    row = ()
    for k in tl.static_range(len(pointers)):
        if wide[k]:
            row = row + (tl.load(pointers[k] + offs, mask=mask, other=1.0).to(REAL),)
        else:
            row = row + (tl.load(pointers[k]).to(REAL),)
    return row


# ---------------------------------------------------------------- the loops over time
@triton.jit
def forward(inputs, initial, parameters, outputs, final, T, N, wide: tl.constexpr, S: tl.constexpr,
            BLOCK: tl.constexpr):  # fmt: skip
    """inputs, outputs: tuples of [T, N]; initial, final [S, N]; parameters: tuple of [1] or [N]."""
    N = tl.cast(N, tl.int64)  # 1 is a constant to Triton, without methods
    offs = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    mask = offs < N
    p = read_params(parameters, offs, mask, wide)
    state = read_stack(initial, offs, mask, N, S)
    for t in tl.range(T, num_stages=STAGES):
        at = t * N + offs
        y, state = step(read(inputs, at, mask), state, p)
        write(outputs, at, mask, y)
    write_stack(final, offs, mask, N, state, S)


@triton.jit
def backward(inputs, initial, parameters, g_outputs, g_final, g_inputs, g_initial, g_params, marks, trail, T, N,
             segment, segments, wide: tl.constexpr, S: tl.constexpr, P: tl.constexpr, BLOCK: tl.constexpr):  # fmt: skip
    """inputs, g_outputs, g_inputs: tuples of [T, N]; initial, g_final, g_initial [S, N]; g_params [P, N].

    Scratch: marks [segments, SEEN, N], the states seen again at the start of each segment; trail [segment, SEEN, N].
    """
    N = tl.cast(N, tl.int64)  # 1 is a constant to Triton, without methods
    offs = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    mask = offs < N
    p = read_params(parameters, offs, mask, wide)
    state = seen(read_stack(initial, offs, mask, N, S))
    write_stack(marks, offs, mask, N, state, SEEN)
    for m in range(1, segments):
        for k in tl.range(segment, num_stages=STAGES):
            state = advance(read(inputs, ((m - 1) * segment + k) * N + offs, mask), state, p)
        write_stack(marks + m * SEEN * N, offs, mask, N, state, SEEN)
    tl.debug_barrier()  # what this block wrote it will read
    carry = read_stack(g_final, offs, mask, N, S)
    sums = read_stack(g_params, offs, mask, N, P)
    for back in range(segments):
        start = (segments - 1 - back) * segment
        length = tl.minimum(segment, T - start)
        state = read_stack(marks + (segments - 1 - back) * SEEN * N, offs, mask, N, SEEN)
        for k in tl.range(length, num_stages=STAGES):
            write_stack(trail + k * SEEN * N, offs, mask, N, state, SEEN)
            state = advance(read(inputs, (start + k) * N + offs, mask), state, p)
        tl.debug_barrier()
        for i in tl.range(length, num_stages=STAGES):
            k = length - 1 - i
            at = (start + k) * N + offs
            state = read_stack(trail + k * SEEN * N, offs, mask, N, SEEN)
            carry, gx, gp = adjoint(read(inputs, at, mask), state, p, read(g_outputs, at, mask), carry)
            write(g_inputs, at, mask, gx)
            more = ()
            for j in tl.static_range(P):
                more = more + (sums[j] + gp[j],)
            sums = more
        tl.debug_barrier()
    write_stack(g_initial, offs, mask, N, carry, S)
    write_stack(g_params, offs, mask, N, sums, P)
