"""The loops over time for GPUs.

The ops (`triton_ops.py`), the text of this file from its first line of dashes on, and the steps printed from one rule
(see `triton_backend.py`) make the module that runs that rule. A program runs one block of neurons through all steps,
with its states in registers. Fused multiply-add is off (`enable_fp_fusion=False` at launch), so spikes equal those of
the reference bit for bit.

Time is cut into segments of a few steps. The rows of a segment are loaded at once, because each load has a long
latency. Backward keeps these rows and the states between them in registers, so it reads each row once and writes no
state. It needs the states at the start of each segment, called marks: forward saves them, or `mark` computes them. Each
of the last steps, which do not fill a segment, has its own mark.

Axes: T steps, N neurons (batch and features together), S states, P parameters with a gradient. Memory traffic per
neuron and step: forward reads the inputs and writes the outputs; backward reads inputs and output gradients, and writes
input gradients. The marks add one write and one read of the states per SEGMENT steps. `mark` reads the inputs once
more.
"""

import triton
import triton.language as tl

# The module of a rule defines its own values of these names: it leaves out all text above the next line of dashes.
from ranvier.backends.triton_ops import INTERPRETED, REAL

# ---------------------------------------------------------------- the steps: printed from the rule


@triton.jit
def spread(a, like):
    """Broadcast a result to the whole block: a result that depends on parameters alone is smaller."""
    return tl.broadcast_to(a, like.shape)


@triton.jit
def step(inputs, state, parameters):
    """Compute one step -> (outputs, states after)."""


SEEN = tl.constexpr(0)  # number of states that backward computes again: those that the adjoint needs


@triton.jit
def seen(state):
    """Return the states that backward computes again, out of all states."""


@triton.jit
def advance(inputs, state, parameters):
    """Compute the step without its outputs, for those states only that backward computes again -> these states after
    it.
    """


@triton.jit
def adjoint(inputs, state, parameters, g_outputs, carry):
    """Compute the vector-Jacobian product of a step at these states -> (gradients of all states before the step, of the
    wanted inputs, of the wanted parameters).
    """


# ---------------------------------------------------------------- rows in and out
@triton.jit
def read(pointers, at, mask):
    """Load one block from each of a tuple of [T, N] tensors."""
    row = ()
    for k in tl.static_range(len(pointers)):
        row = row + (tl.load(pointers[k] + at, mask=mask, other=0.0).to(REAL),)
    return row


@triton.jit
def real(row):
    """Convert a row to the dtype of the arithmetic. It is loaded in its own dtype, which may need only half the
    registers.
    """
    wide = ()
    for k in tl.static_range(len(row)):
        wide = wide + (row[k].to(REAL),)
    return wide


@triton.jit
def again(state):
    """Return the same states, but hide from the compiler that they are the same. Otherwise it would keep intermediate
    values of `advance` for the adjoint, and run out of registers.
    """
    if INTERPRETED or REAL == tl.float64:
        return state
    else:
        new = ()
        for k in tl.static_range(len(state)):
            new = new + (tl.inline_asm_elementwise("mov.b32 $0, $1;", "=r,r", [state[k]], tl.float32, True, 1),)
        return new


@triton.jit
def read_step(pointers, strides, t, offs, mask):
    """Load one block of step t from each of a tuple of [T, N] tensors; a tensor that is the same at all steps has
    stride 0.
    """
    row = ()
    for k in tl.static_range(len(pointers)):
        start = tl.cast(t, tl.int64) * tl.cast(strides[k], tl.int64)
        row = row + (tl.load(pointers[k] + (start + offs), mask=mask, other=0.0),)
    return row


@triton.jit
def read_segment(pointers, strides, start, offs, mask, SEGMENT: tl.constexpr):
    """Load the blocks of all steps of a segment at once."""
    rows = ()
    for k in tl.static_range(SEGMENT):
        rows = rows + (read_step(pointers, strides, start + k, offs, mask),)
    return rows


@triton.jit
def write(pointers, at, mask, row):
    """Store one block into each of a tuple of [T, N] tensors."""
    for k in tl.static_range(len(pointers)):
        tl.store(pointers[k] + at, row[k], mask=mask)


@triton.jit
def read_stack(pointer, at, mask, N, S: tl.constexpr):
    """Load S blocks from one [S, N] tensor."""
    row = ()
    for k in tl.static_range(S):
        row = row + (tl.load(pointer + k * N + at, mask=mask, other=0.0),)
    return row


@triton.jit
def write_stack(pointer, at, mask, N, row, S: tl.constexpr):
    """Store S blocks into one [S, N] tensor."""
    for k in tl.static_range(S):
        tl.store(pointer + k * N + at, row[k], mask=mask)


@triton.jit
def read_params(pointers, offs, mask, wide: tl.constexpr):
    """Load parameters: one number for all neurons, or one per neuron. Beyond the last neuron the value is 1, since a
    rule may divide by a parameter.
    """
    row = ()
    for k in tl.static_range(len(pointers)):
        if wide[k]:
            row = row + (tl.load(pointers[k] + offs, mask=mask, other=1.0).to(REAL),)
        else:
            row = row + (tl.load(pointers[k]).to(REAL),)
    return row


@triton.jit
def zeros(like, P: tl.constexpr):
    """Return P blocks of zeros."""
    row = ()
    for _ in tl.static_range(P):
        row = row + (tl.zeros(like.shape, REAL),)
    return row


@triton.jit
def added(row, more):
    """Return the sums of two tuples of blocks."""
    sums = ()
    for k in tl.static_range(len(row)):
        sums = sums + (row[k] + more[k],)
    return sums


# ---------------------------------------------------------------- the loops over time
@triton.jit(do_not_specialize=["T"])
def forward(inputs, strides, initial, parameters, outputs, final, marks, T, N, wide: tl.constexpr, S: tl.constexpr,
            SEGMENT: tl.constexpr, BLOCK: tl.constexpr):  # fmt: skip
    """Run a block of neurons through all steps. inputs, outputs: tuples of [T, N]; strides: the strides of the inputs
    from step to step; initial, final [S, N]; parameters: tuple of [1] or [N]; marks [T // SEGMENT + T % SEGMENT, SEEN,
    N], or None if they are not needed.
    """
    N = tl.cast(N, tl.int64)  # if N is 1, Triton passes it as a constant, which has no methods
    offs = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    mask = offs < N
    p = read_params(parameters, offs, mask, wide)
    state = read_stack(initial, offs, mask, N, S)
    segments = T // SEGMENT
    for m in range(segments):
        rows = read_segment(inputs, strides, m * SEGMENT, offs, mask, SEGMENT)
        if marks is not None:
            write_stack(marks + m * SEEN * N, offs, mask, N, seen(state), SEEN)
        for k in tl.static_range(SEGMENT):
            y, state = step(real(rows[k]), state, p)
            write(outputs, (m * SEGMENT + k) * N + offs, mask, y)
    for k in range(T - segments * SEGMENT):
        t = segments * SEGMENT + k
        if marks is not None:
            write_stack(marks + (segments + k) * SEEN * N, offs, mask, N, seen(state), SEEN)
        y, state = step(real(read_step(inputs, strides, t, offs, mask)), state, p)
        write(outputs, t * N + offs, mask, y)
    write_stack(final, offs, mask, N, state, S)


@triton.jit(do_not_specialize=["T"])
def mark(inputs, strides, initial, parameters, marks, T, N, wide: tl.constexpr, S: tl.constexpr,
         SEGMENT: tl.constexpr, BLOCK: tl.constexpr):  # fmt: skip
    """Compute the marks that forward did not save."""
    N = tl.cast(N, tl.int64)
    offs = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    mask = offs < N
    p = read_params(parameters, offs, mask, wide)
    state = seen(read_stack(initial, offs, mask, N, S))
    write_stack(marks, offs, mask, N, state, SEEN)
    segments = T // SEGMENT
    rest = T - segments * SEGMENT
    for m in range(1, segments + tl.minimum(rest, 1)):
        rows = read_segment(inputs, strides, (m - 1) * SEGMENT, offs, mask, SEGMENT)
        for k in tl.static_range(SEGMENT):
            state = advance(real(rows[k]), state, p)
        write_stack(marks + m * SEEN * N, offs, mask, N, state, SEEN)
    for k in range(1, rest):
        x = read_step(inputs, strides, segments * SEGMENT + k - 1, offs, mask)
        state = advance(real(x), state, p)
        write_stack(marks + (segments + k) * SEEN * N, offs, mask, N, state, SEEN)


@triton.jit(do_not_specialize=["T"])
def backward(inputs, strides, parameters, g_outputs, g_strides, g_final, g_inputs, g_initial, g_params, marks, T, N,
             wide: tl.constexpr, S: tl.constexpr, P: tl.constexpr, SEGMENT: tl.constexpr,
             BLOCK: tl.constexpr):  # fmt: skip
    """Run backward through time for a block of neurons. inputs, g_outputs, g_inputs: tuples of [T, N]; strides,
    g_strides: the strides of inputs and g_outputs from step to step; g_final, g_initial [S, N]; g_params [P, N]; marks
    as in `forward`.
    """
    N = tl.cast(N, tl.int64)
    offs = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    mask = offs < N
    p = read_params(parameters, offs, mask, wide)
    carry = read_stack(g_final, offs, mask, N, S)
    sums = zeros(offs, P)
    segments = T // SEGMENT
    rest = T - segments * SEGMENT
    for i in range(rest):
        k = rest - 1 - i
        t = segments * SEGMENT + k
        state = read_stack(marks + (segments + k) * SEEN * N, offs, mask, N, SEEN)
        x = read_step(inputs, strides, t, offs, mask)
        g = read_step(g_outputs, g_strides, t, offs, mask)
        carry, gx, gp = adjoint(real(x), state, p, real(g), carry)
        write(g_inputs, t * N + offs, mask, gx)
        sums = added(sums, gp)
    for i in range(segments):
        m = segments - 1 - i
        rows = read_segment(inputs, strides, m * SEGMENT, offs, mask, SEGMENT)
        grads = read_segment(g_outputs, g_strides, m * SEGMENT, offs, mask, SEGMENT)
        states = (read_stack(marks + m * SEEN * N, offs, mask, N, SEEN),)
        for k in tl.static_range(SEGMENT - 1):
            states = states + (advance(real(rows[k]), states[k], p),)
        for k in tl.static_range(SEGMENT - 1, -1, -1):
            carry, gx, gp = adjoint(real(rows[k]), again(states[k]), p, real(grads[k]), carry)
            write(g_inputs, (m * SEGMENT + k) * N + offs, mask, gx)
            sums = added(sums, gp)
    write_stack(g_initial, offs, mask, N, carry, S)
    write_stack(g_params, offs, mask, N, sums, P)
